"""What the engines' tests share: one event loop, files written from text, and both engines ready to run jobs."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any, TypeVar

import pytest

from flows.engines import polling
from flows.engines.local.engine import LocalEngine
from flows.engines.local.host.processes import LocalProcesses
from flows.engines.open_engine import open_engine
from flows.settings import Settings
from tests.azure_ml_service.service import Service
from tests.engines.jobs import JobRunner

T = TypeVar("T")
Await = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="session")
def run() -> Iterator[Await]:
    """Run a coroutine on the session's event loop, which lives on between tests as the processes on it do."""
    with asyncio.Runner() as runner:
        yield lambda coroutine: runner.run(coroutine, context=copy_context())  # with the fixtures' settings of Prefect


@pytest.fixture(scope="session")
def local_processes(run: Await, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProcesses]:
    """The processes of the local engine, which live on from one test to the next."""
    home = tmp_path_factory.mktemp("home")
    processes = LocalProcesses(Settings(home / "project", home / ".tandem", {}))
    yield processes
    run(processes.stop())


@pytest.fixture
def local_jobs(prefect_api: str, local_processes: LocalProcesses, run: Await, tmp_path: Path) -> JobRunner:
    """The local engine, in a home of this test's."""
    settings = Settings(tmp_path / "project", tmp_path / "home", {})

    @asynccontextmanager
    async def engine(_: polling.Timeouts) -> AsyncGenerator[LocalEngine]:
        opened = LocalEngine(settings, local_processes)
        yield opened
        opened.close()

    return JobRunner("local", engine, tmp_path, run)


@pytest.fixture
def azure_jobs(
    prefect_api: str,
    azure_environment: Service,
    azure_client_allowed: None,
    run: Await,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> JobRunner:
    """The Azure ML engine with the loopback service, whose jobs take tenths of seconds: it is looked at that often."""
    monkeypatch.setattr(polling, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(polling, "LONGEST_SECONDS", 0.4)
    settings = Settings(tmp_path / "project", tmp_path / "home", Settings.from_environment().workspace)
    return JobRunner("azureml", lambda timeouts: open_engine("azureml", settings, timeouts), tmp_path, run)
