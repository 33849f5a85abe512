"""MLflow worker: the process that calls MLflow, so that the flow's process need not import it (some 2.5 s).

A plain script: one JSON request a line on standard input, one JSON answer a line on what was standard output::

    {"id": 1, "call": "create_run", "args": {"experiment": "diabetes", "name": "train"}}
    {"id": 1, "ok": "5c0f..."}    or    {"id": 1, "error": {"kind": "run", "message": "..."}}

The calls are the public methods of :class:`Tracking`; kinds of error are ``run`` (it cannot be done so), ``service``
(the store was busy or away: try again) and ``bug``. Requests are answered in order. It ends when its input ends.

It imports the standard library and MLflow only: not Prefect, not pydantic, and nothing else of ``flows``. MLflow is
imported late, so that a process which has it already may fork this one for next to nothing.
"""

import contextlib
import fcntl
import filecmp
import getpass
import importlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
MODEL_PATH = "model"
_KIND = "mlflow.experimentKind"  # opens the experiment on its training runs, not on traces of language models
_PAGE = 200
_LOG = "registry.jsonl"  # beside the database
# What MLflow's log_batch takes at once.
_MOST_METRICS, _MOST_PARAMS, _MOST_TAGS = 1000, 100, 100
# MLflow's codes for a server that does not answer, fails, or refuses the token: the call may be repeated later.
_NOT_NOW = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "UNAUTHENTICATED")


class Refused(Exception):
    """The call cannot be done as asked. The text says what to do."""


