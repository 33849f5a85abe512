"""What a case has left, read from outside: the files of the state and the two databases, which nothing here changes.

SQLite is read directly and read-only. MLflow's own client would make or migrate a database that a kill has left half
made, and so put right what is to be looked at.
"""

import contextlib
import hashlib
import os
import re
import sqlite3
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.chaos.facts import Version

_DRAFT = re.compile(r"^\..+\.\d+\.\d+$|\.(partial|draft|tmp)$")
_OPEN = ("RUNNING", "PENDING", "CANCELLING", "SCHEDULED", "PAUSED")
_OF_LIBRARIES = (".cache", ".config")  # which Matplotlib and others make in a home
_OF_TOOLS = (".pytest_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", ".git", ".venv")


@contextlib.contextmanager
def _opened(database: Path) -> Generator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def rows(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """What a query finds; nothing if there is no such database or table yet."""
    if not database.exists() or not database.stat().st_size:
        return []
    try:
        with _opened(database) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError:
        return []
    except sqlite3.DatabaseError as error:
        return [(f"{database.name}: {error}",)]


def local_versions(state: Path, model: str) -> list[Version]:
    """The versions of a model in the local registry, the oldest first."""
    database = state / "mlflow.db"
    champion = {row[0] for row in rows(database, _ALIASES, model)}
    tags: dict[int, dict[str, str]] = {}
    for version, key, value in rows(database, _TAGS, model):
        tags.setdefault(version, {})[key] = value
    found = rows(database, "select version from model_versions where name = ? order by version", model)
    return [Version(number, tags.get(number, {}), number in champion) for (number,) in found]


_ALIASES = "select version from registered_model_aliases where alias = 'champion' and name = ?"
_TAGS = "select version, key, value from model_version_tags where name = ?"


def open_records(state: Path) -> list[str]:
    """The flow runs, task runs and MLflow runs that are said to be running, or about to."""
    prefect, marks = state / "prefect" / "prefect.db", ", ".join("?" * len(_OPEN))
    found = [
        f"{kind} {name} is {status}"
        for kind, table in (("flow run", "flow_run"), ("task run", "task_run"))
        for name, status in rows(prefect, f"select name, state_type from {table} where state_type in ({marks})", *_OPEN)
    ]
    runs = rows(state / "mlflow.db", f"select name, status from runs where status in ({marks})", *_OPEN)
    return [*found, *(f"MLflow run {name} is {status}" for name, status in runs)]


def litter(state: Path, *others: Path) -> list[str]:
    """Drafts that nothing will put in place, what is left of locks, and temporary files."""
    found = [path for path in state.rglob("*") if _DRAFT.search(path.name) and not _is_of_a_step(path)]
    begun = state / "begun"
    found += [path for path in begun.rglob("*") if path.name != ".lock"] if begun.is_dir() else []
    found += [path for other in others if other.is_dir() for path in other.iterdir()]
    return sorted(str(path.relative_to(state.parent)) for path in found)


def _is_of_a_step(path: Path) -> bool:
    return "steps" in path.parts and "jobs" in path.parts


def drafts(folder: Path) -> list[str]:
    """Drafts anywhere in a folder."""
    return sorted(str(path) for path in folder.rglob("*") if _DRAFT.search(path.name))


def files(folder: Path) -> Mapping[str, str]:
    """The digest of every file in a folder, by its path in it."""
    if not folder.is_dir():
        return {}
    places = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in places}


def texts(folder: Path) -> Mapping[str, str]:
    """The text of every file in a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def outside(world: Path, project: Path) -> Mapping[str, str]:
    """All that no command may touch: a home, a working directory, a folder beside, and the checkout."""
    found: dict[str, str] = {}
    for name in ("home", "cwd", "beside", "project"):
        for path, digest in files(world / name).items():
            if path.split(os.sep)[0] not in _OF_LIBRARIES:
                found[f"{name}/{path}"] = digest
    found |= {f"beside the state: {path.name}": "" for path in world.iterdir() if path.name != "state"}
    found |= {f"checkout/{path.name}": "" for path in project.iterdir() if path.name not in _OF_TOOLS}
    for name in ("aml_steps", "data", "environment"):
        for path, digest in files(project / name).items():
            if "__pycache__" not in path:
                found[f"checkout/{name}/{path}"] = digest
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is new, gone or changed."""
    return [
        *(f"new: {name}" for name in after.keys() - before.keys()),
        *(f"gone: {name}" for name in before.keys() - after.keys()),
        *(f"changed: {name}" for name in before.keys() & after.keys() if before[name] != after[name]),
    ]


def merged(parts: Iterable[Iterable[str]]) -> list[str]:
    """Several lists as one."""
    return [text for part in parts for text in part]
