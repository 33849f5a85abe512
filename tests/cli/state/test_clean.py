"""``tandem state clean`` and ``make clean``: nothing goes but a state that nobody uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.machine.folder import MARKER, make_state_folder
from flows.machine.living import record_process
from tests.terminal import PROJECT


def clean(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = words or (sys.executable, "-m", "flows", "state", "clean")
    return subprocess.run(
        command, env={**os.environ, "TANDEM_HOME": str(home)}, cwd=PROJECT, capture_output=True, text=True, timeout=120
    )


def a_state(home: Path) -> Path:
    make_state_folder(home)
    for name in ("prefect/prefect.db", "mlartifacts/1/artifacts/model/MLmodel", "steps/a.json"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("x")
    return home


def test_state_is_deleted_and_what_its_links_point_to_stays(tmp_path: Path) -> None:
    home, elsewhere = a_state(tmp_path / "state"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    (home / "jobs").symlink_to(elsewhere)
    (home / "steps" / "link").symlink_to(elsewhere / "kept")
    done = clean(home)
    assert (done.returncode, done.stdout) == (0, f"Deleted the local state: {home}\n"), done.stderr
    assert not home.exists()
    assert (elsewhere / "kept").exists()
    assert "nothing to delete" in clean(home).stdout


def test_state_in_use_is_refused_and_who_uses_it_is_named(tmp_path: Path) -> None:
    home = a_state(tmp_path / "state")
    entry = record_process(home, "tandem run job.yml")
    done = clean(home)
    entry.end()
    assert done.returncode == 4
    assert f"process {os.getpid()}: tandem run job.yml" in done.stderr and "Nothing was deleted" in done.stderr
    assert (home / "prefect" / "prefect.db").exists()
    assert clean(home).returncode == 0


@pytest.mark.parametrize("content", ["notes.txt", "models/mine.bin", ""])
def test_folder_that_is_no_state_is_never_deleted(tmp_path: Path, content: str) -> None:
    home = tmp_path / "mine"
    home.mkdir()
    if content:
        (home / content).parent.mkdir(exist_ok=True)
        (home / content).write_text("x")
    before = sorted(home.rglob("*"))
    done = clean(home)
    assert done.returncode == 4 and "Nothing was deleted" in done.stderr
    assert sorted(home.rglob("*")) == before


def test_link_to_a_state_is_not_followed(tmp_path: Path) -> None:
    home = a_state(tmp_path / "real")
    (tmp_path / "link").symlink_to(home)
    done = clean(tmp_path / "link")
    assert done.returncode == 4 and f"TANDEM_HOME={home} tandem state clean" in done.stderr
    assert (home / MARKER).exists()


def test_state_that_was_made_before_there_was_a_marker_is_known(tmp_path: Path) -> None:
    home = a_state(tmp_path / "state")
    (home / MARKER).unlink()
    assert clean(home).returncode == 0
    assert not home.exists()


def test_make_clean_takes_the_outputs_of_the_checkout_with_the_state_of_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    tandem = tmp_path / ".venv" / "bin" / "tandem"  # would delete the state of the real checkout
    tandem.write_text("#!/bin/sh\n")
    tandem.chmod(0o755)
    (tmp_path / "Makefile").symlink_to(PROJECT / "Makefile")
    done = clean(Path(), "env", "-u", "TANDEM_HOME", "make", "-C", str(tmp_path), "clean")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "outputs").exists()


def test_make_clean_deletes_where_tandem_home_says_and_refuses_while_something_runs(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in (".venv", "flows", "Makefile"):
        (checkout / name).symlink_to(PROJECT / name)
    (checkout / "outputs").mkdir()
    home = a_state(tmp_path / "state")
    entry = record_process(home, "tandem ui")
    make = ("make", "--no-print-directory", "-C", str(checkout), "clean")
    refused = clean(home, *make)
    entry.end()
    assert refused.returncode != 0 and f"process {os.getpid()}: tandem ui" in refused.stderr
    assert (checkout / "outputs").exists() and home.exists()
    assert clean(home, *make).returncode == 0
    assert (checkout / "outputs").exists() and not home.exists()
    a_state(home)
    (checkout / ".venv").unlink()
    without = clean(home, *make)
    assert without.returncode != 0 and "make env" in without.stderr
    assert home.exists()


OPENS = "import sqlite3, sys, time; kept = sqlite3.connect(sys.argv[1]); kept.execute('select 1 from sqlite_master'); "


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which files a process has open")
@pytest.mark.parametrize("database", ["mlflow.db", "prefect/prefect.db"])
def test_database_that_a_process_of_no_command_has_open_is_not_deleted(database: str, tmp_path: Path) -> None:
    home = a_state(tmp_path / "state")
    (home / database).parent.mkdir(exist_ok=True)
    words = [sys.executable, "-c", f"{OPENS}print(flush=True); time.sleep(600)", str(home / database)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        user.stdout.readline()
        refused = clean(home)
        user.kill()
    assert refused.returncode == 4 and f"process {user.pid}: {sys.executable} -c" in refused.stderr
    assert home.exists()
    assert clean(home).returncode == 0 and not home.exists()
