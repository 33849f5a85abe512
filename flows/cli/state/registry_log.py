"""The log of registered models: a line for each version and alias, beside the database that they are in.

If the MLflow database breaks, its models lie in their folders, but which is which version, and which is the champion,
would be lost with it. The MLflow worker adds a line after each registration; `tandem state repair` reads them.
"""

import contextlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

LOG = "registry.jsonl"


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version: of which model, where its files are, which run made it, its tags and aliases."""

    name: str
    version: int
    source: str
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(dict[str, str]()))
    alias: str | None = None


def versions_in(database: Path) -> list[Version]:
    """The versions that an MLflow database has; none where it is not there."""
    if not database.exists():
        return []
    query = "select name, version, source, run_id from model_versions where current_stage != 'Deleted_Internal'"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
            return [Version(str(row[0]), int(row[1]), str(row[2]), row[3]) for row in connection.execute(query)]
    except sqlite3.Error:
        return []  # no such table yet


def logged(log: Path) -> list[Version]:
    """The lines of the log, the oldest first; one that was cut off is left out."""
    found: list[Version] = []
    with contextlib.suppress(FileNotFoundError):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                values: dict[str, Any] = json.loads(line)
                found.append(Version(**values))
    return found


def folder_of(version: Version) -> Path | None:
    """The folder of a version; None if it is not on this machine."""
    parts = urlsplit(version.source)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else version.source)
