"""Processes of a local run: the step host and the MLflow worker, started together when the first is needed.

They take seconds to import their libraries. So a command starts them before it imports Prefect (:func:`warm_up`), and a
deployed flow run in its pull step, after which Prefect makes its process another program (:func:`start_host_early`).
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flows
from flows.engines.kind import Where
from flows.engines.local.host.client import Command, StepHost
from flows.engines.local.host.tracking_server import TrackingServer
from flows.engines.local.step_python import command_folders
from flows.engines.local.step_variables import passed_on
from flows.errors import SettingsError
from flows.machine.hidden_memory import hide_memory
from flows.mlflow_store.places import MlflowPlace, mlflow_place, own_place, sign_in_variables, worker_variables
from flows.settings import OWN_TRACKING, Settings

WORKER_SCRIPT = Path(flows.__file__).parent / "mlflow_store" / "mlflow_worker.py"
STEP_SITE = Path(__file__).with_name("step_site")  # has what the Python of every step imports first
WORKER_MODULES = (
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
SERVER_SECONDS = 3600.0
CLOSE_SECONDS = 5.0  # a part of the 30 s that Prefect grants between SIGTERM and SIGKILL
# What git tells the programs that a hook starts: which repository a command of git is about, wherever it is called.
_OF_A_REPOSITORY = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"),
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH"),
    }
)
# skops searches every module that is loaded for some 300 functions of NumPy and SciPy: 1.5 s less if it comes first.
FIRST_MODULES = ("skops.io",)


class LocalProcesses:
    """The step host and the MLflow worker of one run; a :class:`TrackingWorker`."""

    def __init__(self, settings: Settings, tracking: Where = "local", python: Path | None = None) -> None:
        self._settings = settings
        self.python = python or Path(sys.executable)
        self._place = _place(settings, tracking)
        self._own = step_environment(settings) if tracking == "local" else tracking_environment(settings)
        folders = command_folders(self.python, settings.home)
        modules = os.pathsep.join(filter(None, (str(STEP_SITE), self._own.get("PYTHONPATH"))))
        self.environment: Mapping[str, str] = {**self._own, "PATH": _path(folders), "PYTHONPATH": modules}
        self._host: StepHost | None = None
        self._worker: Any = None
        self._connecting = asyncio.Lock()
        self._tracking_server: TrackingServer | None = None

    @property
    def started(self) -> bool:
        """Whether the processes run already, so that using them costs nothing more."""
        return self._host is not None

    def start(self, preload: Sequence[str]) -> None:
        """Start both, if they do not run yet; ``preload`` is what the steps will import. Needs no event loop."""
        if self._host is not None:
            return
        hide_memory()
        try:
            self._settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"The folder of the local state cannot be written: {self._settings.home}: {error.strerror}. "
                "Set TANDEM_HOME to a folder of yours."
            ) from error
        # Another interpreter need not have MLflow: the worker is then a process of our own.
        is_ours = self.python == Path(sys.executable)
        worker = Command(
            text=[sys.executable, str(WORKER_SCRIPT)],
            folder=self._settings.home,
            environment=worker_environment(self._settings, self._own),
            log=self._settings.home / "mlflow-worker.log",
            script=[str(WORKER_SCRIPT)] if is_ours else None,
            modules=[*(module for module in FIRST_MODULES if module in preload), *WORKER_MODULES],
        )
        self._host = StepHost.start(self.python, self.environment, preload, worker)

    def survive_exec(self) -> str:
        """See :meth:`StepHost.survive_exec`."""
        assert self._host is not None
        return self._host.survive_exec()

    def after_exec(self, word: str) -> None:
        """Go on with the processes that are left by that word, if they are."""
        hide_memory()
        self._host = StepHost.after_exec(word)

    async def host(self) -> StepHost:
        """The step host, connected to the running event loop."""
        async with self._connecting:
            if self._host is None:
                self.start(())
            assert self._host is not None
            await self._host.connect()
            return self._host

    async def request(self, call: str, **args: object) -> Any:
        """Make one call of the MLflow worker. See :meth:`MlflowWorker.request`."""
        from flows.mlflow_store.model_registry import MlflowWorker

        host = await self.host()
        if self._worker is None:
            # Each request to a server has a time of its own, so the worker answers, however large a model is.
            seconds = SERVER_SECONDS if self._place.is_server else 120.0
            self._worker = MlflowWorker(*await host.helper_streams(), timeout_seconds=seconds)
        return await self._worker.request(call, **args)

    def tracking_url(self) -> str:
        """Where an MLflow of any version logs into the local store; see :class:`TrackingServer`."""
        if self._tracking_server is None:
            self._tracking_server = TrackingServer(self._settings, self._own)
        return self._tracking_server.url

    async def stop(self) -> None:
        """End both, and every step that still runs; returns when all are gone."""
        if self._host is not None:
            host = await self.host()
            if self._worker is not None:
                with contextlib.suppress(TimeoutError):  # what nobody waits for any more may go on for minutes
                    await asyncio.wait_for(self._worker.aclose(), CLOSE_SECONDS)
            await host.stop()
        if self._tracking_server is not None:
            await self._tracking_server.end()


_warm: list[LocalProcesses] = []
_HANDED_OVER = "TANDEM_STEP_HOST"


def warm_up(settings: Settings, preload: Sequence[str], tracking: Where = "local", python: Path | None = None) -> None:
    """Start the processes of the run that this process is about to make, ahead of it."""
    processes = LocalProcesses(settings, tracking, python)
    processes.start(preload)
    _warm.append(processes)


def start_host_early(settings: Settings) -> None:
    """Start the processes of the run that this process is about to make, also if it becomes another program first.

    They end with this process if no run takes them.
    """
    warm_up(settings, ())
    os.environ[_HANDED_OVER] = _warm[-1].survive_exec()


def take_processes(settings: Settings, tracking: Where = "local", python: Path | None = None) -> LocalProcesses:
    """The processes that were started ahead of this run, or new ones, which start when they are first needed."""
    word = os.environ.pop(_HANDED_OVER, None)
    if _warm:
        return _warm.pop()
    processes = LocalProcesses(settings, tracking, python)
    if word is not None and tracking == "local" and processes.python == Path(sys.executable):
        processes.after_exec(word)
    return processes


def step_environment(settings: Settings) -> Mapping[str, str]:
    """The variables that every step of a local run has."""
    return _environment(settings, "local")


def tracking_environment(settings: Settings) -> Mapping[str, str]:
    """The same for steps that track into a workspace: what azureml-mlflow needs to authenticate as this process would.

    It asks azure-identity, which knows a managed identity by ``AZURE_CLIENT_ID`` alone. (Inside a job of Azure ML, its
    name is in ``DEFAULT_IDENTITY_CLIENT_ID``.) Where no cloud is named, it would ask Azure which there are.
    """
    found = _environment(settings, "azureml")
    names = (found.get("AZURE_CLIENT_ID"), settings.managed_identity_client_id, found.get("DEFAULT_IDENTITY_CLIENT_ID"))
    identity = next((name for name in names if name), None)
    return {
        **found,
        **({} if identity is None else {"AZURE_CLIENT_ID": identity}),
        "AZUREML_CURRENT_CLOUD": found.get("AZUREML_CURRENT_CLOUD") or "AzureCloud",
    }


def worker_environment(settings: Settings, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The variables of an MLflow worker: those of the steps, its folder, and what opens the storage of a server."""
    storage = worker_variables(os.environ) if environment["MLFLOW_TRACKING_URI"] != settings.mlflow_uri else {}
    return {**storage, **environment, "TANDEM_MLFLOW_ARTIFACTS": str(settings.mlflow_artifacts)}


def _place(settings: Settings, tracking: Where) -> MlflowPlace:
    """Where models are kept, and runs too unless they are tracked into a workspace."""
    return mlflow_place(settings) if tracking == "local" else own_place(settings)


def _environment(settings: Settings, tracking: Where) -> dict[str, str]:
    place = _place(settings, tracking)
    # MLflow's own defaults would have a step wait for ten minutes and more.
    patience = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4"} if place.is_server else {}
    taken = passed_on(os.environ, tracking)
    given = {name: taken[name] for name in taken if name not in {*_OF_A_REPOSITORY, "MLFLOW_REGISTRY_URI"}}
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        **patience,
        **given,
        **sign_in_variables(place),
        "PATH": _path([Path(sys.executable).parent]),
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_TRACKING_URI": place.tracking,
        **({} if place.registry == place.tracking else {"MLFLOW_REGISTRY_URI": place.registry}),
        OWN_TRACKING: place.tracking if place.is_own else "",
    }


def _path(first: Sequence[Path]) -> str:
    """This machine's ``PATH``, with these folders before it."""
    return os.pathsep.join(filter(None, (*map(str, first), os.environ.get("PATH", os.defpath))))
