"""The local engine: an Azure ML job as a Prefect graph on this machine, a process a step, unchanged steps reused."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prefect import Task, get_run_logger
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from flows.data_assets import ResolvedData, resolve_data
from flows.engines.local_processes import LocalProcesses, take_processes
from flows.engines.plan import Planner, StepInput, StepPlan
from flows.engines.preload import imported_modules, plain_script
from flows.engines.processes import Command, Ended, Process, StepHost
from flows.engines.shell_paths import ShellPaths
from flows.engines.snapshot import Snapshot, data_digest
from flows.engines.store import StepRecord
from flows.errors import RunError, SettingsError
from flows.model_registry import MlflowTracking, RunEnd
from flows.runs import PipelineRequest, RunOutcome, RunStatus, StepOutcome, Submission
from flows.settings import Settings
from flows.spec.graph import order
from flows.spec.model import JobSpec, Literal, Step, StepOutput
from flows.spec.render import render_command

MLFLOW_UI = "http://127.0.0.1:5000"  # where `make serve` shows the local MLflow store
LOG_POLL_SECONDS = 0.1
LAST_LINES = 20
TERMINATION_GRACE_SECONDS = 5.0


@dataclass(slots=True)
class _Job:
    """A job while it runs: its folder, its MLflow run, its steps' tasks and what they delivered."""

    request: PipelineRequest
    folder: Path
    planner: Planner
    plans: dict[str, StepPlan]
    tracking: MlflowTracking | None
    mlflow_run_id: str | None
    slots: asyncio.Semaphore
    steps: dict[str, "asyncio.Task[tuple[StepOutcome, State[Any]]]"] = field(default_factory=dict[str, Any])
    delivered: dict[StepOutput, Path] = field(default_factory=dict[StepOutput, Path])
    stopped: bool = False

    @property
    def spec(self) -> JobSpec:
        return self.request.spec

    def step_folder(self, name: str) -> Path:
        return self.folder / "steps" / name


