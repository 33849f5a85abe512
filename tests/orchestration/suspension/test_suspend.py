"""Flow runs on Azure ML that wait for their jobs without a process, and the watcher that resumes them."""

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.azure_ml_service.faults import JobFault
from tests.azure_ml_service.service import Service
from tests.deployments.station import Station, prefect_server
from tests.orchestration.suspension.suspended import WATCHER, job_of, started, suspended, task_runs
from tests.processes import commands_with
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, azure_ml_session: Service) -> Iterator[Station]:
    """Deployed, with a worker whose flow runs find the workspace."""
    with prefect_server(tmp_path_factory.mktemp("station")) as station:
        station.environment |= azure_ml_session.environment
        station.deploy()
        words = (sys.executable, "-m", "deployments.deploy", "worker")
        with station.process(*words, PREFECT_WORKER_QUERY_SECONDS="1"):
            yield station


def test_suspended_run_has_no_process_and_goes_on_when_its_job_is_over(station: Station, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("held", step="train", status="Running"))
    run = started(station, "suspended")
    suspended(station, run)
    assert job_of(azure_ml, "suspended")["status"] == "Running"
    assert task_runs(station, run) == []
    azure_ml.faults.clear()
    ended = station.ended(run)
    assert (ended["state"]["name"], ended["run_count"]) == ("Promoted", 1)
    assert job_of(azure_ml, "suspended")["status"] == "Completed"
    assert [key for key in azure_ml.models if key.startswith("suspended:")] == ["suspended:1"]
    steps = azure_ml.children(job_of(azure_ml, "suspended")["name"])
    shown = [(task["name"], task["state"]["type"]) for task in task_runs(station, run)]
    assert sorted(shown) == sorted((step, "COMPLETED") for step in steps)
    for task in task_runs(station, run):
        child = steps[task["name"]]
        for key, at in {"start_time": child["started"], "end_time": child["ended"]}.items():
            assert datetime.fromisoformat(task[key]) == datetime.fromisoformat(at)
        took = datetime.fromisoformat(child["ended"]) - datetime.fromisoformat(child["started"])
        assert task["total_run_time"] == pytest.approx(took.total_seconds(), abs=1e-3)


def test_watcher_ends_when_nothing_is_suspended(station: Station) -> None:
    runs = until(lambda: [run for run in station.flow_runs(WATCHER) if run["start_time"]])
    assert station.ended(runs[-1]["id"])["state"]["type"] == "COMPLETED"
    until(lambda: not commands_with(runs[-1]["id"]))


def test_job_of_a_run_that_is_cancelled_while_suspended_is_canceled(station: Station, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("hang", step="train"))
    run = started(station, "cancelled")
    suspended(station, run)
    assert station.prefect("flow-run", "cancel", run).returncode == 0
    at = time.monotonic()
    until(lambda: job_of(azure_ml, "cancelled")["status"] == "Canceled")
    print(f"canceled after {time.monotonic() - at:.1f} s")
    assert station.flow_run(run)["state"]["type"] == "CANCELLED"
    until(lambda: "tandem.watched" not in station.flow_run(run)["tags"])
    until(lambda: not commands_with(run))


def test_run_is_canceled_whose_job_is_canceled_while_it_is_suspended(station: Station, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("hang", step="train"))
    run = started(station, "canceled-in-studio")
    suspended(station, run)
    azure_ml.runner.cancel(job_of(azure_ml, "canceled-in-studio")["name"])
    ended = station.ended(run)
    assert ended["state"]["type"] == "CANCELLED"
    assert "was canceled, not by this run" in ended["state"]["message"]
    job_of(azure_ml, "canceled-in-studio")  # no other was submitted


def test_limit_that_passes_while_suspended_cancels_the_job(station: Station, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("hang", step="train"))
    run = started(station, "too-long", run_timeout_seconds=40)
    suspended(station, run)
    ended = station.ended(run)
    assert ended["state"]["type"] == "FAILED"
    assert "was canceled because it ran for more than 40 s (run_timeout_seconds)" in ended["state"]["message"]
    assert job_of(azure_ml, "too-long")["status"] == "Canceled"


def test_run_that_is_never_to_be_suspended_waits_in_its_process(station: Station, azure_ml: Service) -> None:
    run = started(station, "never", suspend="never")
    assert station.ended(run)["state"]["type"] == "COMPLETED"
    asked = {"flow_run_id": run}
    states = station.api.get("/flow_run_states/", params=asked).json()
    assert "Suspended" not in {state["name"] for state in states}


def test_run_that_is_always_to_be_suspended_is_refused_where_nobody_would_resume_it(
    tmp_path: Path, prefect_api: str, azure_ml: Service
) -> None:
    from tests.terminal import PIPELINE as COMMAND
    from tests.terminal import Terminal

    terminal = Terminal(tmp_path, prefect_api)
    terminal.environment |= azure_ml.environment
    done = terminal.run(COMMAND, "--pipeline", "alone", "--suspend", "always")
    assert done.returncode == 2
    assert "Nothing was submitted. `make deploy`" in done.stderr
    assert not [job for job in azure_ml.jobs.values() if job["display_name"] == "alone"]
