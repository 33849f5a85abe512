"""The temporary Prefect server of a command: a process of its own, which ends when its standard input does."""

import asyncio
import contextlib
import gc
import os
import shutil
import sqlite3
import sys
import threading
from pathlib import Path

from flows.drafts import draft_of
from flows.hidden_memory import hide_memory
from flows.own_pages import listen
from flows.prefect_server import DATABASE


def _end_with_standard_input() -> None:
    while os.read(0, 4096):  # the file descriptor itself: a stream's lock would be in the way at the end
        pass
    os._exit(0)


def _migrated_database(database: Path) -> None:
    """Make a new database from a copy that is kept for each version of Prefect: its migrations take some 8 s.

    The copy has nothing in it but tables. Without it, or if it cannot be kept, the server migrates as it always does.
    """
    from importlib.metadata import version

    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tandem"
    template = cache / f"prefect-{version('prefect')}.db"
    draft = draft_of(database)
    if _is_ours(template):
        shutil.copyfile(template, draft)
        draft.replace(database)
        return
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())
    with contextlib.suppress(OSError, sqlite3.Error):
        cache.mkdir(parents=True, exist_ok=True)
        draft = draft_of(template)
        with (
            contextlib.closing(sqlite3.connect(database)) as source,
            contextlib.closing(sqlite3.connect(draft)) as copy,
        ):
            source.backup(copy)
        draft.replace(template)


def _is_ours(template: Path) -> bool:
    """Whether a file is there that nobody but this user can have written."""
    try:
        found = template.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _serve(port: int) -> None:
    """Be the temporary server, until standard input or a signal ends it."""
    hide_memory()
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    os.environ.update(PREFECT__SERVER_EPHEMERAL="1", PREFECT__SERVER_FINAL="1")
    database = Path(os.environ["PREFECT_HOME"]) / DATABASE
    gc.disable()  # nothing is garbage while importing; looking for it takes a tenth of the start
    if not database.exists():
        _migrated_database(database)
    from prefect.server.api.server import create_app

    app = create_app()
    gc.freeze()
    gc.enable()
    listen(app, port, log_level="error", lifespan="on")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
