"""Causes of file and database errors, each with what to do about it.

Pure, except that the owner of a file is looked up.
"""

import errno
import os
import pwd
import re
import sqlite3
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from flows.errors import StateError, TandemError

CHECK = "`tandem state check` tells more."


class Cause(StrEnum):
    """Why a file cannot be used."""

    FULL = "no space left"
    READ_ONLY = "read-only file system"
    DENIED = "permission denied"
    BROKEN = "the database is broken"
    UNREADABLE = "input/output error"
    MISPLACED = "something else lies in its place"
    TOO_LARGE = "a limit on the size of files is reached"
    TOO_MANY = "too many open files"


_BY_NUMBER = {
    errno.ENOSPC: Cause.FULL,
    errno.EDQUOT: Cause.FULL,
    errno.EROFS: Cause.READ_ONLY,
    errno.EACCES: Cause.DENIED,
    errno.EPERM: Cause.DENIED,
    errno.EIO: Cause.UNREADABLE,
    errno.ENOTDIR: Cause.MISPLACED,
    errno.EISDIR: Cause.MISPLACED,
    errno.EFBIG: Cause.TOO_LARGE,
    errno.EMFILE: Cause.TOO_MANY,
    errno.ENFILE: Cause.TOO_MANY,
}
# What the system, SQLite and their users in other processes say, who send us nothing but text.
_BY_TEXT = (
    (r"No space left on device|Disk quota exceeded|database or disk is full", Cause.FULL),
    (r"Read-only file system|attempt to write a readonly database", Cause.READ_ONLY),
    (
        r"database disk image is malformed|file is not a database|malformed database schema|table _alembic_tmp_",
        Cause.BROKEN,
    ),
    (r"File too large", Cause.TOO_LARGE),
    (r"disk I/O error|Input/output error", Cause.UNREADABLE),
    (r"Permission denied|unable to open database file", Cause.DENIED),
    (r"Too many open files", Cause.TOO_MANY),
)
_REMEDIES = {
    Cause.FULL: "Free some space, then type the same command again: finished steps are reused.",
    Cause.READ_ONLY: "Make it writable, or set TANDEM_HOME to a folder that is.",
    Cause.DENIED: "Give yourself the permission, or set TANDEM_HOME to a folder of yours.",
    Cause.BROKEN: "`tandem state repair` moves it aside and keeps the models; nothing is deleted.",
    Cause.UNREADABLE: "See whether the disk is full or fails, then type the same command again.",
    Cause.MISPLACED: "Move it away, or set TANDEM_HOME to another folder.",
    Cause.TOO_LARGE: "Raise the limit (ulimit -f), then type the same command again: finished steps are reused.",
    Cause.TOO_MANY: "Raise the limit (ulimit -n), then type the same command again.",
}


def cause_of(error: BaseException) -> tuple[Cause, str | None] | None:
    """Why an error came to be, if it came of a file or a database, and the file if the error names it."""
    for each in _chain(error):
        if isinstance(each, TandemError):
            continue
        if isinstance(each, OSError) and (cause := _BY_NUMBER.get(each.errno or 0)):
            return cause, None if each.filename is None else os.fsdecode(each.filename)
        if (isinstance(each, sqlite3.Error) or type(each).__module__.startswith("sqlalchemy")) and (
            cause := cause_in(str(each))
        ):
            return cause, None
    return None


def cause_in(text: str) -> Cause | None:
    """The first cause that a text names in the words of the system or of SQLite."""
    return next((cause for pattern, cause in _BY_TEXT if re.search(pattern, text)), None)


def state_error(error: BaseException, place: Path | str) -> StateError:
    """The error as a person reads it: the file, the cause, the remedy. ``place`` is where it was if it does not say."""
    found = cause_of(error)
    if found is None and isinstance(error, OSError) and error.strerror:
        where = place if error.filename is None else os.fsdecode(error.filename)
        what = f"{error.strerror[0].lower()}{error.strerror[1:]}"
        return StateError(f"{where}: {what}. What was whole is kept. Set TANDEM_HOME to another folder. {CHECK}")
    cause, file = found or (Cause.UNREADABLE, None)
    return told(file or str(place), cause, None if isinstance(error, OSError) else str(error))


def told(file: str, cause: Cause, detail: str | None = None) -> StateError:
    """A cause, at a file, with its remedy."""
    owner = _owner(file) if cause is Cause.DENIED else None
    what = f"permission denied; {owner}" if owner else str(cause)
    if cause is Cause.FULL:
        what = f"no space left on the file system of {nearest_there(Path(file))}"
    elif cause is Cause.BROKEN and detail:
        what = f"{cause} ({detail})"
    return StateError(f"{file}: {what}. What was whole is kept. {_REMEDIES[cause]} {CHECK}")


def remedy(cause: Cause) -> str:
    """What to do."""
    return _REMEDIES[cause]


def _owner(file: str) -> str | None:
    """Whose a file is (or the nearest folder above it that is there), if it is not ours."""
    place = nearest_there(Path(file))
    try:
        owner = place.stat().st_uid
    except OSError:
        return None
    return None if owner == os.geteuid() else f"{place} belongs to {user_name(owner)}, and you are {user_name()}"


def user_name(uid: int | None = None) -> str:
    """The name of a user, or the number where it has none."""
    number = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def nearest_there(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next((found for found in (path, *path.parents) if os.path.exists(found)), path)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        waiting += [each.__cause__, each.__context__]
