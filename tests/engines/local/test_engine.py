"""What a job does on this machine: the behaviour of Azure ML, seen in Prefect and in MLflow."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import re
import select
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.client.schemas.sorting import TaskRunSort
from prefect.context import FlowRunContext
from prefect.logging.handlers import APILogHandler

import flows.engines.local.step
from flows.any_yaml.request import FileParameters, file_request
from flows.data.digests import data_digest
from flows.engines.local.engine import LocalEngine, open_local_engine
from flows.engines.local.host.processes import LocalProcesses
from flows.engines.runs import PipelineRequest, RunOutcome, RunStatus, StepOutcome
from flows.errors import ParameterError, RunError, StepFailed
from flows.settings import Settings
from flows.spec.reading.reader import read_job
from tests.conftest import Write
from tests.engines.conftest import Await

DEADLINE_SECONDS = 120  # nothing here waits so long unless it hangs
EXPERIMENT = "tests"
SECRETS = {"AZURE_CLIENT_SECRET": "secret", "PREFECT_API_KEY": "secret", "OF_THIS_MACHINE": "kept"}


@dataclass(frozen=True, slots=True)
class Ran:
    """A run of a job: what the engine says of it, and the flow run that it was."""

    outcome: RunOutcome
    flow_run_id: UUID
    run: Await

    def step(self, name: str) -> StepOutcome:
        return next(step for step in self.outcome.steps if step.name == name)

    def said(self, name: str) -> str:
        log = self.step(name).log
        assert log is not None
        return log.read_text(errors="replace")

    def statuses(self) -> dict[str, str]:
        return {step.name: str(step.status) for step in self.outcome.steps}

    def states(self) -> dict[str, str]:
        """The name of the state of every step's task run, as Prefect's server has it once all have ended."""

        async def ended() -> dict[str, str]:
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=[self.flow_run_id]))
            async with get_client() as client, asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    runs = await client.read_task_runs(flow_run_filter=wanted, sort=TaskRunSort.NAME_ASC, limit=200)
                    found = {run.name: run.state for run in runs if run.state and run.state.is_final()}
                    if len(found) == len(self.outcome.steps):
                        return {name: state.name or "" for name, state in found.items()}
                    await asyncio.sleep(0.05)

        return self.run(ended())

    def logs(self) -> list[str]:
        """What the server has of the flow run's log."""

        async def logged() -> list[str]:
            await APILogHandler.aflush()
            async with get_client() as client:
                wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.flow_run_id]))
                return [log.message for log in await client.read_logs(wanted, limit=200, offset=0)]

        return self.run(logged())


class Machine:
    """The local engine of one home, whose processes live on from one run to the next."""

    def __init__(self, settings: Settings, processes: LocalProcesses, folder: Path, run: Await) -> None:
        self.settings = settings
        self.processes = processes
        self.folder = folder
        self.await_ = run

    def request(self, job_name: str | None = None, *, force_rerun: bool = False) -> PipelineRequest:
        name = job_name or f"job-{next(_numbers)}"
        return PipelineRequest(read_job(self.folder / "pipeline.yml"), name, EXPERIMENT, force_rerun=force_rerun)

    def run(self, job_name: str | None = None, *, force_rerun: bool = False) -> Ran:
        request = self.request(job_name, force_rerun=force_rerun)

        async def job() -> RunOutcome:
            engine = LocalEngine(self.settings, self.processes)
            return await engine.wait(await engine.submit(request))

        outcome, state = self.await_(as_flow(job))
        flow_run_id = state.state_details.flow_run_id
        assert outcome is not None, state
        return Ran(outcome, flow_run_id, self.await_)

    def alone(self, home: Path) -> Callable[[], Awaitable[RunOutcome]]:
        """The job with processes of its own, in a home of its own."""
        request, settings = self.request(), Settings(self.folder, home, {})

        async def job() -> RunOutcome:
            async with open_local_engine(settings) as engine:
                return await engine.wait(await engine.submit(request))

        return job

    def mlflow(self, query: str, *values: str | None, home: Path | None = None) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect((home or self.settings.home) / "mlflow.db")) as store:
            return store.execute(query, values).fetchall()


_numbers = itertools.count(1)


async def as_flow(job: Callable[[], Awaitable[RunOutcome]]) -> tuple[RunOutcome | None, State[Any]]:
    """Run something as the only content of a Prefect flow."""
    outcomes: list[RunOutcome] = []

    @flow(name="job")
    async def pipeline() -> None:
        outcomes.append(await job())

    in_flow: Any = pipeline
    state: State[Any] = await in_flow(return_state=True)
    return outcomes[0] if outcomes else None, state


@pytest.fixture(scope="module")
def processes(run: Await, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, LocalProcesses]]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home / "project", home / ".tandem", {"AZUREML_ARM_WORKSPACE_NAME": "dev"})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        running = LocalProcesses(settings)
    yield settings, running
    run(running.stop())


