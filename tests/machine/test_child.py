"""Child processes: they end with the block, with this process, and within their time, and say why they have ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.errors import ServiceError
from flows.machine.child import Child, end_all, wait_until
from tests.waiting import until

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PARENT_AND_CHILD = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)"
)
WATCHES_ITS_PARENT = (
    "import time; from flows.machine.child import end_with_standard_input\n"
    "end_with_standard_input(); print('up', flush=True); time.sleep(600)"
)


def started(code: str, log: Path, **how: object) -> Child:
    child = Child("The server", [sys.executable, "-c", code], os.environ, log=log, **how)  # type: ignore[arg-type]
    assert wait_until(lambda: bool(child.said()), [child], 60)
    return child


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_child_that_ignores_sigterm_is_killed_after_its_time(tmp_path: Path) -> None:
    with started(STUBBORN, tmp_path / "log", grace_seconds=0.2) as child:
        pass
    assert child.process.returncode == -signal.SIGKILL


def test_children_are_ended_at_once_and_a_second_end_does_nothing(tmp_path: Path) -> None:
    children = [started("import time; print('up', flush=True); time.sleep(600)", tmp_path / f"{n}") for n in range(2)]
    end_all(children)
    assert [child.process.returncode for child in children] == [-signal.SIGTERM] * 2
    children[0].end()
    assert children[0].is_ending


def test_what_a_child_has_started_ends_with_it(tmp_path: Path) -> None:
    with started(PARENT_AND_CHILD, tmp_path / "log") as child:
        (line,) = child.said()
        assert is_there(int(line))
    until(lambda: not is_there(int(line)))


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import os, sys, time; from pathlib import Path; from flows.machine.child import Child\n"
        f"child = Child('it', [sys.executable, '-c', {WATCHES_ITS_PARENT!r}], os.environ, log=Path({str(log)!r}), "
        "ends_with_us=True)\n"
        "print(child.process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until(lambda: log.exists() and "up" in log.read_text())
        assert is_there(pid)
        parent.kill()
    until(lambda: not is_there(pid))


def test_child_without_a_pipe_for_its_input_does_not_take_that_for_the_end_of_its_parent(tmp_path: Path) -> None:
    with started(WATCHES_ITS_PARENT, tmp_path / "log") as child:
        child.check_running()
    assert child.process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ValueError('no space')", "ended with exit code 1: ValueError: no space; see"),
        ("print('Error: busy'); print('bye'); raise SystemExit(7)", "ended with exit code 7: Error: busy; see"),
        ("print('nothing to serve'); raise SystemExit(7)", "ended with exit code 7: nothing to serve; see"),
        ("raise SystemExit(7)", "ended with exit code 7; see"),
        ("import os; os.kill(os.getpid(), 9)", "ended with exit code -9; see"),
    ],
)
def test_child_that_ends_by_itself_is_told_with_its_last_error_and_its_log(
    tmp_path: Path, code: str, told: str
) -> None:
    log = tmp_path / "log"
    log.write_text("Error: of an earlier one\n")
    with (
        Child("The server", [sys.executable, "-c", code], os.environ, log=log) as child,
        pytest.raises(ServiceError) as raised,
    ):
        wait_until(lambda: False, [child], 60)
    assert str(raised.value) == f"The server {told} {log}."


def test_child_is_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    with started(STUBBORN, tmp_path / "log", grace_seconds=0.1) as child:
        assert not wait_until(lambda: False, [child], 0.1)


def test_child_whose_log_cannot_be_written_runs_all_the_same(tmp_path: Path) -> None:
    with Child("it", [sys.executable, "-c", "print('said')"], os.environ, log=tmp_path / "no" / "log") as child:
        assert child.process.wait(60) == 0
        assert child.said() == []
