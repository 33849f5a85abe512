"""Model registry: the Protocol, and its adapter to MLflow's, in the local state or on a server.

MLflow itself runs in another process (:mod:`flows.mlflow_store.mlflow_worker`), because importing it costs more than a
whole pipeline of unchanged steps. This module is the client: :class:`MlflowWorker` sends requests and receives answers,
:class:`MlflowTracking` has a method for each call.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

from flows.errors import RunError, ServiceError, SettingsError, TandemError
from flows.machine.living import current
from flows.mlflow_store.model_names import check_model_name
from flows.tags import decision_tags

RunEnd = Literal["FINISHED", "FAILED", "KILLED"]

_ERRORS: Mapping[str, type[TandemError]] = MappingProxyType(
    {"run": RunError, "service": ServiceError, "settings": SettingsError}
)
_CHUNK_BYTES = 65536
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a registered model.

    Attributes:
        name: Of the registered model.
        version: From 1, and counted up by the registry.
        created: Whether this call made it; False if it was there already.
        alias: The alias that the call asked about or asked for, such as ``champion``.
        source: Where its files are: a folder, or an ``azureml://`` address.
        run_id: The run that made the model: an MLflow run id, or the name of an Azure ML job.
        tags: Where it came from.
    """

    name: str
    version: int
    created: bool
    alias: str | None
    source: str
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A model was not promoted: version ``by`` has become the champion since it was compared with the last one."""

    by: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that is to become a version.

    Attributes:
        model_name: Of the registered model, which is made if absent.
        model: Where the model is: a folder, or ``azureml://jobs/<name>/outputs/<output>``.
        run_id: The run that made the model: an MLflow run id, or the name of an Azure ML job.
        idempotency_tags: What makes two models the same model; at least one. They become tags of the version.
        tags: Further tags of the version.
        description: Of the version, for a person, in Markdown.
    """

    model_name: str
    model: str
    run_id: str
    idempotency_tags: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    description: str = ""


class ModelRegistry(Protocol):
    """What the flow asks of a model registry, on a laptop as on Azure ML."""

    async def champion(self, model_name: str) -> ModelVersion | None:
        """Find the version that is in use; None if there is no such model, or no champion of it yet."""
        ...

    async def version(self, model_name: str, version: int) -> ModelVersion | None:
        """Find a version by its number; None if there is none."""
        ...

    async def register(self, candidate: Candidate) -> ModelVersion:
        """Register a model, once: a version that carries all the idempotency tags is returned as it is."""
        ...

    async def promote(
        self, candidate: Candidate, *, compared_with: int | None, flow_run_id: str
    ) -> ModelVersion | Overtaken:
        """Register a model, once, and make it the champion, unless it was overtaken.

        It is overtaken if the champion is no longer the version that it was compared with. Of several that were
        compared with the same champion, or with none, one is promoted. A flow run that has promoted the model before,
        and asks again because it was interrupted, gets the same answer.

        Args:
            candidate: The model. A version that was registered before, and is promoted now, gets its tags too.
            compared_with: The version of the champion that the model was compared with, or None if there was none.
            flow_run_id: The id that the flow run goes by that has decided. Both become tags of the version.
        """
        ...

    async def move(
        self, model_name: str, version: int, *, champion: int | None, new: Mapping[str, str], old: Mapping[str, str]
    ) -> ModelVersion | Overtaken:
        """Make another version the champion, unless the champion is no longer the one that the caller has seen.

        The tags are set before, so that a move is written down even where it is interrupted; asked again, it is done.

        Args:
            model_name: Of the registered model.
            version: Which becomes the champion.
            champion: The version that the caller has seen to be the champion; None if there was none.
            new: Tags of the version that becomes it.
            old: Tags of the version that was it.

        Raises:
            RunError: There is no such version.
        """
        ...

    async def tag(self, model_name: str, version: int, name: str, value: str) -> None:
        """Set a tag of a version."""
        ...


class TrackingWorker(Protocol):
    """Something that answers the calls of :class:`flows.mlflow_store.mlflow_worker.Tracking`."""

    async def request(self, call: str, **args: object) -> Any:
        """Make one call and wait for its answer."""
        ...


