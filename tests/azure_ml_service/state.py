"""State on disk: JSON documents by kind and key, read at the start and written at each change."""

import json
import os
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from tests.azure_ml_service.messages import Json


def now() -> str:
    """This moment as Azure writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")


class Documents:
    """JSON documents by kind (``jobs``, ``data``, …) and key. What is read is the caller's own copy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.lock = threading.RLock()
        self._kinds: dict[str, dict[str, str]] = {}
        for path in sorted(folder.glob("*/*.json")):
            self._kinds.setdefault(path.parent.name, {})[unquote(path.stem)] = path.read_text(encoding="utf-8")

    def get(self, kind: str, key: str) -> Json | None:
        """The document, or None."""
        with self.lock:
            text = self._kinds.get(kind, {}).get(key)
        return None if text is None else json.loads(text)

    def put(self, kind: str, key: str, document: Json) -> None:
        """Write a document, whole or not at all."""
        text = json.dumps(document, indent=1)
        with self.lock:
            path = self._folder / kind / f"{quote(key, safe='')}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, path)
            self._kinds.setdefault(kind, {})[key] = text

    def remove(self, kind: str, key: str) -> None:
        """Take a document away, if there is one."""
        with self.lock:
            (self._folder / kind / f"{quote(key, safe='')}.json").unlink(missing_ok=True)
            self._kinds.get(kind, {}).pop(key, None)

    @contextmanager
    def change(self, kind: str, key: str) -> Generator[Json]:
        """Change a document that exists; nobody else does meanwhile."""
        with self.lock:
            document = self.get(kind, key)
            if document is None:
                raise KeyError(key)
            yield document
            self.put(kind, key, document)

    def keys(self, kind: str) -> list[str]:
        """The keys of a kind, in the order in which they came."""
        with self.lock:
            return list(self._kinds.get(kind, {}))

    def clear(self) -> None:
        """Forget every document."""
        with self.lock:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._kinds.clear()

    def all(self, kind: str) -> list[Json]:
        """The documents of a kind."""
        with self.lock:
            return [json.loads(text) for text in self._kinds.get(kind, {}).values()]
