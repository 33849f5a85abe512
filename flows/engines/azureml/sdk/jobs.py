"""Jobs of a workspace."""

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from azure.ai.ml._utils.utils import create_requests_pipeline_with_retry
from azure.ai.ml.constants import ListViewType
from azure.core.exceptions import ServiceResponseError
from azure.storage.blob import BlobClient

from flows.engines.azureml.error_answers import OVER, codes_of, one_line
from flows.engines.azureml.sdk.binding import as_sdk_job
from flows.engines.azureml.sdk.connection import Connection, RefusedError
from flows.engines.azureml.sdk.data_files import download
from flows.errors import TandemError
from flows.machine.private import hand_out, make_folder
from flows.spec.model.job import JobKind, JobSpec
from flows.spec.text.names import inside

_LOG_BYTES = 65536


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job or child job as the workspace tells it. ``status`` is Azure ML's own word; times are UTC.

    ``error`` is what made a child fail, ``code: message`` or ``code > inner code: message``; empty if none is told.
    """

    name: str
    status: str
    display_name: str = ""
    url: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    compute: str = ""
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    error: str = ""

    @property
    def reused(self) -> bool:
        """Whether this child delivered the outputs of an earlier run."""
        return self.properties.get("azureml.isreused", "").lower() == "true"

    @property
    def seconds(self) -> float:
        """How long it ran, in seconds; 0 if that is not told."""
        return 0.0 if self.started is None or self.ended is None else (self.ended - self.started).total_seconds()


class Jobs:
    """Finds, sends, watches and cancels jobs. Every method but ``submit`` may be repeated freely."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, name: str) -> RemoteJob | None:
        """The job of this name, if there is one."""
        return await self._connection.look(lambda client: _found(client, name))

    async def submit(
        self, spec: JobSpec, name: str, experiment_name: str, tags: Mapping[str, str], force_rerun: bool
    ) -> RemoteJob:
        """Send the job of the spec's own YAML file, with the values of the spec. The caller has looked for it before.

        Raises:
            UserError: The service refuses the job; nothing runs.
            ServiceError: It may or may not have been taken: look before sending it again.
        """

        def send(client: Any) -> Any:
            job = as_sdk_job(spec)
            job.name, job.experiment_name, job.tags = name, experiment_name, {**(job.tags or {}), **tags}
            if spec.kind is JobKind.PIPELINE and force_rerun:
                job.settings.force_rerun = True
            # The SDK's whole validation also asks for each compute target, as the caller has done, and takes a token
            # that has just ended for a fault of the job. So only what needs no service is validated; sweeps have none.
            if hasattr(job, "_validate"):
                job._validate(raise_error=True)
            return client.jobs.create_or_update(job, skip_validation=True)

        sent = await self._connection.upload(send, again=False)
        return RemoteJob(str(sent.name), str(getattr(sent.status, "value", sent.status)), url=_studio(sent.services))

    async def children(self, name: str) -> tuple[RemoteJob, ...]:
        """The child jobs of a pipeline job, in one call; none where the run history does not know the job (yet)."""

        def look(client: Any) -> list[Any]:
            # `jobs.list(parent_job_name=)` asks the same, but for one call more, and drops times and errors.
            return list(
                _run_history(client)._operation.get_child(
                    client.subscription_id, client.resource_group_name, client.workspace_name, name, cls=list
                )
            )

        return tuple(map(_remote_run, await self._connection.look(look) or ()))

    async def run_of(self, name: str) -> RemoteJob:
        """A job as the run history tells it, which has its times."""
        return _remote_run(await self._connection.call(lambda client: client.jobs._runs_operations.get_run(name)))

    async def newest(self, tag: str, wanted: Collection[str], pages: int) -> tuple[Mapping[str, str], int]:
        """The statuses of jobs, as far as so many pages of the list of jobs with this tag show them.

        Returns:
            The status of each job that was seen, by its name; and how many pages were asked for. No more are once all
            that are wanted have been seen.
        """

        def look(client: Any) -> tuple[dict[str, str], int]:
            seen, asked, left = dict[str, str](), 0, set(wanted)
            for page in _listed(client, tag).by_page():
                asked += 1
                seen |= {str(job.name): _status(job.properties) for job in page if job.name in left}
                left.difference_update(seen)
                if not left or asked == pages:
                    break
            return seen, asked

        return await self._connection.call(look)

    async def tagged(self, tag: str) -> tuple[RemoteJob, ...]:
        """The jobs that carry a tag, the newest first."""
        jobs = await self._connection.call(lambda client: [_remote_job(client, job) for job in _listed(client, tag)])
        return tuple(job for job in jobs if tag in job.tags)

    async def newest_tagged(self, tag: str, value: str, most: int) -> tuple[RemoteJob, ...]:
        """The newest jobs whose tag has this value, at most so many."""

        def look(client: Any) -> list[RemoteJob]:
            jobs = (_remote_job(client, job) for job in _listed(client, tag))
            return list(islice((job for job in jobs if job.tags.get(tag) == value), most))

        return tuple(await self._connection.call(look))

    async def cancel(self, name: str) -> None:
        """Ask for a job to be canceled; no error if it is over. The caller looks until it is over."""
        try:
            await self._connection.call(lambda client: client.jobs.begin_cancel(name, polling=False))
        except RefusedError as error:
            if OVER not in error.answer.codes:
                raise

    async def error_of(self, name: str) -> str:
        """What made a job fail, as :attr:`RemoteJob.error` has it; empty if the service says nothing."""
        try:
            # The public entities drop it; the run history, which the SDK's own log streaming reads, has it.
            return _error(await self._connection.call(lambda client: _run_history(client).get_run(name)))
        except TandemError:
            return ""  # that the job failed is known; the reason is only additional

    async def log_of(self, name: str, lines: int | None = None) -> str:
        """The log of a finished job, or the last ``lines`` (of 64 KiB at most) of it; empty if there is none."""

        def look(client: Any) -> str:
            logs: Mapping[str, str] = _run_history(client).get_run_details(name).log_files or {}
            known = sorted(logs, key=lambda path: ("std_log" not in path, "user_logs" not in path, path))
            if not known:
                return ""
            blob = BlobClient.from_blob_url(logs[known[0]], retry_total=2)
            size = int(blob.get_blob_properties().size)
            begin = 0 if lines is None else max(0, size - _LOG_BYTES)
            return blob.download_blob(offset=begin).readall().decode(errors="replace")

        try:
            text = await self._connection.call(look)
        except TandemError:
            return ""
        return text if lines is None else "\n".join(text.splitlines()[-lines:])

    async def address(self, name: str, output: str) -> str | None:
        """Where a named output of a finished job or child job is stored; None if the service does not say."""
        return await self._connection.call(lambda client: _address_of(client, name, output))

    async def download(self, name: str, output: str, target: Path, *, is_file: bool) -> bool:
        """Download a named output of a finished job to ``target``; whether anything came.

        The run history tells where an output is. The SDK's own download knows only outputs whose type it tells as the
        API does (``uri_folder``), and it says ``UriFolder`` (azure-sdk-for-python #48941, SDK 1.33 to 1.35.2). For
        those it guesses, and misses what a reused step has written, files, and chosen paths. So it is left to the SDK
        only where the run history tells nothing.
        """

        def fetch(client: Any) -> bool:
            address = _address_of(client, name, output)
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder)
                if address is None:
                    client.jobs.download(name, output_name=output, download_path=folder)
                    source = inside(source / "named-outputs", output)
                else:
                    download(client, address, source, is_file=is_file)
                files = [file for file in source.rglob("*") if file.is_file()]
                for file in files:
                    place_of_file = target if is_file else target / file.relative_to(source)
                    make_folder(place_of_file.parent)
                    hand_out(file, place_of_file)
            return bool(files)

        return await self._connection.call(fetch)


