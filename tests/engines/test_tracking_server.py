"""The MLflow server that the steps of a local run log to over HTTP, and what tells them to."""

import asyncio
import urllib.request
from pathlib import Path

import pytest

from flows.engines.local.host.processes import step_environment
from flows.engines.local.host.tracking_server import TrackingServer, tracking_variables
from flows.settings import Settings
from tests.engines.conftest import Await


@pytest.mark.slow
def test_the_server_is_started_by_who_connects_and_is_gone_in_the_end(tmp_path: Path, run: Await) -> None:
    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path)})

    async def asked() -> tuple[bool, int, str]:
        server = TrackingServer(settings, step_environment(settings))
        before = server.is_started
        with await asyncio.to_thread(urllib.request.urlopen, f"{server.url}/health") as response:
            status = response.status
        await server.end()
        return before, status, server.url

    before, status, url = run(asked())
    assert (before, status) == (False, 200)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/health")


def test_a_server_that_nobody_asks_is_never_started(tmp_path: Path, run: Await) -> None:
    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path)})

    async def unasked() -> bool:
        server = TrackingServer(settings, {})
        await asyncio.sleep(0)
        await server.end()
        return server.is_started

    assert not run(unasked())
    assert list(tmp_path.iterdir()) == []


def test_the_server_is_asked_past_any_proxy() -> None:
    assert tracking_variables("http://127.0.0.1:5", {"no_proxy": "localhost"}) == {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5",
        "MLFLOW_REGISTRY_URI": "http://127.0.0.1:5",
        "TANDEM_OWN_TRACKING_URI": "http://127.0.0.1:5",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }
