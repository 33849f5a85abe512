"""`tandem reap`: the rule alone, and the command with a real Prefect server, the real SDK and the loopback service."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run as current_run
from prefect.states import Completed, Crashed, Running

from flows.any_yaml.request import FileParameters, file_request
from flows.cli.main import main
from flows.cli.options import ReapOptions
from flows.cli.reap.command import reap
from flows.cli.reap.orphans import Fate, FlowRunFact, OpenJob, judge, orphans_as_text, seconds_of, to_cancel
from flows.errors import ParameterError, ServiceError
from flows.orchestration.journal import resumable_run
from flows.orchestration.run_identity import run_identity
from flows.prefect_api.server import DATABASE
from flows.settings import Settings
from flows.tags import goes_on_with
from flows.training.parameters import validated
from tests.azure_ml_service.faults import Fault, JobFault
from tests.azure_ml_service.service import Service
from tests.terminal import PIPELINE, Terminal

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

# The rule

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
JOB = OpenJob("a-job", "Running", "cpu-cluster-01", NOW - timedelta(hours=2, minutes=5), str(uuid4()))
OVER, WAITING = FlowRunFact("a-run", "Crashed", over=True), FlowRunFact("a-run", "Running", over=False)

flow_runs = st.lists(st.sampled_from([OVER, WAITING]), max_size=3)
processes = st.sampled_from([True, False, None])


@given(flow_runs, processes)
def test_job_goes_only_if_everyone_who_may_wait_for_it_is_known_to_be_gone(
    runs: list[FlowRunFact], process_gone: bool | None
) -> None:
    finding = judge(JOB, runs, process_gone)
    if finding.fate is Fate.GOES:
        assert runs and process_gone is not False
        assert process_gone or all(run.over for run in runs)


@given(flow_runs, processes)
def test_job_is_unknown_if_prefect_knows_no_flow_run_of_it_and_never_goes_without_being_asked_for(
    runs: list[FlowRunFact], process_gone: bool | None
) -> None:
    finding = judge(JOB, runs, process_gone)
    assert (finding.fate is Fate.UNKNOWN) == (not runs and process_gone is not False)
    assert to_cancel([finding], unknown_too=False) == ([finding] if finding.fate is Fate.GOES else [])
    assert to_cancel([finding], unknown_too=True) == ([] if finding.fate is Fate.STAYS else [finding])


@given(flow_runs.filter(bool), processes)
def test_end_of_its_flow_runs_never_saves_a_job(runs: list[FlowRunFact], process_gone: bool | None) -> None:
    before, after = judge(JOB, runs, process_gone), judge(JOB, [OVER] * len(runs), process_gone)
    assert after.fate is (Fate.STAYS if process_gone is False else Fate.GOES)
    assert before.fate is not Fate.GOES or after.fate is Fate.GOES


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129600)])
def test_length_of_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-1m", "1 week", "1e3s"])
def test_other_lengths_of_time_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ParameterError, match="such as 30m"):
        seconds_of(text)


def test_table_is_parted_by_what_may_become_of_the_jobs_and_why() -> None:
    other = OpenJob("another", "Queued", "gpu", NOW - timedelta(seconds=20), "someone-else")
    findings = [judge(other, [], None), judge(JOB, [OVER], None)]
    assert orphans_as_text(findings, NOW).splitlines() == [
        "  job      status   age        compute         flow run      state",
        "goes: its flow run is over",
        "  a-job    Running  2 h 5 min  cpu-cluster-01  a-run         Crashed",
        "unknown: this Prefect API does not know its flow run",
        "  another  Queued   20 s       gpu             someone-else  not known",
    ]


def test_name_that_someone_gave_a_flow_run_is_shown_in_one_line_and_commands_no_terminal() -> None:
    named = FlowRunFact("a\nb\x1b[2J [bold] :x:", "Crashed", True)
    lines = orphans_as_text([judge(JOB, [named], None)], NOW).splitlines()
    assert lines[2:] == ["  a-job  Running  2 h 5 min  cpu-cluster-01  a^Jb^[[2J [bold] :x:  Crashed"]


# The command


@pytest.fixture
def workspace(
    prefect_api: str, azure_environment: Service, azure_client_allowed: None, home: Path, tmp_path: Path
) -> Service:
    """The service, where jobs of these tests hang until they are canceled."""
    sleeper = {"type": "command", "command": "sleep 600", "compute": "azureml:cpu-cluster-01"}
    (tmp_path / "sleeper.yml").write_text(json.dumps({**sleeper, "environment": {"image": "ubuntu:22.04"}}))
    azure_environment.faults.add(JobFault("hang", job="sleeper-.*", times=None))
    return azure_environment


@flow(name="sleeps")
def sleeps() -> None:
    """A flow whose runs are only made in Prefect, each with a state."""


def flow_run(state: Any, tags: Sequence[str] = ()) -> str:
    async def make() -> str:
        async with get_client() as client:
            return str((await client.create_flow_run(sleeps, state=state, tags=tags)).id)

    return asyncio.run(make())


def job_of(flow_run_id: str, tmp_path: Path) -> str:
    """Submit a job as the flow of ``tandem run`` does; its name."""
    parameters = validated(FileParameters, {"file": str(tmp_path / "sleeper.yml")})
    request = file_request(parameters, Settings.from_environment(), flow_run_id=flow_run_id)

    async def send() -> None:
        from flows.engines.azureml.sdk.workspace import open_workspace

        async with open_workspace(Settings.from_environment()) as workspace:
            await workspace.jobs.submit(request.spec, request.job_name, "tests", request.tags, False)

    asyncio.run(send())
    return request.job_name


def found(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, dict[str, Any]]:
    """What `tandem reap --json` tells of each job."""
    capsys.readouterr()
    assert main(["reap", "--json", *flags]) == 0
    return {job["name"]: job for job in json.loads(capsys.readouterr().out)["jobs"]}


def statuses(service: Service, *jobs: str) -> list[str]:
    return [service.jobs[job]["status"] for job in jobs]


def test_dry_run_cancels_nothing_and_ends_with_the_command_to_type(
    workspace: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(flow_run(Crashed()), tmp_path)
    assert main(["reap", "--unknown-too", "--older-than", "0s"]) == 0
    out = capsys.readouterr().out
    assert job in out and "Crashed" in out and "cpu-cluster-01" in out
    assert out.rstrip().endswith("nothing was ended. To end: tandem reap --yes --older-than 0s --unknown-too")
    assert workspace.count("POST", r"/cancel") == 0


def test_only_jobs_whose_flow_run_is_over_are_canceled_and_waited_for(
    workspace: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.runner.step_seconds = 0.5  # how long CancelRequested lasts
    crashed, completed, running, unknown = (
        job_of(run, tmp_path) for run in (flow_run(Crashed()), flow_run(Completed()), flow_run(Running()), str(uuid4()))
    )
    told = found(capsys, "--yes")
    assert statuses(workspace, crashed, completed) == ["Canceled", "Canceled"]
    assert (told[crashed]["fate"], told[crashed]["outcome"]) == ("goes", "Canceled")
    assert "Canceled" not in statuses(workspace, running, unknown)
    assert (told[running]["fate"], told[running]["flow_run"]["state"]) == ("stays", "Running")
    assert (told[unknown]["fate"], told[unknown]["outcome"]) == ("unknown", None)

    found(capsys, "--yes", "--unknown-too")
    assert statuses(workspace, unknown) == ["Canceled"]
    assert "Canceled" not in statuses(workspace, running)


def test_job_of_a_process_that_is_dead_goes_though_its_flow_run_looks_alive(
    workspace: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead, unsure = (flow_run(Running()) for _ in range(2))
    jobs = [job_of(run, tmp_path) for run in (dead, unsure)]
    assert reap(ReapOptions(yes=True), is_dead=lambda run: True if run == dead else None) == 0
    assert statuses(workspace, *jobs)[0] == "Canceled" != statuses(workspace, *jobs)[1]


def test_job_that_a_process_on_this_machine_waits_for_stays_though_the_flow_run_that_made_it_is_over(
    workspace: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = flow_run(Crashed())
    job = job_of(run, tmp_path)
    with resumable_run(Settings.from_environment().begun_runs, ["a wish"], run):
        assert found(capsys, "--yes", "--unknown-too")[job]["fate"] == "stays"
    assert found(capsys)[job]["fate"] == "goes"


def test_job_that_a_later_flow_run_goes_on_with_stays(
    workspace: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = flow_run(Crashed())
    job = job_of(run, tmp_path)
    flow_run(Running(), tags=[goes_on_with(run)])
    assert found(capsys, "--yes")[job]["fate"] == "stays"
    assert "Canceled" not in statuses(workspace, job)


def test_flow_run_that_takes_over_the_job_of_an_earlier_one_says_so_in_prefect(
    workspace: Service, tmp_path: Path
) -> None:
    engine: Any = SimpleNamespace(name="azureml")
    parameters = validated(FileParameters, {"file": str(tmp_path / "sleeper.yml")})

    @flow(name="takes-over")
    async def takes_over(error: bool) -> tuple[str, str]:
        async with run_identity(engine, Settings.from_environment(), parameters, Path(parameters.file)) as run_id:
            if error:
                raise ServiceError("The workspace does not answer.")
            return run_id, str(current_run.id)

    with pytest.raises(ServiceError):
        asyncio.run(takes_over(True))
    first, second = asyncio.run(takes_over(False))
    assert first != second

    async def tags() -> list[str]:
        async with get_client() as client:
            return (await client.read_flow_run(UUID(second))).tags

    assert asyncio.run(tags()) == [goes_on_with(first)]


def test_younger_jobs_are_left_out(workspace: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of(flow_run(Crashed()), tmp_path)
    assert job not in found(capsys, "--yes", "--older-than", "1h")
    assert job in found(capsys, "--older-than", "0s")
    assert "Canceled" not in statuses(workspace, job)


def test_without_any_prefect_all_flow_runs_are_unknown_and_no_empty_database_is_made(
    workspace: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(flow_run(Crashed()), tmp_path)
    monkeypatch.delenv("PREFECT_API_URL")
    assert found(capsys, "--yes")[job]["fate"] == "unknown"
    assert main(["reap"]) == 0
    assert "there is no Prefect API, and no database of local runs" in capsys.readouterr().out
    assert not (Settings.from_environment().prefect_home / DATABASE).exists()


def test_job_that_may_not_be_canceled_is_named_with_the_reason(
    workspace: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, other = (job_of(flow_run(Crashed()), tmp_path) for _ in range(2))
    workspace.faults.add(Fault("POST", rf"/jobs/{job}/cancel", code=403))
    assert main(["reap", "--yes"]) == 1
    assert f"{job}: The identity may not do this in the workspace" in capsys.readouterr().err
    assert statuses(workspace, other) == ["Canceled"]


def test_prefect_that_does_not_answer_is_named_and_nothing_is_canceled(
    workspace: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job_of(flow_run(Crashed()), tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert main(["reap", "--yes"]) == 3
    assert "The Prefect API at http://127.0.0.1:1/api does not answer" in capsys.readouterr().err
    assert workspace.count("POST", r"/cancel") == 0


def test_workspace_that_does_not_answer_is_exit_code_3(workspace: Service, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.faults.add(Fault("GET", r"/jobs$", code=503, times=None))
    assert main(["reap"]) == 3
    assert "Azure ML answered 503" in capsys.readouterr().err


def test_missing_variables_are_named_where_a_part_of_the_workspace_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reap", "--engine", "azureml"]) == 2
    assert "AZUREML_ARM_SUBSCRIPTION, AZUREML_ARM_RESOURCEGROUP, AZUREML_ARM_WORKSPACE_NAME" in capsys.readouterr().err
    monkeypatch.setenv("AZUREML_ARM_SUBSCRIPTION", "1")
    assert main(["reap"]) == 2
    assert "AZUREML_ARM_RESOURCEGROUP, AZUREML_ARM_WORKSPACE_NAME are not" in capsys.readouterr().err


@pytest.mark.slow
def test_job_of_a_command_that_was_killed_is_found_in_the_database_of_local_runs_and_ended(
    tmp_path: Path, azure_ml: Service
) -> None:
    azure_ml.faults.add(JobFault("hang", step="prep"))
    terminal = Terminal(tmp_path, None)
    terminal.environment |= azure_ml.environment
    words = terminal.words(PIPELINE, ("--pipeline", "killed-and-reaped", "--force_rerun"))
    command = subprocess.Popen(words, env=terminal.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert command.stderr is not None
    for line in command.stderr:
        if b"running prep" in line:
            break
    command.send_signal(signal.SIGKILL)
    command.communicate(timeout=60)

    tandem = [str(Path(sys.executable).with_name("tandem")), "reap", "--yes"]
    done = subprocess.run(tandem, env=terminal.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (
        "goes: the process of its flow run is gone; the same command, started again, would go on with it" in done.stdout
    )
    assert [job["status"] for name, job in azure_ml.jobs.items() if name.startswith("killed-and-reaped")] == [
        "Canceled"
    ]