def import_mlflow() -> None:
    """Import all that a :class:`Tracking` will need. A process that forks workers calls this once, ahead of time."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    importlib.import_module("mlflow.store.model_registry.sqlalchemy_store")
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # "Creating initial MLflow database tables..."


class _TokenRenewing:
    """A client of a workspace's MLflow that makes a call once more, with a new token, if its token was refused.

    A token that was revoked is refused long before it ends; until then azureml-mlflow would go on to use it.
    """

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*values: Any, **named: Any) -> Any:
            try:
                return method(*values, **named)
            except Exception as error:
                if not _is_refused_token(error):
                    raise
            self._renew()
            return method(*values, **named)

        return call

    @staticmethod
    def _renew() -> None:
        loader: Any = importlib.import_module("azureml.mlflow._internal.service_context_loader")
        # One for each address, made when the first store asks for it, and kept as long as the process lives.
        for uri, context in loader._AzureMLServiceContextLoader._tracking_uri_to_service_context.items():
            context._auth = loader.get_service_context_from_tracking_url_default_auth(urlsplit(uri)).auth


class Tracking:
    """MLflow runs and model versions. Every public method is a call of the protocol.

    Both are in one local store; the runs may be in a workspace of Azure ML instead (:meth:`track_into`).
    """

    def __init__(self, client: "MlflowClient", uri: str, artifacts: Path, lock: Path) -> None:
        self._client = client
        self._runs = client
        self._uri = self._runs_uri = uri
        self._artifacts = artifacts
        self._lock = lock

    @classmethod
    def open(cls, uri: str, artifacts: Path) -> "Tracking":
        """Open the store, and make it first if need be (0.8 s).

        Args:
            uri: Of the tracking store and model registry, ``sqlite:////folder/mlflow.db``.
            artifacts: The folder for what runs leave behind.
        """
        artifacts.mkdir(parents=True, exist_ok=True)
        database = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else artifacts / "mlflow"
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = database.with_name(f"{database.name}.lock")
        import_mlflow()
        from mlflow import MlflowClient

        with _locked(lock):  # two processes that make one SQLite store at once break each other's tables
            if uri.startswith("sqlite:///") and not database.exists():
                _make_store(database, artifacts)
            return cls(MlflowClient(tracking_uri=uri, registry_uri=uri), uri, artifacts.resolve(), lock)

    def track_into(self, uri: str) -> None:
        """Keep the runs from now on at another tracking URI. Models stay here: Azure ML's registry has no aliases."""
        from mlflow import MlflowClient, set_tracking_uri

        set_tracking_uri(uri)  # by which azureml-mlflow finds who may write artifacts
        # MLflow itself would try for four minutes, longer than anyone waits for an answer of this process.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
        client: Any = _TokenRenewing(MlflowClient(tracking_uri=uri, registry_uri=self._uri))
        self._runs, self._runs_uri = client, uri

    @property
    def in_workspace(self) -> bool:
        """Whether the runs are in a workspace."""
        return self._runs is not self._client

    def create_runs(self, experiment: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Create runs in an experiment, which is made if absent. Each has the arguments of :meth:`create_run`."""
        experiment_id = self._experiment_id(experiment)
        return [self._create_run(experiment_id, **run) for run in runs]

    def create_run(
        self, experiment: str, name: str, parent_run_id: str | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Create one run, and answer its id."""
        return self._create_run(self._experiment_id(experiment), name, parent_run_id, tags)

    def finish_run(self, run_id: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED."""
        if status not in ("FINISHED", "FAILED", "KILLED"):
            raise Refused(f"A run ends as FINISHED, FAILED or KILLED, not as {status!r}.")
        self._runs.set_terminated(run_id, status)

    def kill_runs(self, tag: str, values: Sequence[str]) -> int:
        """End as KILLED the runs that have one of these values of a tag, and those below them; answer how many.

        Those that have ended by themselves are left as they are.
        """
        experiments = [one.experiment_id for one in self._pages(self._client.search_experiments)]

        def found(name: str, value: str) -> "list[Run]":
            query = f"tags.`{name}` = '{value}'"
            return list(self._pages(self._client.search_runs, experiment_ids=experiments, filter_string=query))

        waiting = [run for value in values for run in found(tag, value)]
        seen: set[str] = set()
        killed = 0
        while waiting:
            run = waiting.pop()
            if run.info.run_id in seen:
                continue
            seen.add(run.info.run_id)
            waiting += found("mlflow.parentRunId", run.info.run_id)
            if run.info.status in ("RUNNING", "SCHEDULED"):
                self._client.set_terminated(run.info.run_id, "KILLED")
                killed += 1
        return killed

    def copy_run_data(self, from_run_id: str, to_run_id: str) -> None:
        """Copy params, last metrics (with step and time) and a person's tags, as for a step that was not run again.

        A run that is not here, nor where runs are kept now, has nothing to copy.
        """
        from mlflow.entities import Metric, Param, RunTag

        run = self._find_run(from_run_id)
        if run is None:
            return
        data: Any = run.to_proto().data  # the entity drops a metric's step and time
        metrics = [Metric(m.key, m.value, m.timestamp, m.step) for m in data.metrics]
        params = [Param(p.key, p.value) for p in data.params]
        tags = [RunTag(t.key, t.value) for t in data.tags if not t.key.startswith("mlflow.")]
        for at in range(0, len(metrics), _MOST_METRICS):
            self._runs.log_batch(to_run_id, metrics=metrics[at : at + _MOST_METRICS])
        for at in range(0, len(params), _MOST_PARAMS):
            self._runs.log_batch(to_run_id, params=params[at : at + _MOST_PARAMS])
        for at in range(0, len(tags), _MOST_TAGS):
            self._runs.log_batch(to_run_id, tags=tags[at : at + _MOST_TAGS])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | None]) -> None:
        """Log metrics at step 0, now. One that is undefined (None) is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        logged = [Metric(name, value, now, 0) for name, value in metrics.items() if value is not None]
        for at in range(0, len(logged), _MOST_METRICS):
            self._runs.log_batch(run_id, metrics=logged[at : at + _MOST_METRICS])

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log params. MLflow refuses to change one that is there."""
        from mlflow.entities import Param

        logged = [Param(name, value) for name, value in params.items()]
        for at in range(0, len(logged), _MOST_PARAMS):
            self._runs.log_batch(run_id, params=logged[at : at + _MOST_PARAMS])

    def add_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log those params that the run does not have yet."""
        run: Any = self._runs.get_run(run_id)
        self.log_params(run_id, {name: value for name, value in params.items() if name not in run.data.params})

    def log_folder(self, run_id: str, folder: str, artifact_path: str) -> str:
        """Copy a folder into a run's artifacts, and answer the path of their page in MLflow's web interface."""
        self._runs.log_artifacts(run_id, folder, artifact_path)
        experiment_id = self._runs.get_run(run_id).info.experiment_id
        return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{artifact_path}"

    def run_metrics(self, run_id: str) -> dict[str, float]:
        """Answer the last value of every metric of a run."""
        run: Any = self._runs.get_run(run_id)
        return dict(run.data.metrics)

    def metric_history(self, run_id: str, name: str) -> list[float]:
        """Answer all values of a metric, in order of step, then time."""
        history: Any = self._runs.get_metric_history(run_id, name)
        return [one.value for one in sorted(history, key=lambda one: (one.step, one.timestamp))]

    def champion(self, model_name: str) -> dict[str, Any] | None:
        """Answer the version with the alias ``champion``; None if there is no such model, or no champion of it."""
        found = self._find(lambda: self._client.get_model_version_by_alias(model_name, CHAMPION))
        return None if found is None else _described(found)

    def version(self, model_name: str, version: int) -> dict[str, Any] | None:
        """Answer the version with this number; None if there is none."""
        found = self._find(lambda: self._client.get_model_version(model_name, str(version)))
        return None if found is None else _described(found)

    def tag(self, model_name: str, version: int, name: str, value: str) -> None:
        """Set a tag of a version."""
        self._client.set_model_version_tag(model_name, str(version), name, value)

    @staticmethod
    def _find(look: "Callable[[], ModelVersion]") -> "ModelVersion | None":
        from mlflow import MlflowException

        try:
            return look()
        except MlflowException as error:
            # MLflow says the one for a model or version that is not there, the other for an alias.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def register(
        self,
        model_name: str,
        model_folder: str,
        run_id: str,
        tags: Mapping[str, str],
        idempotency_tags: Mapping[str, str],
    ) -> dict[str, Any]:
        """Register a model once, however often and by however many processes it is asked for.

        A version that has all the idempotency tags is the answer. Only if there is none, the model is copied into the
        run's artifacts and a version made of the copy; a crash in between leaves a copy that the next call takes
        over.

        Args:
            model_name: Of the registered model, which is made if absent.
            model_folder: Where the model is now.
            run_id: Of the MLflow run that made the model.
            tags: Further tags of a new version.
            idempotency_tags: What makes two requests the same request; at least one.
        """
        with _locked(self._lock):
            version, created = self._ensure_version(model_name, model_folder, run_id, tags, idempotency_tags)
            self._write_down(version, None)
            return _described(version) | {"created": created}

    def promote(
        self,
        model_name: str,
        model_folder: str,
        run_id: str,
        tags: Mapping[str, str],
        idempotency_tags: Mapping[str, str],
        compared_with: int | None,
        decision_tags: Mapping[str, str],
    ) -> dict[str, Any]:
        """Register a model and make it the champion, unless the champion is no longer the one it was compared with.

        The comparison and all that follows from it happen under the lock of the store, so that of any number of
        processes one is the first, and the others are told ``{"overtaken_by": VERSION}``; for them nothing is
        registered. The alias moves last, so that it never names what is not whole. A process that dies before that has
        promoted nothing; at most a version without the alias is left, which the next call for the same model takes
        over, with the tags of its own decision. One that dies after it is told the same version when it asks again,
        however the bytes of the model came out this time.

        Args:
            model_name: Of the registered model, which is made if absent.
            model_folder: Where the model is now.
            run_id: Of the MLflow run that made the model.
            tags: Further tags of the version, those of an older version of the same model too.
            idempotency_tags: What makes two models the same model; at least one.
            compared_with: The version of the champion that the model was compared with, or None if there was none.
            decision_tags: What makes two decisions to promote this model the same decision. They become tags.
        """
        with _locked(self._lock):
            champion = self._find(lambda: self._client.get_model_version_by_alias(model_name, CHAMPION))
            if champion is not None and decision_tags.items() <= champion.tags.items():
                # Made by an earlier try of this flow run. The bytes of the model may differ: a step that was run again,
                # or reused from another run, delivers the same model with other times in its files.
                self._write_down(champion, CHAMPION)
                return _described(champion) | {"created": False}
            if champion is not None and int(champion.version) != compared_with:
                return {"overtaken_by": int(champion.version)}
            tags = {**tags, **decision_tags}
            version, created = self._ensure_version(model_name, model_folder, run_id, tags, idempotency_tags)
            number = str(version.version)
            if not created:
                for name, value in tags.items():
                    self._client.set_model_version_tag(model_name, number, name, value)
                version = self._client.get_model_version(model_name, number)
            described = _described(version) | {"created": created}
            self._client.set_registered_model_alias(model_name, CHAMPION, number)
            self._write_down(version, CHAMPION)
            return described

    def _ensure_version(
        self,
        model_name: str,
        model_folder: str,
        run_id: str,
        tags: Mapping[str, str],
        idempotency_tags: Mapping[str, str],
    ) -> "tuple[ModelVersion, bool]":
        """The version that carries the idempotency tags, and whether it was made just now. The caller has the lock."""
        if not idempotency_tags:
            raise Refused("To register a model, say what makes it the same model: idempotency_tags is empty.")
        version = self._find_version(model_name, idempotency_tags)
        if version is not None:
            return version, False
        source = self._copy_model(Path(model_folder), run_id)
        self._ensure_registered_model(model_name)
        tags = {**tags, **idempotency_tags}
        return self._client.create_model_version(model_name, source, run_id, tags=tags), True

    @staticmethod
    def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
        token: str | None = None
        while True:
            page: Any = search(**arguments, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _create_run(
        self, experiment_id: str, name: str, parent_run_id: str | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        standard = {"mlflow.user": _user(), "mlflow.source.name": "tandem", "mlflow.source.type": "LOCAL"}
        parent = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        run = self._runs.create_run(experiment_id, tags={**standard, **(tags or {}), **parent}, run_name=name)
        return run.info.run_id

    def _find_run(self, run_id: str) -> "Run | None":
        from mlflow import MlflowException

        for client in dict.fromkeys((self._client, self._runs)):
            try:
                return client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        return None

    def _experiment_id(self, name: str) -> str:
        from mlflow import MlflowException

        experiment = self._runs.get_experiment_by_name(name)
        if experiment is None:
            try:
                if self.in_workspace:
                    return self._runs.create_experiment(name)
                # All experiments share one folder: the run's id, which follows, is unique enough.
                return self._runs.create_experiment(
                    name, self._artifacts.as_uri(), tags={_KIND: "custom_model_development"}
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self._runs.get_experiment_by_name(name)  # another process was faster
        if experiment is None or experiment.lifecycle_stage != "active":
            known = f" --experiment-id {experiment.experiment_id}" if experiment else ""
            raise Refused(
                f"The MLflow experiment {name!r} was deleted, so no run can be added to it. Choose another name, or "
                f"bring it back: MLFLOW_TRACKING_URI={self._runs_uri} mlflow experiments restore{known}"
            )
        return experiment.experiment_id

    def _versions(self, query: str) -> "Iterator[ModelVersion]":
        return self._pages(self._client.search_model_versions, filter_string=query)

    def _find_version(self, model_name: str, tags: Mapping[str, str]) -> "ModelVersion | None":
        # Compared here and not in the query, whose language cannot quote every value.
        for version in self._versions(f"name = '{model_name}'"):
            if tags.items() <= dict(version.tags).items() and version.status != "FAILED_REGISTRATION":
                return version
        return None

    def _ensure_registered_model(self, name: str) -> None:
        from mlflow import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _write_down(self, version: "ModelVersion", alias: str | None) -> None:
        """Add a version to the log (`flows/cli/state/registry_log.py`), unless the model's last line says the same."""
        log, lines = self._lock.with_name(_LOG), [_line(version, alias)]
        try:
            known = [json.loads(each) for each in log.read_text(encoding="utf-8").splitlines()]
            if [each for each in known if each["name"] == version.name][-1:] == lines:
                return
        except FileNotFoundError:  # the first line: what was registered before there was a log is added, too
            lines = list(self._all_lines())
        except ValueError:
            pass  # a line was cut off
        with log.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def _all_lines(self) -> Iterator[dict[str, Any]]:
        for found in sorted(self._versions(""), key=lambda version: (version.name, int(version.version))):
            aliases = self._client.get_model_version(found.name, str(found.version)).aliases
            for alias in aliases or [None]:
                yield _line(found, alias)

    def _copy_model(self, folder: Path, run_id: str) -> str:
        """Copy the model into the run's artifacts on this machine, and answer the URI of the copy."""
        if not _files(folder):
            raise Refused(f"There is no model to register: {folder} is missing or empty. Run the train step again.")
        artifacts = f"{self._artifacts.as_uri()}/{run_id}/artifacts"
        run: Any = None if self.in_workspace else self._find_run(run_id)
        if run is not None:  # else where they would be: a job that ran nothing has no run of its own
            artifacts = run.info.artifact_uri.rstrip("/")
        source = f"{artifacts}/{MODEL_PATH}"
        target = _local_folder(source)
        if target.exists():
            if _same_files(folder, target):
                return source
            if users := [v for v in self._versions(f"run_id = '{run_id}'") if v.source == source]:
                raise Refused(
                    f"Run {run_id} already holds another model, version {users[0].version} of {users[0].name!r}, which "
                    "must not change. Register this one from a run of its own."
                )
            shutil.rmtree(target)  # what a copy that was cut short left behind
        shutil.copytree(folder, target)
        return source


def _line(version: "ModelVersion", alias: str | None) -> dict[str, Any]:
    """What the log has of a version."""
    return {
        "name": version.name,
        "version": int(version.version),
        "source": version.source,
        "run_id": version.run_id,
        "tags": dict(version.tags),
        "alias": alias,
    }


def _described(version: "ModelVersion") -> dict[str, Any]:
    folder = _local_folder(version.source or "")
    if not folder.is_dir():
        raise Refused(
            f"Version {version.version} of the model {version.name!r} is registered, but its folder {folder} is gone. "
            "Put the folder back, or delete the version (in `mlflow ui`, or MlflowClient().delete_model_version) and "
            "run again."
        )
    return {
        "version": int(version.version),
        "source_path": str(folder),
        "run_id": version.run_id,
        "tags": dict(version.tags),
    }


def _local_folder(source: str) -> Path:
    parts = urlsplit(source)
    if parts.scheme not in ("", "file"):
        raise Refused(
            f"The model at {source} is not in a folder of this machine. The experiment was not made by Tandem: choose "
            "another experiment name, or make the artifacts local."
        )
    return Path(unquote(parts.path) if parts.scheme else source)


def _files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _same_files(one: Path, other: Path) -> bool:
    names = _files(one)
    return names == _files(other) and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


def _make_store(database: Path, artifacts: Path) -> None:
    """Make the tables in a draft, which then takes its place: half of them would be in the way of all later starts."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in database.parent.glob(f".{database.name}.making*"):  # by whoever was killed here; we hold the lock
        left.unlink(missing_ok=True)
    draft = database.with_name(f".{database.name}.making")
    store: Any = SqlAlchemyStore(f"sqlite:///{draft}", artifacts.resolve().as_uri())
    store.engine.dispose()
    draft.replace(database)


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold the file's lock, which the system lets go when the process ends, however it ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _error(error: Exception, uri: str, in_workspace: bool = False) -> dict[str, str]:
    """An exception as the protocol's error."""
    if isinstance(error, Refused):
        return {"kind": "run", "message": str(error)}
    if isinstance(error, OSError):
        return {"kind": "run", "message": f"The MLflow store {uri} cannot be used: {error}"}
    from mlflow import MlflowException
    from sqlalchemy.exc import OperationalError

    code = error.error_code if isinstance(error, MlflowException) else None
    if in_workspace and (code in _NOT_NOW or _is_of_azure(error)):
        text = " ".join(str(error).split())
        remedy = "To track the runs on this machine, write --tracking local."
        return {"kind": "service", "message": f"The workspace's MLflow does not take the runs: {text} {remedy}"}
    if isinstance(error, OperationalError) or code == "TEMPORARILY_UNAVAILABLE":
        return {
            "kind": "service",
            "message": f"The MLflow store {uri} is busy or away: {getattr(error, 'orig', error)}",
        }
    if code is not None:
        return {"kind": "run", "message": str(error)}
    return {"kind": "bug", "message": f"{type(error).__name__}: {error}"}


def _is_of_azure(error: Exception) -> bool:
    """Whether it comes of the credential or of blob storage, whose libraries only azureml-mlflow imports."""
    return any(kind.__module__ == "azure.core.exceptions" for kind in type(error).__mro__)


def _is_refused_token(error: Exception) -> bool:
    """Whether it is a 401, which MLflow tells in words only where the workspace has said more than that."""
    refused = ("ExpiredAuthenticationToken", "InvalidAuthenticationToken", "AuthenticationFailed")
    codes = getattr(error, "status_code", None), getattr(error, "error_code", None)
    return 401 in codes or "UNAUTHENTICATED" in codes or any(word in str(error) for word in refused)


def answer_requests(requests: TextIO, answers: TextIO, uri: str, artifacts: Path) -> None:
    """Answer requests until there are no more. The store is opened at once, while the flow still does other things."""
    tracking: Tracking | None = None
    failure: Exception | None = None
    try:
        tracking = Tracking.open(uri, artifacts)
    except Exception as error:
        failure = error
    for line in requests:
        request = json.loads(line)
        call, args = str(request["call"]), request.get("args", {})
        try:
            if tracking is None or failure:
                raise failure or AssertionError
            method = None if call.startswith("_") or call == "open" else getattr(tracking, call, None)
            if method is None:
                raise LookupError(f"there is no call {call!r}")
            answer: dict[str, Any] = {"ok": method(**args)}
        except Exception as error:  # every failure is the caller's to hear
            answer = {"error": _error(error, uri, tracking is not None and tracking.in_workspace)}
        answers.write(json.dumps({"id": request["id"], **answer}) + "\n")
        answers.flush()


def main() -> None:
    """Serve standard input and output, with the store that the environment names."""
    # Ctrl-C reaches the whole process group; the flow still has runs to end, and closes our input when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # MLflow and what it imports may print: only answers go where standard output went, and nothing else reads input.
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):  # who asked is gone
        answer_requests(
            requests,
            answers,
            os.environ["MLFLOW_TRACKING_URI"],
            Path(os.environ["TANDEM_MLFLOW_ARTIFACTS"]),
        )


if __name__ == "__main__":
    # Python puts a script's folder first on the path, where modules of `flows` would pass for libraries.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    main()
    sys.stderr.flush()
    os._exit(0)  # all is committed and answered; an ordinary exit takes MLflow a second
