"""A run on Azure ML that is killed at any moment and started again: one job, one model version, one champion."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.azure_ml_service.faults import Fault, JobFault
from tests.azure_ml_service.service import Service
from tests.terminal import PIPELINE, Terminal

pytestmark = pytest.mark.slow

# Each moment is a request of the command: it dies just before the service does its work, or just after.
MOMENTS: dict[str, tuple[str, str, bool, int]] = {
    "at the first token": ("POST", r"/oauth2/v2.0/token", False, 0),
    "while looking for the data": ("GET", r"/data/", False, 0),
    "while looking for the champion": ("GET", r"/models/", False, 0),
    "while looking for the job": ("GET", r"/jobs/", False, 0),
    "while looking for the compute": ("GET", r"/computes/", True, 0),
    "while making components": ("PUT", r"/components/", True, 1),
    "before the job is taken": ("PUT", r"/jobs/", False, 0),
    "after the job is taken": ("PUT", r"/jobs/", True, 0),
    "at the first look at the job": ("GET", r"/children", True, 0),
    "while the job runs": ("GET", r"/children", True, 1),
    "while the evaluation is downloaded": ("POST", r"/rundata", True, 0),
    "before the model is registered": ("PUT", r"/models/.*/versions/", False, 0),
    "after the model is registered": ("PUT", r"/models/.*/versions/", True, 0),
}


@pytest.fixture
def terminal(tmp_path: Path, prefect_api: str, azure_ml: Service) -> Terminal:
    terminal = Terminal(tmp_path, prefect_api)
    terminal.environment |= azure_ml.environment
    return terminal


def killed_at(
    terminal: Terminal, flags: tuple[str, ...], fault: Callable[[Callable[[], None]], Fault], service: Service
):
    """Start the command, and let it be killed by the service when the request comes that the fault waits for."""
    command = subprocess.Popen(
        terminal.words(PIPELINE, flags), env=terminal.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    service.faults.add(fault(command.kill))
    said = command.communicate(timeout=120)[1].decode()
    assert command.returncode == -signal.SIGKILL, said
    service.faults.clear()


def jobs_of(service: Service, pipeline: str) -> dict[str, str]:
    return {name: job["status"] for name, job in service.jobs.items() if job["display_name"] == pipeline}


def versions_of(service: Service, model: str) -> dict[str, Any]:
    return {key: found for key, found in service.models.items() if key.startswith(f"{model}:")}


@pytest.mark.parametrize("moment", MOMENTS)
def test_command_that_is_killed_and_started_again_leads_to_one_job_and_one_model_version(
    terminal: Terminal, azure_ml: Service, moment: str
) -> None:
    method, path, after_work, skip = MOMENTS[moment]
    name = f"killed-{moment.replace(' ', '-')}"
    flags = ("--pipeline", name, "--model_name", name)
    killed_at(
        terminal,
        flags,
        lambda kill: Fault(method, path, kind="call", action=kill, after_work=after_work, skip=skip),
        azure_ml,
    )
    again = terminal.summary(PIPELINE, *flags)
    assert (again["verdict"], again["model"]["version"]) == ("Promoted", 1)
    assert list(jobs_of(azure_ml, name).values()) == ["Completed"]
    (model,) = versions_of(azure_ml, name).values()
    assert model["properties"]["tags"]["tandem.alias"] == "champion"
    assert model["properties"]["tags"]["tandem.job"] in jobs_of(azure_ml, name)


def test_two_runs_of_the_same_at_once_are_two_jobs(terminal: Terminal, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("hang", step="train"))
    flags = ("--pipeline", "at-once", "--model_name", "at-once", "--force_rerun")
    words = terminal.words(PIPELINE, flags)
    first = subprocess.Popen(words, env=terminal.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert first.stderr is not None
    for line in first.stderr:
        if b"running train" in line:
            break
    assert terminal.summary(PIPELINE, *flags)["model"]["version"] == 1
    azure_ml.faults.clear()
    said = first.communicate(timeout=120)[1].decode()
    assert first.returncode == 0, said
    assert len(jobs_of(azure_ml, "at-once")) == 2


def test_machine_that_is_taken_away_leads_to_one_resubmission_which_reuses_what_was_finished(
    terminal: Terminal, azure_ml: Service
) -> None:
    azure_ml.faults.add(JobFault("preempt", step="train"))
    flags = ("--pipeline", "preempted", "--model_name", "preempted", "--solver", "saga")
    summary = terminal.summary(PIPELINE, *flags)
    assert summary["verdict"] == "Promoted"
    assert sorted(jobs_of(azure_ml, "preempted").values()) == ["Completed", "Failed"]
    assert {step["name"]: step["reused"] for step in summary["steps"]}["prep"]


def test_machines_that_are_taken_away_more_often_than_allowed_fail_the_run(
    terminal: Terminal, azure_ml: Service
) -> None:
    azure_ml.faults.add(JobFault("preempt", step="train", times=None))
    flags = ("--pipeline", "unlucky", "--model_name", "unlucky", "--solver", "sag", "--max_resubmissions", "0")
    done = terminal.run(PIPELINE, *flags)
    assert done.returncode == 1
    assert "The step train failed" in done.stderr and "preempted" in done.stderr
    assert len(jobs_of(azure_ml, "unlucky")) == 1


def test_failure_of_the_code_is_not_submitted_again(terminal: Terminal, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("fail", step="train"))
    flags = ("--pipeline", "broken", "--solver", "newton-cholesky", "--max_resubmissions", "3")
    assert terminal.run(PIPELINE, *flags).returncode == 1
    assert len(jobs_of(azure_ml, "broken")) == 1
