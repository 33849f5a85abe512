"""Training that is under way is not begun again: flow runs on a real Prefect server look at each other."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow

from flows.orchestration.under_way import trained_elsewhere, trains
from flows.tags import TRAINS
from tests.prefect_client import asking


async def looked(wanted: list[str]) -> list[str]:
    """What flow runs that begin at the same moment, each about to train one of these, are told; all are alive then."""
    barrier = asyncio.Barrier(len(wanted))

    @flow
    async def training(what: str) -> str:
        await barrier.wait()
        told = await trained_elsewhere(what)
        await barrier.wait()
        return told

    return list(await asyncio.gather(*(training(what) for what in wanted)))


def test_of_flow_runs_that_begin_at_once_one_trains_and_the_others_are_told_which(prefect_api: str) -> None:
    same = trains("m", str(uuid4()))
    said = asyncio.run(looked([same, same, same]))
    assert sorted(map(bool, said)) == [False, True, True]
    (name,) = {each.partition(" has begun")[0] for each in said if each}
    assert name.startswith("the flow run ")


def test_other_data_or_another_model_is_trained_at_the_same_time(prefect_api: str) -> None:
    basis, other = str(uuid4()), str(uuid4())
    assert asyncio.run(looked([trains("m", basis), trains("n", basis), trains("m", other)])) == ["", "", ""]


def test_what_is_over_is_trained_again(prefect_api: str) -> None:
    same = trains("m", str(uuid4()))
    assert [asyncio.run(looked([same])), asyncio.run(looked([same]))] == [[""], [""]]


@pytest.mark.parametrize(
    ("kind", "hours", "counts"),
    [("RUNNING", 24, True), ("RUNNING", 0, False), ("PAUSED", 0, True), ("CRASHED", 24, False)],
)
def test_flow_run_counts_while_it_is_suspended_or_was_begun_a_short_time_ago(
    prefect_api: str, kind: str, hours: int, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.orchestration.under_way.RUNNING_HOURS", hours)
    same = trains("m", str(uuid4()))
    with asking(prefect_api) as client:
        of: Any = client.post("/flows/", json={"name": "train-pipeline"}).json()["id"]
        run = client.post("/flow_runs/", json={"flow_id": of}).json()["id"]
        client.patch(f"/flow_runs/{run}/labels", json={TRAINS: same}).raise_for_status()
        for state in dict.fromkeys(("RUNNING", kind)):
            asked = {"state": {"type": state}, "force": True}
            client.post(f"/flow_runs/{run}/set_state", json=asked).raise_for_status()
        (said,) = asyncio.run(looked([same]))
        assert (run in said) is counts
        client.delete(f"/flow_runs/{run}").raise_for_status()
