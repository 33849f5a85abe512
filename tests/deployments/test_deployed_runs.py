"""Everything at once, as it is operated: a server with its services, a worker, and someone who is told."""

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.data.assets import ResolvedData
from flows.orchestration.events import Fact, data_registered, drift_detected, emit
from tests.deployments.station import Receiver, Station, prefect_server, receiver
from tests.waiting import until

pytestmark = pytest.mark.slow

AT_ONCE = ("on-new-data", "scheduled-retraining")


@pytest.fixture(scope="module")
def told() -> Iterator[Receiver]:
    with receiver() as who:
        yield who


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, told: Receiver) -> Iterator[Station]:
    """Deployed, with someone who is told, and a worker that takes what is due."""
    with prefect_server(tmp_path_factory.mktemp("station")) as station:
        station.deploy(TANDEM_NOTIFY="custom-webhook/ops", TANDEM_NOTIFY_URL=told.url)
        with station.process(sys.executable, "-m", "deployments.deploy", "worker", PREFECT_WORKER_QUERY_SECONDS="1"):
            yield station


@pytest.fixture(scope="module")
def promoted(station: Station) -> dict[str, Any]:
    """A training run that a person has started, once it is over."""
    words = ("deployment", "run", "train-pipeline/on-demand", "-p", "reg_rate=0.1", "-p", "solver=liblinear")
    done = station.prefect(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    run = re.search(r"UUID: (\S+)", done.stdout)
    assert run is not None
    return station.ended(run[1])


@pytest.fixture(scope="module")
def mistaken(station: Station) -> str:
    """A run with a parameter that only the flow can tell to be wrong, as soon as it is started."""
    return station.start("train-pipeline/on-demand", data_asset_name="diabetes", reg_rate=0.5)


def test_deployed_run_trains_with_the_parameters_that_it_was_given(
    station: Station, mistaken: str, promoted: dict[str, Any]
) -> None:
    assert (promoted["state"]["type"], promoted["state"]["name"]) == ("COMPLETED", "Promoted")
    assert promoted["parameters"] == {"reg_rate": 0.1, "solver": "liblinear"}
    assert promoted["name"] == "diabetes-predict diabetes-diagnostics:1 liblinear 0.1, on-demand"
    assert promoted["labels"]["tandem.data"] == "diabetes-diagnostics:1"
    folder = Path(station.environment["TANDEM_HOME"]) / "runs" / promoted["id"]
    assert (folder / "outputs" / "evaluation" / "metrics.json").is_file()


def test_promotion_is_told_with_metrics_data_and_links(
    station: Station, told: Receiver, promoted: dict[str, Any]
) -> None:
    message = told.about("diabetes-predict version 1 is the champion")
    body = message["body"]
    assert body.startswith("Promoted: roc_auc 0.8230 reaches the minimum of 0.75; there is no champion yet")
    assert re.search(r"^ *ROC AUC +0\.8230$", body, re.MULTILINE)
    assert "champion  none before this" in body
    assert "data      diabetes-diagnostics:1" in body
    assert f"job       {promoted['labels']['tandem.job']}" in body
    assert re.search(rf"^flow run  http://127\.0\.0\.1:\d+/runs/flow-run/{promoted['id']}$", body, re.MULTILINE)
    assert body.endswith(f"next      prefect flow-run inspect {promoted['id']}")


def test_mistake_of_a_user_fails_once_and_is_told_with_the_reason_and_what_to_type(
    station: Station, told: Receiver, mistaken: str
) -> None:
    run = station.ended(mistaken)
    assert (run["state"]["type"], run["state"]["name"], run["run_count"]) == ("FAILED", "DataAssetError", 1)
    message = told.about("failed (DataAssetError)")
    assert message["subject"] == "Tandem: diabetes-predict diabetes liblinear 0.5, on-demand failed (DataAssetError)"
    body = message["body"]
    assert body.startswith("There is no data asset 'diabetes' in ")
    assert "flow      train-pipeline/on-demand\ndata      diabetes\nflow run  http://127.0.0.1:" in body
    assert f"next      prefect flow-run logs {run['id']}" in body
    assert "again     prefect deployment run 'train-pipeline/on-demand' -p 'data_asset_name=\"diabetes\"' -p" in body
    assert "Traceback" not in body


def test_schedule_starts_a_run_that_ends_at_once_when_nothing_has_changed(
    station: Station, promoted: dict[str, Any]
) -> None:
    schedules = f"/deployments/{station.deployment('train-pipeline/scheduled-retraining')['id']}/schedules"
    often = {"schedule": {"interval": 10}, "active": True, "slug": "often", "parameters": {"reg_rate": 0.1}}
    (made,) = station.api.post(schedules, json=[often]).json()

    def fired() -> list[dict[str, Any]]:
        runs = station.flow_runs("train-pipeline/scheduled-retraining")
        return [run for run in runs if run["state"]["type"] != "SCHEDULED"]

    run = until(fired)[0]
    station.api.delete(f"{schedules}/{made['id']}").raise_for_status()
    run = station.ended(run["id"])
    assert run["auto_scheduled"]
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Skipped")
    assert run["parameters"]["data_asset_name"] == "diabetes-diagnostics@latest"


def test_new_version_of_the_data_starts_one_run_on_it(
    station: Station, told: Receiver, promoted: dict[str, Any]
) -> None:
    data = ResolvedData("diabetes-diagnostics:1", "uri_file", None, "diabetes-diagnostics", "1")
    other = ResolvedData("other:1", "uri_file", None, "other", "1")
    for fact in (data_registered(other, "aa"), data_registered(data, "bb"), data_registered(data, "bb")):
        tell(station, fact)
    run = station.ended(until(lambda: station.flow_runs("train-pipeline/on-new-data"))[0]["id"])
    assert run["parameters"] == {"data_asset_name": "diabetes-diagnostics:1", "skip_if_unchanged": True}
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Rejected")
    assert len(station.flow_runs("train-pipeline/on-new-data")) == 1
    body = told.about("diabetes-predict keeps its champion")["body"]
    assert body.startswith("Rejected: roc_auc 0.8229 is not better than the champion's 0.8230")
    assert re.search(r"^ *ROC AUC +0\.8229 +0\.8230 +-0\.000\d$", body, re.MULTILINE)
    assert "champion  version 1 before this" in body


def test_of_two_deployments_that_are_to_train_on_the_same_at_once_one_does(
    station: Station, promoted: dict[str, Any]
) -> None:
    asked = {"model_name": "at-once", "data_asset_name": "diabetes-diagnostics:1"}
    runs = [station.start(f"train-pipeline/{name}", **asked) for name in AT_ONCE]
    ended = [station.ended(run) for run in runs]
    assert sorted(run["state"]["name"] for run in ended) == ["Promoted", "Skipped"]
    names = {f"at-once diabetes-diagnostics:1 liblinear 0.01, {name}" for name in AT_ONCE}
    assert {run["name"] for run in ended} == names


@pytest.fixture(scope="module")
def waiting(station: Station) -> str:
    """A run that no worker takes, from now on. The automation that tells of it does not wait ten minutes, in a test."""
    automation = next(each for each in station.everything()["automations"] if each["name"] == "tandem: stuck late")
    sooner = {key: automation[key] for key in ("name", "description", "enabled", "tags", "trigger", "actions")}
    sooner["trigger"]["within"] = 10
    station.api.put(f"/automations/{automation['id']}", json=sooner).raise_for_status()
    station.api.patch("/work_pools/tandem", json={"is_paused": True}).raise_for_status()
    return station.start("train-job/on-demand")


@pytest.mark.usefixtures("waiting")
def test_drift_is_told_and_starts_a_run_on_the_data_that_has_drifted(station: Station, told: Receiver) -> None:
    fact = drift_detected(
        "diabetes-predict",
        1,
        trained_on="diabetes-diagnostics:1",
        data_asset="diabetes-diagnostics:2",
        sha256="aa",
        reasons=["BMI: PSI 0.31"],
        features={"BMI": {"psi": 0.31}},
    )
    tell(station, fact)
    body = told.about("the data of diabetes-predict has drifted")["body"]
    assert body.startswith("BMI: PSI 0.31.\n")
    assert "champion  version 1, trained on diabetes-diagnostics:1" in body
    (run,) = until(lambda: station.flow_runs("train-pipeline/on-drift"))
    assert run["parameters"] == {"data_asset_name": "diabetes-diagnostics:2", "skip_if_unchanged": True}
    station.api.delete(f"/flow_runs/{run['id']}").raise_for_status()


def test_run_that_no_worker_takes_is_told_and_so_is_one_that_is_canceled_or_crashes(
    station: Station, told: Receiver, waiting: str
) -> None:
    canceled = station.start("train-job/on-demand", reg_rate=0.25)
    assert station.prefect("flow-run", "cancel", canceled).returncode == 0
    assert f"/runs/flow-run/{canceled}" in told.about("was cancelled")["body"]
    body = told.about("is late, and no worker takes it")["body"]
    assert f"/runs/flow-run/{waiting}" in body
    assert "next      prefect work-pool inspect tandem" in body
    crashed = {"state": {"type": "CRASHED", "message": "its machine is gone"}, "force": True}
    station.api.post(f"/flow_runs/{waiting}/set_state", json=crashed).raise_for_status()
    assert told.about("crashed")["body"].startswith("its machine is gone\n\nflow      train-job/on-demand\n")


def test_every_message_was_sent_once(station: Station, told: Receiver) -> None:
    subjects = [message["subject"] for message in told.messages]
    assert len(subjects) == len(set(subjects)) >= 5


def tell(station: Station, fact: Fact) -> None:
    with temporary_settings({PREFECT_API_URL: str(station.api.base_url).rstrip("/")}):
        asyncio.run(emit(fact))
