"""Registers the processes that use the local state: a file for each, locked as long as the process lives.

A process that ends deletes its file. One that is killed leaves it behind, unlocked. A later command then finds what is
still shown as running: the name of the file is a tag of every flow run and MLflow run that the process made.
"""

import fcntl
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from flows.errors import SettingsError
from flows.machine.faults import state_error
from flows.machine.folder import make_state_folder
from flows.machine.locks import locked, try_lock
from flows.machine.own_folders import discard

PROCESS = "tandem.process"  # the tag of the MLflow runs that a process makes
FOLDER = "alive"
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Life:
    """What is written down of a process.

    Attributes:
        id: The name of the file, which no other process has.
        pid: The process.
        what: What it does, as a person would type it.
        since: When it began, in seconds since 1970.
        api: The Prefect API that it makes its flow runs at; None for that of the local state.
        flow_run: The flow run that it was started for by a worker; None if it makes its own.
        worker: That worker: its process, and when it began, in the system's own count.
        mlflow: Whether it makes MLflow runs in the local store.
        work: A temporary folder outside of the state, which is deleted if the process is killed.
    """

    id: str
    pid: int
    what: str
    since: float = field(default_factory=time.time)
    api: str | None = None
    flow_run: str | None = None
    worker: tuple[int, int] | None = None
    mlflow: bool = False
    work: str | None = None

    @property
    def flow_run_tag(self) -> str:
        """The tag of the flow runs that the process makes."""
        return f"{PROCESS}:{self.id}"


class Living:
    """This process among those that use a state. Ends with :meth:`end`, or however the process ends."""

    def __init__(self, file: Path, lock: int, life: Life) -> None:
        self._file = file
        self._lock = lock
        self.life = life
        self.unsettled = False  # whether something that it has begun may not be over
        self.leaves_something_open = False  # whether something could not be ended, so that the next command has to

    def tell(self, **facts: Any) -> None:
        """Write down more of what it does."""
        self.life = replace(self.life, **facts)
        _write(self._lock, self.life)

    def keep_temporary_files(self) -> None:
        """From now on, make temporary files in a folder beside this file, which goes with it.

        What libraries leave there when the process is killed is deleted by the next command.
        """
        folder = _temporary(self._file)
        folder.mkdir(mode=0o700, exist_ok=True)
        tempfile.tempdir = str(folder)

    def lend(self) -> int:
        """The descriptor of the lock, for a child: the file counts as that of a living process until both are gone."""
        return self._lock

    def end(self) -> None:
        """Delete the file: all that the process has begun is over."""
        global _current
        if _current is self:
            _current = None
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
        _forget_temporary(self._file)
        os.close(self._lock)

    def leave(self) -> None:
        """Release the lock and keep the file: a child holds it now, or a later command closes what is left."""
        global _current
        if _current is self:
            _current = None
        os.close(self._lock)

    def end_if_settled(self) -> None:
        """End if nothing is left open, else leave the file as it is; called as the process exits."""
        if not (self.unsettled or self.leaves_something_open):
            self.end()


@dataclass(frozen=True, slots=True)
class Dead:
    """What a dead process has left behind. Nobody else closes it as long as the lock is held."""

    life: Life
    file: Path
    lock: int

    def forget(self) -> None:
        """Delete the file, and the temporary files: nothing of the process is left open."""
        _forget_temporary(self.file)
        if self.life.work is not None:
            with suppress(SettingsError):
                discard(Path(self.life.work))
        self.file.unlink(missing_ok=True)
        os.close(self.lock)

    def leave(self) -> None:
        """Release the lock and keep the file, for the next command that looks."""
        os.close(self.lock)


_current: Living | None = None


def as_typed() -> str:
    """The command of this process, as a person would type it."""
    program, *words = sys.argv or [""]
    return shlex.join([Path(program).name, *words])[:200]


def current() -> Living | None:
    """The entry of this process, if it has one."""
    return _current


