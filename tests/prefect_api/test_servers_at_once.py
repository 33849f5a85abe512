"""Temporary Prefect servers that start at once on one state: one makes the database, and none complains."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from flows.prefect_api.server import LOG, answers, free_port, server_environment


def start(home: Path, number: int) -> list[tuple["subprocess.Popen[bytes]", str]]:
    """So many servers at once."""
    started: list[tuple[subprocess.Popen[bytes], str]] = []
    with (home / LOG).open("ab") as log:
        for _ in range(number):
            port = free_port()
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.prefect_api.temporary_server", str(port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **server_environment(home)},
            )
            started.append((process, f"http://127.0.0.1:{port}/api"))
    return started


def serve_and_end(servers: Sequence[tuple["subprocess.Popen[bytes]", str]]) -> None:
    for process, url in servers:
        end = time.monotonic() + 240
        while not answers(url):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
    for process, _ in servers:
        process.communicate()


def test_first_servers_at_once_make_one_database_and_say_nothing(tmp_path: Path) -> None:
    home = tmp_path / "it's new"
    home.mkdir()
    serve_and_end(start(home, 3))
    assert (home / LOG).read_text() == ""
    left = {path.name for path in home.iterdir() if path.name.startswith(".")}
    assert not left


def test_server_that_was_killed_while_it_made_the_database_leaves_none(tmp_path: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")  # where there is no copy yet
    ((process, _),) = start(tmp_path, 1)
    end = time.monotonic() + 120
    while not list(tmp_path.glob(".prefect.db.*.made")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "prefect.db").exists()
