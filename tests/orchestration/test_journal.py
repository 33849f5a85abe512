"""What is written down of a run that has begun, and who takes it over when its process is gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.errors import RunError, ServiceError
from flows.orchestration.journal import (
    LONGEST_SECONDS,
    forget_interrupted,
    forget_when_told,
    process_is_gone,
    resumable_run,
)
from tests.terminal import PROJECT

WANTED = ["train_pipeline.yml", {"reg_rate": 0.1}]
DIES = """
import os, sys
from pathlib import Path
from flows.orchestration.journal import resumable_run
with resumable_run(Path(sys.argv[1]), {wanted}, sys.argv[2]):
    os.kill(os.getpid(), 9)
"""

MANY = """
import sys
from pathlib import Path
from flows.orchestration.journal import resumable_run
for number in range(100):
    name = f"{{sys.argv[2]}}-{{number}}"
    with resumable_run(Path(sys.argv[1]), {wanted}, name) as identity:
        assert identity.id == name
"""


def dies(folder: Path, run_id: str) -> None:
    """Begin a run in a process that is killed."""
    words = [sys.executable, "-c", DIES.format(wanted=WANTED), str(folder), run_id]
    assert subprocess.run(words, timeout=60).returncode == -9


def test_run_that_ended_leaves_nothing(tmp_path: Path) -> None:
    with resumable_run(tmp_path, WANTED, "first"):
        pass
    with resumable_run(tmp_path, WANTED, "second") as identity:
        assert (identity.id, identity.resumed) == ("second", False)


def test_run_whose_process_was_killed_is_taken_over_once(tmp_path: Path) -> None:
    dies(tmp_path, "first")
    assert process_is_gone(tmp_path, "first") is True
    with resumable_run(tmp_path, WANTED, "second") as identity:
        assert (identity.id, identity.resumed) == ("first", True)
        assert process_is_gone(tmp_path, "first") is False
        with resumable_run(tmp_path, WANTED, "third") as other:
            assert (other.id, other.resumed) == ("third", False)
    assert process_is_gone(tmp_path, "first") is None


def test_run_that_asks_for_something_else_is_another_run(tmp_path: Path) -> None:
    dies(tmp_path, "first")
    with resumable_run(tmp_path, [*WANTED, "more"], "second") as identity:
        assert not identity.resumed


def test_run_of_which_the_service_told_nothing_is_taken_over_and_one_that_failed_is_not(tmp_path: Path) -> None:
    with pytest.raises(ServiceError), resumable_run(tmp_path, WANTED, "unknown"):
        raise ServiceError("no answer")
    with pytest.raises(RunError), resumable_run(tmp_path, WANTED, "again") as identity:
        assert identity.id == "unknown"
        raise RunError("a step failed")
    with resumable_run(tmp_path, WANTED, "new") as identity:
        assert identity.id == "new"


def test_run_that_was_interrupted_long_ago_is_forgotten(tmp_path: Path) -> None:
    dies(tmp_path, "old")
    (file,) = tmp_path.rglob("old.json")
    past = file.stat().st_mtime - LONGEST_SECONDS - 60
    os.utime(file, (past, past))
    with resumable_run(tmp_path, WANTED, "new") as identity:
        assert identity.id == "new"
    assert not file.exists()


def test_no_file_and_no_folder_is_left_of_runs_that_have_ended(tmp_path: Path) -> None:
    folder = tmp_path / "begun"
    with resumable_run(folder, WANTED, "one"), resumable_run(folder, ["else"], "other"):
        pass
    with pytest.raises(RunError), resumable_run(folder, WANTED, "failed"):
        raise RunError("a step failed")
    assert process_is_gone(folder, "one") is None
    assert list(folder.iterdir()) == []


def test_runs_that_begin_and_end_at_once_never_take_each_others_folder_away(tmp_path: Path) -> None:
    """The folder of one kind is made and taken away by several processes all the time."""
    words = [sys.executable, "-c", MANY.format(wanted=WANTED), str(tmp_path / "begun")]
    processes = [subprocess.Popen([*words, name], stderr=subprocess.PIPE, text=True) for name in "abcd"]
    for process in processes:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    assert list((tmp_path / "begun").iterdir()) == []


def test_run_that_has_ended_is_gone_on_with_if_its_process_dies_before_the_person_was_told(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from flows.orchestration.journal import resumable_run, forget_when_told
with forget_when_told():
    with resumable_run(Path(sys.argv[1]), {WANTED}, "first"):
        pass
    sys.exit("Prefect's API is gone")
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT, check=False, capture_output=True)
    with forget_when_told():
        with resumable_run(tmp_path, WANTED, "second") as identity:
            assert (identity.id, identity.resumed) == ("first", True)
        with resumable_run(tmp_path, WANTED, "third") as identity:
            assert not identity.resumed  # the lock is held until the end
    with resumable_run(tmp_path, WANTED, "fourth") as identity:
        assert not identity.resumed


def test_what_an_interrupted_start_has_written_down_is_told_to_the_next_equal_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), resumable_run(tmp_path, WANTED, "first") as begun:
        assert begun.note == ""
        begun.write_down("what was planned at first, at some length")
        begun.write_down("1 in place of 2.")
        raise KeyboardInterrupt
    with resumable_run(tmp_path, WANTED, "second") as begun:
        assert (begun.id, begun.resumed, begun.note) == ("first", True, "1 in place of 2.")
    with resumable_run(tmp_path, WANTED, "third") as begun:
        assert (begun.resumed, begun.note) == (False, "")


def test_interrupted_runs_that_are_forgotten_are_not_resumed_and_one_that_is_alive_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ServiceError), resumable_run(tmp_path, WANTED, "unknown"):
        raise ServiceError("no answer")
    forget_interrupted(tmp_path, WANTED)
    with resumable_run(tmp_path, WANTED, "alive") as identity:
        assert not identity.resumed
        forget_interrupted(tmp_path, WANTED)
        assert process_is_gone(tmp_path, "alive") is False