@pytest.fixture
def machine(prefect_api: str, processes: tuple[Settings, LocalProcesses], run: Await, tmp_path: Path) -> Machine:
    return Machine(*processes, tmp_path, run)


def step(command: str, *, inputs: str = "", outputs: str = "", more: str = "") -> str:
    """A step of a pipeline, in YAML."""
    return json.dumps({"type": "command", "environment": "azureml:e:1", "command": command})[:-1] + (
        f", inputs: {{{inputs}}}, outputs: {{{outputs}}}{more and ', '}{more}}}"
    )


def pipeline(settings: str = "", inputs: str = "", outputs: str = "", **steps: str) -> dict[str, str]:
    """A pipeline of these steps, as the file ``pipeline.yml``."""
    lines = "\n".join(f"  {name}: {text}" for name, text in steps.items())
    head = f"type: pipeline\nsettings: {{{settings}}}\ninputs: {{{inputs}}}\noutputs: {{{outputs}}}\n"
    return {"pipeline.yml": f"{head}jobs:\n{lines}\n"}


FILE, FOLDER = "{type: uri_file}", "{type: uri_folder}"
OPTIONAL = """
    type: command
    name: consumer
    environment: azureml:e:1
    inputs:
      text: {type: string, optional: true}
      number: {type: number, optional: true, default: 0.5}
      file: {type: uri_file, optional: true}
    outputs: {out: {type: uri_file}}
    command: >-
      echo with $[[--text ${{inputs.text}}]] $[[--number ${{inputs.number}}]] $[[--file ${{inputs.file}}]]
      > ${{outputs.out}}
"""


def test_steps_that_need_nothing_of_each_other_run_at_once(machine: Machine, write: Write) -> None:
    """Each waits for the other."""
    os.mkfifo(machine.folder / "one")
    os.mkfifo(machine.folder / "other")
    limit = f"limits: {{timeout: {DEADLINE_SECONDS}}}"
    one = step(f"echo > {machine.folder}/one; cat {machine.folder}/other", more=limit)
    other = step(f"cat {machine.folder}/one; echo > {machine.folder}/other", more=limit)
    write(pipeline(one=one, other=other))

    assert machine.run().outcome.status is RunStatus.COMPLETED


def test_a_step_reads_what_the_steps_before_it_delivered(machine: Machine, write: Write) -> None:
    def link(of: str, reads: str) -> str:
        inputs = ", ".join(f"{it}: '${{{{parent.jobs.{it}.outputs.out}}}}'" for it in reads)
        given = " ".join(f"${{{{inputs.{it}}}}}" for it in reads)
        return step(
            f"cat {given or '/dev/null'} > ${{{{outputs.out}}}}; echo {of} >> ${{{{outputs.out}}}}",
            inputs=inputs,
            outputs=f"out: {FILE}",
        )

    write(pipeline(d=link("d", "bc"), c=link("c", "a"), b=link("b", "a"), a=link("a", "")))

    ran = machine.run()

    assert ran.step("d").outputs["out"].read_text().split() == ["a", "b", "a", "c", "d"]
    assert [it.name for it in ran.outcome.steps] == ["a", "c", "b", "d"]
    assert ran.states() == dict.fromkeys("abcd", "Completed")


def test_a_step_runs_in_a_copy_of_its_code(machine: Machine, write: Write) -> None:
    command = "pwd; ls -a; echo changed > main.txt; echo kept > outputs/kept.txt; echo > new.txt"
    write(
        {
            **pipeline(a=step(command, more="code: ./code")),
            "code/main.txt": "source",
            "code/drop.log": "",
            "code/.amlignore": "*.log",
        }
    )

    ran = machine.run()

    folder, *names = ran.said("a").split()
    assert names == [".", "..", ".amlignore", "main.txt", "outputs"]
    assert (Path(folder) / "outputs" / "kept.txt").read_text() == "kept\n"
    assert (machine.folder / "code" / "main.txt").read_text() == "source"
    assert sorted(it.name for it in (machine.folder / "code").iterdir()) == [".amlignore", "drop.log", "main.txt"]


LOOK_FOR_REPOSITORY = """\
    import os, subprocess
    import git
    try:
        print("GitPython:", git.Repo(search_parent_directories=True).working_dir)
    except git.InvalidGitRepositoryError:
        print("GitPython: none")
    print("git:", subprocess.run(["git", "rev-parse"], capture_output=True).returncode, "GIT_DIR" in os.environ)
    open("outputs/kept.txt", "w").close()
    os.mkfifo("pipe")
"""


