"""Flow runs that are canceled or crash leave no job behind: with Prefect's runner and worker, and the hook alone."""

import asyncio
import inspect
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel

from flows.any_yaml.request import FileParameters, file_job_name, file_request
from flows.any_yaml.run_file import run_file
from flows.data.assets import resolve_data
from flows.engines.runs import PipelineRequest
from flows.orchestration.end_job import JobNameOf, known_job_name
from flows.settings import Settings
from flows.tags import FLOW_RUN
from flows.train_job import train_job
from flows.train_pipeline import train_pipeline
from flows.training.parameters import JobParameters, PipelineParameters, validated
from flows.training.request import job_name, job_request, pipeline_job_name, pipeline_request, single_job_name
from tests.azure_ml_service.faults import Fault, JobFault
from tests.azure_ml_service.service import Service
from tests.prefect_client import asking
from tests.terminal import PROJECT, Terminal
from tests.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

DEADLINE_SECONDS = 120  # nothing here waits so long unless it hangs
SERVE = """
from prefect import serve
from tests.prefect_client import asking
from flows.any_yaml.run_file import run_file

serve(run_file.to_deployment("served"))
"""
SLEEPER = """
type: command
command: sleep 600
environment: {image: "ubuntu:22.04"}
compute: azureml:cpu-cluster-01
"""


# Flow runs of a deployment, whose process the runner or the worker looks after


@pytest.fixture
def api(prefect_api: str) -> Iterator[httpx.Client]:
    with asking(prefect_api) as client:
        yield client


@pytest.fixture
def terminal(tmp_path: Path, prefect_api: str, azure_ml: Service) -> Terminal:
    terminal = Terminal(tmp_path, prefect_api)
    terminal.environment |= azure_ml.environment
    terminal.environment |= {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    return terminal


@pytest.fixture(params=["served", "worker"])
def deployment(request: pytest.FixtureRequest, terminal: Terminal, api: httpx.Client) -> Iterator[str]:
    """The id of a deployment of `run-file`, served by its own process or taken up by a process worker."""
    if request.param == "served":
        words = [sys.executable, "-c", SERVE]
    else:
        asyncio.run(deploy("worker"))
        words = [str(Path(sys.executable).with_name("prefect")), "worker", "start", "--pool", "processes"]
    log = (terminal.home / "runner.log").open("wb")
    runner = subprocess.Popen(
        words, cwd=PROJECT, env=terminal.environment, stdout=log, stderr=log, start_new_session=True
    )
    found = until(lambda: api.get(f"/deployments/name/run-file/{request.param}").json().get("id"))
    yield found
    os.killpg(runner.pid, signal.SIGKILL)  # a worker is two processes
    runner.wait()
    log.close()


async def deploy(name: str) -> None:
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="processes", type="process"), overwrite=True)
        await client.create_deployment(
            await client.create_flow(run_file),
            name,
            entrypoint="flows/any_yaml/run_file.py:run_file",
            work_pool_name="processes",
            path=".",
            parameter_openapi_schema=parameter_schema(run_file).model_dump(),
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(PROJECT)}}],
        )


def kill_process_of(flow_run_id: str) -> None:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PREFECT__FLOW_RUN_ID={flow_run_id}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue


@pytest.mark.slow
def test_flow_run_that_is_canceled_or_whose_process_is_killed_ends_its_job(
    deployment: str, api: httpx.Client, azure_ml: Service, tmp_path: Path
) -> None:
    azure_ml.faults.add(JobFault("hang", job="to-be-.*", times=None))

    def start(label: str) -> tuple[str, str]:
        """Start a flow run; its id, and the name of its job."""
        file = tmp_path / f"{label}.yml"
        file.write_text(f"display_name: {label}\n{SLEEPER}")
        asked = {"state": {"type": "SCHEDULED"}, "parameters": {"file": str(file)}}
        run = api.post(f"/deployments/{deployment}/create_flow_run", json=asked).json()["id"]
        return run, job_name(label, run, file)

    started = {label: start(label) for label in ("to-be-canceled", "to-be-killed")}
    runs = {label: run for label, (run, _) in started.items()}
    jobs = {label: job for label, (_, job) in started.items()}
    until(lambda: all(azure_ml.jobs.get(job, {}).get("status") == "Running" for job in jobs.values()))

    def state(label: str) -> tuple[str, str]:
        return (said := api.get(f"/flow_runs/{runs[label]}").json()["state"])["type"], said["name"]

    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    api.post(f"/flow_runs/{runs['to-be-canceled']}/set_state", json=cancelling)
    kill_process_of(runs["to-be-killed"])
    assert until(lambda: (found := state("to-be-canceled"))[0] != "CANCELLING" and found) == ("CANCELLED", "Cancelled")
    assert azure_ml.jobs[jobs["to-be-canceled"]]["status"] == "Canceled"
    assert until(lambda: (found := state("to-be-killed"))[0] != "RUNNING" and found) == ("CRASHED", "Crashed")
    until(lambda: azure_ml.jobs[jobs["to-be-killed"]]["status"] == "Canceled")
    assert azure_ml.count("POST", r"/jobs/.*/cancel") == 2


