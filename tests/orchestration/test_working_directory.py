"""The pull step: where a flow run works, and which code its process finds there."""

import os
from pathlib import Path

import pytest

from flows.orchestration import working_directory
from flows.orchestration.working_directory import flow_run_folder
from flows.settings import PROJECT


@pytest.fixture
def worker(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that Prefect makes for a flow run, in which the pull steps run."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "a-run")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    folder = tmp_path / "made-by-prefect"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_flow_run_works_in_a_folder_of_its_own_with_the_code_that_is_installed(worker: Path, home: Path) -> None:
    assert flow_run_folder(warm_up=False) == {"directory": str(home / "runs" / "a-run")}
    assert Path.cwd() == home / "runs" / "a-run"
    assert "PYTHONPATH" not in os.environ


def test_code_that_was_cloned_into_the_working_directory_is_found_from_the_folder_of_the_run(
    worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_directory, "PROJECT", worker)  # this module is that of the clone
    flow_run_folder(warm_up=False)
    assert os.environ["PYTHONPATH"] == str(PROJECT)