def test_a_step_sees_no_repository_above_its_folder_though_the_state_is_in_one(
    machine: Machine,
    write: Write,
    run: Await,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    write({**pipeline(a=step("python look.py", more="code: ./code")), "code/look.py": LOOK_FOR_REPOSITORY})
    subprocess.run(["git", "init", "--quiet", machine.folder], check=True)
    monkeypatch.setenv("GIT_DIR", str(machine.folder / ".git"))  # as a hook of git has it
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))

    outcome, _ = run(as_flow(machine.alone(machine.folder / ".tandem")))

    assert outcome is not None
    log = outcome.steps[0].log
    assert log is not None
    assert log.read_text().splitlines() == ["GitPython: none", "git: 128 False"]
    assert (log.parents[1] / "code" / "outputs" / "kept.txt").is_file()
    assert not list(temporary.glob("tandem-*"))


def test_prefect_remembers_no_result_of_a_step_by_an_address_that_another_object_may_get(
    machine: Machine, write: Write, run: Await
) -> None:
    write(pipeline(a=step("echo a"), b=step("echo b")))

    engine, request = LocalEngine(machine.settings, machine.processes), machine.request()
    by_address: list[State[Any]] = []

    async def job() -> RunOutcome:
        outcome = await engine.wait(await engine.submit(request))
        context = FlowRunContext.get()
        assert context is not None
        by_address.extend(state for state, _, reference in context.run_results.values() if reference is None)
        return outcome

    outcome, _ = run(as_flow(job))

    assert outcome is not None
    assert [str(each.status) for each in outcome.steps] == ["Completed"] * 2
    assert by_address == []


def test_an_output_named_artifacts_that_no_command_mentions_has_what_the_step_leaves(
    machine: Machine, write: Write
) -> None:
    leaves = "mkdir outputs/deep && echo model > outputs/deep/model.txt && echo said"
    node = {"type": "uri_folder"}
    named = f"{leaves} && echo > ${{{{outputs.artifacts}}}}/own"
    reads = "cd ${{inputs.x}} && find . -type f | sort && cat outputs/deep/model.txt user_logs/std_log.txt"
    write(
        pipeline(
            a=step(leaves, outputs="artifacts: null"),
            b=step(reads, inputs="x: '${{parent.jobs.a.outputs.artifacts}}'"),
            c=step(named, outputs=f"artifacts: {json.dumps(node)}"),
        )
    )

    ran = machine.run()

    assert ran.said("b").splitlines() == ["./outputs/deep/model.txt", "./user_logs/std_log.txt", "model", "said"]
    assert os.listdir(ran.step("c").outputs["artifacts"]) == ["own"]


def test_the_folders_of_outputs_are_there_and_empty_and_files_are_not_there_yet(machine: Machine, write: Write) -> None:
    outputs = f"file: {FILE}, folder: {FOLDER}, model: {{type: mlflow_model}}, plain: null"
    command = (
        "test -d $(dirname ${{outputs.file}}) && test ! -e ${{outputs.file}} && echo > ${{outputs.file}} "
        "&& ls -A ${{outputs.folder}} ${{outputs.model}} ${{outputs.plain}}"
    )
    write(pipeline(a=step(command, outputs=outputs)))

    ran = machine.run()

    assert ran.outcome.status is RunStatus.COMPLETED
    assert len([line for line in ran.said("a").splitlines() if line and not line.endswith(":")]) == 0


def test_a_step_has_the_variables_of_azure_ml_and_none_of_prefect(machine: Machine, write: Write) -> None:
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    node = step("python main.py", inputs="rate: 0.1, flag: true", outputs=f"out: {FOLDER}", more="code: ./code")
    shown = step("env", more="environment_variables: {OWN: '${{inputs.rate}} x'}")
    write({**pipeline(a=node, b=shown), "code/main.py": script})

    ran = machine.run()
    found = json.loads(ran.said("a"))
    step_outcome = ran.step("a")

    assert {name: found.get(name) for name in found if name.startswith(("AZURE", "MLFLOW_", "OF_THIS"))} == {
        "AZUREML_RUN_ID": f"{ran.outcome.job_name}-a",
        "AZUREML_ROOT_RUN_ID": ran.outcome.job_name,
        "AZUREML_EXPERIMENT_ID": EXPERIMENT,
        "AZUREML_ARM_SUBSCRIPTION": "local",
        "AZUREML_ARM_RESOURCEGROUP": "local",
        "AZUREML_ARM_WORKSPACE_NAME": "dev",
        "AZURE_ML_INPUT_rate": "0.1",
        "AZURE_ML_INPUT_flag": "True",
        "AZURE_ML_OUTPUT_out": str(step_outcome.outputs["out"]),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": machine.settings.mlflow_uri,
        "MLFLOW_EXPERIMENT_NAME": EXPERIMENT,
        "MLFLOW_RUN_ID": step_outcome.mlflow_run_id,
        "OF_THIS_MACHINE": "kept",
    }
    assert not [name for name in found if name.startswith("PREFECT")]
    assert "OWN=${{inputs.rate}} x\n" in ran.said("b")


