"""Step runner: runs a step's command in a copy of its code, follows its log, and keeps its outputs."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import get_run_logger

from flows.data.digests import change_since
from flows.data.snapshot import Snapshot
from flows.engines.local.host.client import Command, Ended, Process, StepHost
from flows.engines.local.host.preload import has_own_variables, imported_modules, plain_script
from flows.engines.local.host.processes import LocalProcesses
from flows.engines.local.host.seen_imports import SeenImports
from flows.engines.local.host.tracking_server import tracking_variables
from flows.engines.local.job_runs import JobRuns
from flows.engines.local.other_packages import other_packages, speaks_of_packages
from flows.engines.local.parallel.command import driver_command
from flows.engines.local.shell_paths import ShellPaths
from flows.engines.local.step_log import follow, last_lines
from flows.engines.local.step_python import ThrowAway, installs_packages
from flows.engines.local.step_variables import wanted
from flows.engines.local.working_folders import WorkingFolders
from flows.engines.plan.environment import defined_environment
from flows.engines.plan.interpreter import interpreter
from flows.engines.plan.steps import StepInput, StepPlan, literal_in
from flows.engines.plan.store import StepRecord, StepStore
from flows.engines.runs import PipelineRequest, RunStatus, StepOutcome
from flows.engines.step_events import StepEvent, StepPhase
from flows.engines.task_runs import report
from flows.machine.own_folders import claim_empty, copy_by_links
from flows.machine.private import tighten
from flows.settings import Settings
from flows.spec.literals import misfit
from flows.spec.model.job import InputPort, Step
from flows.spec.render import render_command
from flows.spec.text.names import inside, shown

TERMINATION_GRACE_SECONDS = 5.0
ARTIFACTS = "artifacts"
_WHICH_PYTHON = frozenset({"PATH", "PYTHONPATH", "PYTHONHOME"})  # variables that decide which Python and MLflow run


@dataclass(frozen=True, slots=True)
class TrialRun:
    """What a trial of a sweep has in addition to a step: an MLflow run that was made before, and more variables."""

    run_id: str | None
    variables: Mapping[str, str]


class StepRunner:
    """Runs the steps of one job, each as a process of its own."""

    def __init__(
        self,
        settings: Settings,
        processes: LocalProcesses,
        paths: ShellPaths,
        working_folders: WorkingFolders,
        request: PipelineRequest,
        runs: JobRuns,
        store: StepStore,
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._paths = paths
        self._working_folders = working_folders
        self._request = request
        self._runs = runs
        self._store = store
        self._seen = SeenImports(settings.home)

    async def run(self, plan: StepPlan, folder: Path, trial: TrialRun | None = None) -> StepOutcome:
        """Run one step's command in a copy of its code, and keep what it delivers, all in a folder of its own."""
        step = plan.step
        log = folder / "user_logs" / "std_log.txt"
        await asyncio.to_thread(claim_empty, folder)  # an earlier try of this very job may have left something
        outputs = {name: inside(folder / "outputs", name) for name in step.component.outputs}
        for name, path in outputs.items():
            (path.parent if step.component.outputs[name].is_file else path).mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True)
        log.touch()
        code = self._working_folders.place(folder)
        await asyncio.to_thread(Snapshot.of(step.component.code, step.component.additional_includes).copy_to, code)
        await asyncio.to_thread(tighten, code)
        (code / "outputs").mkdir(exist_ok=True)
        texts = {name: self._text(value) for name, value in plan.inputs.items()}
        places = {name: self._paths.text(path) for name, path in outputs.items()}
        if step.parallel is None:
            text = render_command(step.component.command, texts, places)
        else:
            text = await asyncio.to_thread(driver_command, step, texts, places, folder)
        run_id = await self._runs.open_step(step.name) if trial is None else trial.run_id
        variables = {} if trial is None else trial.variables
        own = {**step.component.environment_variables, **step.environment_variables}
        plain = plain_script(text)
        logs_itself = bool(plain) and not own.keys() & _WHICH_PYTHON and self._processes.python == Path(sys.executable)
        script = None if has_own_variables(step) else plain
        environment = {**self._environment(step, texts, places, run_id), **variables}
        throw_away: ThrowAway | None = None
        if await asyncio.to_thread(installs_packages, text, code):
            throw_away = await asyncio.to_thread(ThrowAway, self._processes.python, folder / "venv")
            environment, script, logs_itself = throw_away.variables(environment), None, False
        if not logs_itself and environment["MLFLOW_TRACKING_URI"] == self._settings.mlflow_uri:
            environment |= tracking_variables(self._processes.tracking_url(), environment)
        command = Command(
            text=text,
            folder=code,
            environment=environment,
            log=log,
            script=script,
            modules=self._modules(step, code, script) if script else (),
            imported=folder / "imported.json",
        )
        report(StepEvent(step.name, StepPhase.STARTED))
        started = time.monotonic()
        try:
            ended, timed_out = await self._execute(command, step)
        except BaseException:
            await self._runs.close(run_id, "KILLED")
            raise
        finally:
            if throw_away is not None:
                await asyncio.to_thread(throw_away.remove)
        seconds = time.monotonic() - started
        self._seen.add(step.component, folder / "imported.json")
        code = await asyncio.to_thread(self._working_folders.keep, code, folder)
        await asyncio.to_thread(self._close, folder, run_id)
        await asyncio.to_thread(_fill_artifacts, step, outputs, code, log)
        message = _failure(step, ended, timed_out, outputs, log)
        if message:
            message += await asyncio.to_thread(self._hint, step, log, code)
            message += f"\n  Whole log: {log}"
            await self._runs.close(run_id, "FAILED")
            return StepOutcome(step.name, RunStatus.FAILED, seconds=seconds, log=log, message=message)
        return await self.keep(plan, outputs, log, seconds, run_id)

    async def keep(
        self, plan: StepPlan, outputs: Mapping[str, Path], log: Path, seconds: float, run_id: str | None
    ) -> StepOutcome:
        """Write down what a step has delivered, so that it will be reused, and end its MLflow run.

        It is not written down if an input has changed since the step was planned: then it is not known to which content
        the result belongs.
        """
        name = plan.step.name
        changed = await asyncio.to_thread(_changed_inputs, plan)
        record = StepRecord(
            key=plan.key,
            step=name,
            job_name=self._request.job_name,
            fingerprint=plan.fingerprint,
            outputs={name: await asyncio.to_thread(self._store.stored, path) for name, path in outputs.items()},
            log=os.path.relpath(log, self._settings.home),
            seconds=round(seconds, 3),
            mlflow_run_id=run_id,
        )
        if changed:
            get_run_logger().warning(
                "%s | its input %s is not what it was when the step was planned: the step, or something else, wrote to "
                "it. The step will not be reused. Azure ML mounts inputs read-only: write to an output, or to a copy",
                name,
                " and ".join(changed),
            )
        else:
            self._store.save(record)
        await self._runs.close(run_id, "FINISHED")  # last: if that fails, the step is done all the same
        return StepOutcome(name, RunStatus.COMPLETED, seconds=seconds, outputs=outputs, log=log, mlflow_run_id=run_id)

    async def _execute(self, command: Command, step: Step) -> tuple[Ended, bool]:
        """Run a command with its output streaming into the flow's log; end it when its time is over or we are."""
        host = await self._processes.host()
        logger = get_run_logger()
        starting = asyncio.create_task(host.run(command))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await _end(host, await starting)  # the start was requested already, and cannot be taken back
            raise
        tail = asyncio.create_task(
            follow(command.log, process.ended, lambda line: logger.info("%s | %s", step.name, line))
        )
        timed_out = False
        if command.script and not process.started.result():
            self._seen.forget(step.component)
        try:
            try:
                ended = await asyncio.wait_for(asyncio.shield(process.ended), step.timeout_seconds)
            except TimeoutError:
                timed_out = True
                ended = await _end(host, process)
        except asyncio.CancelledError:
            await _end(host, process)
            raise
        finally:
            await tail
        return ended, timed_out

    def _modules(self, step: Step, code: Path, script: Sequence[str]) -> list[str]:
        """What a step that may be forked will import."""
        found = imported_modules(code / (step.parallel.entry_script if step.parallel else script[0]))
        return [*found, *self._seen.of(step.component)]

    def _close(self, folder: Path, run_id: str | None) -> None:
        """Let only the user read what a step wrote: it may have copied files together with their modes."""
        tighten(folder)
        if run_id is not None:
            tighten(self._settings.mlflow_artifacts / run_id)

    def _hint(self, step: Step, log: Path, code: Path) -> str:
        """The variables or packages that a failed step seems to miss, as a line of its message; empty if none."""
        lines = last_lines(log)
        if withheld := wanted(lines, os.environ, self._runs.where):
            return f"\n  {withheld}"
        if not speaks_of_packages(lines):
            return ""
        asked, python = step.component.environment, self._processes.python
        environment = None if asked is None else defined_environment(asked, self._settings.environments)
        found = other_packages(lines, environment, interpreter(python), python, code)
        return f"\n  {found}" if found else ""

    def _text(self, value: StepInput | None) -> str | None:
        """What the command receives for an input: a literal's text, or a path to data."""
        if value is None or value.digest is None:
            return None if value is None else value.text
        return self._paths.text(Path(value.text))

    def _environment(
        self, step: Step, inputs: Mapping[str, str | None], outputs: Mapping[str, str], run_id: str | None
    ) -> dict[str, str]:
        """The variables that Azure ML sets for a step, on top of this machine's own, without those of Prefect."""
        request = self._request
        workspace = self._settings.workspace
        return {
            **self._processes.environment,
            "AZUREML_RUN_ID": f"{request.job_name}-{step.name}",
            "AZUREML_ROOT_RUN_ID": request.job_name,
            "AZUREML_EXPERIMENT_ID": request.experiment_name,
            "AZUREML_ARM_SUBSCRIPTION": workspace.get("AZUREML_ARM_SUBSCRIPTION", "local"),
            "AZUREML_ARM_RESOURCEGROUP": workspace.get("AZUREML_ARM_RESOURCEGROUP", "local"),
            "AZUREML_ARM_WORKSPACE_NAME": workspace.get("AZUREML_ARM_WORKSPACE_NAME", "local"),
            **{f"AZURE_ML_INPUT_{name}": text for name, text in inputs.items() if text is not None},
            **{f"AZURE_ML_OUTPUT_{name}": text for name, text in outputs.items()},
            **self._runs.variables(run_id),
            **step.component.environment_variables,
            **step.environment_variables,
        }


