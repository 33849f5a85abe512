"""Local engine: runs an Azure ML job as a Prefect graph, each step in a process of its own, unchanged steps reused."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import Task, get_run_logger
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State

from flows.data.assets import ResolvedData, resolve_data
from flows.data.digests import change_since, data_digest
from flows.data.store import DataStore
from flows.engines.earlier import EarlierJob
from flows.engines.kind import Where
from flows.engines.local.control.flow import ControlFlow, Ended
from flows.engines.local.earlier_jobs import LocalJobs, ended_outcome
from flows.engines.local.host.processes import LocalProcesses, take_processes
from flows.engines.local.job_runs import JobRuns
from flows.engines.local.shell_paths import ShellPaths
from flows.engines.local.step import StepRunner
from flows.engines.local.sweep.run import LocalSweep
from flows.engines.local.working_folders import WorkingFolders
from flows.engines.plan.environment import own_environments
from flows.engines.plan.steps import Planner, StepPlan
from flows.engines.plan.store import StepRecord
from flows.engines.runs import (
    KeptReport,
    PipelineRequest,
    RunAccount,
    RunOutcome,
    RunStatus,
    StepOutcome,
    Submission,
    Unfinished,
)
from flows.engines.step_events import StepEvent, StepPhase, end_of
from flows.engines.task_runs import report, shown_after, task_state
from flows.errors import RunError, SettingsError, TandemError
from flows.machine.faults import cause_of, state_error
from flows.machine.private import hand_out, make_folder, tighten
from flows.mlflow_store.model_registry import MlflowTracking
from flows.mlflow_store.pages import run_page
from flows.mlflow_store.places import mlflow_place
from flows.prefect_api.server import served_mlflow
from flows.settings import Settings
from flows.spec.graph import order_of
from flows.spec.model.job import JobSpec, Step, StepOutput
from flows.spec.text.names import inside
from flows.tags import ENGINE, ENVIRONMENT, RESUMES

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.tracking import WorkspaceTracking

MLFLOW_UI = "http://127.0.0.1:5000"  # where `make ui` shows the local MLflow store, unless told otherwise


@dataclass(slots=True)
class _Job:
    """A job while it runs: its folder, its MLflow runs, its steps' tasks and what they delivered."""

    request: PipelineRequest
    folder: Path
    planner: Planner
    plans: dict[str, StepPlan]
    runs: JobRuns
    runner: StepRunner
    slots: asyncio.Semaphore
    steps: dict[str, asyncio.Task[Ended]] = field(default_factory=dict[str, asyncio.Task[Ended]])
    delivered: dict[StepOutput, Path] = field(default_factory=dict[StepOutput, Path])
    flow: ControlFlow = field(init=False)
    stopped: bool = False

    @property
    def spec(self) -> JobSpec:
        return self.request.spec

    def step_folder(self, name: str) -> Path:
        return inside(self.folder / "steps", name)

    def note(self, outcome: StepOutcome) -> None:
        """Take note of what a step has delivered, and whether it stops the job."""
        self.delivered.update({StepOutput(outcome.name, name): path for name, path in outcome.outputs.items()})
        if outcome.left_out:
            self.flow.leave_out(outcome.name)
        if outcome.status is RunStatus.FAILED and not self.spec.continue_on_step_failure:
            self.stopped = True