def test_a_step_has_the_variables_of_its_component_and_its_own_before_those(machine: Machine, write: Write) -> None:
    component = """
        type: command
        name: shown
        environment: azureml:e:1
        environment_variables: {KEPT: component, CHANGED: component}
        command: echo "$KEPT $CHANGED"
    """
    node = "{type: command, component: ./c.yml, environment_variables: {CHANGED: step}}"
    write({**pipeline(a=node), "c.yml": component})
    assert "component step\n" in machine.run().said("a")


@pytest.mark.parametrize(
    ("command", "variables", "scheme"),
    [
        ("python log.py", {}, "sqlite"),
        ("python log.py", {"DEPTH": "3"}, "sqlite"),
        ("python log.py", {"PYTHONPATH": "elsewhere"}, "http"),
        ("python -m log", {}, "http"),
        ("python log.py && true", {}, "http"),
        ("bash run.sh", {}, "http"),
    ],
)
def test_only_a_plain_script_under_our_own_interpreter_logs_into_the_database_itself(
    command: str, variables: dict[str, str], scheme: str, machine: Machine, write: Write
) -> None:
    script = 'import os; print("to", os.environ["MLFLOW_TRACKING_URI"].partition(":")[0])'
    more = f"code: ./code, environment_variables: {json.dumps(variables)}"
    write({**pipeline(a=step(command, more=more)), "code/log.py": script, "code/run.sh": "exec python log.py"})

    assert machine.run().said("a") == f"to {scheme}\n"
    assert not (machine.settings.home / "mlflow-server.log").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["echo pip install mlflow && python log.py", "python -m log"])
def test_a_step_that_may_bring_another_mlflow_logs_over_http(command: str, machine: Machine, write: Write) -> None:
    script = """\
        import os, mlflow
        mlflow.log_metric("loss", 0.25)
        with open("note.txt", "w") as note:
            note.write("x")
        mlflow.log_artifact("note.txt")
        print(os.environ["MLFLOW_TRACKING_URI"].partition(":")[0])
        """
    write({**pipeline(a=step(command, more='"code": "./code"')), "code/log.py": script})

    ran = machine.run()

    assert ran.statuses() == {"a": "Completed"}
    assert "http" in ran.said("a").splitlines()
    run_id = ran.step("a").mlflow_run_id
    assert machine.mlflow("select key, value from metrics where run_uuid = ?", run_id) == [("loss", 0.25)]
    [(artifacts,)] = machine.mlflow("select artifact_uri from runs where run_uuid = ?", run_id)
    assert Path(artifacts.removeprefix("file://"), "note.txt").read_text() == "x"


def test_literals_arrive_as_azure_ml_sends_them(machine: Machine, write: Write) -> None:
    inputs = "flag: true, no_flag: false, text: 'true', whole: 3, real: 1.0, small: 1.0e-3"
    command = " ".join(f"${{{{inputs.{name}}}}}" for name in ("flag", "no_flag", "text", "whole", "real", "small"))
    write(pipeline(a=step(f"echo {command}", inputs=inputs)))

    assert machine.run().said("a") == "True False true 3 1.0 0.001\n"


def test_an_optional_block_vanishes_without_a_value(machine: Machine, write: Write) -> None:
    write(
        {
            **pipeline(bare="{component: ./c.yml}", given="{component: ./c.yml, inputs: {text: hello, number: 2}}"),
            "c.yml": OPTIONAL,
        }
    )

    ran = machine.run()

    assert ran.step("bare").outputs["out"].read_text() == "with --number 0.5\n"
    assert ran.step("given").outputs["out"].read_text() == "with --text hello --number 2\n"


def test_a_command_is_a_shell_script(machine: Machine, write: Write) -> None:
    command = 'set -e\nfor i in 1 2; do\n  echo $i | sed s/1/one/\ndone\n[[ a == a ]] && echo "$((1 + 1))" > x; cat < x'
    write(pipeline(a=step(command)))

    assert machine.run().said("a") == "one\n2\n2\n"


def test_the_log_is_on_disk_and_in_prefect_under_the_name_of_the_step(machine: Machine, write: Write) -> None:
    write(pipeline(a=step("echo out; echo err >&2; printf 'no \\377 end'")))

    ran = machine.run()

    assert ran.said("a") == "out\nerr\nno � end"
    log = ran.step("a").log
    assert log is not None
    assert log.parts[-2:] == ("user_logs", "std_log.txt")
    logs = ran.logs()
    assert [line for line in logs if re.match(r"a \| (out|err|no)", line)] == ["a | out", "a | err", "a | no � end"]
    assert logs.index("a | started") < logs.index("a | out")