class LocalEngine:
    """Runs jobs on this machine. One engine serves one flow run; use :func:`open_local_engine`."""

    name = "local"

    def __init__(self, settings: Settings, processes: LocalProcesses) -> None:
        self._settings = settings
        self._processes = processes
        self._paths = ShellPaths(settings.home)
        self._tracking = MlflowTracking(processes)

    @property
    def registry(self) -> MlflowTracking:
        """MLflow's registry in the local state."""
        return self._tracking

    def close(self) -> None:
        """Remove what was made for the time of the run."""
        self._paths.close()

    async def submit(self, request: PipelineRequest) -> Submission:
        """Make the job's folder; nothing runs yet."""
        folder = self._settings.jobs / request.job_name
        try:
            (folder / "steps").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"The folder of local jobs cannot be written: {folder}: {error.strerror}. "
                "Free it, or set TANDEM_HOME to a folder of yours."
            ) from error
        return Submission(request)

    async def wait(self, submission: Submission) -> RunOutcome:
        """Run the job's steps, each as soon as what it reads is there; return when all are over."""
        request = submission.request
        planner = Planner(request.spec, self._settings, request.force_rerun)
        plans = await asyncio.to_thread(planner.known)
        job = _Job(
            request=request,
            folder=self._settings.jobs / request.job_name,
            planner=planner,
            plans=plans,
            tracking=None,
            mlflow_run_id=None,
            slots=asyncio.Semaphore(max(4, os.cpu_count() or 1)),
            delivered=planner.delivered(plans),
        )
        # A job that runs nothing has no MLflow run of its own, unless MLflow is in use anyway.
        if self._processes.started or any(name not in plans or not plans[name].reused for name in request.spec.steps):
            job.tracking = self._tracking
            tags = {**request.tags, "tandem.job": request.job_name}
            job.mlflow_run_id = await job.tracking.create_run(request.experiment_name, request.job_name, tags=tags)
            await job.tracking.log_params(job.mlflow_run_id, _literals(request.spec))
        try:
            for name in order(request.spec):
                job.steps[name] = asyncio.create_task(self._step(job, request.spec.steps[name]), name=name)
            ended = [await asyncio.shield(running) for running in job.steps.values()]
        except BaseException:
            for running in job.steps.values():
                running.cancel()
            await asyncio.gather(*job.steps.values(), return_exceptions=True)
            await self._finish_run(job, job.mlflow_run_id, "KILLED")
            raise
        outcome = _outcome_of(job, [step for step, _ in ended])
        await self._finish_run(
            job, job.mlflow_run_id, "FINISHED" if outcome.status is RunStatus.COMPLETED else "FAILED"
        )
        _write_json(job.folder / "job.json", _description(outcome))
        return outcome

    async def fetch(self, outcome: RunOutcome, output: str, folder: Path) -> Path:
        """Copy a named output to ``folder``; what lay there under the same names is replaced."""
        source = _delivered(outcome, output)
        try:
            if source.is_dir():
                await asyncio.to_thread(shutil.copytree, source, folder, dirs_exist_ok=True)
                return folder
            folder.parent.mkdir(parents=True, exist_ok=True)
            return Path(await asyncio.to_thread(shutil.copy2, source, folder))
        except (OSError, shutil.Error) as error:
            raise SettingsError(f"The output {output!r} cannot be written to {folder}: {error}.") from error

    async def resolve_data(self, text: str) -> ResolvedData:
        """Find a data asset under ``data/``, or a file."""
        return await asyncio.to_thread(resolve_data, text, self._settings.data_assets)

    async def identity(self, outcome: RunOutcome, output: str) -> Mapping[str, str]:
        """The digest of the output's content: the same model, however often it is delivered, is the same."""
        digest = await asyncio.to_thread(data_digest, _delivered(outcome, output))
        return {"tandem.model_sha256": digest}

    async def keep_report(self, outcome: RunOutcome, folder: Path, metrics: Mapping[str, float | None]) -> str:
        """Keep a report among the artifacts of the job's MLflow run, as ``make serve`` shows it."""
        if outcome.mlflow_run_id is None:
            return folder.as_uri()
        await self._tracking.log_metrics(outcome.mlflow_run_id, metrics)
        return MLFLOW_UI + await self._tracking.log_folder(outcome.mlflow_run_id, folder, "evaluation")

    async def _step(self, job: _Job, step: Step) -> tuple[StepOutcome, State[Any]]:
        """Wait for the upstream steps, then run this one as a Prefect task, or say why it does not run."""
        upstream = [await asyncio.shield(job.steps[name]) for name in sorted(step.upstream)]
        missing = _missing_upstream(job, step)
        if missing or job.stopped:
            reason = f"The step {step.name} did not run: " + (
                f"{' and '.join(missing)} did not deliver." if missing else "another step failed."
            )
            not_run = StepOutcome(step.name, RunStatus.NOT_STARTED, message=reason)
            return not_run, await self._show_not_run(step, reason, [state for _, state in upstream])
        plan = job.plans.get(step.name) or await asyncio.to_thread(job.planner.plan, step, job.delivered)
        outcomes: list[StepOutcome] = []

        async def run_step() -> Any:
            async with job.slots:
                outcome = await self._run(job, plan)
            outcomes.append(outcome)
            if outcome.status is RunStatus.COMPLETED:
                return {"step": step.name, "key": plan.key, "job": job.request.job_name}
            return Failed(message=outcome.message)

        as_task: Any = Task(
            run_step,
            name=step.name,
            task_run_name=step.name,
            cache_policy=CacheKeyFnPolicy(cache_key_fn=lambda context, parameters: plan.key),
            refresh_cache=not plan.reused,
            persist_result=True,
            result_storage=self._settings.prefect_home / "results",
            result_serializer="json",
        )
        # One that did not complete is read through an optional input only, and does not hold this step up.
        delivered = [state for _, state in upstream if state.is_completed()]
        state: State[Any] = await as_task(wait_for=delivered, return_state=True)
        if outcomes:
            outcome = outcomes[0]
        elif state.is_completed() and plan.record is not None:
            get_run_logger().info("%s | reused from the job %s", step.name, plan.record.job_name)
            outcome = await self._reused(job, step.name, plan.record)
        else:
            outcome = StepOutcome(step.name, RunStatus.FAILED, message=state.message or f"The step {step.name} failed.")
        job.delivered.update({StepOutput(step.name, name): path for name, path in outcome.outputs.items()})
        if outcome.status is RunStatus.FAILED and not job.spec.continue_on_step_failure:
            job.stopped = True
        return outcome, state

    async def _run(self, job: _Job, plan: StepPlan) -> StepOutcome:
        """Run one step's command in a copy of its code, and keep what it delivers."""
        step, folder = plan.step, job.step_folder(plan.step.name)
        log = folder / "user_logs" / "std_log.txt"
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder)  # left by an earlier try of this very job
        outputs = {name: folder / "outputs" / name for name in step.component.outputs}
        for name, path in outputs.items():
            (path.parent if step.component.outputs[name].type == "uri_file" else path).mkdir(
                parents=True, exist_ok=True
            )
        log.parent.mkdir(parents=True)
        log.touch()
        code = folder / "code"
        await asyncio.to_thread(Snapshot.of(step.component.code, step.component.additional_includes).copy_to, code)
        (code / "outputs").mkdir(exist_ok=True)
        tracking = job.tracking
        run_id = None
        if tracking is not None:
            tags = {"tandem.job": job.request.job_name, "tandem.step": step.name}
            run_id = await tracking.create_run(
                job.request.experiment_name, step.name, parent_run_id=job.mlflow_run_id, tags=tags
            )
        texts = {name: self._text(value) for name, value in plan.inputs.items()}
        places = {name: self._paths.text(path) for name, path in outputs.items()}
        text = render_command(step.component.command, texts, places)
        script = None if step.component.environment_variables or step.environment_variables else plain_script(text)
        command = Command(
            text=text,
            folder=code,
            environment=self._environment(job, step, texts, places, run_id),
            log=log,
            script=script,
            modules=imported_modules(code / script[0]) if script else (),
        )
        get_run_logger().info("%s | started", step.name)
        started = time.monotonic()
        try:
            ended, timed_out = await self._execute(command, step)
        except BaseException:
            await self._finish_run(job, run_id, "KILLED")
            raise
        seconds = time.monotonic() - started
        message = _failure(step, ended, timed_out, outputs, log)
        get_run_logger().info("%s | %s after %.1f s", step.name, "failed" if message else "completed", seconds)
        await self._finish_run(job, run_id, "FAILED" if message else "FINISHED")
        if message:
            return StepOutcome(step.name, RunStatus.FAILED, seconds=seconds, log=log, message=message)
        store = job.planner.store
        record = StepRecord(
            key=plan.key,
            step=step.name,
            job_name=job.request.job_name,
            fingerprint=plan.fingerprint,
            outputs={name: await asyncio.to_thread(store.stored, path) for name, path in outputs.items()},
            log=os.path.relpath(log, self._settings.home),
            seconds=round(seconds, 3),
            mlflow_run_id=run_id,
        )
        store.save(record)
        return StepOutcome(
            step.name, RunStatus.COMPLETED, seconds=seconds, outputs=outputs, log=log, mlflow_run_id=run_id
        )

    @staticmethod
    async def _finish_run(job: _Job, run_id: str | None, status: RunEnd) -> None:
        if job.tracking is not None and run_id is not None:
            await job.tracking.finish_run(run_id, status)

    async def _execute(self, command: Command, step: Step) -> tuple[Ended, bool]:
        """Run a command with its output streaming into the flow's log; end it when its time is over or we are."""
        host = await self._processes.host()
        logger = get_run_logger()
        process = await host.run(command)
        tail = asyncio.create_task(_tail(command.log, process, lambda line: logger.info("%s | %s", step.name, line)))
        timed_out = False
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

    def _text(self, value: StepInput | None) -> str | None:
        """What the command receives for an input: a literal's text, or a path to data."""
        if value is None or value.digest is None:
            return None if value is None else value.text
        return self._paths.text(Path(value.text))

    def _environment(
        self, job: _Job, step: Step, inputs: Mapping[str, str | None], outputs: Mapping[str, str], run_id: str | None
    ) -> dict[str, str]:
        """The variables that Azure ML sets for a step, on top of this machine's own, without those of Prefect."""
        request = job.request
        workspace = self._settings.workspace
        experiment = request.experiment_name
        return {
            **self._processes.environment,
            "AZUREML_RUN_ID": f"{request.job_name}-{step.name}",
            "AZUREML_ROOT_RUN_ID": request.job_name,
            "AZUREML_EXPERIMENT_ID": experiment,
            "AZUREML_ARM_SUBSCRIPTION": workspace.get("AZUREML_ARM_SUBSCRIPTION", "local"),
            "AZUREML_ARM_RESOURCEGROUP": workspace.get("AZUREML_ARM_RESOURCEGROUP", "local"),
            "AZUREML_ARM_WORKSPACE_NAME": workspace.get("AZUREML_ARM_WORKSPACE_NAME", "local"),
            **{f"AZURE_ML_INPUT_{name}": text for name, text in inputs.items() if text is not None},
            **{f"AZURE_ML_OUTPUT_{name}": text for name, text in outputs.items()},
            "MLFLOW_EXPERIMENT_NAME": experiment,
            **({} if run_id is None else {"MLFLOW_RUN_ID": run_id}),
            **step.component.environment_variables,
            **step.environment_variables,
        }

    async def _reused(self, job: _Job, name: str, record: StepRecord) -> StepOutcome:
        """Deliver what an earlier run of the step (by whatever name) delivered, its params and metrics too."""
        store, run_id = job.planner.store, record.mlflow_run_id
        if job.tracking is not None and run_id is not None:
            tags = {"tandem.job": job.request.job_name, "tandem.step": name, "tandem.reused_run": run_id}
            copy = await job.tracking.create_run(
                job.request.experiment_name, name, parent_run_id=job.mlflow_run_id, tags=tags
            )
            await job.tracking.copy_run_data(run_id, copy)
            await job.tracking.finish_run(copy, "FINISHED")
            run_id = copy
        return StepOutcome(
            name,
            RunStatus.COMPLETED,
            reused=True,
            seconds=record.seconds,
            outputs={name: store.path(output) for name, output in record.outputs.items()},
            log=self._settings.home / record.log,
            mlflow_run_id=run_id,
            message=f"Reused from the job {record.job_name}.",
        )

    async def _show_not_run(self, step: Step, reason: str, upstream: Sequence[State[Any]]) -> State[Any]:
        """Show a step that does not run: as not ready where it lacks an input, else as canceled."""

        async def not_run() -> State[Any]:
            return Cancelled(message=reason)

        as_task: Any = Task(not_run, name=step.name, task_run_name=step.name)
        get_run_logger().warning("%s | %s", step.name, reason)
        return await as_task(wait_for=upstream, return_state=True)


