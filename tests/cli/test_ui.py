"""``tandem ui``: both web interfaces on the local state, and nothing beside them."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from flows.machine.living import has_entries, look
from flows.prefect_api.server import SERVED, free_port, served_mlflow
from tests.processes import commands_with
from tests.terminal import Terminal


def test_port_of_a_ui_of_the_same_state_is_refused_with_its_addresses_and_a_foreign_one_with_another_way(
    tmp_path: Path,
) -> None:
    terminal = Terminal(tmp_path, None)
    folder = tmp_path / "state" / "prefect"
    folder.mkdir(parents=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = [sys.executable, "-m", "flows", "ui", "--mlflow-port", str(port), "--prefect-port", str(free_port())]
        foreign = subprocess.run(words, env=terminal.environment, capture_output=True, text=True, timeout=60)
        addresses = {"url": "http://127.0.0.1:4299/api", "mlflow": f"http://127.0.0.1:{port}"}
        (folder / SERVED).write_text(json.dumps(addresses))
        own = subprocess.run(words, env=terminal.environment, capture_output=True, text=True, timeout=60)
    assert (foreign.returncode, own.returncode) == (3, 3)
    assert f"Port {port} is taken" in foreign.stderr and "--mlflow-port PORT" in foreign.stderr
    assert own.stderr.startswith("Error: This local state is served already:\n")
    assert "  Prefect  http://127.0.0.1:4299\n" in own.stderr and f"  MLflow   http://127.0.0.1:{port}\n" in own.stderr
    assert (folder / SERVED).exists()


@pytest.mark.parametrize(
    ("ports", "told"),
    [
        (
            ["--prefect-port", "65536"],
            "argument --prefect-port: '65536' is no port: use a whole number from 1 to 65535",
        ),
        (["--mlflow-port", "-1"], "argument --mlflow-port: '-1' is no port"),
        (["--mlflow-port", "web"], "argument --mlflow-port: 'web' is no port"),
        (["--prefect-port", "5000"], "Error: Prefect and MLflow cannot both listen on port 5000. Nothing was started."),
    ],
)
def test_port_that_cannot_be_is_refused_before_anything_starts(ports: list[str], told: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "flows", "ui", *ports]
    done = subprocess.run(words, env=Terminal(tmp_path, None).environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.slow
def test_both_interfaces_are_served_by_two_servers_and_end_together(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    prefect, mlflow = free_port(), free_port()
    ports = ("--prefect-port", str(prefect), "--mlflow-port", str(mlflow))
    words = [sys.executable, "-m", "flows", "ui", *ports]
    process = subprocess.Popen(words, env=terminal.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(4)]
    try:
        experiments = f"http://127.0.0.1:{mlflow}/#/experiments?workflowType=machine_learning"
        assert said[:2] == [f"  Prefect  http://127.0.0.1:{prefect}\n", f"  MLflow   {experiments}\n"]
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


def test_both_servers_end_when_the_command_is_killed(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    ports = ("--prefect-port", str(free_port()), "--mlflow-port", str(free_port()))
    words = [sys.executable, "-m", "flows", "ui", *ports]
    environment = {**terminal.environment, "TANDEM_ALLOW_DEBUGGERS": "1"}  # or nobody sees whose servers they are
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("  Prefect")
        assert len(commands_with(str(tmp_path))) == 3
        process.kill()
    end = time.monotonic() + 60
    while commands_with(str(tmp_path)):
        assert time.monotonic() < end, "a server goes on without the command"
        time.sleep(0.1)
