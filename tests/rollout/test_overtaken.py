"""A rollout that keeps the old deployment for a while, and an endpoint that somebody else changes meanwhile."""

import asyncio
from dataclasses import replace

import pytest

from flows.errors import ServingError
from flows.rollout.plan import Keep
from flows.rollout.record import ROLLING
from flows.rollout.rollout import Moment, Result, Rollout, Wanted
from flows.rollout.summary import DeploySummary
from flows.serving.endpoints import Endpoint
from tests.rollout.place_in_memory import PlaceInMemory
from tests.rollout.test_rollout import (
    DEPLOYMENT,
    ENDPOINT,
    NEW,
    OLD,
    OTHER,
    POLICY,
    Clock,
    Examination,
    endpoint_with,
    served,
)

BLUE, GREEN = served("blue", OLD), served("green", NEW)
OVERTAKEN = {
    "it has begun": endpoint_with({"green": 100}, BLUE, GREEN, **{ROLLING: f"blue {OLD.digest} forward 1800000000"}),
    "it has ended": endpoint_with({"blue": 100}, BLUE, GREEN),
    "it has deleted what was left": endpoint_with({"blue": 100}, BLUE),
    "others serve": endpoint_with({"blue": 100}, BLUE, served("green", OTHER)),
    "shares were changed by hand": endpoint_with({"blue": 40, "green": 60}, BLUE, GREEN),
}


def rolled_out(becomes: Endpoint | None) -> tuple[Result, PlaceInMemory, list[str]]:
    """Roll the new model out to an endpoint that becomes another while the old deployment is kept."""
    place, clock, calls = PlaceInMemory(endpoint_with({"blue": 100}, BLUE)), Clock(), list[str]()

    async def tell(moment: Moment) -> None:
        if isinstance(moment.action, Keep):
            place.there = becomes
            calls.extend(place.calls)
            place.calls.clear()

    wanted = Wanted(ENDPOINT, DEPLOYMENT, NEW, "/models/m", "me")
    rollout = Rollout(place, wanted, POLICY, Examination(), tell=tell, now=clock, sleep=clock.sleep)
    return asyncio.run(rollout.run()), place, calls


@pytest.mark.parametrize("becomes", OVERTAKEN.values(), ids=OVERTAKEN)
def test_rollout_that_is_overtaken_tells_what_the_endpoint_has_and_changes_nothing_more(becomes: Endpoint) -> None:
    result, place, before = rolled_out(becomes)
    assert (place.calls, place.there) == ([], becomes)
    assert "set traffic {'green': 100}" in before
    most = max(becomes.traffic, key=lambda name: becomes.traffic[name])
    assert (result.overtaken, result.colour, result.endpoint) == (True, most, becomes)


def test_rollout_whose_endpoint_is_deleted_meanwhile_says_so_and_does_not_make_it_again() -> None:
    with pytest.raises(ServingError, match="was deleted by somebody else"):
        rolled_out(None)


def test_summary_of_what_was_overtaken_tells_the_shares_of_now_and_is_no_success() -> None:
    summary = DeploySummary(NEW, "local", False, OVERTAKEN["it has ended"], "blue", True, overtaken=True)
    assert (summary.verdict, summary.is_served) == ("Overtaken", False)
    assert summary.message.endswith("until another rollout began there. Now blue has 100 % (m:1).")
    assert replace(summary, overtaken=False).is_served