def _delivered(outcome: RunOutcome, output: str) -> Path:
    path = Path(outcome.outputs.get(output, "")).absolute()
    if output not in outcome.outputs or not path.exists():
        raise RunError(f"The job {outcome.job_name} delivered no output {output!r}; see {outcome.folder}.")
    return path


def _literals(spec: JobSpec) -> dict[str, str]:
    """The literal inputs of a job, as the parameters of its MLflow run."""
    return {name: given.value.text for name, given in spec.inputs.items() if isinstance(given.value, Literal)}


def _missing_upstream(job: _Job, step: Step) -> list[str]:
    """The steps whose outputs a required input of ``step`` lacks."""
    return sorted(
        {
            binding.step
            for name, binding in step.inputs.items()
            if isinstance(binding, StepOutput)
            and binding not in job.delivered
            and not step.component.inputs[name].optional
        }
    )


def _failure(step: Step, ended: Ended, timed_out: bool, outputs: Mapping[str, Path], log: Path) -> str:
    """Say why a step failed, with its last words and where its whole log lies; empty if it did not fail."""
    if timed_out:
        what = f"ran longer than its limit of {step.timeout_seconds} s and was stopped"
    elif ended.code < 0:
        what = f"was ended by the signal {signal.Signals(-ended.code).name}"
        what += " (the machine may have run out of memory)" if ended.code == -signal.SIGKILL else ""
    elif ended.code:
        what = f"failed with exit code {ended.code}"
    else:
        missing = [name for name, path in outputs.items() if not path.exists()]
        if not missing:
            return ""
        what = f"ended well but did not write its output {', '.join(missing)}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    said = "".join(f"\n    {line}" for line in lines)
    return f"The step {step.name} {what}.{said}\n  Whole log: {log}"


