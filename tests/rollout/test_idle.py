"""Which deployments without traffic may go."""

from datetime import UTC, datetime, timedelta

import pytest

from flows.rollout.idle.fates import IdleFate, idle_deployments
from flows.rollout.policy import RolloutPolicy
from flows.rollout.record import LEASE, RETIRED, Lease, Phase, Retired, Rolling
from flows.serving.endpoints import Deployment, Endpoint, ServedModel, ServingState

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
AT = NOW.timestamp()
NEW, OLD = ServedModel("m", 2, "2" * 64), ServedModel("m", 1, "1" * 64)
KEEP = RolloutPolicy().keep_seconds
GOES, STAYS, UNKNOWN = IdleFate.GOES, IdleFate.STAYS, IdleFate.UNKNOWN


def deployment(name: str, model: ServedModel | None = OLD, hours: float | None = 2, **more: ServingState) -> Deployment:
    created = None if hours is None else NOW - timedelta(hours=hours)
    tags = {} if model is None else model.tags()
    return Deployment(name, more.get("state", ServingState.SUCCEEDED), created=created, tags=tags)


def fate_of_green(green: Deployment, tags: dict[str, str] | None = None, *, dead: bool = False) -> IdleFate | None:
    """What may become of green, beside blue with all the traffic; None if it is not listed."""
    there = (deployment("blue", NEW), green)
    endpoint = Endpoint("diabetes", ServingState.SUCCEEDED, traffic={"blue": 100}, tags=tags or {}, deployments=there)
    found = {each.deployment.name: each.fate for each in idle_deployments([endpoint], NOW, lambda _: dead)}
    assert "blue" not in found
    return found.get("green")


def retired(ago: float, keep_seconds: float | None = None) -> dict[str, str]:
    return {RETIRED: Retired(("green",), AT - ago, keep_seconds).text}


def rolling(colour: str, **before: int) -> dict[str, str]:
    return Rolling(colour, NEW.digest, Phase.FORWARD, AT - 5000, before).tags()


LEASED = {LEASE: Lease("host:1:2", AT + 100).text}

CASES = {
    "left without traffic": (deployment("green"), {}, GOES),
    "younger than the time for which an old one is kept": (deployment("green", hours=0.1), {}, STAYS),
    "made by something else": (deployment("green", None), {}, UNKNOWN),
    "of an unknown age": (deployment("green", hours=None), {}, UNKNOWN),
    "at work": (deployment("green", state=ServingState.DELETING), {}, STAYS),
    "failed": (deployment("green", state=ServingState.FAILED), {}, GOES),
    "kept after a rollout": (deployment("green"), retired(KEEP - 1), STAYS),
    "kept longer than that": (deployment("green"), retired(KEEP + 1), GOES),
    "kept longer, as that rollout was asked to": (deployment("green"), retired(KEEP + 1, 86_400), STAYS),
    "kept shorter, as that rollout was asked to": (deployment("green"), retired(60, 10), GOES),
    "kept longer, as the endpoint says": (
        deployment("green"),
        {**retired(KEEP + 1), "tandem.rollout.keep_seconds": "86400"},
        STAYS,
    ),
    "target of a rollout": (deployment("green", NEW), {**rolling("green", blue=100), **LEASED}, STAYS),
    "target of a rollout that was interrupted": (deployment("green", NEW), rolling("green", blue=100), GOES),
    "what an interrupted rollout goes back to": (deployment("green"), rolling("blue", green=100), STAYS),
    "beside a rollout": (deployment("green"), LEASED, STAYS),
    "beside a rollout whose lease has run out": (deployment("green"), {LEASE: Lease("a", AT - 1).text}, GOES),
}


@pytest.mark.parametrize(("green", "tags", "fate"), CASES.values(), ids=CASES.keys())
def test_fate_of_a_deployment_without_traffic(green: Deployment, tags: dict[str, str], fate: IdleFate) -> None:
    assert fate_of_green(green, tags) is fate


def test_lease_of_a_process_that_is_dead_keeps_nothing() -> None:
    target = deployment("green", NEW)
    assert fate_of_green(target, {**rolling("green", blue=100), **LEASED}, dead=True) is GOES


def test_deployment_that_gets_requests_or_copies_of_them_is_not_listed() -> None:
    there = (deployment("blue"), deployment("green"), deployment("teal"))
    endpoint = Endpoint(
        "diabetes", ServingState.SUCCEEDED, traffic={"blue": 100}, mirror={"green": 10}, deployments=there
    )
    assert [each.deployment.name for each in idle_deployments([endpoint], NOW, lambda _: False)] == ["teal"]
