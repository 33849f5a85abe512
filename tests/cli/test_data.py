"""``tandem data register``: the next version of a data asset, once for a content, and only if prep takes it."""

import csv
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flows.data.store import DataStore
from tests.azure_ml_service.service import Service
from tests.terminal import PROJECT, ROWS, Terminal

NAME = "diabetes-diagnostics"


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    terminal = Terminal(tmp_path, None)
    terminal.environment["PREFECT_HOME"] = str(tmp_path / "prefect")
    return terminal


def register(terminal: Terminal, file: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "flows", "data", "register", str(file), *flags]
    return subprocess.run(
        words, env=terminal.environment, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )


def registered(terminal: Terminal, file: Path, *flags: str) -> dict[str, Any]:
    done = register(terminal, file, "--json", *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def fewer_rows(tmp_path: Path) -> Path:
    """The shipped data without its last rows."""
    with ROWS.open() as stream:
        rows = list(csv.reader(stream))[:700]
    path = tmp_path / "fewer.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


@pytest.mark.slow
def test_new_data_is_the_next_version_once_and_is_what_the_name_means_from_then_on(
    terminal: Terminal, fewer_rows: Path
) -> None:
    first = registered(terminal, fewer_rows)
    assert (first["data_asset"], first["created"], first["event_emitted"]) == (f"{NAME}:2", True, False)
    fewer_rows.rename(fewer_rows.with_name("moved.csv"))  # what is registered is a copy
    again = registered(terminal, fewer_rows.with_name("moved.csv"))
    assert (again["data_asset"], again["created"]) == (f"{NAME}:2", False)
    plan = subprocess.run(
        [sys.executable, "-m", "flows", "plan", "aml_steps/train_pipeline.yml", "--json"],
        env=terminal.environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert plan.returncode == 0, plan.stderr
    assert first["path"] in plan.stdout or "train_pipeline" in plan.stdout


def test_data_that_is_the_newest_version_already_is_no_new_one(terminal: Terminal) -> None:
    found = registered(terminal, ROWS)
    assert (found["data_asset"], found["created"]) == (f"{NAME}:1", False)


def test_data_that_prep_refuses_is_not_registered_and_every_fault_is_told(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("PatientID,Age\n1,400\n")
    done = register(terminal, path)
    assert done.returncode == 2
    assert "is not data that the pipeline takes; nothing was registered" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state" / "data").exists()


def test_data_that_many_register_at_once_gets_a_version_each(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.csv" for number in range(8)]
    for file in files:
        file.write_text(file.name)
    store = DataStore(tmp_path / "store")
    with ThreadPoolExecutor(8) as threads:
        made = [found.asset.version for found in threads.map(store.register, files, ["d"] * 8)]
    assert sorted(made) == [str(number) for number in range(1, 9)]


@pytest.mark.slow
def test_data_is_registered_in_the_workspace_with_its_digest(
    terminal: Terminal, azure_ml: Service, fewer_rows: Path
) -> None:
    terminal.environment |= azure_ml.environment
    first = registered(terminal, fewer_rows, "--name", "registered-rows")
    again = registered(terminal, fewer_rows, "--name", "registered-rows")
    assert (first["data_asset"], first["created"]) == ("registered-rows:1", True)
    assert (again["data_asset"], again["created"]) == ("registered-rows:1", False)
    assert not azure_ml.violations
