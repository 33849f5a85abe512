"""The processes of a local run, started together when the first is needed: the step host and the MLflow worker.

A command may start them before it imports Prefect (:func:`warm_up`): they import their libraries while it does.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flows
from flows.engines.processes import Command, StepHost
from flows.errors import SettingsError
from flows.settings import Settings

WORKER_SCRIPT = Path(flows.__file__).with_name("mlflow_worker.py")
WORKER_MODULES = (
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
# skops searches every module that is loaded for some 300 functions of NumPy and SciPy: 1.5 s less if it comes first.
FIRST_MODULES = ("skops.io",)
# Variables of this process that are none of a step's business: a component knows nothing of Prefect, and a step gets
# no credential by inheritance.
_WITHHELD = ("PREFECT_", "PREFECT__", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE", "AZURE_PASSWORD")


class LocalProcesses:
    """The step host and the MLflow worker of one run; what :class:`flows.model_registry.MlflowTracking` talks with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.environment = step_environment(settings)
        self._host: StepHost | None = None
        self._worker: Any = None
        self._connecting = asyncio.Lock()

    @property
    def started(self) -> bool:
        """Whether the processes run already, so that using them costs nothing more."""
        return self._host is not None

    def start(self, preload: Sequence[str]) -> None:
        """Start both, if they do not run yet; ``preload`` is what the steps will import. Needs no event loop."""
        if self._host is not None:
            return
        try:
            self._settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"The folder of the local state cannot be written: {self._settings.home}: {error.strerror}. "
                "Set TANDEM_HOME to a folder of yours."
            ) from error
        worker = Command(
            text=[sys.executable, str(WORKER_SCRIPT)],
            folder=self._settings.home,
            environment={**self.environment, "TANDEM_MLFLOW_ARTIFACTS": str(self._settings.mlflow_artifacts)},
            log=self._settings.home / "mlflow-worker.log",
            script=[str(WORKER_SCRIPT)],
            modules=[*(module for module in FIRST_MODULES if module in preload), *WORKER_MODULES],
        )
        self._host = StepHost.start(Path(sys.executable), self.environment, preload, worker)

    async def host(self) -> StepHost:
        """The step host, connected to the running event loop."""
        async with self._connecting:
            if self._host is None:
                self.start(())
            assert self._host is not None
            await self._host.connect()
            return self._host

    async def request(self, call: str, **args: object) -> Any:
        """Make one call of the MLflow worker. See :meth:`flows.model_registry.MlflowWorker.request`."""
        from flows.model_registry import MlflowWorker

        host = await self.host()
        if self._worker is None:
            self._worker = MlflowWorker(*await host.helper_streams())
        return await self._worker.request(call, **args)

    async def stop(self) -> None:
        """End both, and every step that still runs; returns when all are gone."""
        if self._host is not None:
            host = await self.host()
            if self._worker is not None:
                await self._worker.aclose()
            await host.stop()


_warm: list[LocalProcesses] = []


def warm_up(settings: Settings, preload: Sequence[str]) -> None:
    """Start the processes of the run that this process is about to make, ahead of it."""
    processes = LocalProcesses(settings)
    processes.start(preload)
    _warm.append(processes)


def take_processes(settings: Settings) -> LocalProcesses:
    """The processes that were warmed up for this run, or new ones, which start when they are first needed."""
    return _warm.pop() if _warm else LocalProcesses(settings)


def step_environment(settings: Settings) -> Mapping[str, str]:
    """The variables that every step of a local run has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_WITHHELD)}
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        **kept,
        "PATH": os.pathsep.join(filter(None, (str(Path(sys.executable).parent), kept.get("PATH", os.defpath)))),
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_TRACKING_URI": settings.mlflow_uri,
    }