class LocalEngine:
    """Runs jobs on this machine. One engine serves one flow run; use :func:`open_local_engine`."""

    name = "local"
    outlives_process = False

    def __init__(self, settings: Settings, processes: LocalProcesses) -> None:
        self._settings = settings
        self._processes = processes
        self._paths = ShellPaths(settings.home)
        self._working_folders = WorkingFolders(settings.home)
        self._tracking = MlflowTracking(processes)
        self._workspace: WorkspaceTracking | None = None

    @property
    def registry(self) -> MlflowTracking:
        """MLflow's registry, in the local state or on a server."""
        return self._tracking

    def close(self) -> None:
        """Remove what was made for the time of the run."""
        self._paths.close()
        self._working_folders.close()

    async def track_into_workspace(self) -> None:
        """Keep the MLflow runs of the jobs to come in the workspace of the settings; models are registered here.

        Raises:
            SettingsError: There is no such workspace, or no identity that may see it.
            ServiceError: It does not answer.
        """
        from flows.engines.azureml.sdk.tracking import find_tracking

        self._workspace = await find_tracking(self._settings.workspace, self._processes.environment)
        await self._tracking.track_into(self._workspace.uri)

    async def submit(self, request: PipelineRequest) -> Submission:
        """Make the job's folder, and note the environment that it would have in a workspace; nothing runs yet.

        A job that goes on after another is found if it has ended.
        """
        folder = inside(self._settings.jobs, request.job_name)
        try:
            (folder / "steps").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"The folder of local jobs cannot be written: {folder}: {error.strerror}. "
                "Free it, or set TANDEM_HOME to a folder of yours."
            ) from error
        own = await asyncio.to_thread(own_environments, request.spec, self._settings.environments)
        named = {ENVIRONMENT: own[-1].label} if own else {}
        found = RESUMES in request.tags and ended_outcome(folder) is not None
        return Submission(replace(request, tags={**request.tags, **named, ENGINE: self.name}), found=found)

    async def unfinished(self, submission: Submission, seconds: float) -> Unfinished | None:
        """None: what runs here ends with this process."""
        return None

    async def wait(self, submission: Submission) -> RunOutcome:
        """Run the job's steps, each as soon as what it reads is there; return when all are over."""
        request = submission.request
        if submission.found and (ended := ended_outcome(inside(self._settings.jobs, request.job_name))) is not None:
            get_run_logger().info("job %s | has ended before", request.job_name)
            return ended
        planner = Planner(request.spec, self._settings, request.force_rerun, request.python)
        plans = await asyncio.to_thread(planner.known)
        place = mlflow_place(self._settings)
        server = place.tracking if place.is_server and self._workspace is None else None
        runs = JobRuns(self._tracking, request, self._workspace, server)
        job = _Job(
            request=request,
            folder=inside(self._settings.jobs, request.job_name),
            planner=planner,
            plans=plans,
            runs=runs,
            runner=StepRunner(
                self._settings, self._processes, self._paths, self._working_folders, request, runs, planner.store
            ),
            slots=asyncio.Semaphore(max(4, os.cpu_count() or 1)),
            delivered=planner.delivered(plans),
        )
        job.flow = ControlFlow(request.spec.steps, planner, job.delivered, lambda steps: self._start(job, steps))
        # A job that runs nothing has no MLflow run of its own, unless MLflow is in use anyway, or a server keeps models
        # among the artifacts of runs.
        reused = all(name in plans and plans[name].reused for name in request.spec.steps)
        if self._processes.started or server is not None or not reused:
            await runs.open(await asyncio.to_thread(planner.data))
        mlflow_page = await self._mlflow_page(runs.run_id)
        if page := runs.page or mlflow_page:
            get_run_logger().info("job %s | %s", request.job_name, page)
        try:
            running = self._start(job, request.spec.steps)
            for each in running:
                await asyncio.shield(each)
            names = job.flow.in_order(each.get_name() for each in running)
            ended = [job.steps[name].result() for name in names]
        except BaseException:
            for each in job.steps.values():
                each.cancel()
            await asyncio.gather(*job.steps.values(), return_exceptions=True)
            await runs.close(runs.run_id, "KILLED")
            raise
        outcome = _outcome_of(job, [step for step, _ in ended], mlflow_page)
        await runs.close(runs.run_id, "FINISHED" if outcome.status is RunStatus.COMPLETED else "FAILED")
        _write_json(job.folder / "job.json", {**_description(outcome), "decisions": planner.decisions()})
        return outcome

    def failed_by_machine(self, outcome: RunOutcome) -> bool:
        """See :meth:`Engine.failed_by_machine`: there is no other machine to try."""
        return False

    def can_fetch(self, outcome: RunOutcome, output: str) -> bool:
        """See :meth:`Engine.can_fetch`: all is here."""
        return True

    async def fetch(self, outcome: RunOutcome, output: str, folder: Path) -> Path:
        """Copy a named output to ``folder``; what lay there under the same names is replaced."""
        source = _delivered(outcome, output)
        try:
            target = folder / source.name if source.is_file() and folder.is_dir() else folder
            make_folder(target.parent)
            await asyncio.to_thread(hand_out, source, target)
            return target
        except OSError as error:
            raise SettingsError(f"The output {output!r} cannot be written to {folder}: {error}.") from error

    async def bring(self, outcome: RunOutcome, folder: Path) -> RunOutcome:
        """The outcome as it is: all is here."""
        return outcome

    def earlier_jobs(self, spec: JobSpec, name: str | None = None) -> AsyncIterator[EarlierJob]:
        """See :meth:`Engine.earlier_jobs`."""
        return LocalJobs(self._settings).earlier_jobs(spec, name)

    async def bring_output(self, job: EarlierJob, output: StepOutput, type: str, folder: Path) -> Path:
        """Where it is."""
        return Path(job.outputs[output])

    async def resolve_data(self, text: str) -> ResolvedData:
        """Find a data asset under ``data/``, or a file."""
        return await asyncio.to_thread(resolve_data, text, self._settings.data_assets)

    async def data_file(self, data: ResolvedData, folder: Path) -> Path:
        """The file where it is."""
        assert data.path is not None  # what is found on this machine has a path
        return data.path

    async def keep_data(self, data: ResolvedData) -> None:
        """Copy the data into the local state, beside what is registered, unless it was altered since it was read."""
        if data.path is not None and data.sha256 is not None:
            if await asyncio.to_thread(change_since, data.sha256, data.path) is not None:
                get_run_logger().warning("data %s | has changed since it was read: no copy of it is kept", data.label)
                return
            await asyncio.to_thread(DataStore(self._settings.registered_data).keep, data.path, data.sha256)

    async def kept_data(self, sha256: str) -> Path | None:
        """See :meth:`Engine.kept_data`."""
        return await asyncio.to_thread(DataStore(self._settings.registered_data).kept, sha256)

    async def identity(self, outcome: RunOutcome, output: str) -> Mapping[str, str]:
        """The digest of the output's content: the same model, however often it is delivered, is the same."""
        digest = await asyncio.to_thread(data_digest, _delivered(outcome, output))
        return {"tandem.model_sha256": digest}

    async def keep_report(self, outcome: RunOutcome, report: Path, account: RunAccount) -> KeptReport:
        """Keep a report among the artifacts of the job's MLflow run, as its pages or studio show it."""
        if outcome.mlflow_run_id is None:
            return KeptReport(report.as_uri(), "on this machine")
        await self._tracking.log_metrics(outcome.mlflow_run_id, account.metrics)
        await self._tracking.describe_run(outcome.mlflow_run_id, account.tags, account.description)
        page = await self._tracking.log_folder(outcome.mlflow_run_id, report.parent, "evaluation")
        await asyncio.to_thread(tighten, self._settings.mlflow_artifacts / outcome.mlflow_run_id)
        if self._workspace is not None and outcome.url is not None:
            return KeptReport(outcome.url, "in Azure ML studio")  # which has a page of the run, but not of its files
        place = mlflow_place(self._settings)
        if place.is_server:
            return KeptReport(f"{place.tracking}{page}/{report.name}", "in MLflow")
        base = served_mlflow(self._settings.prefect_home) or MLFLOW_UI
        return KeptReport(f"{base}{page}/{report.name}", "in MLflow, which `tandem ui` shows")

    async def _mlflow_page(self, run_id: str | None) -> str | None:
        """The page of a run that the local state keeps, if there is one, and ``tandem ui`` shows it now."""
        base = served_mlflow(self._settings.prefect_home) if mlflow_place(self._settings).is_own else None
        if run_id is None or base is None or self._workspace is not None:
            return None
        return run_page(base, await self._tracking.page_of_run(run_id))

    def _start(self, job: _Job, steps: Mapping[str, Step]) -> list[asyncio.Task[Ended]]:
        """Start steps, each of which waits for those before it; what a loop repeats is left to that loop."""
        names = [name for name in order_of(steps) if steps[name].when.loop is None]
        for name in names:
            job.steps[name] = asyncio.create_task(self._step(job, steps[name]), name=name)
        return [job.steps[name] for name in names]

    async def _step(self, job: _Job, step: Step) -> Ended:
        """Wait for the upstream steps, then run this one as a Prefect task, or say why it does not run."""
        upstream = [await asyncio.shield(job.steps[name]) for name in sorted(step.upstream) if name in job.steps]
        if (outcome := _why_not_run(job, step)) is not None:
            job.note(outcome)
            return outcome, await self._show_ended(end_of(outcome), [state for _, state in upstream])
        if step.control is not None:
            return await self._control(job, step, [state for _, state in upstream])
        plan = job.plans.get(step.name) or await asyncio.to_thread(job.planner.plan, step, job.delivered)
        outcomes: list[StepOutcome] = []

        async def run_step() -> Any:
            if job.slots.locked():
                report(StepEvent(step.name, StepPhase.QUEUED))
            try:
                async with job.slots:
                    outcome = await self._run(job, plan)
            except TandemError as error:
                outcome = StepOutcome(step.name, RunStatus.FAILED, message=f"The step {step.name} failed: {error}")
            except Exception as error:
                if cause_of(error) is None:
                    raise
                told = state_error(error, job.folder)
                outcome = StepOutcome(step.name, RunStatus.FAILED, message=f"The step {step.name} failed: {told}")
            outcomes.append(outcome)
            ended = end_of(outcome)
            report(ended)
            if outcome.status is RunStatus.COMPLETED:
                return None  # Prefect would remember any other by its address, and draw an edge to whatever gets that
            return task_state(ended)

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
        # A step that did not complete is read through an optional input only; this step does not wait for it.
        delivered = [state for _, state in upstream if state.is_completed()]
        state: State[Any] = await as_task(wait_for=delivered, return_state=True)
        if outcomes:
            outcome = outcomes[0]
        elif state.is_completed() and plan.record is not None:
            outcome = await self._reused(job, step.name, plan.record)
            report(end_of(outcome, source=plan.record.job_name))
        else:
            outcome = StepOutcome(step.name, RunStatus.FAILED, message=state.message or f"The step {step.name} failed.")
            report(end_of(outcome))
        job.note(outcome)
        return outcome, state

    async def _control(self, job: _Job, step: Step, upstream: Sequence[State[Any]]) -> Ended:
        """Decide a choice, or run a loop, and show it below what it waited for and ran."""
        states: Sequence[State[Any]] = ()
        try:
            outcome, states = await job.flow.run(step, job.step_folder(step.name))
            get_run_logger().info("%s | %s", step.name, outcome.message)
        except TandemError as error:
            outcome = StepOutcome(step.name, RunStatus.FAILED, message=f"The step {step.name} failed: {error}")
        job.note(outcome)
        return outcome, await self._show_ended(end_of(outcome), [*upstream, *states])

    async def _run(self, job: _Job, plan: StepPlan) -> StepOutcome:
        folder = job.step_folder(plan.step.name)
        if plan.step.sweep is None:
            return await job.runner.run(plan, folder)
        name = job.request.job_name
        sweep = LocalSweep(name, plan, folder, job.delivered, job.planner, job.runner, job.runs, self._tracking)
        return await sweep.run()

    async def _reused(self, job: _Job, name: str, record: StepRecord) -> StepOutcome:
        """Deliver the outputs, params and metrics of an earlier run, in which the step may have had another name."""
        store = job.planner.store
        run_id = await job.runs.repeat_step(name, record.mlflow_run_id)
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

    async def _show_ended(self, event: StepEvent, upstream: Sequence[State[Any]]) -> State[Any]:
        """Show a step that runs nothing, below those that it waited for."""

        async def over() -> State[Any]:
            return task_state(event, upstream, datetime.now(UTC))

        as_task: Any = Task(over, name=event.step, task_run_name=event.step)
        report(event)
        return await as_task(wait_for=shown_after(upstream), return_state=True)