def test_a_failing_step_takes_only_its_dependants_with_it(machine: Machine, write: Write) -> None:
    fails = step("seq 30; echo last words >&2; exit 3", outputs=f"out: {FOLDER}")
    write(
        pipeline(
            fails=fails,
            independent=step("echo fine"),
            dependant=step("echo never", inputs="it: '${{parent.jobs.fails.outputs.out}}'", outputs=f"out: {FOLDER}"),
            further=step("echo never", inputs="it: '${{parent.jobs.dependant.outputs.out}}'"),
        )
    )

    ran = machine.run()

    assert ran.statuses() == {
        "fails": "Failed",
        "independent": "Completed",
        "dependant": "NotStarted",
        "further": "NotStarted",
    }
    assert ran.states() == {
        "fails": "Failed",
        "independent": "Completed",
        "dependant": "NotReady",
        "further": "NotReady",
    }
    message = ran.step("fails").message
    assert "The step fails failed with exit code 3." in message
    assert "\n    30\n    last words\n" in message
    assert "    11\n" not in message
    assert message.endswith(f"Whole log: {ran.step('fails').log}")
    assert "fails did not deliver" in ran.step("dependant").message
    with pytest.raises(StepFailed, match="exit code 3"):
        ran.outcome.raise_for_status()
    runs = machine.mlflow(
        "select name, status from runs where name = ? or run_uuid in (select run_uuid from tags "
        "where key = 'tandem.job' and value = ?) order by name",
        ran.outcome.job_name,
        ran.outcome.job_name,
    )
    assert runs == [("fails", "FAILED"), ("independent", "FINISHED"), (ran.outcome.job_name, "FAILED")]


def test_the_log_tells_a_failure_once_under_the_name_of_the_step(machine: Machine, write: Write) -> None:
    write(pipeline(a=step("python -c 'raise ValueError(str(6 * 7))'")))

    ran = machine.run()

    logs = ran.logs()
    assert [line for line in logs if "ValueError: 42" in line] == ["a | ValueError: 42"]
    assert "Finished in state Failed('The step a failed with exit code 1. …')" in logs
    assert not [line for line in logs if "NoneType" in line]
    assert "ValueError: 42" in ran.step("a").message  # which is that of its state


def test_a_consumer_through_an_optional_input_runs_without_it(machine: Machine, write: Write) -> None:
    consumer = "{component: ./c.yml, inputs: {text: hi, file: '${{parent.jobs.fails.outputs.out}}'}}"
    write({**pipeline(fails=step("exit 1", outputs=f"out: {FILE}"), consumer=consumer), "c.yml": OPTIONAL})

    ran = machine.run()

    assert ran.statuses() == {"fails": "Failed", "consumer": "Completed"}
    assert ran.step("consumer").outputs["out"].read_text() == "with --text hi --number 0.5\n"


def test_no_step_starts_after_a_failure_that_is_to_stop_the_pipeline(machine: Machine, write: Write) -> None:
    consumer = "{component: ./c.yml, inputs: {file: '${{parent.jobs.fails.outputs.out}}'}}"
    fails = step("exit 1", outputs=f"out: {FILE}")
    write({**pipeline("continue_on_step_failure: false", fails=fails, consumer=consumer), "c.yml": OPTIONAL})

    ran = machine.run()

    assert ran.statuses() == {"fails": "Failed", "consumer": "NotStarted"}
    assert "another step failed" in ran.step("consumer").message


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("kill -KILL $$", "was ended by the signal SIGKILL (the machine may have run out of memory)"),
        ("kill -SEGV $$", "was ended by the signal SIGSEGV"),
        ("no-such-program", "failed with exit code 127"),
        ("true", "ended well but did not write its output out"),
    ],
)
def test_the_message_of_a_failed_step_says_why(command: str, reason: str, machine: Machine, write: Write) -> None:
    write(pipeline(a=step(command, outputs=f"out: {FILE}")))

    assert f"The step a {reason}." in machine.run().step("a").message


def test_a_step_that_exceeds_its_time_is_stopped(machine: Machine, write: Write) -> None:
    write(pipeline(a=step("echo begun; sleep 1000; true", more="limits: {timeout: 1}")))

    ran = machine.run()

    assert "ran longer than its limit of 1 s and was stopped.\n    begun" in ran.step("a").message


REUSED = {
    **pipeline(
        outputs=f"out: {FOLDER}",
        a=step("python main.py ${{outputs.out}}", outputs=f"out: {FILE}", more="code: ./code"),
        b=step(
            "cp ${{inputs.it}} ${{outputs.out}}/copy",
            inputs="it: '${{parent.jobs.a.outputs.out}}'",
            outputs="out: '${{parent.outputs.out}}'",
        ),
    ),
    "code/main.py": """
        import sys, mlflow
        mlflow.log_param("rate", "0.1")
        mlflow.log_metric("auc", 0.9, step=3)
        open(sys.argv[1], "w").write("delivered")
    """,
}