class MlflowWorker:
    """Connection to an MLflow worker process, which someone else started. Many coroutines may call at once.

    It belongs to the event loop that it was made in.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, timeout_seconds: float = 120.0
    ) -> None:
        """Take over both pipes.

        Args:
            reader: What the worker writes to its standard output.
            writer: What the worker reads from its standard input.
            timeout_seconds: How long one call may take, the start of the worker included.
        """
        self._writer = writer
        self._timeout_seconds = timeout_seconds
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._closed = False
        self._reading = asyncio.create_task(self._read(reader))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def request(self, call: str, **args: object) -> Any:
        """Make one call and wait for its answer.

        An MLflow run that could not be ended because of a :class:`ServiceError` is ended by the next command.

        Raises:
            ServiceError: The worker is gone, did not answer in time, or found the store busy.
            RunError: MLflow cannot do it as asked.
        """
        try:
            return await self._request(call, args)
        except ServiceError:
            if (process := current()) is not None:
                process.leaves_something_open = True
            raise

    async def _request(self, call: str, args: Mapping[str, object]) -> Any:
        if self._closed or self._reading.done():
            raise _gone(call)
        number = next(self._numbers)
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._writer.write(json.dumps({"id": number, "call": call, "args": args}).encode() + b"\n")
                await self._writer.drain()
                return result_of(call, await answer)
        except TimeoutError:
            raise ServiceError(
                f"The MLflow worker did not answer {call} within {self._timeout_seconds:g} s. It may still do it. See "
                "whether another process holds the store, then run the same command again: finished steps are reused."
            ) from None
        except OSError:
            raise _gone(call) from None
        finally:
            del self._pending[number]

    async def aclose(self) -> None:
        """Let the worker answer what it was asked, and end it by closing its input. May be called again."""
        self._closed = True
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reading, self._timeout_seconds)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Hand every answer to whoever waits for it; when the worker has ended, let nobody wait any longer."""
        rest = b""
        try:
            while chunk := await reader.read(_CHUNK_BYTES):  # not readline, which has a limit
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    answer = json.loads(line)
                    waiting = self._pending.get(answer["id"])
                    if waiting and not waiting.done():  # the caller may have been cancelled
                        waiting.set_result(answer)
        except (OSError, ValueError):
            pass  # a broken pipe counts as the end of the worker
        finally:
            for waiting in self._pending.values():
                if not waiting.done():
                    waiting.set_result(None)


def result_of(call: str, answer: Mapping[str, Any] | None) -> Any:
    """What the worker has answered to a call; ``None`` stands for a worker that has ended.

    Raises:
        TandemError: It could not do it.
    """
    if answer is None:
        raise _gone(call)
    if "error" not in answer:
        return answer["ok"]
    kind, message = answer["error"]["kind"], answer["error"]["message"]
    if kind == "service":
        message += "\nRun the same command again: finished steps are reused."
    raise _ERRORS.get(kind, TandemError)(message if kind in _ERRORS else f"MLflow failed in {call}: {message}")


def _gone(call: str) -> ServiceError:
    return ServiceError(
        f"The MLflow worker process ended before it answered {call}; see mlflow-worker.log in the local state. "
        "What was logged before is kept, and a model is registered wholly or not at all. Run the same command again: "
        "finished steps are reused."
    )


@dataclass(frozen=True, slots=True)
class NewRun:
    """An MLflow run to be made."""

    name: str
    parent_run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class RunDataset:
    """Data that a run was given.

    Attributes:
        name: What a person calls it.
        sha256: The digest of its content.
        uri: Where it is.
        context: What it is for, such as the name of the input.
    """

    name: str
    sha256: str
    uri: str
    context: str