def _delivered(outcome: RunOutcome, output: str) -> Path:
    path = Path(outcome.outputs.get(output, "")).absolute()
    if output not in outcome.outputs or not path.exists():
        raise RunError(f"The job {outcome.job_name} delivered no output {output!r}; see {outcome.where}.")
    return path


def _why_not_run(job: _Job, step: Step) -> StepOutcome | None:
    """The outcome of a step that does not run: a choice leaves it out, or another step failed; None if it runs."""
    missing = _missing_upstream(job, step)
    if (why := job.flow.why_left_out(step, missing)) is not None:
        message = f"The step {step.name} did not run: {why}."
        return StepOutcome(step.name, RunStatus.NOT_STARTED, left_out=True, message=message)
    undecided = job.flow.why_undecided(step)
    if missing or undecided or job.stopped:
        reason = f"{' and '.join(missing)} did not deliver." if missing else "another step failed."
        reason = f"{undecided} was not decided." if undecided and not missing else reason
        return StepOutcome(step.name, RunStatus.NOT_STARTED, message=f"The step {step.name} did not run: {reason}")
    return None


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


def _outcome_of(job: _Job, steps: Iterable[StepOutcome], mlflow_page: str | None) -> RunOutcome:
    ended = tuple(steps)
    failed = not all(step.is_fine for step in ended)
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
        tags=job.request.tags,
        where=str(job.folder),
        url=job.runs.page,
        mlflow_run_id=job.runs.run_id,
        mlflow_page=mlflow_page,
    )


def _description(outcome: RunOutcome) -> dict[str, Any]:
    """The whole outcome as JSON, with paths as text."""
    return json.loads(json.dumps(asdict(outcome), default=str))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


@asynccontextmanager
async def open_local_engine(
    settings: Settings, tracking: Where = "local", python: Path | None = None
) -> AsyncGenerator[LocalEngine]:
    """An engine for one flow run; when it is left, no process of it is running any more."""
    processes = take_processes(settings, tracking, python)
    engine = LocalEngine(settings, processes)
    try:
        if tracking == "azureml":
            await engine.track_into_workspace()
        yield engine
    finally:
        await processes.stop()
        engine.close()