def _changed_inputs(plan: StepPlan) -> list[str]:
    """The data inputs, each with its path, that are not any more what the step was planned with."""
    return [
        f"{name} ({value.text})"
        for name, value in plan.inputs.items()
        if value is not None and value.digest is not None and change_since(value.digest, Path(value.text))
    ]


def _fill_artifacts(step: Step, outputs: Mapping[str, Path], code: Path, log: Path) -> None:
    """Put what a step wrote to ``./outputs``, and its log, into the output ``artifacts``, if its command leaves that.

    On Azure ML, an output of this name that no command mentions is where the service keeps what each job leaves.
    """
    place = outputs.get(ARTIFACTS)
    is_named = re.search(rf"\boutputs\.{ARTIFACTS}\b", step.component.command) is not None
    if place is None or is_named or not place.is_dir() or any(place.iterdir()):
        return
    copy_by_links(code / "outputs", place / "outputs")
    (place / log.parent.name).mkdir()
    copy_by_links(log, place / log.parent.name / log.name)


def _failure(step: Step, ended: Ended, timed_out: bool, outputs: Mapping[str, Path], log: Path) -> str:
    """Say why a step failed, with the last lines of its log; empty if it did not fail."""
    if timed_out:
        what = f"ran longer than its limit of {step.timeout_seconds} s and was stopped"
    elif ended.code < 0:
        what = f"was ended by the signal {signal.Signals(-ended.code).name}"
        what += " (the machine may have run out of memory)" if ended.code == -signal.SIGKILL else ""
    elif ended.code:
        what = f"failed with exit code {ended.code}"
    else:
        missing = [name for name, path in outputs.items() if not path.exists()]
        misfits = [] if missing else list(_misfits(step, outputs))
        if not missing and not misfits:
            return ""
        what = f"ended well but did not write its output {', '.join(missing)}" if missing else misfits[0]
    return f"The step {step.name} {what}." + "".join(f"\n    {line}" for line in last_lines(log))


def _misfits(step: Step, outputs: Mapping[str, Path]) -> Iterator[str]:
    """The literal outputs whose text is no value of their type, each as the end of a sentence about the step."""
    for name, path in outputs.items():
        port = step.component.outputs[name]
        if port.is_literal:
            text = literal_in(path, port.type)
            if (reason := misfit(text, InputPort(name, port.type))) is not None:
                yield f"wrote {shown(text)!r} to its output {name}, which {reason}"


async def _end(host: StepHost, process: Process) -> Ended:
    """End a process and all that it has started: SIGTERM first, SIGKILL if that does not end it in time."""
    host.signal(process, signal.SIGTERM)
    try:
        return await asyncio.wait_for(asyncio.shield(process.ended), TERMINATION_GRACE_SECONDS)
    except TimeoutError:
        host.signal(process, signal.SIGKILL)
        return await asyncio.shield(process.ended)
