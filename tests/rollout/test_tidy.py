"""What a rollout leaves at its endpoint, and how long it waits before it deletes a deployment."""

import asyncio

import pytest

from flows.rollout.policy import RolloutPolicy
from flows.rollout.record import LEASE, RETIRED, Lease
from flows.rollout.rollout import Rollout, Wanted
from tests.rollout.place_in_memory import Killed, PlaceInMemory
from tests.rollout.test_rollout import (
    DEPLOYMENT,
    ENDPOINT,
    NEW,
    OLD,
    POLICY,
    Clock,
    Examination,
    endpoint_with,
    roll_out,
    served,
    shares,
)

NO_PAUSES = RolloutPolicy(pause_seconds=0, keep_seconds=0)
REQUEST_SECONDS = DEPLOYMENT.requests.timeout_seconds


def serving_old() -> PlaceInMemory:
    return PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))


def tags(place: PlaceInMemory) -> set[str]:
    assert place.there is not None
    return set(place.there.tags)


def test_nothing_of_a_rollout_is_left_written_down_when_the_old_deployment_is_deleted() -> None:
    place = serving_old()
    roll_out(place)
    assert tags(place) == set()


@pytest.mark.parametrize("gone", [True, False])
def test_lease_of_a_dead_rollout_that_had_done_all_is_taken_away_and_that_of_a_living_one_stays(gone: bool) -> None:
    lease = {LEASE: Lease("dead", Clock().now + 100).text, RETIRED: "blue 1800000000"}
    place = PlaceInMemory(endpoint_with({"green": 100}, served("green", NEW), **lease))

    async def tell(moment: object) -> None: ...

    wanted, clock = Wanted(ENDPOINT, DEPLOYMENT, NEW, "/models/m", "me"), Clock()
    rollout = Rollout(place, wanted, POLICY, Examination(), tell=tell, gone=lambda owner: gone, now=clock)
    result = asyncio.run(rollout.run())
    assert (result.changed, shares(place)) == (False, {"green": 100})
    assert tags(place) == (set() if gone else {LEASE, RETIRED})


def test_old_deployment_is_kept_as_long_as_a_request_may_take_however_short_it_is_to_be_kept() -> None:
    place, clock = serving_old(), Clock()
    began = clock.now
    roll_out(place, clock=clock, policy=NO_PAUSES)
    assert "delete blue" in place.calls
    assert clock.now - began >= REQUEST_SECONDS


def test_new_deployment_that_had_a_share_is_deleted_only_when_its_requests_are_over() -> None:
    place, clock = serving_old(), Clock()
    began = clock.now
    roll_out(place, Examination(fails_at=10), clock=clock, policy=NO_PAUSES)
    assert "delete green" in place.calls
    assert clock.now - began >= REQUEST_SECONDS


def test_new_deployment_that_had_no_share_is_deleted_at_once() -> None:
    place, clock = serving_old(), Clock()
    began = clock.now
    roll_out(place, Examination(fails_at=0), clock=clock, policy=NO_PAUSES)
    assert "delete green" in place.calls
    assert clock.now - began < REQUEST_SECONDS


def test_rollout_killed_after_its_last_change_leaves_no_lease_once_it_is_started_again() -> None:
    place = serving_old()
    roll_out(place)
    last = len(place.calls) - 1
    place = serving_old()
    place.dies_at = last
    with pytest.raises(Killed):
        roll_out(place)
    place.dies_at = None
    roll_out(place)
    assert tags(place) == set()
