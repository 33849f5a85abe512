"""The commands on the Azure ML engine: the real SDK over HTTPS against the loopback service, which runs the steps."""

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.azure_ml_service.faults import Fault, JobFault
from tests.azure_ml_service.service import Service
from tests.terminal import JOB, PIPELINE, Terminal, reused


@pytest.fixture
def terminal(tmp_path: Path, prefect_api: str, azure_ml: Service) -> Terminal:
    terminal = Terminal(tmp_path, prefect_api)
    terminal.environment |= azure_ml.environment
    return terminal


def jobs_sent(service: Service) -> int:
    return len({request.path for request in service.requests if request.method == "PUT" and "/jobs/" in request.path})


def statuses(service: Service, label: str) -> list[str]:
    """The statuses of the pipeline jobs whose name begins so."""
    return [str(job["status"]) for name, job in service.jobs.items() if name.startswith(label)]


def test_pipeline_is_promoted_then_rejected_with_the_metrics_of_the_local_engine(
    terminal: Terminal, azure_ml: Service
) -> None:
    flags = ("--model_name", "on-azure-ml", "--engine", "auto")
    first = terminal.summary(PIPELINE, *flags)
    assert (first["engine"], first["verdict"], first["model"]["version"]) == ("azureml", "Promoted", 1)
    second = terminal.summary(PIPELINE, *flags)
    assert (second["verdict"], second["model"]) == ("Rejected", None)
    assert reused(second) == ["prep", "profile", "train"]
    local = terminal.summary(PIPELINE, "--engine", "local")
    for name, value in local["metrics"]["challenger"].items():
        assert first["metrics"]["challenger"][name] == pytest.approx(value, abs=1e-9)
    assert not azure_ml.violations


@pytest.mark.slow
def test_pipeline_is_promoted_where_the_storage_goes_by_identity(terminal: Terminal, azure_ml: Service) -> None:
    azure_ml.arm.by_identity = True
    summary = terminal.summary(PIPELINE, "--model_name", "by-identity")
    assert (summary["engine"], summary["verdict"], summary["model"]["version"]) == ("azureml", "Promoted", 1)
    assert azure_ml.count("POST", "/listSecrets") == 0
    assert not azure_ml.violations


@pytest.mark.slow
def test_job_is_registered_from_its_own_output(terminal: Terminal, azure_ml: Service) -> None:
    summary = terminal.summary(JOB, "--model_name", "job-on-azure-ml")
    assert summary["model"] == {"name": "job-on-azure-ml", "version": 1, "created": True}
    assert (terminal.home / "evaluation" / "evaluation" / "metrics.json").is_file()
    assert not azure_ml.violations


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "azureml"])
def test_same_model_that_the_job_flow_delivers_twice_is_one_version_unless_a_run_was_forced(
    terminal: Terminal, azure_ml: Service, engine: str
) -> None:
    flags = ("--model_name", f"same-{engine}", "--engine", engine)
    first, again, forced = (terminal.summary(JOB, *flags, *more) for more in ((), (), ("--force_rerun",)))
    assert [(it["model"]["version"], it["model"]["created"]) for it in (first, again, forced)] == [
        (1, True),
        (1, False),
        (2, True),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("after_work", [False, True], ids=["before the work", "after the work"])
def test_answer_that_is_lost_while_submitting_leads_to_one_job(
    terminal: Terminal, azure_ml: Service, after_work: bool
) -> None:
    azure_ml.faults.add(Fault("PUT", r"/jobs/", kind="reset", times=5, after_work=after_work))
    terminal.summary(PIPELINE, "--pipeline", f"lost-{after_work}", "--model_name", f"lost-{after_work}")
    assert statuses(azure_ml, f"lost-{str(after_work).lower()}") == ["Completed"]


@pytest.mark.slow
def test_passing_trouble_while_waiting_is_no_failure(terminal: Terminal, azure_ml: Service) -> None:
    azure_ml.faults.add(Fault("GET", r"/jobs/", kind="status", code=429, retry_after=1, times=2))
    azure_ml.faults.add(Fault("GET", r"/jobs/", kind="expired", times=1))
    azure_ml.faults.add(Fault("GET", r"/children", kind="status", code=503, times=5))
    assert terminal.summary(PIPELINE, "--model_name", "troubled")["verdict"] == "Promoted"


@pytest.mark.slow
def test_failed_step_is_told_with_its_job_and_the_end_of_its_log(terminal: Terminal, azure_ml: Service) -> None:
    data = terminal.home / "data.csv"
    data.write_text("no,such,columns\n1,2,3\n")
    done = terminal.run(PIPELINE, "--data_asset_name", str(data), "--pipeline", "bad-data")
    assert done.returncode == 1
    assert "Error: The step prep failed (job " in done.stderr
    assert "prep: not the diabetes data" in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(name.startswith("bad-data") for name in azure_ml.models)


@pytest.mark.slow
def test_job_that_stays_in_the_queue_too_long_is_canceled_and_says_so(terminal: Terminal, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("stuck_queued", step="prep"))
    done = terminal.run(PIPELINE, "--pipeline", "stuck", "--queue_timeout_seconds", "3", "--force_rerun")
    assert done.returncode == 1
    assert re.search(r"was canceled because it was still Queued after \d+ s", done.stderr)
    assert statuses(azure_ml, "stuck") == ["Canceled"]


@pytest.mark.slow
def test_command_that_is_terminated_cancels_its_job(terminal: Terminal, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("hang", step="train"))
    words = terminal.words(PIPELINE, ("--pipeline", "stopped", "--force_rerun"))
    command = subprocess.Popen(words, env=terminal.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert command.stderr is not None
    for line in command.stderr:
        if b"running train" in line:
            break
    command.send_signal(signal.SIGTERM)
    said = command.communicate(timeout=120)[1].decode()
    assert command.returncode in (143, -signal.SIGTERM)
    assert "Traceback" not in said
    assert statuses(azure_ml, "stopped") == ["Canceled"]


def test_missing_compute_is_named_with_those_that_exist_and_nothing_is_sent(
    terminal: Terminal, azure_ml: Service
) -> None:
    done = terminal.run(PIPELINE, "--compute_name", "no-such-cluster")
    assert done.returncode == 2
    assert "There is no compute target 'no-such-cluster'" in done.stderr
    assert "it has: cpu-cluster-01" in done.stderr
    assert "tandem compute create no-such-cluster" in done.stderr
    assert jobs_sent(azure_ml) == 0


@pytest.mark.slow
def test_environment_is_made_once_as_long_as_its_files_stay_the_same(terminal: Terminal, azure_ml: Service) -> None:
    for _ in range(2):
        terminal.summary(PIPELINE, "--model_name", "same-environment")
    made: list[Any] = [
        request for request in azure_ml.requests if request.method == "PUT" and "/environments/" in request.path
    ]
    assert len({request.path for request in made}) <= 1 and len(made) <= 1