def record_process(home: Path, what: str, **facts: Any) -> Living:
    """Write down that this process uses a state, whose folder is made if need be.

    Raises:
        StateError: It cannot be written.
    """
    global _current
    _current = enlist(home, what, **facts)
    return _current


def enlist(home: Path, what: str, **facts: Any) -> Living:
    """As :func:`record_process`, but for a child that this process is about to start and that inherits the lock."""
    make_state_folder(home)
    folder = home / FOLDER
    id = uuid.uuid4().hex[:12]
    life, file = Life(id, os.getpid(), what, **facts), folder / f"{id}.json"
    try:
        with locked(folder / LOCK):
            make_state_folder(home)  # it may have been deleted while the lock was waited for
            return Living(file, _new(file, life), life)
    except OSError as error:
        raise state_error(error, file) from error


def look(home: Path) -> tuple[list[Life], list[Dead]]:
    """The processes that live, and what dead ones have left. The caller holds the locks of the dead ones."""
    folder = home / FOLDER
    if not has_entries(home):
        return [], []
    with locked(folder / LOCK):  # a lock that is tried looks like one that is held
        return _look(folder)


def has_entries(home: Path) -> bool:
    """Whether any process is registered, this one or another. It only lists a folder."""
    try:
        with os.scandir(home / FOLDER) as entries:
            return any(entry.name.endswith(".json") for entry in entries)
    except OSError:
        return False


@contextmanager
def nobody_else(home: Path) -> Generator[tuple[list[Life], list[Dead]]]:
    """Keep other processes from starting to use the state; yield those that use it, and what dead ones have left."""
    folder = home / FOLDER
    with locked(folder / LOCK):
        living, dead = _look(folder)
        try:
            yield living, dead
        finally:
            for each in dead:
                with suppress(OSError):  # its lock was let go
                    each.leave()


def is_running(pid: int, began: int) -> bool:
    """Whether a process is the one that began then, and not a later one of the same number."""
    return _began(pid) == began


def this_process() -> tuple[int, int]:
    """This process, and when it began, by which :func:`is_running` knows it."""
    return os.getpid(), _began(os.getpid()) or 0


def parent() -> tuple[int, int] | None:
    """The process that started this one, and when it began."""
    pid = os.getppid()
    began = _began(pid)
    return None if began is None else (pid, began)


def _temporary(file: Path) -> Path:
    return file.with_suffix(".tmp")


def _forget_temporary(file: Path) -> None:
    folder = _temporary(file)
    if tempfile.tempdir == str(folder):
        tempfile.tempdir = None
    shutil.rmtree(folder, ignore_errors=True)


def _new(file: Path, life: Life) -> int:
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write(lock, life)
    except OSError:
        file.unlink(missing_ok=True)
        os.close(lock)
        raise
    return lock


def _look(folder: Path) -> tuple[list[Life], list[Dead]]:
    living: list[Life] = []
    dead: list[Dead] = []
    for file in sorted(folder.glob("*.json")):
        lock = try_lock(file)
        life = _read(file)
        if lock is not None:
            dead.append(Dead(life, file, lock))
        elif file.exists():
            living.append(life)
    return sorted(living, key=lambda life: life.since), dead


def _read(file: Path) -> Life:
    try:
        values: dict[str, Any] = json.loads(file.read_bytes())
        worker = values.pop("worker")
        return Life(worker=None if worker is None else tuple(worker), **values)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return Life(file.stem, 0, "a command", 0.0, mlflow=True)  # killed while it was written


def _write(lock: int, life: Life) -> None:
    text = json.dumps(asdict(life)).encode()
    os.pwrite(lock, text, 0)
    os.ftruncate(lock, len(text))


def _began(pid: int) -> int | None:
    """When a process began; 0 where the system does not tell; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return int(stat.read().rpartition(")")[2].split()[19])
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except (OSError, ValueError, IndexError):
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return 0
