"""Ctrl+C at any moment in the life of a command: one line, exit code 130, no traceback, nothing left running."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import commands_with
from tests.terminal import JOB, PIPELINE, Terminal
from tests.waiting import until

JOB_FILE = "type: command\nname: quick\nenvironment: azureml:diabetes-classify@latest\ncommand: echo began\n"
MOMENTS = {
    "while a library makes another error of it": """
        class Slow:
            def __set_name__(self, owner, name):
                ready()
        class Library:
            attribute = Slow()
    """,
    "while a library catches everything": """
        try:
            ready()
        except BaseException:
            pass
        time.sleep(60)
    """,
    "while the interpreter ends": """
        import atexit
        atexit.register(ready)
        raise SystemExit(exit_code_of(lambda: 0))
    """,
    "while it waits for a thread at the end": """
        import threading
        threading.Thread(target=ready).start()
        raise SystemExit(exit_code_of(lambda: 0))
    """,
}
SCRIPT = """
from flows.cli.terminal import interrupts
interrupts.handle_interrupts()
import time
from collections.abc import Callable
from flows.cli.terminal.exit_codes import exit_code_of
def ready():
    print("ready", flush=True)
    time.sleep(3)
"""


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_ctrl_c_is_one_line_and_130(moment: str) -> None:
    lines = moment.splitlines()
    script = SCRIPT + "\n".join(line[8:] for line in lines)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.startswith("\nInterrupted") and said.count("\n") == 2


@pytest.mark.parametrize("command", [(str(PIPELINE),), (str(JOB),), ("-m", "flows", "run", "job.yml")])
def test_ctrl_c_while_prefect_is_imported_leaves_nothing_running(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "job.yml").write_text(JOB_FILE)
    terminal = Terminal(tmp_path, None)
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=tmp_path,
        env=terminal.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until((tmp_path / "state" / "prefect").exists)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "\nInterrupted. Nothing is left running.\n")
    until(lambda: not commands_with(str(tmp_path / "state")))
    assert not list((tmp_path / "state" / "alive").glob("*.json"))


def test_command_that_was_told_to_ignore_ctrl_c_goes_on(tmp_path: Path) -> None:
    script = (
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        + SCRIPT
        + "interrupts.handle_interrupts()\nimport os\nos.kill(os.getpid(), 2)\n"
        + "raise SystemExit(exit_code_of(lambda: 7))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 7


TALKING = """
type: pipeline
jobs:
  a: {type: command, environment: azureml:diabetes-classify@latest, command: &talk "while sleep 0.1; do date; done"}
  b: {type: command, environment: azureml:diabetes-classify@latest, command: *talk}
"""


def test_a_command_whose_log_nobody_reads_any_more_ends_and_leaves_nothing_running(
    tmp_path: Path, prefect_api: str
) -> None:
    (tmp_path / "job.yml").write_text(TALKING)
    terminal = Terminal(tmp_path, prefect_api)
    command = f"'{sys.executable}' -m flows run job.yml 2>&1 | head -n 8; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=terminal.environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.count("\n")) == (141, 8), done.stdout
    until(lambda: not commands_with(str(tmp_path)))
