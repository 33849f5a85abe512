"""Resume the job of an interrupted command.

The name of a job is derived from an id. The id is written to a file before the job is submitted, and the process keeps
the file locked. If the process dies, the system releases the lock. The next start of the same command finds the file
unlocked, takes over its id, and so asks the workspace for the same job. A run that ends deletes its file. A run that is
alive holds its lock, so that two equal commands at once are two jobs.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from flows.errors import ServiceError, SettingsError, TandemError
from flows.machine.locks import locked, try_lock

LOCK = ".lock"
_until_told: ExitStack | None = None
LONGEST_SECONDS = 7 * 24 * 3600.0  # an older run is not resumed: a person who starts the command again means a new run


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The id that a run's job is named by; ``resumed`` if it is that of an earlier start that did not end.

    ``note`` is what that earlier start has written down with :meth:`write_down`; empty for nothing.
    """

    id: str
    resumed: bool = False
    note: str = ""
    _lock: int = field(default=-1, repr=False, compare=False)

    def write_down(self, note: str) -> None:
        """Keep what is about to be done, for the next start if this one is killed."""
        text = note.encode()
        os.pwrite(self._lock, text, 0)
        os.ftruncate(self._lock, len(text))
        os.fsync(self._lock)


@contextmanager
def resumable_run(folder: Path, wanted: Iterable[object], run_id: str) -> Generator[RunIdentity]:
    """Write down that a run begins, and yield its id: a new one, or that of an equal run that was interrupted.

    Args:
        folder: Where the runs that have not ended are written down.
        wanted: What makes two runs equal, as values that JSON takes.
        run_id: The id to take if no equal run was interrupted.

    Raises:
        SettingsError: The folder cannot be written.
    """
    place = _place(folder, wanted)
    try:
        with locked(folder / LOCK):
            place.mkdir(exist_ok=True)
            file, lock = _taken_over(place) or _new(place, run_id)
    except OSError as error:
        raise SettingsError(f"The folder of unfinished runs cannot be written: {place}: {error.strerror}.") from error
    try:
        yield RunIdentity(file.stem, file.stem != run_id, file.read_text(encoding="utf-8", errors="replace"), lock)
        if _until_told is None:
            _forget(folder, file)
        else:
            _until_told.callback(os.close, os.dup(lock))  # a copy holds the lock on
            _until_told.callback(_forget, folder, file)
    except ServiceError:
        raise  # what became of the job is not known: the next start will see
    except TandemError:
        _forget(folder, file)
        raise
    finally:
        os.close(lock)


@contextmanager
def forget_when_told() -> Generator[None]:
    """Keep the files of runs that end within this block until the block ends; keep them if it raises.

    After the flow's function has returned, Prefect still has to record the state of the flow run. A process that dies
    in between must come to the same decision when it is started again.
    """
    global _until_told
    _until_told = ExitStack()
    try:
        yield
        _until_told.close()
    finally:
        _until_told = None


def process_is_gone(folder: Path, run_id: str) -> bool | None:
    """Whether the process of a run that has not ended is gone; None if nothing is known of the run here."""
    if not folder.is_dir():
        return None
    with locked(folder / LOCK):  # so that no other process takes our attempt to lock a file for a run that is alive
        for file in folder.glob(f"*/{run_id}.json"):
            lock = try_lock(file)
            if lock is None:
                return False
            os.close(lock)
            return True
    return None


def forget_interrupted(folder: Path, wanted: Iterable[object]) -> None:
    """Delete the files of equal runs that were interrupted: what they were to do is done, or no longer wanted."""
    place = _place(folder, wanted)
    if not place.is_dir():
        return
    with locked(folder / LOCK):
        for file in place.glob("*.json"):
            if (lock := try_lock(file)) is not None:
                file.unlink()
                os.close(lock)
        with suppress(OSError):  # it is not empty: a run is alive
            place.rmdir()


def _place(folder: Path, wanted: Iterable[object]) -> Path:
    """The folder of equal runs."""
    return folder / hashlib.sha256(json.dumps(list(wanted), sort_keys=True, default=str).encode()).hexdigest()


def _forget(folder: Path, file: Path) -> None:
    """Delete the file of a run, and the folder of equal runs if it is empty then."""
    with locked(folder / LOCK):  # nobody puts a file into the folder meanwhile
        file.unlink(missing_ok=True)
        with suppress(OSError):
            file.parent.rmdir()


def _taken_over(place: Path) -> tuple[Path, int] | None:
    for file in sorted(place.glob("*.json")):
        if (lock := try_lock(file)) is not None:
            if time.time() - file.stat().st_mtime < LONGEST_SECONDS:
                return file, lock
            file.unlink()
            os.close(lock)
    return None


def _new(place: Path, run_id: str) -> tuple[Path, int]:
    file = place / f"{run_id}.json"
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.fsync(lock)
    return file, lock