def test_an_unchanged_job_is_reused_whole(machine: Machine, write: Write) -> None:
    write(REUSED)
    first = machine.run()
    assert first.states() == {"a": "Completed", "b": "Completed"}

    second = machine.run()

    assert second.states() == {"a": "Cached", "b": "Cached"}
    assert second.outcome.reused == ("a", "b")
    assert second.outcome.outputs == first.outcome.outputs
    assert second.step("a").log == first.step("a").log
    runs = [first.step("a").mlflow_run_id, second.step("a").mlflow_run_id]
    assert len(set(runs)) == 2
    for run_id in runs:
        assert machine.mlflow("select key, value from params where run_uuid = ?", run_id) == [("rate", "0.1")]
        assert machine.mlflow("select key, value, step from metrics where run_uuid = ?", run_id) == [("auc", 0.9, 3)]
    (parent,) = machine.mlflow("select value from tags where key = 'mlflow.parentRunId' and run_uuid = ?", runs[1])
    assert parent == (second.outcome.mlflow_run_id,)


def test_a_step_that_writes_into_its_input_is_told_and_not_reused(machine: Machine, write: Write) -> None:
    read = "it: {type: uri_folder, path: ./data}"
    write(
        {
            **pipeline(
                writes=step("echo more >> ${{inputs.it}}/a.txt", inputs=read),
                reads=step("cat ${{inputs.it}}/b.txt", inputs=read.replace("./data", "./other")),
            ),
            "data/a.txt": "one",
            "other/b.txt": "two",
        }
    )
    first = machine.run()

    assert first.states() == {"writes": "Completed", "reads": "Completed"}
    (said,) = [line for line in first.logs() if "is not what it was when the step was planned" in line]
    assert said.startswith(f"writes | its input it ({machine.folder / 'data'}) ")
    (machine.folder / "data" / "a.txt").write_text("one")
    assert machine.run().states() == {"writes": "Completed", "reads": "Cached"}


@pytest.mark.parametrize("change", ["altered", "gone"])
def test_a_step_whose_earlier_output_was_changed_runs_again(change: str, machine: Machine, write: Write) -> None:
    write(REUSED)
    output = machine.run().step("a").outputs["out"]
    if change == "gone":
        output.unlink()
    else:
        output.write_text("altered")

    second = machine.run()

    assert second.states() == {"a": "Completed", "b": "Cached"}
    assert Path(second.outcome.outputs["out"], "copy").read_text() == "delivered"


def test_a_step_that_is_not_deterministic_runs_every_time(machine: Machine, write: Write) -> None:
    write(
        {
            **pipeline(a="{component: ./c.yml}"),
            "c.yml": "type: command\nis_deterministic: false\ncommand: echo\nenvironment: azureml:e:1\n",
        }
    )

    assert [machine.run().states() for _ in range(2)] == [{"a": "Completed"}] * 2


def test_every_step_of_a_forced_run_runs(machine: Machine, write: Write) -> None:
    write(pipeline(a=step("echo forced")))

    assert [machine.run(force_rerun=it).states() for it in (False, True, False)] == [
        {"a": "Completed"},
        {"a": "Completed"},
        {"a": "Cached"},
    ]


def test_every_step_of_a_pipeline_that_forces_it_runs(machine: Machine, write: Write) -> None:
    write(pipeline("force_rerun: true", a=step("echo forced by its file")))

    assert [machine.run().states() for _ in range(2)] == [{"a": "Completed"}] * 2


def test_a_failed_step_is_not_reused(machine: Machine, write: Write) -> None:
    write(pipeline(a=step(f"test -e {machine.folder}/mended")))
    assert machine.run().states() == {"a": "Failed"}
    write({"mended": ""})

    assert machine.run().states() == {"a": "Completed"}


def test_two_steps_of_one_component_are_reused_each_under_its_name(machine: Machine, write: Write) -> None:
    same = "{component: ./c.yml}"
    write({**pipeline(one=same, other=same), "c.yml": OPTIONAL})
    machine.run()

    second = machine.run()

    assert [(it.name, it.reused) for it in second.outcome.steps] == [("one", True), ("other", True)]
    assert second.states() == {"one": "Cached", "other": "Cached"}


def test_a_job_is_an_mlflow_run_with_a_child_run_a_step(machine: Machine, write: Write) -> None:
    write(pipeline(a=step("true"), b=step("true")))

    outcome = machine.run().outcome

    runs = machine.mlflow(
        "select run_uuid, name, status from runs where run_uuid in (select run_uuid from tags "
        "where key = 'mlflow.parentRunId' and value = ?) order by name",
        outcome.mlflow_run_id,
    )
    assert runs == [(it.mlflow_run_id, it.name, "FINISHED") for it in outcome.steps]
    assert machine.mlflow("select name, status from runs where run_uuid = ?", outcome.mlflow_run_id) == [
        (outcome.job_name, "FINISHED")
    ]


