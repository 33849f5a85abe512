"""The store that the worker's calls use: opened, made if need be, and locked against other processes."""

import contextlib
import fcntl
import importlib
import logging
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flows.mlflow_store.worker.clients import PATIENCE, Repeating, TokenRenewing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE = 200
_HTTP = ("http://", "https://")


def import_mlflow() -> None:
    """Import all that a :class:`Tracking` will need. A process that forks workers calls this once, ahead of time."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    importlib.import_module("mlflow.store.model_registry.sqlalchemy_store")
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # "Creating initial MLflow database tables..."


class Store:
    """Where runs and model versions are kept. One SQLite file of this machine may be both, or a server each.

    The runs may be in a workspace of Azure ML instead (:meth:`track_into`).
    """

    def __init__(self, client: "MlflowClient", uri: str, registry_uri: str, artifacts: Path, lock: Path | None) -> None:
        self._client = client  # of the registry; and of the runs, unless they are in a workspace
        self._runs = client
        self._uri = self._runs_uri = uri
        self._registry_uri = registry_uri
        self._artifacts = artifacts
        self._lock = lock

    @classmethod
    def open(cls, uri: str, artifacts: Path, registry_uri: str | None = None) -> Self:
        """Open the store, and make it first if it is a file that is not there (0.8 s). A server is not asked yet.

        Args:
            uri: Of the runs: ``sqlite:////folder/mlflow.db``, or a server.
            artifacts: The folder for what runs leave behind, where no server keeps it.
            registry_uri: Of the model versions; None for the same.
        """
        registry_uri = registry_uri or uri
        artifacts.mkdir(parents=True, exist_ok=True)
        import_mlflow()
        from mlflow import MlflowClient, set_registry_uri, set_tracking_uri

        set_tracking_uri(uri)  # by which MLflow resolves runs:/, models:/ and mlflow-artifacts:/
        set_registry_uri(registry_uri)
        locks = [_made(each, artifacts) for each in dict.fromkeys((uri, registry_uri)) if each.startswith("sqlite:///")]
        client: Any = MlflowClient(tracking_uri=uri, registry_uri=registry_uri)
        if uri.startswith(_HTTP):
            PATIENCE.limit_mlflow()
            client = Repeating(client)
        elif not locks:  # a store of another kind, which only tests use
            locks = [artifacts / "mlflow.lock"]
        lock = None if registry_uri.startswith(_HTTP) else locks[-1]
        return cls(client, uri, registry_uri, artifacts.resolve(), lock)

    def track_into(self, uri: str) -> None:
        """Keep the runs from now on at another tracking URI. Models stay here: Azure ML's registry has no aliases."""
        from mlflow import MlflowClient, set_tracking_uri

        set_tracking_uri(uri)  # by which azureml-mlflow finds who may write artifacts
        # MLflow itself would try for four minutes, longer than anyone waits for an answer of this process.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
        client: Any = TokenRenewing(MlflowClient(tracking_uri=uri, registry_uri=self._uri))
        self._runs, self._runs_uri = client, uri

    @property
    def in_workspace(self) -> bool:
        """Whether the runs are in a workspace."""
        return self._runs is not self._client

    @property
    def on_server(self) -> bool:
        """Whether an MLflow server keeps the runs."""
        return self._uri.startswith(_HTTP)

    @property
    def registry_is_shared(self) -> bool:
        """Whether a server keeps the model versions, so that other machines see them and no lock holds them off."""
        return self._registry_uri.startswith(_HTTP)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        """Hold the lock of the registry's file. A registry on a server has no lock."""
        with contextlib.nullcontext() if self._lock is None else locked(self._lock):
            yield

    @staticmethod
    def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
        token: str | None = None
        while True:
            page: Any = search(**arguments, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _find_run(self, run_id: str) -> "Run | None":
        from mlflow import MlflowException

        for client in dict.fromkeys((self._client, self._runs)):
            try:
                return client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        return None


def _made(uri: str, artifacts: Path) -> Path:
    """Make an SQLite store unless it is there, and return the file whose lock guards it."""
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = database.with_name(f"{database.name}.lock")
    with locked(lock):  # two processes that make one SQLite store at once break each other's tables
        if not database.exists():
            _make_store(database, artifacts)
    return lock


def _make_store(database: Path, artifacts: Path) -> None:
    """Make the tables in a draft and rename it: a database with half of its tables would break all later starts."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in database.parent.glob(f".{database.name}.making*"):  # by whoever was killed here; we hold the lock
        left.unlink(missing_ok=True)
    draft = database.with_name(f".{database.name}.making")
    store: Any = SqlAlchemyStore(f"sqlite:///{draft}", artifacts.resolve().as_uri())
    store.engine.dispose()
    draft.replace(database)


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock of a file. The system releases it when the process ends, however that happens."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
