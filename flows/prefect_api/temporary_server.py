"""Temporary Prefect server of a command: a process of its own, which ends when its standard input does.

Servers that start on one database at once would disturb each other: each makes tables and registers what Prefect brings
along. So they start one after the other, under a lock. A new database takes its place only when it is complete.
"""

import asyncio
import contextlib
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.data.atomic import draft_of
from flows.machine.child import end_with_standard_input
from flows.machine.hidden_memory import hide_memory
from flows.machine.locks import locked
from flows.machine.own_pages import listen
from flows.prefect_api.server import DATABASE, DATABASE_URL, STARTING

_WATCHED = "watched"  # a process that is to end when its standard input, which is the server's, does


def make_database(database: Path, *words: str) -> None:
    """Make a database, unless it is there, from a copy that is kept for each version of Prefect.

    The copy has nothing in it but tables; the migrations that it saves take some 8 s. If it cannot be kept, they are
    made each time. The caller holds the lock; ``words`` are for the process that migrates.
    """
    if database.exists():
        return
    from importlib.metadata import version

    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tandem"
    template = cache / f"prefect-{version('prefect')}.db"
    draft = draft_of(database)
    for left in database.parent.glob(f".{database.name}.*"):  # by a process that was killed
        left.unlink(missing_ok=True)
    try:
        if _is_ours(template):
            shutil.copyfile(template, draft)
        else:
            _migrated(draft, words)
            with contextlib.suppress(OSError):
                cache.mkdir(parents=True, exist_ok=True)
                copy = draft_of(template)
                shutil.copyfile(draft, copy)
                copy.replace(template)
        draft.replace(database)
    finally:
        draft.unlink(missing_ok=True)


def _migrated(draft: Path, words: Sequence[str]) -> None:
    """Make a database with Prefect's tables, in a process of its own, since Prefect opens one database only."""
    made = draft.with_name(f"{draft.name}.made")
    try:
        variables = {**os.environ, DATABASE_URL: f"sqlite+aiosqlite:///{made}"}
        command = [sys.executable, "-P", "-m", "flows.prefect_api.temporary_server", "migrate", *words]
        subprocess.run(command, env=variables, check=True)
        with contextlib.closing(sqlite3.connect(made)) as source, contextlib.closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)  # with what is still in its journal
    finally:
        for file in made.parent.glob(f"{made.name}*"):
            file.unlink(missing_ok=True)


def _migrate(watched: bool) -> None:
    if watched:
        end_with_standard_input()
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


def _is_ours(template: Path) -> bool:
    """Whether a file is there that nobody but this user can have written."""
    try:
        found = template.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _serve(port: int) -> None:
    """Run the temporary server, until standard input or a signal ends it."""
    hide_memory()
    end_with_standard_input()
    os.environ.update(PREFECT__SERVER_EPHEMERAL="1", PREFECT__SERVER_FINAL="1")
    home = Path(os.environ["PREFECT_HOME"])
    gc.disable()  # imports leave no garbage, and looking for it takes a tenth of the start
    if not (home / DATABASE).exists():
        with locked(home / STARTING):
            make_database(home / DATABASE, _WATCHED)
    from prefect.server.api.server import create_app

    app = create_app()
    gc.freeze()
    gc.enable()
    starting = contextlib.ExitStack()
    starting.enter_context(locked(home / STARTING))
    listen(app, port, on_started=starting.close, log_level="error", lifespan="on")


if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        _migrate(_WATCHED in sys.argv)
    elif sys.argv[1] == "database":
        make_database(Path(os.environ["PREFECT_HOME"]) / DATABASE)
    else:
        _serve(int(sys.argv[1]))
