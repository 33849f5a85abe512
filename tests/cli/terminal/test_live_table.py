"""The log of ``tandem run`` on a terminal, with the table of steps below it, and where it is no terminal."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.engines.jobs import command, pipeline
from tests.terminal import PROJECT, Terminal

COLOUR, MOVEMENT = re.compile(rb"\x1b\[[0-9;]*m"), re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(tmp_path: Path, prefect_api: str, azure_ml: Service, write: Write) -> Terminal:
    write({"job.yml": pipeline({"slow": command("echo '[bold] :x:'; sleep 2")})})
    terminal = Terminal(tmp_path, prefect_api)
    terminal.environment |= {**azure_ml.environment, "TERM": "xterm"}
    return terminal


def words(engine: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "flows", "run", str(folder / "job.yml"), "--engine", engine, "--force-rerun"]


def on_a_terminal(command: list[str], environment: Mapping[str, str]) -> bytes:
    """What a command writes to a terminal of its own."""
    here, there = pty.openpty()
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdin=there, stdout=there, stderr=there)
    os.close(there)
    written = b""
    try:
        while piece := os.read(here, 65536):
            written += piece
    except OSError:  # how Linux tells that nobody writes any more
        pass
    finally:
        os.close(here)
    assert process.wait(60) == 0, written.decode()
    return written


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "azureml"])
def test_steps_are_seen_running_in_a_table_below_the_log_of_a_terminal(
    engine: str, terminal: Terminal, tmp_path: Path
) -> None:
    written = on_a_terminal(words(engine, tmp_path), terminal.environment)

    rows = [line.split() for line in MOVEMENT.sub(b"\n", COLOUR.sub(b"", written)).splitlines()]
    assert [b"step", b"state", b"seconds"] in rows
    assert any(row[:2] == [b"slow", b"running"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "azureml"])
def test_log_that_goes_to_no_terminal_has_no_table_and_no_escape_codes(
    engine: str, terminal: Terminal, tmp_path: Path
) -> None:
    done = subprocess.run(
        words(engine, tmp_path), cwd=PROJECT, env=terminal.environment, capture_output=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert b"slow | started" in done.stderr
    assert b"running  " not in done.stderr
    assert b"\x1b" not in done.stderr + done.stdout