class MlflowTracking:
    """Runs and model versions where MLflow keeps them, or the runs in a workspace; a :class:`ModelRegistry`.

    Every method raises what :meth:`MlflowWorker.request` raises.
    """

    def __init__(self, worker: TrackingWorker) -> None:
        self._worker = worker

    async def track_into(self, uri: str) -> None:
        """Keep the runs from now on in the MLflow of a workspace, ``azureml://…``. Model versions stay here."""
        await self._worker.request("track_into", uri=uri)

    async def create_run(
        self, experiment: str, name: str, *, parent_run_id: str | None = None, tags: Mapping[str, str] = _NOTHING
    ) -> str:
        """Create a run, in an experiment that is made if absent, and return its id."""
        (run_id,) = await self.create_runs(experiment, [NewRun(name, parent_run_id, tags)])
        return run_id

    async def create_runs(self, experiment: str, runs: Sequence[NewRun]) -> tuple[str, ...]:
        """Create several runs in one go, and return their ids in the same order."""
        wanted = [{"name": run.name, "parent_run_id": run.parent_run_id, "tags": dict(run.tags)} for run in runs]
        return tuple(await self._worker.request("create_runs", experiment=experiment, runs=wanted))

    async def finish_run(self, run_id: str, status: RunEnd) -> None:
        """End a run."""
        await self._worker.request("finish_run", run_id=run_id, status=status)

    async def copy_run_data(self, from_run_id: str, to_run_id: str) -> None:
        """Copy params, last metrics and a person's tags to the run of a step that was reused, not run again.

        Of a run that is in another workspace, or was deleted, there is nothing to copy.
        """
        await self._worker.request("copy_run_data", from_run_id=from_run_id, to_run_id=to_run_id)

    async def log_metrics(self, run_id: str, metrics: Mapping[str, float | None]) -> None:
        """Log metrics; one that is undefined (None) is left out."""
        await self._worker.request("log_metrics", run_id=run_id, metrics=dict(metrics))

    async def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log params, which MLflow does not let anyone change afterwards."""
        await self._worker.request("log_params", run_id=run_id, params=dict(params))

    async def add_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log those params that the run does not have yet."""
        await self._worker.request("add_params", run_id=run_id, params=dict(params))

    async def log_datasets(self, run_id: str, datasets: Sequence[RunDataset]) -> None:
        """Log the data that a run was given. The MLflow of a workspace keeps none."""
        if datasets:
            await self._worker.request("log_datasets", run_id=run_id, datasets=[asdict(one) for one in datasets])

    async def describe_run(self, run_id: str, tags: Mapping[str, str], description: str) -> None:
        """Set tags of a run, and the description (Markdown) that its page begins with."""
        await self._worker.request("describe_run", run_id=run_id, tags=dict(tags), description=description)

    async def log_folder(self, run_id: str, folder: Path, artifact_path: str) -> str:
        """Copy a folder into a run's artifacts; return the path of their page in MLflow's web interface."""
        return await self._worker.request("log_folder", run_id=run_id, folder=str(folder), artifact_path=artifact_path)

    async def page_of_run(self, run_id: str) -> str:
        """Return the path of a run's page in MLflow's web interface."""
        return await self._worker.request("page_of_run", run_id=run_id)

    async def check_artifacts(self, run_id: str) -> None:
        """See that a server, or the storage that it names, lets us have the artifacts of a run.

        Raises:
            RunError: It keeps none, or none that anyone else could open.
            ServiceError: It does not answer.
        """
        await self._worker.request("check_artifacts", run_id=run_id)

    async def run_metrics(self, run_id: str) -> Mapping[str, float]:
        """Return the last value of every metric of a run."""
        return await self._worker.request("run_metrics", run_id=run_id)

    async def metric_history(self, run_id: str, name: str) -> Sequence[float]:
        """Return all values of a metric that a run has logged, in order of step, then time."""
        return await self._worker.request("metric_history", run_id=run_id, name=name)

    async def champion(self, model_name: str) -> ModelVersion | None:
        """See :meth:`ModelRegistry.champion`. Raises RunError if the champion's files are gone.

        Files that are not on this machine are fetched, once.
        """
        check_model_name(model_name)
        found = await self._worker.request("champion", model_name=model_name)
        return None if found is None else _model_version(model_name, found, alias="champion")

    async def version(self, model_name: str, version: int) -> ModelVersion | None:
        """See :meth:`ModelRegistry.version`. Raises RunError if the version's folder is gone."""
        found = await self._worker.request("version", model_name=model_name, version=version)
        return None if found is None else _model_version(model_name, found, alias=None)

    async def register(self, candidate: Candidate) -> ModelVersion:
        """See :meth:`ModelRegistry.register`. The model is a folder, which is kept among the run's artifacts."""
        found = await self._worker.request("register", candidate=_fields(candidate))
        return _model_version(candidate.model_name, found, alias=None)

    async def promote(
        self, candidate: Candidate, *, compared_with: int | None, flow_run_id: str
    ) -> ModelVersion | Overtaken:
        """See :meth:`ModelRegistry.promote`. Who is overtaken leaves no version.

        In a file of this machine, one process after the other decides, and a run that was killed after its promotion,
        and whose version is no longer the champion when it asks again, is overtaken too. On a server, it is decided as
        :mod:`flows.mlflow_store.worker.shared_promotion` says, and such a run is told its version.
        """
        found = await self._worker.request(
            "promote",
            candidate=_fields(candidate),
            compared_with=compared_with,
            decision_tags=decision_tags(flow_run_id, compared_with),
        )
        if "overtaken_by" in found:
            return Overtaken(int(found["overtaken_by"]))
        return _model_version(candidate.model_name, found, alias="champion")

    async def move(
        self, model_name: str, version: int, *, champion: int | None, new: Mapping[str, str], old: Mapping[str, str]
    ) -> ModelVersion | Overtaken:
        """See :meth:`ModelRegistry.move`. On a server, a promotion that is decided in the same moment may win."""
        found = await self._worker.request(
            "move", model_name=model_name, version=version, champion=champion, new=dict(new), old=dict(old)
        )
        if "overtaken_by" in found:
            return Overtaken(int(found["overtaken_by"]))
        return _model_version(model_name, found, alias="champion")

    async def tag(self, model_name: str, version: int, name: str, value: str) -> None:
        """See :meth:`ModelRegistry.tag`."""
        await self._worker.request("tag", model_name=model_name, version=version, name=name, value=value)


def _fields(candidate: Candidate) -> dict[str, Any]:
    """A candidate as the worker takes it.

    Raises:
        ParameterError: Its name cannot be that of a model.
    """
    check_model_name(candidate.model_name)
    tags, same = dict(candidate.tags), dict(candidate.idempotency_tags)  # JSON takes no other mappings
    return asdict(replace(candidate, tags=tags, idempotency_tags=same))


def _model_version(name: str, found: Mapping[str, Any], alias: str | None) -> ModelVersion:
    return ModelVersion(
        name=name,
        version=int(found["version"]),
        created=bool(found.get("created", False)),
        alias=alias,
        source=str(found["source_path"]),
        run_id=found["run_id"],
        tags=MappingProxyType(dict(found["tags"])),
    )
