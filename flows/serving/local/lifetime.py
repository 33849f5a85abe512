"""Start and end the supervisor of the local endpoints.

It is a process of its own that outlives the command which started it. It is there while there is an endpoint:
``tandem endpoints delete`` and the end of ``tandem serve`` take the last one away, and ``tandem state clean`` ends it.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from flows.errors import ServingError
from flows.machine.folder import make_state_folder
from flows.prefect_api.server import python_path
from flows.serving.local import files

ENDPOINTS = "the local endpoints (tandem endpoints)"  # what the state knows the supervisor as
START_SECONDS, END_SECONDS = 60.0, 120.0

_started: dict[Path, "subprocess.Popen[bytes]"] = {}  # by this process, for each state the last one


def supervisor_pid(root: Path) -> int | None:
    """The process that looks after the endpoints; None if there is none."""
    try:
        lock = os.open(root / files.LOCK, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        text = os.pread(lock, 32, 0).decode()
        return int(text) if text.isdecimal() else 0  # it is being started
    finally:
        os.close(lock)


def ensure_supervisor(home: Path) -> None:
    """See that the endpoints of a local state are looked after: start what does so, unless it is there."""
    root = home / "serving"
    started = _started.get(home)
    if (started is not None and started.poll() is None) or supervisor_pid(root) is not None:
        return
    make_state_folder(home)
    root.mkdir(parents=True, exist_ok=True)
    with (root / files.LOG).open("ab") as log:
        words = [sys.executable, "-P", "-m", "flows.serving.local.supervisor", str(home)]
        environment = {**os.environ, "TANDEM_HOME": str(home), "PYTHONPATH": python_path()}
        _started[home] = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def wait_for_supervisor(home: Path) -> int:
    """Wait until the supervisor has its port, and return that.

    Raises:
        ServingError: It does not come up.
    """
    root, end = home / "serving", time.monotonic() + START_SECONDS
    while True:
        ensure_supervisor(home)
        if supervisor_pid(root) and (port := files.read_port(root)) is not None:
            return port
        if time.monotonic() > end:
            raise ServingError(
                f"The local endpoints did not start within {START_SECONDS:g} s; see {root / files.LOG}. What is wanted "
                "is kept: type the same command again."
            )
        time.sleep(0.05)


def end_supervisor(home: Path) -> bool:
    """End the supervisor of a local state, with all that it has started; whether there was one. What is wanted stays.

    Raises:
        ServingError: It does not end.
    """
    root = home / "serving"
    pid, end = supervisor_pid(root), time.monotonic() + END_SECONDS
    if pid is None:
        return False
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while supervisor_pid(root) is not None:
        if time.monotonic() > end:
            raise ServingError(f"The local endpoints (process {pid}) do not end; see {root / files.LOG}. kill -9 {pid}")
        time.sleep(0.05)
    return True