async def _end(host: StepHost, process: Process) -> Ended:
    """End a process and all that it has started: first politely, then for good."""
    host.signal(process, signal.SIGTERM)
    try:
        return await asyncio.wait_for(asyncio.shield(process.ended), TERMINATION_GRACE_SECONDS)
    except TimeoutError:
        host.signal(process, signal.SIGKILL)
        return await asyncio.shield(process.ended)


async def _tail(log: Path, process: Process, write: Callable[[str], None]) -> None:
    """Pass the lines of a growing log on as they come, until the process has ended and all is read."""
    rest = b""
    with log.open("rb") as stream:
        over = False
        while True:
            over = process.ended.done()
            *lines, rest = (rest + stream.read()).split(b"\n")
            for line in lines:
                write(line.decode(errors="replace").rstrip("\r"))
            if over:
                break
            await asyncio.wait((process.ended,), timeout=LOG_POLL_SECONDS)
    if rest:
        write(rest.decode(errors="replace"))


def _outcome_of(job: _Job, steps: Iterable[StepOutcome]) -> RunOutcome:
    ended = tuple(steps)
    failed = any(step.status is not RunStatus.COMPLETED for step in ended)
    outputs = {
        binding.name: str(job.delivered[StepOutput(step.name, name)])
        for step in job.spec.steps.values()
        for name, binding in step.outputs.items()
        if StepOutput(step.name, name) in job.delivered
    }
    return RunOutcome(
        job_name=job.request.job_name,
        status=RunStatus.FAILED if failed else RunStatus.COMPLETED,
        steps=ended,
        outputs=outputs,
        mlflow_run_id=job.mlflow_run_id,
        folder=job.folder,
    )


def _description(outcome: RunOutcome) -> dict[str, Any]:
    """The whole outcome as JSON, with paths as text."""
    return json.loads(json.dumps(asdict(outcome), default=str))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


@asynccontextmanager
async def open_local_engine(settings: Settings) -> AsyncGenerator[LocalEngine]:
    """An engine for one flow run; when it is left, no process of it is running any more."""
    processes = take_processes(settings)
    engine = LocalEngine(settings, processes)
    try:
        yield engine
    finally:
        await processes.stop()
        engine.close()
