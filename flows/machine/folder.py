"""The folder of the local state, recognised by a marker file; a folder without one is not deleted."""

import os
import shutil
from collections.abc import Sequence, Set
from contextlib import suppress
from pathlib import Path

from flows.errors import StateError
from flows.machine.faults import state_error

MARKER = ".tandem-state"
_TEXT = "The local state of Tandem: runs, models, databases. `tandem state clean` deletes this folder.\n"
# What the folder of a state has that was made before there was a marker.
_NAMES = frozenset(
    {
        *("alive", "begun", "broken", "data", "drift", "jobs", "mlartifacts", "mlflow-server.log", "mlflow-worker.log"),
        *("mlflow.db", "mlflow.db-journal", "mlflow.db-shm", "mlflow.db-wal", "mlflow.db.lock", "models", "prefect"),
        *(
            "interpreters",
            "prefect-server.log",
            "registered-models",
            "registry.jsonl",
            "runs",
            "scored",
            "scoring.log",
            "serve.log",
            "steps",
            "web",
        ),
    }
)
_TELLING = frozenset({"mlflow.db", "mlartifacts", "prefect", "steps"})


def make_state_folder(home: Path) -> None:
    """Make the folder if need be, and mark it as Tandem's if it is new, empty or an unmarked state.

    Raises:
        StateError: It cannot be made, or has other things in it.
    """
    marker = home / MARKER
    if marker.exists():
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        names = set(os.listdir(home))
        if not may_hold_state(names):
            raise StateError(
                f"The local state cannot be in {home}: other things are in that folder. Nothing was written. Set "
                "TANDEM_HOME to a folder of its own, such as one that is not there yet."
            )
        if names <= {"alive"} or is_state(home):
            marker.write_text(_TEXT, encoding="utf-8")
    except OSError as error:
        raise state_error(error, home) from error


def may_hold_state(names: Set[str]) -> bool:
    """Whether a folder with these entries is new, or is in use as the local state, whatever else lies in it."""
    return MARKER in names or names <= _NAMES or bool(names & _TELLING)


def is_state(home: Path) -> bool:
    """Whether a folder is the local state, and nothing else."""
    if (home / MARKER).is_file() and not (home / MARKER).is_symlink():
        return True
    names = set(os.listdir(home))
    return names <= _NAMES and bool(names & _TELLING)


def delete_state(home: Path) -> None:
    """Delete a state. Symbolic links in it go, and what they point to stays; the marker goes last.

    Raises:
        StateError: Some of it cannot be deleted; the rest may be gone.
    """
    try:
        others: Sequence[Path] = [entry for entry in home.iterdir() if entry.name != MARKER]
        for entry in others:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
        (home / MARKER).unlink(missing_ok=True)
        with suppress(OSError):  # somebody begins anew in it
            home.rmdir()
    except OSError as error:
        raise state_error(error, home) from error


def check_deletable(home: Path) -> None:
    """Check that a folder is a state, and ours, so that it may be deleted.

    Raises:
        StateError: It is not; nothing was deleted.
    """
    if home.is_symlink():
        raise StateError(
            f"{home} is a symbolic link to {os.readlink(home)}, and links are not followed. Nothing was deleted. "
            f"To delete that state: TANDEM_HOME={home.resolve()} tandem state clean"
        )
    if not home.is_dir():
        raise StateError(f"{home} is not a folder. Nothing was deleted.")
    if not is_state(home):
        raise StateError(
            f"{home} is not the local state of Tandem, or holds other things too: it has no file {MARKER}. "
            "Nothing was deleted. See that TANDEM_HOME is right; a folder that you want to lose, delete yourself."
        )
