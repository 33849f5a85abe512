"""Child processes: started, watched, and ended within a time.

Every program that Tandem starts beside itself and does not simply wait for is a :class:`Child`: the servers of ``tandem
serve``, a temporary Prefect server, an MLflow worker of its own. (The steps of a local run are processes of the step
host, :mod:`flows.engines.local.host.step_host`, which lives in the steps' interpreter.)
"""

import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from flows.errors import ServiceError

LOOK_SECONDS = 0.02


class Child:
    """A running child process; as a context manager, it ends with the block."""

    def __init__(
        self,
        name: str,
        words: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        log: Path | None = None,
        folder: Path | None = None,
        own_session: bool = True,
        ends_with_us: bool = False,
        streams: bool = False,
        lend: Sequence[int] = (),
        grace_seconds: float = 10.0,
    ) -> None:
        """Start it.

        Args:
            name: What messages call it, such as ``The temporary Prefect server``.
            words: The command.
            environment: All of its variables.
            log: The file that what it prints is added to; None for nowhere. Its folder is there.
            folder: Where it works; None for where this process does.
            own_session: Whether it is the first of a session, so that Ctrl+C in the terminal is not for it, and what it
                has started is killed with it.
            ends_with_us: Whether it is to end when this process does, however that ends: its standard input is then a
                pipe that this process holds. The program itself must end when that does
                (:func:`end_with_standard_input`).
            streams: Whether its standard input and output are pipes of text, and only its errors go to the log.
            lend: File descriptors that it inherits.
            grace_seconds: How long it may take to end after SIGTERM, before it is killed.
        """
        self.name = name
        self.log = log
        self.is_ending = False
        self._own_session = own_session
        self._grace_seconds = grace_seconds
        with _opened(log) as output:
            self._log_start = os.fstat(output.fileno()).st_size
            self.process: subprocess.Popen[Any] = subprocess.Popen(
                [str(word) for word in words],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE if streams or ends_with_us else subprocess.DEVNULL,
                stdout=subprocess.PIPE if streams else output,
                stderr=output,
                text=streams,
                pass_fds=tuple(lend),
                start_new_session=own_session,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def said(self) -> list[str]:
        """The lines that it has added to its log; none if that cannot be read."""
        with suppress(OSError, TypeError), open(self.log or os.devnull, "rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace").splitlines()
        return []

    def failure(self) -> ServiceError:
        """That it has ended, with its exit code, its last error message or else its last line, and its log."""
        lines = [line for line in self.said() if line.strip()]
        errors = [line for line in lines if "Error" in line and not line.startswith(" ")]
        why = "".join(f": {line.strip()}" for line in (errors or lines)[-1:])
        where = "" if self.log is None else f"; see {self.log}"
        return ServiceError(f"{self.name} ended with exit code {self.process.wait()}{why}{where}.")

    def check_running(self) -> None:
        """Raise if it has ended.

        Raises:
            ServiceError: It has.
        """
        if self.process.poll() is not None:
            raise self.failure()

    def begin_end(self) -> None:
        """Ask it to end (SIGTERM), and return at once; :meth:`end` is to follow."""
        self.is_ending = True
        self.process.terminate()

    def end(self) -> None:
        """End it: SIGTERM, and SIGKILL if it takes longer than its time. May be called again."""
        if not self.is_ending:
            self.begin_end()
        try:
            self.process.wait(self._grace_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        if self._own_session:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)  # what it has started, and left
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def end_all(children: Sequence[Child]) -> None:
    """End children: all are asked to before the first is waited for."""
    for child in children:
        child.begin_end()
    for child in children:
        child.end()


def wait_until(holds: Callable[[], bool], children: Sequence[Child], seconds: float) -> bool:
    """Wait until a condition holds, which is asked every 20 ms; whether it held within so many seconds.

    Raises:
        ServiceError: One of the children has ended before.
    """
    end = time.monotonic() + seconds
    while not holds():
        for child in children:
            child.check_running()
        if time.monotonic() > end:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def end_with_standard_input() -> None:
    """From now on, end this process at once when its standard input ends, that is, when its parent ends.

    Nothing is done where standard input is no pipe: then no :class:`Child` with ``ends_with_us`` was started.
    """
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def wait() -> None:
        while os.read(0, 4096):  # the file descriptor itself: a stream's lock would be in the way at the end
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _opened(log: Path | None) -> IO[bytes]:
    """The log, to be added to; nothing is kept of what a child says where that cannot be written."""
    with suppress(OSError):
        return open(log or os.devnull, "ab")
    return open(os.devnull, "ab")
