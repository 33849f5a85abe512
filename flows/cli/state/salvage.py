"""Copy what can be read of a broken SQLite database into a new one that has the same tables.

Rows are read in ranges of their numbers. A range that cannot be read is halved until only the damaged rows are left
out. A row that refers to a lost one loses the reference, or is dropped if the reference is required.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

MOST_FAILURES = 4000  # in one table, before the rest of it counts as lost
HIGHEST_ROW = 1 << 20  # of a table whose highest row cannot be read
KEPT_AS_MADE = frozenset({"alembic_version"})  # says which tables the new one has

Row = tuple[Any, ...]


def salvage(broken: Path, new: Path, mend: Callable[[sqlite3.Connection], object]) -> Mapping[str, int]:
    """Copy all rows that can be read; return how many are in the new one, by table.

    Args:
        broken: The broken database. It may be written to: give a copy.
        new: The new one, with tables and without rows.
        mend: Adds rows that others refer to and that can be told from them, before those are given up.

    Raises:
        sqlite3.Error: The new one cannot be written.
        OSError: The same.
    """
    saved: dict[str, int] = {}
    with (
        contextlib.closing(sqlite3.connect(broken)) as source,
        contextlib.closing(sqlite3.connect(new)) as target,
    ):
        with contextlib.suppress(sqlite3.Error):
            source.execute("PRAGMA writable_schema=ON")  # else a file that was cut off is not read at all
        target.execute("PRAGMA foreign_keys=OFF")
        for (table,) in target.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
            if table not in KEPT_AS_MADE and not table.startswith("sqlite_"):
                saved[table] = _copy(source, target, table)
        mend(target)
        _drop_what_refers_to_nothing(target)
        target.commit()
        return {table: target.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in saved}


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> int:
    try:
        theirs = [row[1] for row in source.execute(f'PRAGMA table_info("{table}")')]
    except sqlite3.Error:
        return 0
    ours = [row[1] for row in target.execute(f'PRAGMA table_info("{table}")')]
    columns = [name for name in ours if name in theirs]
    if not columns:
        return 0
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    insert = f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES ({marks})'
    count = 0
    for row in _rows(source, f'SELECT {names} FROM "{table}" WHERE rowid BETWEEN ? AND ?', _highest(source, table)):
        with contextlib.suppress(sqlite3.IntegrityError):
            target.execute(insert, row)
            count += 1
    return count


def _highest(source: sqlite3.Connection, table: str) -> int:
    try:
        return int(source.execute(f'SELECT max(rowid) FROM "{table}"').fetchone()[0] or 0)
    except sqlite3.Error:
        return HIGHEST_ROW


def _rows(source: sqlite3.Connection, query: str, highest: int) -> Generator[Row]:
    """All rows that can be read, range by range."""
    waiting, failures = [(1, highest)], 0
    while waiting and failures < MOST_FAILURES:
        first, last = waiting.pop()
        found: Sequence[Row] = ()
        try:
            found = source.execute(query, (first, last)).fetchall()
        except sqlite3.Error:
            failures += 1
            if first < last:
                middle = (first + last) // 2
                waiting += [(middle + 1, last), (first, middle)]
        yield from found


def _drop_what_refers_to_nothing(target: sqlite3.Connection) -> None:
    """Remove references to lost rows, or the rows that have them, until none is left. Each round leaves fewer."""
    while violations := target.execute("PRAGMA foreign_key_check").fetchall():
        for table, rowid, _, number in violations:
            keys = [row for row in target.execute(f'PRAGMA foreign_key_list("{table}")') if row[0] == number]
            needed = {row[1] for row in target.execute(f'PRAGMA table_info("{table}")') if row[3] or row[5]}
            free = [row[3] for row in keys if row[3] not in needed]
            if free:
                target.execute(f'UPDATE "{table}" SET "{free[0]}" = NULL WHERE rowid = ?', (rowid,))
            else:
                target.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (rowid,))
