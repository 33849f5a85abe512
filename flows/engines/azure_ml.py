"""The Azure ML engine: the same YAML submitted through the SDK, every child job shown as a task run of the flow run."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prefect import Task, get_run_logger
from prefect.artifacts import acreate_link_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.azure_model_registry import AzureModelRegistry
from flows.data_assets import ResolvedData, is_path, resolve_data
from flows.engines.azure.connection import AlreadyThereError
from flows.engines.azure.jobs import RemoteJob
from flows.engines.azure.workspace import Workspace, open_workspace
from flows.engines.plan import find_environment_file
from flows.engines.polling import QUEUED, TERMINAL, Patience, Watch
from flows.engines.snapshot import Snapshot
from flows.errors import DataAssetError, RunError, ServiceError, SettingsError
from flows.runs import PipelineRequest, RunOutcome, RunStatus, StepOutcome, Submission
from flows.settings import Settings
from flows.spec.bind import with_environment
from flows.spec.graph import order
from flows.spec.model import JobKind, Step

LAST_LINES = 20
SUBMIT_TRIES = 4
READ_TRIES = 5
RETRY_SECONDS = 2.0
CANCEL_SECONDS = 25.0  # Prefect grants 30 s between SIGTERM and SIGKILL
PROGRESS_SECONDS = 60.0

R = TypeVar("R")


@dataclass(slots=True)
class _Picture:
    """What is known of a job while it runs; whoever waits for a change of it is woken."""

    job: RemoteJob
    children: dict[str, RemoteJob] = field(default_factory=dict[str, RemoteJob])
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def over(self) -> bool:
        return self.job.status in TERMINAL


class AzureMlEngine:
    """Runs jobs in an Azure ML workspace. One engine serves one flow run; use :func:`open_azure_ml_engine`."""

    name = "azureml"

    def __init__(self, settings: Settings, workspace: Workspace, patience: Patience) -> None:
        self._settings = settings
        self._workspace = workspace
        self._patience = patience
        self._registry = AzureModelRegistry(workspace)

    @property
    def registry(self) -> AzureModelRegistry:
        """The registry of the workspace."""
        return self._registry

    async def resolve_data(self, text: str) -> ResolvedData:
        """Find a data asset in the workspace; one that is only under ``data/`` is made there first. A file is uploaded
        by the submission itself."""
        if is_path(text):
            return await asyncio.to_thread(resolve_data, text, self._settings.data_assets)
        name, _, version = text.removeprefix("azureml:").replace("@latest", "").partition(":")
        found = await _read(lambda: self._workspace.assets.find_data(name, version or None))
        if found is None:
            local = await asyncio.to_thread(resolve_data, text, self._settings.data_assets)
            if local.definition is None:
                raise DataAssetError(f"There is no data asset {text!r} in the workspace {self._workspace.name}.")
            definition = local.definition
            found = await _read(lambda: self._workspace.assets.create_data(definition))
        return ResolvedData(f"{name}:{found[0]}", found[1], None, name, found[0])

    async def submit(self, request: PipelineRequest) -> Submission:
        """Send a job exactly once: its name is looked up before it is sent, and after any doubt."""
        job = await _read(lambda: self._workspace.jobs.find(request.job_name))
        if job is not None:
            get_run_logger().info("job %s | found in the workspace, submitted before", request.job_name)
        else:
            job = await self._send(await self._prepared(request))
        if job.url is not None:
            get_run_logger().info("job %s | %s", request.job_name, job.url)
        return Submission(request, job.url)

    async def wait(self, submission: Submission) -> RunOutcome:
        """Wait until the job is over, its children shown as task runs; if we are stopped, so is the job."""
        request = submission.request
        job = await _read(lambda: self._workspace.jobs.find(request.job_name))
        if job is None:
            raise RunError(f"The job {request.job_name} is not in the workspace {self._workspace.name} any more.")
        picture = _Picture(job)
        watching = asyncio.create_task(self._watch(request, picture))
        steps = _Steps(self._workspace, request, picture)
        try:
            shown = asyncio.gather(*(steps.start(name) for name in order(request.spec)))
            await watching
            outcomes = await shown
        except BaseException:
            watching.cancel()
            if not picture.over:
                await self._stop(request.job_name)  # nobody waits for it any more
            raise
        finally:
            await steps.close()
        return RunOutcome(
            job_name=request.job_name,
            status=RunStatus(picture.job.status),
            steps=tuple(outcomes),
            outputs={name: f"azureml://jobs/{request.job_name}/outputs/{name}" for name in request.spec.outputs},
            url=submission.url,
            # The SDK cannot download a model-typed output (TypeError in 1.33 to 1.35.2); the registry can deliver it.
            remote_only=frozenset(name for name, port in request.spec.outputs.items() if port.type.endswith("_model")),
        )

    async def fetch(self, outcome: RunOutcome, output: str, folder: Path) -> Path:
        """Download a named output; that it has come is checked, since the SDK brings nothing in silence."""
        if not await _read(lambda: self._workspace.jobs.download(outcome.job_name, output, folder)):
            raise RunError(f"The job {outcome.job_name} delivered no output {output!r}; nothing was downloaded.")
        return folder

    async def identity(self, outcome: RunOutcome, output: str) -> Mapping[str, str]:
        """The job and the output: what one job delivers under one name never changes."""
        return {"tandem.model_of": f"{outcome.job_name}/{output}"}

    async def keep_report(self, outcome: RunOutcome, folder: Path, metrics: Mapping[str, float | None]) -> str:
        """The job's page in studio, which has its outputs and metrics."""
        return outcome.url or folder.as_uri()

    async def _prepared(self, request: PipelineRequest) -> PipelineRequest:
        """See that what the job names is in the workspace: its compute targets, and our environment as it is now."""
        computes = {step.compute for step in request.spec.steps.values()} | {request.spec.default_compute}
        for compute in sorted(name.removeprefix("azureml:") for name in computes if name):
            if not await _read(lambda name=compute: self._workspace.computes.has(name)):
                known = ", ".join(await _read(self._workspace.computes.names)) or "none"
                raise SettingsError(
                    f"There is no compute target {compute!r} in the workspace {self._workspace.name}; it has: {known}. "
                    "Nothing was submitted. Choose one with --compute_name."
                )
        spec = request.spec
        names = {step.component.environment.reference for step in spec.steps.values() if step.component.environment}
        for reference in sorted(name for name in names if name and name.endswith("@latest")):
            name = reference.removeprefix("azureml:").removesuffix("@latest")
            file = find_environment_file(reference, self._settings.environments)
            if file is None:
                continue  # one of the workspace's own
            version = Snapshot.of(file.parent).digest()[:12]
            await _read(lambda name=name, file=file, version=version: self._ensure(file, name, version))
            spec = with_environment(spec, f"{name}:{version}")
        return PipelineRequest(spec, request.job_name, request.experiment_name, request.tags, request.force_rerun)

    async def _ensure(self, file: Path, name: str, version: str) -> None:
        await self._workspace.assets.ensure_environment(file, name, version)

    async def _send(self, request: PipelineRequest) -> RemoteJob:
        logger = get_run_logger()
        logger.info("job %s | submitting to the workspace %s", request.job_name, self._workspace.name)
        for tries in range(1, SUBMIT_TRIES + 1):
            try:
                return await self._workspace.jobs.submit(
                    request.spec, request.job_name, request.experiment_name, request.tags, request.force_rerun
                )
            except (ServiceError, AlreadyThereError) as error:
                found = await _read(lambda: self._workspace.jobs.find(request.job_name))
                if found is not None:
                    return found
                if tries == SUBMIT_TRIES or not isinstance(error, ServiceError):
                    raise
                logger.warning("job %s | not submitted yet: %s", request.job_name, error)
                await asyncio.sleep(RETRY_SECONDS * tries)
        raise AssertionError("unreachable")

    async def _watch(self, request: PipelineRequest, picture: _Picture) -> None:
        """Look at the job until it is over or overdue, often while something changes and seldom while nothing does."""
        logger, watch = get_run_logger(), Watch(self._patience)
        said, said_at = "", 0.0
        while True:
            now = time.monotonic()
            try:
                job = await self._workspace.jobs.find(request.job_name)
                if job is None:
                    raise RunError(f"The job {request.job_name} is gone from the workspace.")
                is_pipeline = request.spec.kind is JobKind.PIPELINE
                children = await self._workspace.jobs.children(request.job_name) if is_pipeline else (job,)
            except ServiceError as error:
                watch.missed(now)
                logger.debug("job %s | not seen this time: %s", request.job_name, error)
            else:
                picture.children = _by_step(request, children)
                status = _effective_status(job, picture.children.values())
                watch.observe(now, status, (job.status, *((name, c.status) for name, c in picture.children.items())))
                async with picture.changed:
                    picture.job = job
                    picture.changed.notify_all()
                line = _progress(request, status, picture.children)
                if line != said or now - said_at >= PROGRESS_SECONDS:
                    queued, ran = watch.queued_seconds, watch.running_seconds
                    logger.info("job %s | %s, queued %.0f s, running %.0f s", request.job_name, line, queued, ran)
                    said, said_at = line, now
                if picture.over:
                    return
            reason = watch.overdue(now)
            if reason is not None:
                await self._stop(request.job_name)
                raise RunError(f"The job {request.job_name} was canceled because {reason}.")
            await asyncio.sleep(watch.interval)

    async def _stop(self, job_name: str) -> None:
        """Cancel a job and wait, as long as we may, until it is really over."""
        logger, end = get_run_logger(), time.monotonic() + CANCEL_SECONDS
        logger.warning("job %s | canceling", job_name)
        asked = False
        while time.monotonic() < end:
            try:
                job = await self._workspace.jobs.find(job_name)
                if job is None or job.status in TERMINAL:
                    logger.warning("job %s | over: %s", job_name, "gone" if job is None else job.status)
                    return
                if not asked:
                    await self._workspace.jobs.cancel(job_name)
                    asked = True
            except ServiceError:
                pass  # asked again until the time is over
            await asyncio.sleep(0.5)
        logger.error("job %s | may still be running; see its page in studio", job_name)


