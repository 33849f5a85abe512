"""Fixtures of the tests with recorded answers: the player, an engine that speaks with it, and its parts alone."""

from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.engines import polling
from flows.engines.open_engine import open_engine
from flows.settings import Settings
from tests.engines.azureml.recorded.player import Player
from tests.engines.conftest import Await
from tests.engines.jobs import JobRunner

InWorkspace = Callable[[Callable[[Any], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates of every player."""
    return tmp_path_factory.mktemp("player-tls")


@pytest.fixture
def player(tmp_path: Path, tls: Path, azure_client_allowed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    """A player that this process takes for Azure. Every request must have an answer."""
    player = Player(tmp_path / "player", tls).start()
    for name, value in player.environment.items():
        monkeypatch.setenv(name, value)
    yield player
    player.stop()
    assert not player.unplayed


@pytest.fixture
def played_jobs(
    prefect_api: str, player: Player, run: Await, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> JobRunner:
    """The Azure ML engine with the player, which is looked at often."""
    monkeypatch.setattr(polling, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(polling, "LONGEST_SECONDS", 0.1)
    settings = Settings(tmp_path / "project", tmp_path / "home", Settings.from_environment().workspace)
    return JobRunner("azureml", lambda timeouts: open_engine("azureml", settings, timeouts), tmp_path, run)


@pytest.fixture
def in_workspace(player: Player, run: Await) -> Iterator[InWorkspace]:
    """What a coroutine returns or raises that uses the workspace alone, without azure-core's retries."""
    from flows.engines.azureml.sdk.connection import Connection
    from flows.engines.azureml.sdk.workspace import Workspace

    connection = Connection(Settings.from_environment(), retry_total=0)
    workspace = Workspace(connection)
    yield lambda use: run(use(workspace))
    connection.close()