def _run_history(client: Any) -> Any:
    """The SDK's client of the run history, with its address set."""
    api_address(client)
    return client.jobs._runs_operations


def api_address(client: Any) -> str:
    """Where the services of the workspace are that Azure Resource Manager does not answer for.

    Left to itself, the SDK finds it through ``workspaces.get``, which imports MLflow: some seconds, in which the
    interpreter does nothing else, and 100 MiB.
    """
    jobs: Any = client.jobs
    if not jobs._api_base_url:
        found: Any = client.workspaces._operation.get(client.resource_group_name, client.workspace_name)
        pipeline: Any = create_requests_pipeline_with_retry(requests_pipeline=jobs._requests_pipeline)
        answer = pipeline.get(found.discovery_url)
        answer.raise_for_status()
        try:
            jobs._api_base_url = answer.json()["api"]
        except (ValueError, KeyError):
            raise ServiceResponseError(f"{found.discovery_url} does not say where the run history is.") from None
    return str(jobs._api_base_url)


def _address_of(client: Any, name: str, output: str) -> str | None:
    """The address of a job's output in a datastore; None if the run history does not tell it."""
    told: Mapping[str, Any] = _run_history(client).get_run_data(name).run_metadata.outputs or {}
    if output not in told:
        return None
    asset: str = told[output].asset_id
    found = client.jobs._dataset_dataplane_operations.get_batch_dataset_uris([asset]).values_property or {}
    return found[asset].uri if asset in found else None