# The hook alone


@pytest.fixture
def workspace(
    prefect_api: str, azure_environment: Service, azure_client_allowed: None, home: Path, tmp_path: Path
) -> Service:
    (tmp_path / "sleeper.yml").write_text(SLEEPER)
    return azure_environment


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged with a flow run."""
    logger, kept = logging.getLogger("prefect.flow_runs"), _Kept()
    logger.addHandler(kept)
    yield kept.messages
    logger.removeHandler(kept)


def flow_run(flow_run_id: str, parameters: Mapping[str, Any]) -> FlowRun:
    return FlowRun(id=flow_run_id, flow_id=uuid4(), name="a-run", parameters=dict(parameters))  # type: ignore[arg-type]


def call_hook(flow: Flow[..., Any], run: FlowRun) -> None:
    hook: Any = flow.on_cancellation_hooks[0]
    asyncio.run(hook(flow, run, Cancelling()))


def submit(file: Path, flow_run_id: str, suffix: str = "", name: str = "") -> str:
    """Submit a job as the flow of ``tandem run`` does; its name."""
    request = file_request(
        validated(FileParameters, {"file": str(file)}), Settings.from_environment(), flow_run_id=flow_run_id
    )
    name = name or request.job_name + suffix

    async def send() -> None:
        from flows.engines.azureml.sdk.workspace import open_workspace

        async with open_workspace(Settings.from_environment()) as workspace:
            await workspace.jobs.submit(request.spec, name, "tests", request.tags, False)

    asyncio.run(send())
    return name


def test_job_that_runs_is_canceled_and_waited_for_until_it_is_over(
    workspace: Service, tmp_path: Path, said: list[str]
) -> None:
    workspace.faults.add(JobFault("hang", job="sleeper.*"))
    workspace.runner.step_seconds = 1.0  # how long CancelRequested lasts
    run, file = flow_run(str(uuid4()), {"file": str(tmp_path / "sleeper.yml")}), tmp_path / "sleeper.yml"
    job = submit(file, str(run.id))
    until(lambda: workspace.jobs[job]["status"] == "Running")
    call_hook(run_file, run)
    assert workspace.jobs[job]["status"] == "Canceled"
    assert said == [f"job {job} | Running, canceling", f"job {job} | over: Canceled"]


def test_job_that_is_over_is_left_alone_and_nothing_is_said(
    workspace: Service, tmp_path: Path, said: list[str]
) -> None:
    workspace.faults.add(JobFault("fail", job="sleeper.*"))
    run, file = flow_run(str(uuid4()), {"file": str(tmp_path / "sleeper.yml")}), tmp_path / "sleeper.yml"
    job = submit(file, str(run.id))
    until(lambda: workspace.jobs[job]["status"] == "Failed")
    call_hook(run_file, run)
    assert workspace.count("POST", r"/jobs/.*/cancel") == 0
    assert said == []


def test_job_that_was_submitted_again_is_the_one_that_is_canceled(workspace: Service, tmp_path: Path) -> None:
    workspace.faults.add(JobFault("preempt", job="sleeper-[^-]*"))
    workspace.faults.add(JobFault("hang", job="sleeper-.*-r1"))
    run, file = flow_run(str(uuid4()), {"file": str(tmp_path / "sleeper.yml")}), tmp_path / "sleeper.yml"
    first = submit(file, str(run.id))
    until(lambda: workspace.jobs[first]["status"] == "Failed")
    second = submit(file, str(run.id), "-r1")
    call_hook(run_file, run)
    assert (workspace.jobs[first]["status"], workspace.jobs[second]["status"]) == ("Failed", "Canceled")


def test_job_whose_name_cannot_be_told_any_more_is_found_by_its_tag(workspace: Service, tmp_path: Path) -> None:
    workspace.faults.add(JobFault("hang", job="renamed-.*", times=None))
    run, other = (flow_run(str(uuid4()), {"file": str(tmp_path / "gone.yml")}) for _ in range(2))
    jobs = [
        submit(tmp_path / "sleeper.yml", str(one.id), name=f"renamed-{number}")
        for number, one in enumerate((run, other))
    ]
    call_hook(run_file, run)
    assert workspace.jobs[jobs[0]]["status"] == "Canceled"
    assert workspace.jobs[jobs[1]]["status"] != "Canceled"


def test_hook_lives_through_passing_trouble(workspace: Service, tmp_path: Path) -> None:
    workspace.faults.add(JobFault("hang", job="sleeper.*"))
    run, file = flow_run(str(uuid4()), {"file": str(tmp_path / "sleeper.yml")}), tmp_path / "sleeper.yml"
    job = submit(file, str(run.id))
    workspace.faults.add(Fault("GET", rf"/jobs/{job}", kind="expired", times=1))
    workspace.faults.add(Fault("POST", r"/cancel", code=429, times=1))
    call_hook(run_file, run)
    assert workspace.jobs[job]["status"] == "Canceled"


def test_hook_that_may_not_cancel_says_so_with_the_remedy_and_does_not_raise(
    workspace: Service, tmp_path: Path, said: list[str]
) -> None:
    workspace.faults.add(JobFault("hang", job="sleeper.*"))
    workspace.faults.add(Fault("POST", r"/cancel", code=403))
    run, file = flow_run(str(uuid4()), {"file": str(tmp_path / "sleeper.yml")}), tmp_path / "sleeper.yml"
    submit(file, str(run.id))
    call_hook(run_file, run)
    assert "could not be canceled: The identity may not do this in the workspace" in said[-1]
    assert "`tandem reap`" in said[-1]


def test_flow_run_that_has_no_job_brings_no_sdk_into_its_process(azure_ml: Service) -> None:
    script = """
