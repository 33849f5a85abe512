"""What was run before: one record a finished step, under the key of all that it depends on."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.engines.snapshot import data_digest

FORMAT = 1  # part of every key: a new format forgets what was run under the old one


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output that was delivered: its place relative to the state folder, and the digest of its content."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A finished step: what it depended on (``fingerprint``), what it delivered, and where it ran."""

    key: str
    step: str
    job_name: str
    fingerprint: Mapping[str, Any]
    outputs: Mapping[str, StoredOutput]
    log: str
    seconds: float
    mlflow_run_id: str | None = None


def key_of(fingerprint: Mapping[str, Any]) -> str:
    """The content key: the SHA-256 of the fingerprint as canonical JSON."""
    text = json.dumps([FORMAT, fingerprint], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class StepStore:
    """The records of finished steps, in a folder that can be deleted at any time."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "steps"

    def find(self, key: str) -> StepRecord | None:
        """Return the record under this key, if all its outputs are still there and unaltered."""
        try:
            values = json.loads((self._folder / f"{key}.json").read_bytes())
            outputs = {name: StoredOutput(**output) for name, output in values.pop("outputs").items()}
            record = StepRecord(outputs=outputs, **values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None  # no record, or one that another version wrote: the step runs again
        return record if all(self._stands(output) for output in outputs.values()) else None

    def save(self, record: StepRecord) -> None:
        """Write a record, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / f"{record.key}.json"
        draft = target.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
        draft.replace(target)

    def stored(self, path: Path) -> StoredOutput:
        """Describe an output that a step has just delivered."""
        return StoredOutput(os.path.relpath(path, self._home), data_digest(path))

    def path(self, output: StoredOutput) -> Path:
        """Where a stored output lies."""
        return self._home / output.path

    def _stands(self, output: StoredOutput) -> bool:
        path = self.path(output)
        return path.exists() and data_digest(path) == output.digest
