"""``tandem serve``: both web interfaces on the local state, and nothing beside them."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from flows.machine.living import has_entries, look
from flows.prefect_api.server import free_port, served_mlflow
from tests.processes import commands_with
from tests.terminal import Terminal

pytestmark = pytest.mark.slow


def test_both_interfaces_are_served_by_two_servers_and_end_together(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    prefect, mlflow = free_port(), free_port()
    ports = ("--prefect-port", str(prefect), "--mlflow-port", str(mlflow))
    words = [sys.executable, "-m", "flows", "serve", *ports]
    process = subprocess.Popen(words, env=terminal.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(4)]
    try:
        assert said[:2] == [f"  Prefect  http://127.0.0.1:{prefect}\n", f"  MLflow   http://127.0.0.1:{mlflow}\n"]
        assert httpx.get(f"http://127.0.0.1:{prefect}/api/health").json() is True
        assert httpx.get(f"http://127.0.0.1:{mlflow}/health").text == "OK"
        assert served_mlflow(tmp_path / "state" / "prefect") == f"http://127.0.0.1:{mlflow}"
        assert len(look(tmp_path / "state")[0]) == 3
        assert not [command for command in commands_with(str(tmp_path)) if "mlflow.server.jobs" in command]
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
        process.stdout.close()
    assert code == 0
    assert served_mlflow(tmp_path / "state" / "prefect") is None
    assert not has_entries(tmp_path / "state")
    assert not commands_with(str(tmp_path))