class _Steps:
    """The steps of a job as Prefect task runs, each as long as its child job."""

    def __init__(self, workspace: Workspace, request: PipelineRequest, picture: _Picture) -> None:
        self._workspace = workspace
        self._request = request
        self._picture = picture
        self._running: dict[str, asyncio.Task[tuple[StepOutcome, State[Any]]]] = {}

    async def start(self, name: str) -> StepOutcome:
        """Show one step; returns when its child job is over."""
        step = self._request.spec.steps[name]
        self._running[name] = asyncio.create_task(self._show(step), name=name)
        return (await asyncio.shield(self._running[name]))[0]

    async def close(self) -> None:
        """Let go of steps that are still shown."""
        for running in self._running.values():
            running.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _show(self, step: Step) -> tuple[StepOutcome, State[Any]]:
        upstream = [(await asyncio.shield(self._running[name]))[1] for name in sorted(step.upstream)]
        outcomes: list[StepOutcome] = []
        # Its task run begins when the child job leaves the queue, as its start is understood.
        await self._until(lambda: self._picture.over or self._started(step.name))

        async def run_step() -> State[Any]:
            await self._until(lambda: self._picture.over or self._status(step.name) in TERMINAL)
            outcome = await self._outcome(step)
            outcomes.append(outcome)
            return _state(outcome)

        as_task: Any = Task(run_step, name=step.name, task_run_name=step.name)
        delivered = [state for state in upstream if state.is_completed()]
        state: State[Any] = await as_task(wait_for=delivered, return_state=True)
        outcome = (
            outcomes[0] if outcomes else StepOutcome(step.name, RunStatus.NOT_STARTED, message=state.message or "")
        )
        return outcome, state

    def _status(self, name: str) -> str:
        child = self._picture.children.get(name)
        return "NotStarted" if child is None else child.status

    def _started(self, name: str) -> bool:
        return self._status(name) not in QUEUED

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with self._picture.changed:
            await self._picture.changed.wait_for(holds)

    async def _outcome(self, step: Step) -> StepOutcome:
        child, logger = self._picture.children.get(step.name), get_run_logger()
        if child is None:
            return StepOutcome(step.name, RunStatus.NOT_STARTED, message=f"The step {step.name} did not run.")
        if child.url is not None:
            await acreate_link_artifact(child.url, link_text=f"{step.name} in studio", key=f"job-{_key(child.name)}")
        if child.status == "Completed":
            logger.info("%s | %s", step.name, "reused" if child.reused else "completed")
            return StepOutcome(step.name, RunStatus.COMPLETED, reused=child.reused)
        if child.status == "Canceled":
            return StepOutcome(step.name, RunStatus.CANCELED, message=f"The step {step.name} was canceled.")
        if child.status != "Failed":
            return StepOutcome(step.name, RunStatus.NOT_STARTED, message=f"The step {step.name} did not run.")
        error, log = (
            await self._workspace.jobs.error_of(child.name),
            await self._workspace.jobs.log_of(child.name, LAST_LINES),
        )
        said = "".join(f"\n    {line}" for line in log.splitlines())
        message = f"The step {step.name} failed (job {child.name}): {error or 'no reason given'}.{said}"
        return StepOutcome(step.name, RunStatus.FAILED, message=message)