import asyncio, os, sys
from uuid import uuid4
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed
from flows.train_pipeline import train_pipeline

def call(**parameters):
    run = FlowRun(id=uuid4(), flow_id=uuid4(), parameters=parameters)
    (hook,) = train_pipeline.on_crashed_hooks
    asyncio.run(hook(train_pipeline, run, Crashed()))
    assert not [name for name in sys.modules if name.startswith("azure.")]

call(engine="local")
del os.environ["AZUREML_ARM_WORKSPACE_NAME"]
call(engine="auto")
call()
"""
    environment = {**os.environ, **azure_ml.environment}
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_flow_has_a_hook_which_knows_the_name_that_the_flow_gives_its_job() -> None:
    settings, run = Settings.from_environment(), str(uuid4())
    data = resolve_data("diabetes-diagnostics", settings.data_assets)
    pipeline = validated(PipelineParameters, {"pipeline": "Any label"})
    job, file = validated(JobParameters, {}), validated(FileParameters, {"file": str(settings.pipeline_file)})
    asked: list[tuple[Flow[..., Any], JobNameOf, BaseModel, PipelineRequest]] = [
        (
            train_pipeline,
            pipeline_job_name,
            pipeline,
            pipeline_request(pipeline, settings, data, flow_run_id=run, champion=None),
        ),
        (train_job, single_job_name, job, job_request(job, settings, data, flow_run_id=run)),
        (run_file, file_job_name, file, file_request(file, settings, flow_run_id=run)),
    ]
    for flow, job_name_of, parameters, request in asked:
        for (hook,) in (flow.on_cancellation_hooks, flow.on_crashed_hooks):
            assert inspect.getclosurevars(hook).nonlocals["job_name_of"] is job_name_of
        assert known_job_name(job_name_of, parameters.model_dump(mode="json"), settings, run) == request.job_name
        assert request.tags[FLOW_RUN] == run
