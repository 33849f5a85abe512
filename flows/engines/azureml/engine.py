"""Azure ML engine: submits the same YAML through the SDK, exactly once, and waits until the job has ended."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from flows.data.assets import ResolvedData, asset_named, is_path, other_data_here, resolve_data
from flows.engines.azureml.earlier_jobs import download_output, earlier_job, found_jobs, with_addresses
from flows.engines.azureml.failures import is_infrastructure
from flows.engines.azureml.iterations import children_by_step, expected
from flows.engines.azureml.made_of import what_it_is_made_of
from flows.engines.azureml.refused_job import refusal_of
from flows.engines.azureml.registry import AzureModelRegistry
from flows.engines.azureml.sdk.connection import RefusedError
from flows.engines.azureml.sdk.jobs import RemoteJob
from flows.engines.azureml.sdk.retries import create_once, persistently
from flows.engines.azureml.sdk.workspace import Workspace, open_workspace
from flows.engines.azureml.steps import JobProgress, Steps
from flows.engines.azureml.stopping import stop_job
from flows.engines.earlier import EarlierJob
from flows.engines.plan.environment import own_environments
from flows.engines.polling import QUEUED, TERMINAL, Timeouts, Watch, covered_seconds
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
from flows.errors import DataAssetError, RunError, ServiceError, SettingsError, UserError
from flows.machine.private import hand_out_text, make_folder
from flows.settings import Settings
from flows.spec.bind import with_environment
from flows.spec.model.job import JobKind, JobSpec, StepOutput
from flows.spec.text.names import inside
from flows.tags import ENGINE, ENVIRONMENT, MADE_OF

CANCELED = frozenset({"CancelRequested", "Canceled"})
CANCEL_SECONDS = 25.0  # Prefect grants 30 s between SIGTERM and SIGKILL
PROGRESS_SECONDS = 60.0
LAGGING_LOOKS = 4
LAG_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _EndedJob:
    """What else is known of a job that was waited for: its child jobs by step, and whether its machines failed it."""

    spec: JobSpec
    children: Mapping[str, RemoteJob]
    by_machine: bool

    def made_by(self, output: str) -> Iterator[tuple[str, str]]:
        """The child job that has made an output of a pipeline, and its own name for it."""
        for name, child in self.children.items() if self.spec.kind is JobKind.PIPELINE else ():
            step = self.spec.steps.get(name)
            for port, bound in {} if step is None else step.outputs.items():
                if bound.name == output:
                    yield child.name, port


class AzureMlEngine:
    """Runs jobs in an Azure ML workspace. One engine serves one flow run; use :func:`open_azure_ml_engine`."""

    name = "azureml"
    outlives_process = True

    def __init__(self, settings: Settings, workspace: Workspace, timeouts: Timeouts) -> None:
        self._settings = settings
        self._workspace = workspace
        self._timeouts = timeouts
        self._registry = AzureModelRegistry(workspace)
        self._ended: dict[str, _EndedJob] = {}

    @property
    def registry(self) -> AzureModelRegistry:
        """The registry of the workspace."""
        return self._registry

    async def resolve_data(self, text: str) -> ResolvedData:
        """Find a data asset in the workspace; one that is only under ``data/`` is made there first. A file is uploaded
        by the submission itself."""
        if is_path(text):
            return await asyncio.to_thread(resolve_data, text, self._settings.data_assets)
        wanted = asset_named(text)
        name = wanted.name
        found = await persistently(lambda: self._workspace.assets.find_data(name, wanted.version))
        if found is None:
            local = await asyncio.to_thread(resolve_data, text, self._settings.data_assets)
            if local.definition is None:
                raise DataAssetError(f"There is no data asset {text!r} in the workspace {self._workspace.name}.")
            definition = local.definition
            found = await self._workspace.assets.create_data(definition, local.path)
        label = f"{name}:{found.version}"
        data = ResolvedData(label, found.type, None, name, found.version, found.sha256, registered=found.registered)
        if other := await asyncio.to_thread(other_data_here, text, data, self._settings.data_assets):
            get_run_logger().warning("data %s | of the workspace; %s", data.label, other)
        return data

    async def data_file(self, data: ResolvedData, folder: Path) -> Path:
        """The file where it is, or downloaded from the workspace."""
        if data.path is not None:
            return data.path
        name, version = str(data.name), str(data.version)
        return await persistently(lambda: self._workspace.data_files.download(name, version, folder))

    async def keep_data(self, data: ResolvedData) -> None:
        """Nothing: the workspace has a copy of what a job was given, an upload or a data asset."""

    async def kept_data(self, sha256: str) -> Path | None:
        """None: data is found in the workspace by its name and version."""
        return None

    async def submit(self, request: PipelineRequest) -> Submission:
        """Send a job exactly once: its name is looked up before it is sent, and again after an unclear answer."""
        if request.spec.is_component:
            raise UserError(
                f"{request.spec.source} is a component, which Azure ML runs only as a step of a pipeline. "
                "Write a pipeline with this step, or run it with --engine local."
            )
        job = await persistently(lambda: self._workspace.jobs.find(request.job_name))
        if job is not None and job.status in CANCELED:
            return Submission(request, job.url, canceled=True, found=True)
        found = job is not None
        if job is not None:
            get_run_logger().info("job %s | found in the workspace, submitted before", request.job_name)
        else:
            job = await self._send(await self._prepared(request))
        if job.url is not None:
            get_run_logger().info("job %s | %s", request.job_name, job.url)
        return Submission(request, job.url, found=found)

    async def unfinished(self, submission: Submission, seconds: float) -> Unfinished | None:
        """See :meth:`Engine.unfinished`. A job that is overdue or does not respond has to be waited for."""
        request, end = submission.request, time.monotonic() + seconds
        job, children = await persistently(lambda: self._look(request))
        watch = await self._watch_of(submission, job, children)
        while True:
            now, status = time.monotonic(), _effective_status(job, children.values())
            watch.observe(now, status, status)
            if status in TERMINAL or status == "NotResponding" or watch.overdue(now) is not None:
                return None
            if now >= end:
                return Unfinished(status, watch.limit_seconds())
            await asyncio.sleep(min(watch.interval, end - now))
            job, children = await persistently(lambda: self._look(request))

    async def wait(self, submission: Submission) -> RunOutcome:
        """Wait until the job is over, and show its children as task runs. If the wait is canceled, the job is too."""
        request = submission.request
        # With its children: what is over already is shown at once, as it was.
        job, children = await persistently(lambda: self._look(request))
        progress, watch = JobProgress(job, children), await self._watch_of(submission, job, children)
        watching = asyncio.create_task(self._watch(request, progress, watch))
        steps = Steps(self._workspace.jobs, request, progress)
        shown = asyncio.create_task(steps.show_all())
        try:
            await watching
            outcomes = await shown
        except BaseException:
            watching.cancel()
            if not progress.over:
                await self._stop(request.job_name)  # nobody waits for it any more
            raise
        finally:
            await steps.close()
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
        error = await self._failure(progress, steps)
        by_machine = bool(error) and all(map(is_infrastructure, error))
        self._ended[request.job_name] = _EndedJob(request.spec, progress.children, by_machine)
        return RunOutcome(
            job_name=request.job_name,
            status=RunStatus.FAILED if progress.given_up else RunStatus(progress.job.status),
            steps=tuple(outcomes),
            outputs={name: f"azureml://jobs/{request.job_name}/outputs/{name}" for name in request.spec.outputs},
            tags=progress.job.tags,
            where=request.job_name,
            url=submission.url,
            mlflow_run_id=request.job_name,  # Azure ML gives a job's run the name of the job
            message=_job_message(request.job_name, error)
            if progress.job.status == "Failed" or progress.given_up
            else "",
        )

    def failed_by_machine(self, outcome: RunOutcome) -> bool:
        """See :meth:`Engine.failed_by_machine`. It is decided by the errors of the steps."""
        return self._ended[outcome.job_name].by_machine

    def can_fetch(self, outcome: RunOutcome, output: str) -> bool:
        """See :meth:`Engine.can_fetch`: models stay, since the SDK cannot download them (1.33 to 1.35.2)."""
        port = self._ended[outcome.job_name].spec.outputs.get(output)
        return port is None or not port.type.endswith("_model")

    async def fetch(self, outcome: RunOutcome, output: str, folder: Path) -> Path:
        """Download a named output of the job, or else of the child that made it. The SDK is silent if nothing comes."""
        ended, download = self._ended[outcome.job_name], self._workspace.jobs.download
        is_file = output in ended.spec.outputs and ended.spec.outputs[output].type == "uri_file"
        for job, name in ((outcome.job_name, output), *ended.made_by(output)):
            if await persistently(lambda job=job, name=name: download(job, name, folder, is_file=is_file)):
                return folder
        raise RunError(f"The job {outcome.job_name} delivered no output {output!r}; nothing was downloaded.")

    async def bring(self, outcome: RunOutcome, folder: Path) -> RunOutcome:
        """See :meth:`Engine.bring`. Outputs of steps that are not outputs of the job stay in the workspace."""
        outputs = dict(outcome.outputs)
        for name in (name for name in outcome.outputs if self.can_fetch(outcome, name)):
            try:
                outputs[name] = str(await self.fetch(outcome, name, inside(folder / "outputs", name)))
            except RunError:
                if outcome.status is RunStatus.COMPLETED:
                    raise
                del outputs[name]
        steps = await asyncio.gather(*(self._with_log(outcome, step, folder) for step in outcome.steps))
        return replace(outcome, outputs=outputs, steps=tuple(steps))

    async def identity(self, outcome: RunOutcome, output: str) -> Mapping[str, str]:
        """What a command job is made of, as long as its run was not forced; else the job, whose outputs never change.

        The service reuses what is unchanged in a pipeline. It runs a command job again, which delivers the same.
        """
        if made_of := outcome.tags.get(MADE_OF):
            return {MADE_OF: f"{made_of}/{output}"}
        return {"tandem.model_of": f"{outcome.job_name}/{output}"}

    async def keep_report(self, outcome: RunOutcome, report: Path, account: RunAccount) -> KeptReport:
        """The job's page in studio, which has its outputs and metrics."""
        if outcome.url is None:
            return KeptReport(report.as_uri(), "on this machine")
        return KeptReport(outcome.url, "in Azure ML studio")

    async def earlier_jobs(self, spec: JobSpec, name: str | None = None) -> AsyncIterator[EarlierJob]:
        """See :meth:`Engine.earlier_jobs`. Of the jobs of a file, the newest are looked at."""
        for job in await found_jobs(self._workspace.jobs, spec, name):
            request = PipelineRequest(spec, job.name, "")
            children = await persistently(lambda request=request, job=job: self._children(request, job))
            yield earlier_job(spec, job, children)

    async def bring_output(self, job: EarlierJob, output: StepOutput, type: str, folder: Path) -> Path:
        """Downloaded to ``folder``."""
        return await download_output(self._workspace.jobs, job, output, type, folder)

    async def _with_log(self, outcome: RunOutcome, step: StepOutcome, folder: Path) -> StepOutcome:
        """A step with its log in a folder, if it ran."""
        child = self._ended[outcome.job_name].children.get(step.name)
        if child is None:
            return step
        log = inside(folder / "steps", step.name) / "logs" / "std_log.txt"
        make_folder(log.parent)
        hand_out_text(await self._workspace.jobs.log_of(child.name), log)
        return replace(step, log=log)

    async def _children(self, request: PipelineRequest, job: RemoteJob) -> dict[str, RemoteJob]:
        """The child jobs by the name of their step; the child of a job that is no pipeline is the job itself."""
        if request.spec.kind is not JobKind.PIPELINE:
            return dict.fromkeys(request.spec.steps, job)
        found = await children_by_step(request.spec, job.name, self._workspace.jobs.children)
        return {
            name: child if child.url else replace(child, url=_sibling_page(job, child.name))
            for name, child in found.items()
        }

    async def _failure(self, progress: JobProgress, steps: Steps) -> tuple[str, ...]:
        """What Azure ML says of each step that failed; if none did, what it says of the job."""
        if progress.given_up:
            return (f"NotResponding: {progress.given_up}",)
        if progress.job.status != "Failed":
            return ()
        return tuple(steps.errors.values()) or (await self._workspace.jobs.error_of(progress.job.name),)

    async def _prepared(self, request: PipelineRequest) -> PipelineRequest:
        """Check that the compute targets of the job are there, and make the environments of ours that it uses."""
        for compute in _named_computes(request.spec):
            if not await persistently(lambda name=compute: self._workspace.computes.has(name)):
                known = ", ".join(await persistently(self._workspace.computes.names)) or "none"
                raise SettingsError(
                    f"There is no compute target {compute!r} in the workspace {self._workspace.name}; it has: {known}. "
                    f"Nothing was submitted. Make it with `tandem compute create {compute}`, or choose --compute_name."
                )
        spec, tags = request.spec, {**request.tags, ENGINE: self.name}
        if spec.left_out:
            spec = await with_addresses(self._workspace.jobs, spec)
        for own in await asyncio.to_thread(own_environments, spec, self._settings.environments):
            await self._workspace.assets.ensure_environment(own.file, own.name, own.version)
            spec = with_environment(spec, own.label)
            tags[ENVIRONMENT] = own.label
        if not request.force_rerun and (made_of := await asyncio.to_thread(what_it_is_made_of, spec)):
            tags[MADE_OF] = made_of
        return replace(request, spec=spec, tags=tags)

    async def _send(self, request: PipelineRequest) -> RemoteJob:
        logger = get_run_logger()
        logger.info("job %s | submitting to the workspace %s", request.job_name, self._workspace.name)
        try:
            # A file or an asset that someone else makes at this moment is there at the next try.
            return await create_once(
                lambda: self._workspace.jobs.submit(
                    request.spec, request.job_name, request.experiment_name, request.tags, request.force_rerun
                ),
                lambda: self._workspace.jobs.find(request.job_name),
                lambda error: logger.warning("job %s | not submitted yet: %s", request.job_name, error),
            )
        except RefusedError as error:
            raise refusal_of(request.spec, request.job_name, error.answer.about, error.told) from error

    async def _watch(self, request: PipelineRequest, progress: JobProgress, watch: Watch) -> None:
        """Look at the job until it is over or overdue. The looks become rarer while nothing changes."""
        logger = get_run_logger()
        said, said_at = "", 0.0
        while True:
            now = time.monotonic()
            try:
                job, children = await self._look(request)
            except ServiceError as error:
                watch.missed(now)
                logger.debug("job %s | not seen this time: %s", request.job_name, error)
            else:
                progress.children = children
                status = _effective_status(job, progress.children.values())
                watch.observe(now, status, (job.status, *((name, c.status) for name, c in progress.children.items())))
                await progress.change(job=job)
                line = _progress_line(request, status, progress.children)
                if line != said or now - said_at >= PROGRESS_SECONDS:
                    queued, ran = watch.queued_seconds, watch.running_seconds
                    logger.info("job %s | %s, queued %.0f s, running %.0f s", request.job_name, line, queued, ran)
                    said, said_at = line, now
                if progress.over:
                    return None
            overdue = watch.overdue(now)
            if overdue is not None:
                await self._stop(request.job_name)
                if overdue.kind == "not_responding":
                    return await progress.change(given_up=overdue.reason)
                if overdue.kind == "unreachable":
                    raise ServiceError(
                        f"{overdue.reason[0].upper()}{overdue.reason[1:]}; the job {request.job_name} may be running. "
                        "Start the same command again to go on waiting for it; `tandem reap` cancels what nobody "
                        "waits for."
                    )
                raise RunError(f"The job {request.job_name} was canceled because {overdue.reason}.")
            await asyncio.sleep(watch.interval)

    async def _look(self, request: PipelineRequest) -> tuple[RemoteJob, dict[str, RemoteJob]]:
        """A job, and its children by step. After its end, its children are awaited for some seconds."""
        for looks in range(1, LAGGING_LOOKS + 1):
            job = await self._workspace.jobs.find(request.job_name)
            if job is None:
                raise RunError(f"The job {request.job_name} is not in the workspace {self._workspace.name} any more.")
            children = await self._children(request, job)
            if looks == LAGGING_LOOKS or not _lag_behind(children, job, request.spec):
                return job, children
            await asyncio.sleep(LAG_SECONDS)
        raise AssertionError("unreachable")

    async def _watch_of(self, submission: Submission, job: RemoteJob, children: Mapping[str, RemoteJob]) -> Watch:
        """A watch that counts the time before this wait too, so that a second start does not extend a limit."""
        watch = Watch(self._timeouts)
        if not submission.found or watch.limit_seconds() is None or job.created is None:
            return watch
        is_pipeline = submission.request.spec.kind is JobKind.PIPELINE
        ran = children.values() if is_pipeline else (await persistently(lambda: self._workspace.jobs.run_of(job.name)),)
        begin, now = job.created.timestamp(), datetime.now(UTC).timestamp()
        seconds = covered_seconds(
            (max(begin, child.started.timestamp()), child.ended.timestamp() if child.ended else now)
            for child in ran
            if child.started is not None and not child.reused
        )
        watch.begin(now - begin - seconds, seconds)
        return watch

    async def _stop(self, job_name: str) -> None:
        """Cancel a job and wait until it is over, at most :data:`CANCEL_SECONDS`."""
        await stop_job(self._workspace.jobs, job_name, CANCEL_SECONDS, get_run_logger().warning)


