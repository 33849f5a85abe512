"""Who uses the local state: written down as long as a process lives, found when it has been killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flows.errors import StateError
from flows.machine.living import enlist, has_entries, is_running, look, parent, record_process
from flows.machine.own_folders import claim

LIVES = """
import sys, time
from pathlib import Path
from flows.machine.living import record_process
entry = record_process(Path(sys.argv[1]), "tandem run job.yml")
entry.tell(mlflow=True)
print("ready", flush=True)
time.sleep(600)
"""


def test_process_that_lives_is_named_and_one_that_was_killed_is_found_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", LIVES, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    living, dead = look(tmp_path)
    assert [(life.pid, life.what) for life in living] == [(process.pid, "tandem run job.yml")] and not dead
    process.kill()
    process.communicate()
    living, dead = look(tmp_path)
    assert not living
    assert [(each.life.pid, each.life.mlflow) for each in dead] == [(process.pid, True)]
    assert look(tmp_path)[1] == []  # somebody sees to it already
    dead[0].leave()
    (again,) = look(tmp_path)[1]
    again.forget()
    assert not has_entries(tmp_path)


def test_temporary_files_of_a_killed_process_are_deleted_with_its_entry(tmp_path: Path) -> None:
    script = LIVES.replace('print("ready", flush=True)', "entry.keep_temporary_files(); print(mkdtemp(), flush=True)")
    words = [sys.executable, "-c", f"from tempfile import mkdtemp\n{script}", str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder.is_dir() and folder.is_relative_to(tmp_path / "alive")
    process.kill()
    process.communicate()
    (dead,) = look(tmp_path)[1]
    dead.forget()
    assert not folder.exists() and not has_entries(tmp_path)


def test_working_folder_of_a_killed_process_is_deleted_with_its_entry_if_a_run_has_made_it(tmp_path: Path) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    claim(work)
    (work / "1").mkdir()
    other.mkdir()
    for folder in (work, other):
        entry = enlist(tmp_path / "home", "a command")
        entry.tell(work=str(folder))
        entry.leave()
    for dead in look(tmp_path / "home")[1]:
        dead.forget()
    assert not work.exists() and other.is_dir()


def test_process_that_ends_leaves_nothing(tmp_path: Path) -> None:
    entry = record_process(tmp_path, "a command")
    assert has_entries(tmp_path)
    entry.keep_temporary_files()
    made = Path(tempfile.mkdtemp())
    entry.end()
    assert not made.exists() and Path(tempfile.gettempdir()).is_dir()
    assert not has_entries(tmp_path)
    assert list((tmp_path / "alive").iterdir()) == []


def test_entry_that_was_cut_off_while_it_was_written_still_counts(tmp_path: Path) -> None:
    entry = enlist(tmp_path, "a command")
    (file,) = (tmp_path / "alive").glob("*.json")
    os.truncate(file, 10)
    entry.leave()
    (dead,) = look(tmp_path)[1]
    assert dead.life.id == file.stem and dead.life.mlflow
    dead.forget()


def test_entry_counts_as_alive_until_the_child_that_was_lent_its_lock_is_gone(tmp_path: Path) -> None:
    entry = enlist(tmp_path, "a server")
    child = subprocess.Popen(["sleep", "600"], pass_fds=[entry.lend()])
    entry.tell(pid=child.pid)
    entry.leave()
    assert [life.pid for life in look(tmp_path)[0]] == [child.pid]
    child.kill()
    child.wait()
    (dead,) = look(tmp_path)[1]
    dead.forget()


def test_process_is_told_from_a_later_one_of_the_same_number() -> None:
    found = parent()
    assert found is not None
    pid, began = found
    assert is_running(pid, began)
    assert not is_running(pid, began + 1)


def test_folder_that_holds_other_things_is_no_place_for_the_state(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("keep")
    with pytest.raises(StateError, match=r"other things are in that folder\. Nothing was written\. Set TANDEM_HOME"):
        record_process(tmp_path, "a command")
    assert [path.name for path in tmp_path.iterdir()] == ["keep.txt"]
    for name in ("mlflow.db", ".tandem-state"):  # one that is a state already stays one, whatever else is in it
        (tmp_path / name).touch()
        record_process(tmp_path, "a command").end()