def test_the_run_of_a_job_names_the_data_that_it_was_given(machine: Machine, write: Write) -> None:
    command = "command: cat ${{inputs.rows}} ${{inputs.left}}"
    component = f"type: command\nenvironment: azureml:e:1\ninputs: {{rows: {FILE}, left: {FILE}}}\n{command}\n"
    node = "{component: ./c.yml, inputs: {rows: '${{parent.inputs.rows}}', left: '${{parent.inputs.left}}'}}"
    inputs = "inputs: {rows: {type: uri_file, path: ./rows.csv}, left: {type: uri_file, path: 'azureml:known:2'}}"
    job = f"type: pipeline\n{inputs}\njobs: {{a: {node}}}\n"
    asset = f"name: known\nversion: 2\ntype: uri_file\npath: {machine.folder}/left.csv\n"
    write({"pipeline.yml": job, "c.yml": component, "rows.csv": "1\n", "left.csv": "2\n"})
    definition = machine.settings.data_assets[0] / "known.yml"
    definition.parent.mkdir(parents=True)
    definition.write_text(asset)

    outcome = machine.run().outcome

    assert outcome.status == "Completed"
    logged = machine.mlflow(
        "select datasets.name, digest, dataset_source, input_tags.value from datasets "
        "join inputs on source_id = dataset_uuid join input_tags using (input_uuid) "
        "where destination_id = ? order by 1",
        outcome.mlflow_run_id,
    )
    paths = {name: machine.folder / name for name in ("left.csv", "rows.csv")}
    assert logged == [
        (label, data_digest(paths[file])[:36], json.dumps({"uri": paths[file].as_uri()}), context)
        for label, file, context in (("known:2", "left.csv", "left"), ("rows.csv", "rows.csv", "rows"))
    ]


def test_the_job_is_described_in_its_folder(machine: Machine, write: Write) -> None:
    write(pipeline(a=step("true", outputs=f"out: {FOLDER}"), b=step("exit 1")))

    outcome = machine.run().outcome

    folder = machine.settings.jobs / outcome.job_name
    assert outcome.where == str(folder)
    described = json.loads((folder / "job.json").read_text())
    assert (described["job_name"], described["status"]) == (outcome.job_name, "Failed")
    assert [(it["name"], it["status"]) for it in described["steps"]] == [("a", "Completed"), ("b", "Failed")]
    assert described["steps"][0]["outputs"] == {"out": str(outcome.steps[0].outputs["out"])}


def test_a_named_output_can_be_fetched(machine: Machine, write: Write) -> None:
    component = """
        type: command
        environment: azureml:e:1
        outputs: {file: {type: uri_file}, folder: {type: uri_folder}}
        command: echo 1 > ${{outputs.file}}; echo 2 > ${{outputs.folder}}/deep
    """
    node = "{component: ./c.yml, outputs: {file: '${{parent.outputs.file}}', folder: '${{parent.outputs.folder}}'}}"
    write({**pipeline(outputs=f"file: {FILE}, folder: {FOLDER}", a=node), "c.yml": component})
    outcome = machine.run().outcome
    engine, target = LocalEngine(machine.settings, machine.processes), machine.folder / "fetched"

    assert machine.await_(engine.fetch(outcome, "file", target / "one")).read_text() == "1\n"
    assert (machine.await_(engine.fetch(outcome, "folder", target / "two")) / "deep").read_text() == "2\n"
    with pytest.raises(RunError, match="no output 'other'"):
        machine.await_(engine.fetch(outcome, "other", target / "three"))


def test_a_flow_run_asks_for_the_same_job_however_often_it_asks(machine: Machine, write: Write) -> None:
    write(pipeline(a=step("true")))
    parameters = FileParameters.model_validate({"file": str(machine.folder / "pipeline.yml")})

    names = [file_request(parameters, machine.settings, flow_run_id=it).job_name for it in ("one", "one", "other")]

    assert names[0] == names[1] != names[2]


def test_the_same_job_run_again_goes_on_from_what_was_finished(machine: Machine, write: Write) -> None:
    """As a flow run that is retried: its job has the same name, and so the same folder."""
    node = step(f"echo delivered > ${{{{outputs.out}}}}; test -e {machine.folder}/mended", outputs=f"out: {FILE}")
    write(pipeline(before=step("echo once"), fails=node))
    assert machine.run("again").statuses() == {"before": "Completed", "fails": "Failed"}
    write({"mended": ""})

    second = machine.run("again")

    assert second.states() == {"before": "Cached", "fails": "Completed"}
    assert second.step("fails").outputs["out"].read_text() == "delivered\n"


