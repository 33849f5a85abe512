"""Rollouts as they are operated: started by a promotion once someone has turned that on, or by a person; and told."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.serving.local.lifetime import end_supervisor
from tests.deployments.station import Receiver, Station, prefect_server, receiver
from tests.waiting import until

pytestmark = pytest.mark.slow

AUTOMATION = "tandem: deploy what was promoted"


@pytest.fixture(scope="module")
def told() -> Iterator[Receiver]:
    with receiver() as who:
        yield who


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, told: Receiver) -> Iterator[Station]:
    """Deployed, with someone who is told, and a worker that takes what is due. A rollout waits for nothing here."""
    with prefect_server(tmp_path_factory.mktemp("station")) as station:
        station.deploy(TANDEM_NOTIFY="custom-webhook/ops", TANDEM_NOTIFY_URL=told.url)
        for name in ("on-demand", "on-promotion"):
            id = station.deployment(f"deploy-model/{name}")["id"]
            at_once = {"parameters": {"pause_seconds": 0, "keep_seconds": 0, "max_p99_seconds": 60}}
            station.api.patch(f"/deployments/{id}", json=at_once).raise_for_status()
        try:
            words = (sys.executable, "-m", "deployments.deploy", "worker")
            with station.process(*words, PREFECT_WORKER_QUERY_SECONDS="1"):
                yield station
        finally:
            end_supervisor(Path(station.environment["TANDEM_HOME"]))


def train(station: Station, **parameters: Any) -> str:
    """Train by the deployment; the name of the state that it ends in."""
    return station.ended(station.start("train-pipeline/on-demand", **parameters))["state"]["name"]


def served(station: Station) -> list[tuple[int, int]]:
    """The version and the share of each deployment, as `tandem endpoints` tells."""
    done = station.run(sys.executable, "-m", "flows", "endpoints", "--json")
    assert done.returncode == 0, done.stderr
    return [(one["version"], one["share"]) for endpoint in json.loads(done.stdout) for one in endpoint["deployments"]]


def test_promotion_starts_a_rollout_only_once_that_is_turned_on_and_each_end_is_told(
    station: Station, told: Receiver
) -> None:
    assert train(station, reg_rate=100) == "Promoted"
    assert told.about("diabetes-predict version 1 is the champion")  # so the event has come to the automations
    assert (station.flow_runs("deploy-model/on-promotion"), served(station)) == ([], [])

    assert station.prefect("automation", "resume", AUTOMATION).returncode == 0
    assert train(station, reg_rate=0.01) == "Promoted"
    run = station.ended(until(lambda: station.flow_runs("deploy-model/on-promotion"))[0]["id"])
    assert (run["state"]["name"], run["parameters"]["model"]) == ("Deployed", "diabetes-predict@champion")
    assert run["name"] == "diabetes-predict@champion, on-promotion"
    assert served(station) == [(2, 100)]
    body = told.about("diabetes-predict version 2 is served by diabetes-predict")["body"]
    assert body.startswith("diabetes-predict:2 has all the traffic of the endpoint diabetes-predict, as blue.")
    assert f"/runs/flow-run/{run['id']}" in body and "tandem rollback --endpoint diabetes-predict" in body

    again = station.ended(station.start("deploy-model/on-demand"))
    assert (again["state"]["name"], again["name"]) == ("Unchanged", "diabetes-predict@champion, on-demand")

    undone = station.ended(
        station.start("deploy-model/on-demand", model="diabetes-predict:1", max_p99_seconds=0.001, steps=[50, 100])
    )
    assert undone["state"]["name"] == "RolledBack"
    assert served(station) == [(2, 100)]
    body = told.about("diabetes-predict version 1 was rolled back from diabetes-predict")["body"]
    assert "99 of 100 requests took up to" in body and "diabetes-predict:2 serves as before" in body
    assert f"next      prefect flow-run logs {undone['id']}" in body
    assert len(station.flow_runs("deploy-model/on-promotion")) == 1
    subjects = [message["subject"] for message in told.messages]
    assert len(subjects) == len(set(subjects))