def _job_message(name: str, errors: tuple[str, ...]) -> str:
    said = "; ".join(error.rstrip(".") for error in errors if error)
    return f"The job {name} failed: {said or 'no reason given'}."


def _named_computes(spec: JobSpec) -> list[str]:
    """The compute targets that a job names, but for serverless, ids of other workspaces, and those bound to inputs."""
    named = {step.compute for step in spec.steps.values()} | {spec.default_compute}
    names = {name.removeprefix("azureml:") for name in named if name}
    return sorted(name for name in names if re.fullmatch(r"[\w-]+", name) and name not in ("serverless", "local"))


def _sibling_page(job: RemoteJob, name: str) -> str | None:
    """The page in studio of a child, made from that of its parent: the run history does not have it."""
    page = f"/runs/{job.name}"
    return job.url.replace(page, f"/runs/{name}") if job.url and page in job.url else None


def _lag_behind(children: Mapping[str, RemoteJob], job: RemoteJob, spec: JobSpec) -> bool:
    """Whether the run history does not know yet what became of the children of a job that is over."""
    is_missing = job.status == "Completed" and not expected(spec) <= children.keys()
    return job.status in TERMINAL and (is_missing or any(it.status not in TERMINAL for it in children.values()))


def _effective_status(job: RemoteJob, children: "Any") -> str:
    """The status that counts: a pipeline job says Running while all its children are queued; that is queued time."""
    active = [child.status for child in children if child.status not in TERMINAL]
    return "Queued" if job.status == "Running" and active and all(status in QUEUED for status in active) else job.status


def _progress_line(request: PipelineRequest, status: str, children: Mapping[str, RemoteJob]) -> str:
    done = sum(child.status == "Completed" for child in children.values())
    running = [name for name, child in children.items() if child.status not in QUEUED | TERMINAL]
    steps = request.spec.steps.values()
    of_all = "" if any(step.control for step in steps) else f" of {len(steps)}"  # loops may run any number
    return f"{status}, {done}{of_all} steps done" + (f", running {', '.join(running)}" if running else "")


@asynccontextmanager
async def open_azure_ml_engine(settings: Settings, timeouts: Timeouts) -> AsyncGenerator[AzureMlEngine]:
    """An engine for one flow run."""
    async with open_workspace(settings) as workspace:
        yield AzureMlEngine(settings, workspace, timeouts)