def test_a_cancelled_flow_leaves_no_process_of_a_step_even_if_it_ignores_the_signal(
    machine: Machine, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.engines.local.step, "TERMINATION_GRACE_SECONDS", 0.5)
    pipes = {name: machine.folder / name for name in ("plain", "deaf")}
    for pipe in pipes.values():
        os.mkfifo(pipe)
    forever = "sleep 1000 & echo $$ $! > {}; wait; wait; while :; do wait; done"
    traps = {"plain": "", "deaf": "trap '' TERM; "}
    write(pipeline(**{name: step(traps[name] + forever.format(pipe)) for name, pipe in pipes.items()}))
    job = machine.alone(machine.folder / "home")

    async def cancelled() -> list[int]:
        running = asyncio.create_task(as_flow(job))
        said = await asyncio.gather(*(asyncio.to_thread(pipe.read_text) for pipe in pipes.values()))
        ends = [os.pidfd_open(int(pid)) for pids in said for pid in pids.split()]
        running.cancel()
        await asyncio.wait([running], timeout=DEADLINE_SECONDS)
        assert running.done()
        return ends

    ends = machine.await_(cancelled())
    assert len(ends) == 4
    for end in ends:
        assert select.select([end], [], [], 0)[0]
        os.close(end)
    runs = machine.mlflow("select status from runs", home=machine.folder / "home")
    assert runs == [("KILLED",)] * 3  # of the job and its steps


def test_a_command_finds_its_files_in_a_home_of_any_name(machine: Machine, write: Write) -> None:
    """A command names paths without quotes, as on Azure ML, whose paths have no blanks."""
    copies = step(
        "cp ${{inputs.file}} ${{outputs.out}}/copy; cat ${{outputs.out}}/copy",
        inputs="file: '${{parent.jobs.a.outputs.out}}'",
        outputs=f"out: {FOLDER}",
    )
    script = "import sys; open(sys.argv[1], 'w').write(str(len(sys.argv)))"
    a = step("python main.py ${{outputs.out}}", outputs=f"out: {FILE}", more="code: ./code")
    write({**pipeline(a=a, b=copies), "code/main.py": script})
    home = machine.folder / "it's my $HOME"
    outcome, _ = machine.await_(as_flow(machine.alone(home)))

    assert outcome is not None
    assert [str(it.status) for it in outcome.steps] == ["Completed", "Completed"]
    assert Path(outcome.steps[1].outputs["out"], "copy").read_text() == "2"
    assert Path(outcome.steps[1].outputs["out"]).is_relative_to(home)


def test_a_folder_that_no_run_has_made_is_not_deleted_where_a_step_would_have_its_own(
    machine: Machine, write: Write
) -> None:
    write(pipeline(a=step("echo > ${{outputs.out}}", outputs=f"out: {FILE}")))
    folder = machine.settings.jobs / "in-the-way" / "steps" / "a"
    folder.mkdir(parents=True)
    (folder / "kept.txt").write_text("keep")

    ran = machine.run("in-the-way", force_rerun=True)

    assert ran.statuses() == {"a": "Failed"}
    assert f"{folder} is in the way, and is not deleted" in ran.step("a").message
    assert [path.name for path in folder.iterdir()] == ["kept.txt"]


def test_the_next_try_of_a_job_begins_with_an_empty_folder_for_its_step(machine: Machine, write: Write) -> None:
    write(pipeline(a=step("test ! -e here && touch here && echo > ${{outputs.out}}", outputs=f"out: {FILE}")))

    assert machine.run("tried-again", force_rerun=True).statuses() == {"a": "Completed"}
    folder = machine.settings.jobs / "tried-again" / "steps" / "a"
    (folder / "left.txt").write_text("left by a try that was killed")
    assert machine.run("tried-again", force_rerun=True).statuses() == {"a": "Completed"}
    assert not (folder / "left.txt").exists()


def test_a_name_that_leads_elsewhere_is_refused_by_the_engine_too(
    machine: Machine, write: Write, tmp_path: Path
) -> None:
    write(pipeline(a=step("echo")))
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept.txt").write_text("keep")
    request = machine.request("never", force_rerun=True)
    (own,) = request.spec.steps.values()
    named = dataclasses.replace(own, name=str(victim))
    spec = dataclasses.replace(request.spec, steps={str(victim): named})

    async def job() -> RunOutcome:
        engine = LocalEngine(machine.settings, machine.processes)
        return await engine.wait(await engine.submit(dataclasses.replace(request, spec=spec)))

    outcome, _ = machine.await_(as_flow(job))
    assert outcome is not None
    assert [str(step.status) for step in outcome.steps] == ["Failed"]
    assert (victim / "kept.txt").read_text() == "keep"
    with pytest.raises(ParameterError):
        machine.await_(LocalEngine(machine.settings, machine.processes).submit(machine.request("../../x")))


HIDDEN_IMPORT = """
    type: command
    code: ./code
    command: python main.py
    environment: {image: ubuntu}
    """


def test_what_a_step_imported_in_a_way_that_its_source_does_not_show_is_preloaded_the_next_time(
    machine: Machine, write: Write
) -> None:
    script = """
        import importlib, sys
        name = "sqlalchemy.ext.horizontal_shard"
        print(name in sys.modules)
        importlib.import_module(name)
    """
    write({"pipeline.yml": HIDDEN_IMPORT, "code/main.py": script})

    runs = [machine.run(force_rerun=True) for _ in range(2)]

    assert [ran.said(ran.outcome.steps[0].name).split() for ran in runs] == [["False"], ["True"]]
