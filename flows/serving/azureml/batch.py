"""Score files with a batch endpoint of an Azure ML workspace, by one job however often it is asked for."""

import asyncio
import csv
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.engines.azureml.sdk.retries import persistently
from flows.engines.polling import TERMINAL, Timeouts, Watch
from flows.errors import RunCanceled, RunError, ServiceError, ServingError, SettingsError, UserError
from flows.machine.private import hand_out, make_folder
from flows.serving.azureml import wire
from flows.serving.azureml.changes import Changes
from flows.serving.endpoints import ServedModel
from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.jobs import RemoteJob
    from flows.engines.azureml.sdk.serving.batch_jobs import BatchJobs
    from flows.engines.azureml.sdk.serving.uploads import Uploads
    from flows.engines.azureml.sdk.workspace import Workspace

OUTPUT = "score"  # what Azure ML calls the output of the job's only step
LOG_LINES = 20


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """Files to be scored.

    Attributes:
        endpoint: Made if it is not there.
        deployment: Made, or replaced, unless it is there, made of the same. A job that still runs in one that is
            replaced is not disturbed.
        model: What it serves.
        source: Where the files of the model are: a folder on this machine, or an ``azureml:`` reference.
        data: A file or folder of this machine, by its absolute path; ``azureml:name:version``; or an address.
        is_folder: Whether the data is a folder of files. Those in nested folders are not scored.
        rows: How many rows it has, which the predictions are compared with; None where that is not known.
        job_name: Ours. Asked for again with the same name, the job that was started is waited for.
        again: Whether a job of this name that has failed, or was canceled, is followed by another, whose name has a
            number. If not, it is told again.
    """

    endpoint: BatchEndpointSpec
    deployment: BatchDeploymentSpec
    model: ServedModel
    source: str
    data: str
    is_folder: bool
    rows: int | None
    job_name: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class BatchScores:
    """What came of it: the job, its page in studio, the file of predictions here, and how many rows it has."""

    job_name: str
    url: str | None
    file: Path
    rows: int


async def score_batch(
    workspace: "Workspace", request: BatchRequest, target: Path, say: Callable[[str], object] = lambda line: None
) -> BatchScores:
    """Make the endpoint and the deployment, run one job, wait for it, and bring its predictions to this machine.

    Interrupted anywhere and called again with the same request, it goes on: nothing is made or started twice. The
    endpoint and the deployment stay; they cost nothing while no job runs.

    Args:
        workspace: Where it runs.
        request: What is scored, by what.
        target: The file that the predictions become, as the deployment has written them: rows without a header.
        say: Takes one line for each thing that happens.

    Raises:
        ServingError: The endpoint or the deployment cannot be made.
        RunError: The job failed, or its predictions are not as many as the rows.
        ServiceError: Azure ML does not answer; the job goes on, if it was started.
    """
    from flows.engines.azureml.sdk.serving.batch_jobs import BatchJobs
    from flows.engines.azureml.sdk.serving.scoring import Scoring
    from flows.engines.azureml.sdk.serving.uploads import Uploads

    scoring = Scoring(workspace.connection)
    try:
        address = await _ensure(workspace, request, say)
        say(f"data {request.data} | uploaded, unless the workspace has it")
        jobs, uploads = BatchJobs(workspace.connection, scoring), Uploads(workspace.connection)
        name = await _started(workspace, jobs, uploads, request, address)
    finally:
        await asyncio.to_thread(scoring.close)
    job = await _ended(workspace, name, say)
    file = await _fetched(workspace, job, request.deployment.output_file_name, target)
    rows = await asyncio.to_thread(count_rows, file)
    if request.rows is not None and rows != request.rows:
        raise RunError(
            f"The job {job.name} has scored {rows:,} of {request.rows:,} rows: some of its files have failed, which "
            f"error_threshold ({request.deployment.error_threshold}) allows. What there is, is in {file}. The job's "
            f"log says why: {job.url}"
        )
    return BatchScores(job.name, job.url, file, rows)


def count_rows(file: Path) -> int:
    """How many rows a CSV file without a header has; a line break in a cell ends none."""
    with file.open(newline="", encoding="utf-8") as stream:
        return sum(1 for row in csv.reader(stream) if row)


