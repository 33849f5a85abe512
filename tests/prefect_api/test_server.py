"""The Prefect server of a command, when it does not live as long as the command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.prefect_api.server import PrefectApi, past_proxies
from tests.processes import commands_with
from tests.terminal import PROJECT, Terminal

JOB = """
type: command
environment: azureml:diabetes-classify@latest
command: touch {began}; sleep 300
"""


def test_command_whose_temporary_server_is_killed_ends_at_once_with_what_to_do(tmp_path: Path) -> None:
    terminal, began, job = Terminal(tmp_path, None), tmp_path / "began", tmp_path / "job.yml"
    job.write_text(JOB.format(began=began))
    words = [sys.executable, "-m", "flows", "run", str(job)]
    environment = {**terminal.environment, "TANDEM_ALLOW_DEBUGGERS": "1"}  # or nobody sees whose server it is
    process = subprocess.Popen(words, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 240
    while not began.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    (server,) = (each for each in commands_with(str(tmp_path)) if "flows.prefect_api.temporary_server" in each)
    os.kill(int(server.partition(" ")[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=60)  # Prefect's client alone would ask for some three minutes
    assert process.returncode == 3
    assert "The temporary Prefect server ended with exit code -9" in said.decode()
    assert "Start the same command again" in said.decode()
    assert "Traceback" not in said.decode()
    while commands_with(str(tmp_path)):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(("inside", "expected"), [(True, 3), (False, 0)])
def test_server_that_ends_when_the_run_is_over_ends_no_command(inside: bool, expected: int) -> None:
    script = f"""
import os, time
from flows.machine.child import Child
from flows.prefect_api.server import PrefectApi
server = Child("The server", ["sleep", "60"], os.environ)
with PrefectApi("http://127.0.0.1:1/api", "temporary", server).end_with_server(lambda: None):
    if {inside}:
        server.process.kill()
        time.sleep(30)
server.process.kill()
server.process.wait()
time.sleep(0.5)
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=PROJECT, timeout=60).returncode == expected


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "example.org, 127.0.0.1"}, "example.org,127.0.0.1,localhost"),
        ({"NO_PROXY": "*"}, None),
    ],
)
def test_this_machine_is_reached_past_every_proxy(given: dict[str, str], becomes: str | None) -> None:
    assert past_proxies(given).get("NO_PROXY") == becomes


def test_command_runs_where_a_proxy_is_set_that_is_not_there(tmp_path: Path) -> None:
    terminal, job = Terminal(tmp_path, None), tmp_path / "job.yml"
    job.write_text(JOB.format(began=tmp_path / "began").replace("sleep 300", "true"))
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"
    )
    words = [sys.executable, "-m", "flows", "run", str(job)]
    done = subprocess.run(words, cwd=PROJECT, env={**terminal.environment, **proxies}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Unable to connect" not in done.stderr


@pytest.mark.parametrize(
    ("origin", "seconds", "is_said"), [("temporary", 0.3, True), ("temporary", 0.0, False), ("served", 0.3, False)]
)
def test_a_long_start_of_a_temporary_server_is_told_once(origin: str, seconds: float, is_said: bool) -> None:
    said: list[str] = []
    with PrefectApi("http://127.0.0.1:1/api", origin).said_if_slow(said.append, after_seconds=0.1):
        time.sleep(seconds)
    time.sleep(0.2)
    assert [line.partition(" to ")[0] for line in said] == ["Waiting for a temporary Prefect server"] * is_said
