"""Runs that were begun and did not end: a second start of the same run goes on with the job of the first.

The id that a job's name is derived from is written down before the job is submitted, in a file that the process keeps
locked. If the process dies, by whatever means, the system takes the lock away; the next start that asks for the same
finds the file unlocked, takes the id over, and so asks the workspace for the same job. A run that ended takes its file
away; one that is still alive keeps its lock, so that two runs at once are two jobs.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.errors import ServiceError, SettingsError, TandemError

LONGEST_SECONDS = 7 * 24 * 3600.0  # what is older is not what a person means by starting the same again


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The id that a run's job is named by; ``resumed`` if it is that of an earlier start that did not end."""

    id: str
    resumed: bool = False


@contextmanager
def begun(folder: Path, wanted: Iterable[object], run_id: str) -> Generator[RunIdentity]:
    """Write down that a run begins; yield the id that it goes by.

    Args:
        folder: Where the runs that have not ended are written down.
        wanted: All that makes two starts ask for the same, as values that JSON takes.
        run_id: The id to go by unless an earlier start of the same has not ended.

    Raises:
        SettingsError: The folder cannot be written.
    """
    key = hashlib.sha256(json.dumps(list(wanted), sort_keys=True, default=str).encode()).hexdigest()
    place = folder / key
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            file, lock = _taken_over(place) or _new(place, run_id)
    except OSError as error:
        raise SettingsError(f"The folder of begun runs cannot be written: {place}: {error.strerror}.") from error
    try:
        yield RunIdentity(file.stem, resumed=file.stem != run_id)
        file.unlink(missing_ok=True)
    except ServiceError:
        raise  # what became of the job is not known: the next start will see
    except TandemError:
        file.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def process_is_gone(folder: Path, run_id: str) -> bool | None:
    """Whether the process of a run that has not ended is gone; None if nothing is known of the run here."""
    if not folder.is_dir():
        return None
    with _alone(folder):
        for file in folder.glob(f"*/{run_id}.json"):
            lock = _locked(file)
            if lock is None:
                return False
            os.close(lock)
            return True
    return None


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """For the moment in which locks are tried: a lock that is tried looks like one that is held."""
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _taken_over(place: Path) -> tuple[Path, int] | None:
    for file in sorted(place.glob("*.json")):
        if (lock := _locked(file)) is not None:
            if time.time() - file.stat().st_mtime < LONGEST_SECONDS:
                return file, lock
            file.unlink()
            os.close(lock)
    return None


def _new(place: Path, run_id: str) -> tuple[Path, int]:
    file = place / f"{run_id}.json"
    lock = os.open(file, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.fsync(lock)
    return file, lock


def _locked(file: Path) -> int | None:
    """The lock of a file that nobody holds; None if someone does, or if the file was taken away meanwhile."""
    try:
        lock = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if os.fstat(lock).st_nlink == 0:
        os.close(lock)
        return None
    return lock