def _found(client: Any, name: str) -> RemoteJob:
    """A job by its name. `jobs.get` fails for one that it cannot make an entity of, such as one with unknown nodes."""
    job: Any = client.jobs._get_job(name)
    if job.properties is None:  # a child, which only the run history knows
        return _remote_run(_run_history(client).get_run(name))
    return _remote_job(client, job)


def _listed(client: Any, tag: str) -> Any:
    """The pages of the jobs that carry a tag. `jobs.list` leaves out those that it cannot make an entity of."""
    jobs: Any = client.jobs.service_client_01_2024_preview_arm.jobs
    group, workspace = client.resource_group_name, client.workspace_name
    return jobs.list(group, workspace, tag=tag, list_view_type=ListViewType.ACTIVE_ONLY)


def _remote_job(client: Any, job: Any) -> RemoteJob:
    told: Any = job.properties
    services = told.services or {}
    client.jobs._append_tid_to_studio_url(SimpleNamespace(services=services))
    return RemoteJob(
        name=str(job.name),
        status=_status(told),
        display_name=str(told.display_name or ""),
        url=_studio(services),
        tags=dict(told.tags or {}),
        properties={key: str(value) for key, value in (told.properties or {}).items()},
        compute=_compute(told),
        created=getattr(job.system_data, "created_at", None),
    )


def _status(told: Any) -> str:
    return str(getattr(told.status, "value", told.status))


def _studio(services: Any) -> str | None:
    return getattr((services or {}).get("Studio"), "endpoint", None)


def _compute(told: Any) -> str:
    """The compute target of a job, or the one that the steps of a pipeline run on unless they say another."""
    settings: Mapping[str, Any] = getattr(told, "settings", None) or {}
    return str(told.compute_id or settings.get("default_compute") or "").removeprefix("azureml:").rpartition("/")[2]


def _remote_run(run: Any) -> RemoteJob:
    """A child, as the run history tells it."""
    return RemoteJob(
        name=str(run.run_id),
        status=str(run.status),
        display_name=str(run.display_name or ""),
        url=_studio(getattr(run, "services", None)),
        tags=dict(run.tags or {}),
        properties={key: str(value) for key, value in (run.properties or {}).items()},
        compute=str(run.target or ""),
        created=run.created_utc,
        started=run.start_time_utc,
        ended=run.end_time_utc,
        error=_error(run),
    )


def _error(run: Any) -> str:
    error: Any = getattr(getattr(run, "error", None), "error", None)
    if error is None:
        return ""
    codes = codes_of(error) or ("Unknown",)
    return f"{' > '.join(dict.fromkeys((codes[0], codes[-1])))}: {one_line(error.message or '') or 'no message'}"
