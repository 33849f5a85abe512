"""An Azure ML workspace through the unmodified SDK, which nothing else imports. Answers are values of ours.

The SDK is synchronous and not documented as thread-safe: all calls of one workspace go through one thread.
"""

import asyncio
import contextlib
import functools
import io
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from azure.ai.ml import Input, MLClient, load_data, load_environment, load_job
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Model
from azure.ai.ml.exceptions import MlException
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import DefaultAzureCredential

from flows.errors import ServiceError, SettingsError, TandemError, UserError
from flows.settings import Settings
from flows.spec.model import DataReference, InputValue, JobKind, JobSpec, Literal

R = TypeVar("R")

_TRANSIENT_STATUS = frozenset({401, 408, 429, 500, 502, 503, 504})  # 401: the SDK asks for a new token next time
_NOISY_LOGGERS = ("azure", "azure.ai.ml", "msal", "urllib3")


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job or child job as the workspace tells it. ``status`` is Azure ML's own word."""

    name: str
    status: str
    display_name: str = ""
    url: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    properties: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def reused(self) -> bool:
        """Whether this child delivered the outputs of an earlier run."""
        return self.properties.get("azureml.isreused") == "true"


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A version of a registered model in the workspace."""

    name: str
    version: int
    path: str
    job_name: str | None
    tags: Mapping[str, str]


class Workspace:
    """One workspace, for one flow run. Every method is one step of a conversation that may be repeated."""

    def __init__(self, settings: Settings) -> None:
        for name in _NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="azure-ml")
        workspace = settings.workspace
        self.name = workspace["AZUREML_ARM_WORKSPACE_NAME"]
        credential = DefaultAzureCredential(managed_identity_client_id=settings.managed_identity_client_id)
        self._client = MLClient(
            credential,
            workspace["AZUREML_ARM_SUBSCRIPTION"],
            workspace["AZUREML_ARM_RESOURCEGROUP"],
            self.name,
            show_progress=False,
        )

    def close(self) -> None:
        """Let the thread go; a call that is under way ends first."""
        self._thread.shutdown(wait=True)

    async def find_job(self, name: str) -> RemoteJob | None:
        """The job of this name, if there is one."""
        found = await self._look(lambda: self._client.jobs.get(name))
        return None if found is None else _remote_job(found)

    async def submit(
        self, spec: JobSpec, name: str, experiment_name: str, tags: Mapping[str, str], force_rerun: bool
    ) -> RemoteJob:
        """Send the job of the spec's own YAML file, with the values of the spec. The caller has looked for it before.

        Raises:
            UserError: The service refuses the job; nothing runs.
            ServiceError: It may or may not have been taken: look before sending it again.
        """
        job = await self._call(functools.partial(_bound_job, spec))
        job.name, job.experiment_name, job.tags = name, experiment_name, {**(job.tags or {}), **tags}
        if spec.kind is JobKind.PIPELINE and force_rerun:
            job.settings.force_rerun = True
        return _remote_job(await self._call(lambda: self._client.jobs.create_or_update(job)))

    async def children(self, name: str) -> tuple[RemoteJob, ...]:
        """The child jobs of a pipeline job."""
        return tuple(
            _remote_job(child) for child in await self._call(lambda: list(self._client.jobs.list(parent_job_name=name)))
        )

    async def cancel(self, name: str) -> None:
        """Ask for a job to be canceled. That it is over is for the caller to see."""
        await self._call(lambda: self._client.jobs.begin_cancel(name))

    async def error_of(self, name: str) -> str:
        """The error code and message of a failed job, as ``code: message``; empty if the service says none."""

        def look() -> str:
            # The public entities drop it; the run history, which the SDK's own log streaming reads, has it.
            runs: Any = self._client.jobs._runs_operations  # pyright: ignore[reportPrivateUsage]
            error: Any = getattr(getattr(runs.get_run(name), "error", None), "error", None)
            return "" if error is None else f"{error.code}: {error.message}"

        try:
            return await self._call(look)
        except TandemError:
            return ""  # why a job failed is a courtesy; that it failed is known

    async def log_of(self, name: str, lines: int) -> str:
        """The last lines of a finished job's log; empty if there is none."""

        def look() -> str:
            with tempfile.TemporaryDirectory() as folder:
                self._client.jobs.download(name, download_path=folder)
                logs = sorted(Path(folder).rglob("std_log.txt"))
                text = logs[0].read_text(encoding="utf-8", errors="replace") if logs else ""
            return "\n".join(text.splitlines()[-lines:])

        try:
            return await self._call(look)
        except TandemError:
            return ""

    async def download(self, name: str, output: str, folder: Path) -> bool:
        """Download a named output of a finished job into ``folder``; whether anything came."""

        def fetch() -> bool:
            with tempfile.TemporaryDirectory() as place:
                self._client.jobs.download(name, output_name=output, download_path=place)
                source = Path(place) / "named-outputs" / output
                files = [file for file in source.rglob("*") if file.is_file()]
                for file in files:
                    target = folder / file.relative_to(source)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(file.read_bytes())
            return bool(files)

        return await self._call(fetch)

    async def find_data(self, name: str, version: str | None) -> tuple[str, str] | None:
        """The concrete version and the type of a data asset (of its newest version, if None)."""
        found: Any = await self._look(
            lambda: self._client.data.get(name, **({"label": "latest"} if version is None else {"version": version}))
        )
        return None if found is None else (str(found.version), str(found.type))

    async def create_data(self, file: Path) -> tuple[str, str]:
        """Make a data asset from its YAML file, in the version that the file says; return version and type."""
        made: Any = await self._call(lambda: self._client.data.create_or_update(load_data(file)))
        return str(made.version), str(made.type)

    async def ensure_environment(self, file: Path, name: str, version: str) -> None:
        """Make an environment from its YAML file, under this name and version, unless it is there."""
        if await self._look(lambda: self._client.environments.get(name, version)) is not None:
            return

        def make() -> None:
            environment: Any = load_environment(file)
            environment.name, environment.version = name, version
            self._client.environments.create_or_update(environment)

        await self._call(make)

    async def computes(self) -> tuple[str, ...]:
        """The names of the compute targets of the workspace."""
        return tuple(str(compute.name) for compute in await self._call(lambda: list(self._client.compute.list())))

    async def has_compute(self, name: str) -> bool:
        """Whether there is a compute target of this name."""
        return await self._look(lambda: self._client.compute.get(name)) is not None

    async def models(self, name: str) -> tuple[RemoteModel, ...]:
        """Every version of a registered model, by number."""
        found: Iterable[Any] = await self._look(lambda: list(self._client.models.list(name=name))) or ()
        return tuple(sorted(map(_remote_model, found), key=lambda model: model.version))

    async def create_model(self, name: str, path: str, tags: Mapping[str, str]) -> RemoteModel:
        """Register a model from the output of a job."""
        model = Model(name=name, path=path, type=AssetTypes.MLFLOW_MODEL, tags=dict(tags))
        return _remote_model(await self._call(lambda: self._client.models.create_or_update(model)))

    async def tag_model(self, name: str, version: int, tag: str, value: str | None) -> None:
        """Set a tag of a version, or take it away."""

        def change() -> None:
            model: Any = self._client.models.get(name, str(version))
            tags = {key: text for key, text in (model.tags or {}).items() if key != tag}
            model.tags = tags if value is None else {**tags, tag: value}
            self._client.models.create_or_update(model)

        await self._call(change)

    async def _look(self, find: Callable[[], R]) -> R | None:
        """A call that may find nothing."""
        try:
            return await self._call(find)
        except _NotFoundError:
            return None

    async def _call(self, function: Callable[[], R]) -> R:
        """Make a call in the thread of this workspace; its errors become ours."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, functools.partial(_translated, function))


class _NotFoundError(UserError):
    """What was asked for is not in the workspace."""


class AlreadyThereError(UserError):
    """Something of this name is there already."""


def _translated(function: Callable[[], R]) -> R:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the SDK prints colours and progress
            return function()
    except ResourceNotFoundError as error:
        raise _NotFoundError(_text(error)) from error
    except ResourceExistsError as error:
        raise AlreadyThereError(_text(error)) from error
    except ClientAuthenticationError as error:
        if error.status_code == 401:
            raise ServiceError(f"Azure ML does not take the token any more: {_text(error)}") from error
        raise SettingsError(
            f"No credential was accepted: {_text(error)}\nSign in (`az login`), or set the variables of a service "
            "principal, or MANAGED_IDENTITY_CLIENT_ID on a machine with that identity."
        ) from error
    except (ServiceRequestError, ServiceResponseError) as error:
        raise ServiceError(f"Azure ML does not answer: {_text(error)}") from error
    except HttpResponseError as error:
        if error.status_code in _TRANSIENT_STATUS:
            raise ServiceError(f"Azure ML answered {error.status_code}: {_text(error)}") from error
        if error.status_code == 403:
            raise SettingsError(f"The identity may not do this in the workspace: {_text(error)}") from error
        raise UserError(f"Azure ML refused: {_text(error)}") from error
    except MlException as error:
        if _stems_from(error, ResourceNotFoundError):  # for a label, the SDK wraps what for a version it does not
            raise _NotFoundError(_text(error)) from error
        raise UserError(f"Azure ML refused: {_text(error)}") from error
    except AzureError as error:
        raise ServiceError(f"Azure ML cannot be reached: {_text(error)}") from error


def _stems_from(error: BaseException | None, kind: type[Exception]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error is not None


def _text(error: Exception) -> str:
    message = str(getattr(error, "message", None) or error)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        # A pipeline that is refused is told as JSON, with the same words for every node that they concern.
        faults: list[dict[str, Any]] = json.loads(message)["errors"]
        message = "; ".join(dict.fromkeys(f"{fault['path']}: {fault['message']}" for fault in faults))
    return " ".join(message.split())


def _bound_job(spec: JobSpec) -> Any:
    """The spec's YAML file as the SDK's own job, with the values of the spec: the file stays the only definition."""
    job: Any = load_job(spec.source)
    job.display_name = spec.display_name or job.display_name
    for name, given in spec.inputs.items():
        if given.value is not None:
            setattr(job.inputs, name, _value(given.value))
    if spec.kind is JobKind.COMMAND:
        (step,) = spec.steps.values()
        job.compute = _compute(step.compute)
        job.environment = _environment(step.component.environment, job.environment)
        return job
    job.settings.default_compute = _compute(spec.default_compute)
    for name, step in spec.steps.items():
        node = job.jobs[name]
        node.compute = _compute(step.compute)
        node.display_name = name  # by which the child is known among its siblings
        node.component.environment = _environment(step.component.environment, node.component.environment)
        for port, binding in step.inputs.items():
            if isinstance(binding, DataReference | Literal):
                setattr(node.inputs, port, _value(binding))
    return job


def _value(value: InputValue) -> Any:
    return Input(type=value.type, path=value.path) if isinstance(value, DataReference) else value.text


def _compute(name: str | None) -> str | None:
    return name.removeprefix("azureml:") if name else None  # the prefix is YAML's, not the entity's


def _environment(environment: Any, default: Any) -> Any:
    return default if environment is None or environment.reference is None else environment.reference


def _remote_job(job: Any) -> RemoteJob:
    services = getattr(job, "services", None) or {}
    studio = services.get("Studio")
    return RemoteJob(
        name=str(job.name),
        status=str(getattr(job.status, "value", job.status)),
        display_name=str(job.display_name or ""),
        url=getattr(studio, "endpoint", None),
        tags=dict(job.tags or {}),
        properties={key: str(value) for key, value in (job.properties or {}).items()},
    )


def _remote_model(model: Any) -> RemoteModel:
    return RemoteModel(
        name=str(model.name),
        version=int(model.version),
        path=str(model.path),
        job_name=model.job_name,
        tags=dict(model.tags or {}),
    )
