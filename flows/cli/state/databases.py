"""Check the two SQLite databases of the local state: their headers before a run, all of them for a diagnosis."""

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from flows.machine.faults import Cause, cause_in, cause_of
from flows.prefect_api.server import DATABASE
from flows.settings import Settings

_HEAD = b"SQLite format 3\0"
_PAGES_OF = slice(28, 32)  # in the head: how many pages the file has
_CHANGES, _VALID_FOR = slice(24, 28), slice(92, 96)  # the number of pages is right where these two are equal
# Tables that a migration leaves behind when it is killed or finds no space; no later migration gets past them.
_HALF_MADE = "SELECT count(*) FROM sqlite_master WHERE name LIKE '\\_alembic\\_tmp\\_%' ESCAPE '\\'"
BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a database cannot be used, and what was seen of it."""

    cause: Cause
    detail: str


def databases(settings: Settings) -> Mapping[str, Path]:
    """The paths of the databases, by the program that they belong to: Prefect or MLflow."""
    return {"Prefect": settings.prefect_home / DATABASE, "MLflow": settings.home / "mlflow.db"}


def look_at(database: Path) -> Trouble | None:
    """Look at the head of a database: whether it is one, can be read and written, and was not cut off.

    Takes microseconds. One that is not there is not in trouble: it will be made.
    """
    try:
        with database.open("rb") as file:
            head, size = file.read(100), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        cause, _ = cause_of(error) or (Cause.UNREADABLE, None)
        return Trouble(cause, str(error.strerror))
    if not os.access(database, os.W_OK):
        read_only = os.statvfs(database).f_flag & os.ST_RDONLY
        return Trouble(Cause.READ_ONLY if read_only else Cause.DENIED, "it cannot be written")
    if size == 0:
        return Trouble(Cause.BROKEN, "0 bytes")
    if not head.startswith(_HEAD):
        return Trouble(Cause.BROKEN, "not an SQLite database")
    page = int.from_bytes(head[16:18], "big")
    should = int.from_bytes(head[_PAGES_OF], "big") * (65536 if page == 1 else page)
    log = database.with_name(f"{database.name}-wal")
    in_log = log.exists() and log.stat().st_size > 0
    if size < should and head[_CHANGES] == head[_VALID_FOR] and not in_log:
        return Trouble(Cause.BROKEN, f"cut off: {size:,} of {should:,} bytes")
    return None


def read_through(database: Path) -> Trouble | None:
    """Read a whole database and check that it is consistent. Others may use it meanwhile."""
    if (trouble := look_at(database)) is not None or not database.exists():
        return trouble
    try:
        with contextlib.closing(_open(database)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            (half_made,) = connection.execute(_HALF_MADE).fetchone()
    except sqlite3.Error as error:
        return Trouble(cause_in(str(error)) or Cause.UNREADABLE, str(error))
    if half_made:
        return Trouble(Cause.BROKEN, "a change of its tables was interrupted")
    return None if said == "ok" else Trouble(Cause.BROKEN, " ".join(str(said).split()))


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(database))}?mode=rw", uri=True, timeout=BUSY_SECONDS)
