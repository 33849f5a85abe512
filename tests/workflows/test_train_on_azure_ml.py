"""Training from GitHub, step by step, against the loopback service. An `az` stands for what azure/login signs in."""

import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from tests.azure_ml_service.faults import Fault, JobFault
from tests.azure_ml_service.identity import CLIENT, SECRET, TENANT
from tests.azure_ml_service.service import Service
from tests.terminal import PROJECT
from tests.waiting import until
from tests.workflows.runner import WORKFLOWS, Runner, run_steps, with_environment

TRAIN = WORKFLOWS / "train-on-azure-ml.yml"
MAKE, ASK = "Make the environment", "Ask for every token that training will need"
REGISTER = "Register the data, unless the workspace has it"
DECIDE, WHY = "Train, and let the gate decide", "Say why it did not end"
BEGUN = Path(".tandem", "begun")  # what goes from one attempt to the next
PUSH = {
    "inputs.reg_rate": "",
    "inputs.solver": "",
    "inputs.data_asset_name": "",
    "inputs.force_rerun": "",
    "github.event_name == 'push'": "true",
}
BY_HAND = {
    **PUSH,
    "inputs.solver": "liblinear",
    "inputs.force_rerun": "false",
    "github.event_name == 'push'": "false",
}
# Prints what `az account get-access-token` does, a token of the service; notes every resource that is asked for.
AZ = f"""\
    #!{sys.executable}
    import json, os, sys, time
    import requests

    assert sys.argv[1:3] == ["account", "get-access-token"], sys.argv
    resource = sys.argv[sys.argv.index("--resource") + 1]
    with open(os.environ["AZ_LOG"], "a") as log:
        print(resource, file=log)
    answer = requests.post(
        "https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token",
        data=dict(client_id="{CLIENT}", client_secret="{SECRET}", scope=resource + "/.default"),
        timeout=30,
    ).json()
    print(json.dumps(dict(accessToken=answer["access_token"], expires_on=int(time.time()) + answer["expires_in"])))
    """


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A workspace of its own, since a training from GitHub has no other name for its model."""
    service = Service(tmp_path_factory.mktemp("azure-ml")).start()
    yield service
    service.stop()


@pytest.fixture
def runner(tmp_path: Path, workspace: Service, prefect_api: str) -> Iterator[Runner]:
    """The job `train` in a checkout, signed in by `az`."""
    workspace.reset()
    with closing(attempt(tmp_path, "first", workspace.environment, prefect_api)) as found:
        yield found
    workspace.reset()


@pytest.fixture
def runner_of_nothing(tmp_path: Path) -> Runner:
    """The job where no step gets as far as the workspace."""
    names = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
    return attempt(tmp_path, "first", dict.fromkeys(names, "none"), "http://127.0.0.1:9/api")


def attempt(folder: Path, name: str, environment: Mapping[str, str], prefect_api: str) -> Runner:
    """The job on a new machine."""
    checkout = folder / name
    for part in ("aml_steps", "data", "environment", "flows"):
        shutil.copytree(PROJECT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(PROJECT / part, checkout / part)
    with_environment(checkout)
    az = folder / "bin" / "az"
    az.parent.mkdir(exist_ok=True)
    az.write_text(dedent(AZ))
    az.chmod(az.stat().st_mode | stat.S_IXUSR)
    values = {
        "vars.AZURE_SUBSCRIPTION_ID": environment["AZUREML_ARM_SUBSCRIPTION"],
        "vars.AZUREML_RESOURCE_GROUP": environment["AZUREML_ARM_RESOURCEGROUP"],
        "vars.AZUREML_WORKSPACE": environment["AZUREML_ARM_WORKSPACE_NAME"],
    }
    runner = Runner(TRAIN, "train", checkout, {**BY_HAND, **values})
    runner.variables = {
        **{name: value for name, value in environment.items() if not name.startswith(("AZURE_", "AZUREML_"))},
        "PATH": f"{az.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PREFECT_API_URL": prefect_api,
        "AZ_LOG": str(folder / "az.log"),
    }
    return runner


def told(runner: Runner, name: str, code: int = 0, **inputs: str) -> str:
    """What a step adds to the summary of the job."""
    runner.expressions = {**runner.expressions, **{f"inputs.{key}": value for key, value in inputs.items()}}
    runner.summary.write_text("")
    runner.run(name, code)
    return runner.summary.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "value", ["$(touch hacked)", "`touch hacked`", "0.1 --solver=saga; touch hacked", '"; touch hacked']
)
def test_input_reaches_the_command_as_one_value_and_is_no_part_of_the_script(
    runner_of_nothing: Runner, value: str
) -> None:
    assert told(runner_of_nothing, DECIDE, 2, reg_rate=value) == ""
    assert not list(runner_of_nothing.checkout.rglob("hacked"))
    why = told(runner_of_nothing, WHY)
    assert why.startswith("# Training did not end\n") and "reg_rate" in why and "touch hacked" in why


def test_step_that_did_not_begin_is_told_so(runner_of_nothing: Runner) -> None:
    assert "It did not begin." in told(runner_of_nothing, WHY)


def test_make_knows_the_environment(runner_of_nothing: Runner) -> None:
    runner_of_nothing.variables["MAKEFLAGS"] = "n"
    runner_of_nothing.run(MAKE)


@pytest.mark.slow
def test_decision_is_the_summary_and_a_rejection_is_no_failure(runner: Runner, workspace: Service) -> None:
    runner.run(ASK)
    asked = tokens(runner)
    assert "registered" in runner.run(REGISTER)
    first = told(runner, DECIDE)
    assert first.startswith("# diabetes-training-pipeline: Promoted\n")
    assert "- model: diabetes-predict version 1" in first and "| ROC AUC |" in first
    assert tokens(runner) == asked  # an hour after signing in, az can get no token for another resource

    assert "with the same content" in runner.run(REGISTER)
    second = told(runner, DECIDE, reg_rate="0.02", solver="lbfgs")
    assert second.startswith("# diabetes-training-pipeline: Rejected\n")
    assert "version 1 stays" in second
    newest = list(workspace.jobs.values())[-1]
    assert newest["tags"] and "lbfgs" in str(newest)

    runner.expressions = {**runner.expressions, **PUSH}
    assert told(runner, DECIDE).startswith("# diabetes-training-pipeline: Skipped\n")


def tokens(runner: Runner) -> set[str]:
    """The resources that `az` was asked for tokens for."""
    return set(Path(runner.variables["AZ_LOG"]).read_text().split())


@pytest.mark.slow
def test_failed_step_fails_the_workflow_and_its_message_is_in_the_summary(runner: Runner, workspace: Service) -> None:
    workspace.faults.add(JobFault("fail", step="train"))
    del runner.variables["PREFECT_API_URL"]  # as on GitHub, where the command starts a server of its own
    assert told(runner, DECIDE, 1, reg_rate="0.3") == ""
    assert "train" in told(runner, WHY)


@pytest.mark.slow
def test_cancelling_the_workflow_cancels_the_job(runner: Runner, workspace: Service) -> None:
    before = set(workspace.jobs)
    workspace.faults.add(JobFault("hang", step="train"))
    runner.expressions = {**runner.expressions, "inputs.reg_rate": "0.4"}
    step = runner.start(DECIDE)
    (name,) = until(lambda: set(parents(workspace)) - before)
    until(lambda: "train" in str(workspace.children(name)))
    step.send_signal(signal.SIGINT)  # to the process of the step alone, as GitHub's runner does
    said = step.communicate(timeout=120)[0]
    assert step.returncode == 130, said
    assert workspace.jobs[name]["status"] in ("CancelRequested", "Canceled")


@pytest.mark.slow
def test_next_attempt_on_another_machine_goes_on_with_the_job_of_one_that_died(
    runner: Runner, workspace: Service, tmp_path: Path, prefect_api: str
) -> None:
    before = set(parents(workspace))
    again = attempt(tmp_path, "second", workspace.environment, prefect_api)
    for each in (runner, again):
        each.expressions = {**each.expressions, "inputs.reg_rate": "0.5"}
    step = runner.start(DECIDE)
    workspace.faults.add(Fault("GET", r"/children", kind="call", action=step.kill, after_work=True))
    step.communicate(timeout=120)
    assert step.returncode == -signal.SIGKILL
    workspace.faults.clear()
    shutil.copytree(runner.checkout / BEGUN, again.checkout / BEGUN)  # as actions/cache does
    assert "# diabetes-training-pipeline: " in told(again, DECIDE)
    (job,) = set(parents(workspace)) - before
    assert workspace.jobs[job]["status"] == "Completed"


def parents(service: Service) -> list[str]:
    """The jobs that are no steps of another."""
    return [name for name, job in service.jobs.items() if job["display_name"] == "diabetes-training-pipeline"]


def test_every_script_of_the_workflow_is_run_here() -> None:
    assert {step["name"] for _, step in run_steps(TRAIN)} == {MAKE, ASK, REGISTER, DECIDE, WHY}


def test_folder_that_the_next_attempt_gets_is_the_one_of_the_runs_that_have_begun() -> None:
    assert TRAIN.read_text(encoding="utf-8").count(f"path: {BEGUN}\n") == 2