def _state(outcome: StepOutcome) -> State[Any]:
    match outcome.status:
        case RunStatus.COMPLETED:
            return Completed(name="Cached", message="Reused.") if outcome.reused else Completed()
        case RunStatus.FAILED:
            return Failed(message=outcome.message)
        case _:
            return Cancelled(message=outcome.message)


def _by_step(request: PipelineRequest, children: Sequence[RemoteJob]) -> dict[str, RemoteJob]:
    """The child jobs by the name of their step; the child of a command job is the job itself."""
    if request.spec.kind is JobKind.COMMAND:
        return dict(zip(request.spec.steps, children, strict=True))
    return {child.display_name: child for child in children if child.display_name in request.spec.steps}


def _effective_status(job: RemoteJob, children: "Any") -> str:
    """A pipeline job says Running while its children wait for a machine; for us that is queued time."""
    active = [child.status for child in children if child.status not in TERMINAL]
    return "Queued" if job.status == "Running" and active and all(status in QUEUED for status in active) else job.status


def _progress(request: PipelineRequest, status: str, children: Mapping[str, RemoteJob]) -> str:
    done = sum(child.status == "Completed" for child in children.values())
    running = [name for name, child in children.items() if child.status not in QUEUED | TERMINAL]
    return f"{status}, {done} of {len(request.spec.steps)} steps done" + (
        f", running {', '.join(running)}" if running else ""
    )


async def _read(call: Callable[[], Awaitable[R]]) -> R:
    """Make a call that may be repeated freely, through passing trouble."""
    for tries in range(1, READ_TRIES):
        try:
            return await call()
        except ServiceError:
            await asyncio.sleep(RETRY_SECONDS * tries)
    return await call()


def _key(name: str) -> str:
    """A name as Prefect takes it for the key of an artifact."""
    plain = "".join(sign if sign.isalnum() else "-" for sign in name.lower()).strip("-")
    return plain if len(plain) <= 60 else hashlib.sha256(name.encode()).hexdigest()[:20]


@asynccontextmanager
async def open_azure_ml_engine(settings: Settings, patience: Patience) -> AsyncGenerator[AzureMlEngine]:
    """An engine for one flow run."""
    async with open_workspace(settings) as workspace:
        yield AzureMlEngine(settings, workspace, patience)
