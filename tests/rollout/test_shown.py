"""What is seen of a rollout in Prefect while it goes on."""

import asyncio
import json
from uuid import UUID

import httpx
from prefect import flow
from prefect.runtime import flow_run

from flows.rollout.rollout import Rollout, Wanted
from flows.rollout.shown import TABLE, Shown
from tests.rollout.place_in_memory import PlaceInMemory
from tests.rollout.test_rollout import (
    DEPLOYMENT,
    ENDPOINT,
    MIRRORING,
    NEW,
    OLD,
    Clock,
    Examination,
    endpoint_with,
    served,
)


def test_table_of_deployments_has_a_version_for_each_change_of_shares_copies_and_states(prefect_api: str) -> None:
    place = PlaceInMemory(endpoint_with({"blue": 100}, served("blue", OLD)))

    @flow
    async def rolling_out() -> str:
        clock = Clock()
        wanted = Wanted(ENDPOINT, DEPLOYMENT, NEW, "/models/m", "me")
        rollout = Rollout(place, wanted, MIRRORING, Examination(), tell=Shown(NEW), now=clock, sleep=clock.sleep)
        await rollout.run()  # the table of the end is that of the summary
        return str(flow_run.id)

    run = asyncio.run(rolling_out())
    asked = {"artifacts": {"flow_run_id": {"any_": [str(UUID(run))]}}, "sort": "CREATED_DESC"}
    found = httpx.post(f"{prefect_api}/artifacts/filter", json=asked, timeout=60).json()[::-1]
    assert {each["key"] for each in found} == {TABLE}
    tables = [json.loads(each["data"]) for each in found]
    assert [{row["deployment"]: row["share %"] for row in table} for table in tables] == [
        {"blue": 100},
        {"blue": 100, "green": 0},
        {"blue": 100, "green": 0},
        {"blue": 90, "green": 10},
        {"blue": 50, "green": 50},
        {"blue": 0, "green": 100},
    ]
    assert [row["copies %"] for row in tables[2]] == [0, 20]
    assert found[3]["description"] == "Endpoint diabetes, which gets m:2: holding 10 % for 60 s"
