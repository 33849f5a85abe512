"""A rollout, from every state of an endpoint, killed at any call and started again, with checks that fail."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import ServiceError, ServingError
from flows.rollout.plan import scaled, shares_with
from flows.rollout.policy import RolloutPolicy
from flows.rollout.record import LEASE, RETIRED, ROLLING, Lease
from flows.rollout.rollout import Moment, Result, Rollout, Wanted
from flows.serving.endpoints import Deployment, Endpoint, ServedModel, ServingState
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec
from tests.rollout.place_in_memory import Killed, PlaceInMemory

OLD, NEW, OTHER = ServedModel("m", 1, "1" * 64), ServedModel("m", 2, "2" * 64), ServedModel("m", 3, "3" * 64)
ENDPOINT = EndpointSpec("diabetes", Path("endpoint.yml"))
DEPLOYMENT = OnlineDeploymentSpec("blue", "diabetes", Path("deployment.yml"))
POLICY = RolloutPolicy(pause_seconds=60, keep_seconds=600)
MIRRORING = RolloutPolicy(pause_seconds=60, keep_seconds=600, mirror_percent=20)
COPIES = 1  # among the shares at which a check is made


@dataclass
class Clock:
    """Time that passes only when somebody waits."""

    now: float = 1_800_000_000.0

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)

    def __call__(self) -> float:
        return self.now


@dataclass
class Examination:
    """Fails at a share; at 0 in the smoke test, at 1 with copies of requests."""

    fails_at: int | None = None
    asked: list[int] = field(default_factory=list)

    async def smoke(self, endpoint: Endpoint, colour: str, policy: RolloutPolicy) -> str:
        return self._at(0)

    async def mirrored(self, endpoint: Endpoint, colour: str, policy: RolloutPolicy) -> str:
        assert (endpoint.mirror, endpoint.traffic.get(colour, 0)) == ({colour: policy.mirror_percent}, 0)
        return self._at(COPIES)

    async def check(self, endpoint: Endpoint, colour: str, share: int, policy: RolloutPolicy) -> str:
        assert endpoint.traffic.get(colour) == share
        return self._at(share)

    def _at(self, share: int) -> str:
        self.asked.append(share)
        return f"wrong at {share}" if self.fails_at is not None and share >= self.fails_at else ""


def served(name: str, model: ServedModel, state: ServingState = ServingState.SUCCEEDED) -> Deployment:
    return Deployment(name, state, tags=model.tags())


def endpoint_with(traffic: Mapping[str, int], *deployments: Deployment, **tags: str) -> Endpoint:
    return Endpoint("diabetes", ServingState.SUCCEEDED, "http://x/score", "key", traffic, {}, tags, deployments)


def roll_out(
    place: PlaceInMemory,
    examination: Examination | None = None,
    *,
    model: ServedModel = NEW,
    owner: str = "me",
    clock: Clock | None = None,
    policy: RolloutPolicy = POLICY,
) -> tuple[Result, list[Moment]]:
    """Roll out to the end; what was told of it."""
    told: list[Moment] = []
    clock = clock or Clock()

    async def tell(moment: Moment) -> None:
        told.append(moment)
        assert len(told) < 500, [type(each.action).__name__ for each in told[-10:]]

    wanted = Wanted(ENDPOINT, DEPLOYMENT, model, "/models/m", owner)
    examiner = examination or Examination()
    rollout = Rollout(place, wanted, policy, examiner, tell=tell, now=clock, sleep=clock.sleep)
    return asyncio.run(rollout.run()), told


def shares(place: PlaceInMemory) -> dict[str, int]:
    assert place.there is not None
    return {name: share for name, share in place.there.traffic.items() if share}


def deployments(place: PlaceInMemory) -> dict[str, ServedModel | None]:
    assert place.there is not None
    return {one.name: one.model for one in place.there.deployments}


def test_first_deployment_is_tested_and_gets_all_the_traffic_at_once() -> None:
    place = PlaceInMemory()
    result, _ = roll_out(place)
    assert (shares(place), deployments(place)) == ({"blue": 100}, {"blue": NEW})
    assert (result.colour, result.changed, result.failed) == ("blue", True, "")


def test_model_that_is_served_already_is_not_touched() -> None:
    place = PlaceInMemory(endpoint_with({"green": 100}, served("green", NEW)))
    result, _ = roll_out(place)
    assert (result.changed, place.calls) == (False, [])


def test_a_deployment_that_keeps_what_it_is_asked_takes_over_from_one_that_does_not_and_back() -> None:
    keeping = replace(NEW, collects="0123abcd")
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", NEW)))
    result, _ = roll_out(place, model=keeping)
    assert (result.changed, deployments(place)) == (True, {"green": keeping})
    again, _ = roll_out(place, model=keeping)
    assert again.changed is False
    back, _ = roll_out(place, model=NEW)
    assert (back.changed, deployments(place)) == (True, {"blue": NEW})


def test_new_model_takes_over_in_steps_and_the_old_one_is_deleted_after_its_time() -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))
    clock, examination = Clock(), Examination()
    began = clock.now
    roll_out(place, examination, clock=clock)
    assert [call for call in place.calls if call.startswith("set")] == [
        "set traffic {'blue': 90, 'green': 10}",
        "set traffic {'blue': 50, 'green': 50}",
        "set traffic {'green': 100}",
    ]
    assert examination.asked == [0, 10, 50, 100]
    assert deployments(place) == {"green": NEW}
    assert clock.now - began >= 3 * POLICY.pause_seconds + POLICY.keep_seconds


def test_old_deployment_that_is_kept_takes_over_again_without_being_made_again() -> None:
    kept = endpoint_with({"green": 100}, served("blue", OLD), served("green", NEW), **{RETIRED: "blue 1800000000"})
    place = PlaceInMemory(kept)
    roll_out(place, model=OLD)
    assert not [call for call in place.calls if call.startswith("deploy")]
    assert (shares(place), deployments(place)) == ({"blue": 100}, {"blue": OLD})


@pytest.mark.parametrize("fails_at", [0, 10, 50, 100])
def test_check_that_fails_brings_the_old_shares_back_first_and_deletes_the_new_deployment(fails_at: int) -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))
    result, _ = roll_out(place, Examination(fails_at))
    back = place.calls.index("set traffic {'blue': 100}")
    assert back < place.calls.index("delete green")
    assert (shares(place), deployments(place)) == ({"blue": 100}, {"blue": OLD})
    assert result.failed == f"wrong at {fails_at}"
    assert result.logs == {"inference-server": "the log of green"}


def test_new_model_gets_copies_of_requests_before_its_first_share_and_none_after() -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))
    clock, examination = Clock(), Examination()
    began = clock.now
    roll_out(place, examination, clock=clock, policy=MIRRORING)
    assert [call for call in place.calls if call.startswith("set")] == [
        "set traffic {'blue': 100} and copies {'green': 20}",
        "set traffic {'blue': 90, 'green': 10}",
        "set traffic {'blue': 50, 'green': 50}",
        "set traffic {'green': 100}",
    ]
    assert examination.asked == [0, COPIES, 10, 50, 100]
    assert clock.now - began >= 4 * MIRRORING.pause_seconds + MIRRORING.keep_seconds


def test_first_deployment_gets_no_copies_since_there_is_nothing_to_copy() -> None:
    place = PlaceInMemory()
    roll_out(place, policy=MIRRORING)
    assert shares(place) == {"blue": 100}
    assert not [call for call in place.calls if "copies" in call]


def test_model_that_fails_with_copies_of_requests_gets_no_share() -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))
    result, _ = roll_out(place, Examination(COPIES), policy=MIRRORING)
    assert result.failed == f"wrong at {COPIES}"
    assert [call for call in place.calls if call.startswith("set")] == [
        "set traffic {'blue': 100} and copies {'green': 20}",
        "set traffic {'blue': 100}",
    ]
    assert place.there is not None and not place.there.mirror
    assert deployments(place) == {"blue": OLD}


def test_deployment_that_breaks_while_it_gets_copies_is_rolled_back_and_its_state_is_told() -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))

    class Breaking(Clock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            assert place.there is not None
            if place.there.mirror:
                broken = served("green", NEW, ServingState.FAILED)
                place.there = replace(place.there, deployments=(served("blue", OLD), broken))

    result, _ = roll_out(place, clock=Breaking(), policy=MIRRORING)
    assert result.failed == "green is Failed"
    assert (shares(place), deployments(place)) == ({"blue": 100}, {"blue": OLD})


def test_deployment_that_cannot_be_made_is_deleted_and_the_old_one_is_not_touched() -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))
    place.refuses = {"green"}
    result, _ = roll_out(place)
    assert "does not become ready" in result.failed
    assert (shares(place), deployments(place)) == ({"blue": 100}, {"blue": OLD})


def test_second_rollout_of_an_endpoint_is_refused_while_the_first_has_its_lease() -> None:
    lease = Lease("somebody", Clock().now + 100).text
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD), **{LEASE: lease}))
    with pytest.raises(ServingError, match=r"another rollout .somebody.") as refused:
        roll_out(place)
    assert place.calls == []
    assert isinstance(refused.value, ServiceError)  # a deployed flow run tries it again later


def test_lease_that_has_run_out_is_taken_over() -> None:
    lease = Lease("somebody", Clock().now - 1).text
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD), **{LEASE: lease}))
    roll_out(place)
    assert shares(place) == {"green": 100}


def test_interrupted_rollout_that_is_gone_on_with_has_changed_something() -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))
    place.dies_at = 4
    with pytest.raises(Killed):
        roll_out(place)
    place.dies_at = None
    result, _ = roll_out(place)
    assert (result.changed, shares(place)) == (True, {"green": 100})


def test_interrupted_rollout_of_another_model_is_undone_before_the_next_begins() -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))
    place.dies_at = 6
    with pytest.raises(Killed):
        roll_out(place, model=OTHER)
    place.dies_at = None
    roll_out(place, model=NEW)
    assert (shares(place), deployments(place)) == ({"green": 100}, {"green": NEW})


STATES = st.sampled_from(
    [
        ServingState.SUCCEEDED,
        ServingState.FAILED,
        ServingState.CANCELED,
    ]
)
MODELS = st.sampled_from([OLD, OTHER])


@st.composite
def places(draw: st.DrawFn) -> Endpoint | None:
    """An endpoint in any state in which a person or a dead process may have left it; those with a share can answer.

    At most one deployment serves the new model.
    """
    if draw(st.integers(0, 9)) == 0:
        return None
    names = draw(st.lists(st.sampled_from(["blue", "green", "teal", "canary"]), unique=True, max_size=3))
    new = draw(st.sampled_from(["", *names]))
    there = [served(name, NEW if name == new else draw(MODELS), draw(STATES)) for name in names]
    answering = [one.name for one in there if one.state is ServingState.SUCCEEDED]
    weights = {name: draw(st.integers(0, 5)) for name in answering}
    retired = draw(st.sampled_from(["", *names]))
    tags = {RETIRED: f"{retired} 1799999000"} if retired else {}
    return endpoint_with(scaled(weights), *there, **tags)


@settings(max_examples=400, deadline=None)
@given(
    places(),
    st.integers(0, 25),
    st.booleans(),
    st.sampled_from([None, 0, COPIES, 10, 50, 100]),
    st.integers(0, 12),
    st.lists(st.sampled_from([0, 20, 50]), min_size=3, max_size=3),
)
def test_rollout_killed_twice_at_any_call_ends_with_the_model_alone_or_with_the_old_shares(
    endpoint: Endpoint | None, dies_at: int, after: bool, fails_at: int | None, again: int, mirrors: list[int]
) -> None:
    place = PlaceInMemory(endpoint)
    before, clock = dict(endpoint.traffic) if endpoint else {}, Clock()
    result: Result | None = None
    for kill, mirror in zip((dies_at, again, None), mirrors, strict=True):
        place.dies_at = None if kill is None else len(place.calls) + kill
        place.dies_after_work = after
        try:
            policy = replace(POLICY, mirror_percent=mirror)
            result, _ = roll_out(place, Examination(fails_at), clock=clock, policy=policy)
            break
        except Killed:
            continue
    assert result is not None and place.there is not None
    assert place.broken_promises == []
    assert not {ROLLING, LEASE} & set(place.there.tags)
    assert not place.there.mirror
    now = shares(place)
    if result.failed:
        had_new = {one.name for one in (endpoint.deployments if endpoint else ()) if one.model == NEW}
        assert now == dict(scaled({name: share for name, share in before.items() if name not in had_new}))
        assert NEW not in [deployments(place)[name] for name in now]
    else:
        assert len(now) <= 1 and [deployments(place)[name] for name in now] == [NEW]
        assert list(now.values()) == [100]


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 100), max_size=5), st.integers(0, 100))
def test_shares_always_sum_to_100_percent(before: dict[str, int], share: int) -> None:
    before = dict(scaled(before))
    new = shares_with("new", share, before)
    assert sum(new.values()) == 100
    assert all(part >= 0 for part in new.values())
