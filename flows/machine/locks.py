"""Locks between processes, each a file that exists only while a process holds the lock or waits for it.

The system releases a lock when its process ends, however it ends. The holder deletes the file. A process that waited
for it sees that the file is gone, and waits for the lock of a new one.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path) -> Generator[None]:
    """Hold the lock of a file, whose folder is made if need be.

    Raises:
        OSError: The file cannot be made.
    """
    lock = _acquired(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def held(file: Path) -> Generator[None]:
    """Hold the lock of a file that stays, as the MLflow worker's does."""
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def try_lock(file: Path) -> int | None:
    """The descriptor of a lock that nobody holds; None if somebody does, or if the file is not there (any more)."""
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


def _acquired(file: Path) -> int:
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue  # the folder was taken away meanwhile
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)