async def _ensure(workspace: "Workspace", request: BatchRequest, say: Callable[[str], object]) -> str:
    """Have the endpoint and the deployment; returns the address of the endpoint."""
    from flows.engines.azureml.sdk.serving.resources import EndpointResources
    from flows.engines.azureml.sdk.serving.uploads import Uploads

    resources, uploads = EndpointResources.batch(workspace.connection), Uploads(workspace.connection)
    changes, endpoint, spec = Changes(resources), request.endpoint.name, request.deployment
    what = f"The batch endpoint {endpoint}"
    try:
        location = await persistently(workspace.location)
        body = wire.batch_endpoint_body(request.endpoint, location)
        made = await changes.make(
            what,
            lambda: resources.endpoint(endpoint),
            lambda there: True,
            lambda there: resources.put_endpoint(endpoint, body),
        )
        what = f"The deployment {spec.name} of the batch endpoint {endpoint}"
        environment = spec.environment
        deployment = wire.batch_deployment_body(
            spec,
            request.model,
            location,
            model=await uploads.model(request.source, request.model.name, request.model.digest),
            compute=await uploads.compute(spec.compute),
            code=None if spec.code is None else await uploads.code(spec.code),
            environment=None if environment is None else await uploads.environment(environment),
        )
        say(f"deployment {endpoint}/{spec.name} | {request.model.label}, made unless it is there")
        await changes.make(
            what,
            lambda: resources.deployment(endpoint, spec.name),
            lambda there: wire.made_of(there) == wire.made_of(deployment),
            lambda there: resources.put_deployment(endpoint, spec.name, deployment),
        )
    except SettingsError:
        raise
    except UserError as error:
        raise ServingError(f"{what}: {error} No job was started.") from error
    return str(made["properties"]["scoringUri"])


async def _started(
    workspace: "Workspace", jobs: "BatchJobs", uploads: "Uploads", request: BatchRequest, address: str
) -> str:
    """Upload the data and start the job, unless it was started; returns the job's name."""
    name = await _name(workspace, jobs, request) if request.again else request.job_name
    names = request.endpoint.name, address, request.deployment.name, name
    try:
        data = await uploads.data(request.data, is_folder=request.is_folder)
        return await jobs.start(*names, data, request.is_folder)
    except SettingsError:
        raise
    except UserError as error:
        raise RunError(f"The job {request.job_name} was refused; nothing runs. {error}") from error


async def _name(workspace: "Workspace", jobs: "BatchJobs", request: BatchRequest) -> str:
    """The name of the job, with a number where those before it have failed or were canceled."""
    for number in itertools.count(1):
        name = request.job_name if number == 1 else f"{request.job_name}-{number}"
        found = await persistently(lambda name=name: jobs.find(request.endpoint.name, name))
        job = None if found is None else await persistently(lambda found=found: workspace.jobs.find(found))
        if job is None or job.status not in TERMINAL or job.status == "Completed":
            return name
    raise AssertionError("there is always a next number")


async def _ended(workspace: "Workspace", name: str, say: Callable[[str], object]) -> "RemoteJob":
    """Wait until a job is over.

    Raises:
        RunError: It did not complete.
    """
    watch, clock = Watch(Timeouts()), asyncio.get_running_loop().time
    said = ""
    while True:
        try:
            job = await workspace.jobs.find(name)
        except ServiceError:
            watch.missed(clock())
            if watch.overdue(clock()):
                raise
        else:
            if job is None:
                raise RunError(f"The job {name} is gone from the workspace {workspace.name}.")
            if job.status != said:
                say(f"job {job.name} | {job.status}" + (f" | {job.url}" if not said and job.url else ""))
                said = job.status
            if job.status == "Completed":
                return job
            if job.status in TERMINAL:
                raise await _why(workspace, job)
            watch.observe(clock(), job.status, job.status)
        await asyncio.sleep(watch.interval)


async def _why(workspace: "Workspace", job: "RemoteJob") -> RunError:
    if job.status == "Canceled":
        return RunCanceled(f"The job {job.name} was canceled. To score anew, start it again.")
    children = await persistently(lambda: workspace.jobs.children(job.name))
    child = children[0] if children else job
    reason = child.error or await workspace.jobs.error_of(job.name)
    log = await workspace.jobs.log_of(child.name, LOG_LINES)
    told = f"The job {job.name} is {job.status}{f': {reason}' if reason else ''}. {job.url}"
    return RunError(f"{told}\nThe end of its log:\n{log}" if log and log not in reason else told)


async def _fetched(workspace: "Workspace", job: "RemoteJob", file_name: str, target: Path) -> Path:
    """The predictions, which are the output of the job's only child: asked for by the job's name, nothing comes."""
    children = await persistently(lambda: workspace.jobs.children(job.name))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for child in children:
            await persistently(lambda name=child.name: workspace.jobs.download(name, OUTPUT, folder, is_file=False))
        found = next(iter(sorted(folder.rglob(file_name))), None)
        if found is None:
            raise RunError(
                f"The job {job.name} has completed, and left no {file_name}: no row was scored. Its log says why: "
                f"{job.url}"
            )
        make_folder(target.parent)
        hand_out(found, target)
    return target
