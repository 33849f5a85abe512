"""Store of finished steps: one record each, under the key of all that the step depends on."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from flows.data.atomic import atomic_write
from flows.data.digests import change_since, data_digest
from flows.engines.plan.fingerprint import Fingerprint, Part, canonical_digest
from flows.engines.plan.history import History, PastRun


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output that was delivered: its place relative to the state folder, and the digest of its content."""

    path: str
    digest: str


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A finished step: what it depended on (``fingerprint``), what it delivered, where it ran, and when it ended."""

    key: str
    step: str
    job_name: str
    fingerprint: Fingerprint
    outputs: Mapping[str, StoredOutput]
    log: str
    seconds: float
    mlflow_run_id: str | None = None
    ended: str = field(default_factory=_now)


class StepStore:
    """The records of finished steps, in a folder that can be deleted at any time.

    The parts of fingerprints lie beside them, each under its digest; a part is written with the first record that
    refers to it.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "steps"
        self._parts: dict[str, Part | None] = {}
        self._history = History(self._folder / "history.jsonl")

    def read(self, key: str) -> StepRecord | None:
        """Return the record under this key, even if its outputs are deleted or altered; None if there is none."""
        try:
            values = json.loads((self._folder / f"{key}.json").read_bytes())
            outputs = {name: StoredOutput(**output) for name, output in values.pop("outputs").items()}
            return StepRecord(outputs=outputs, fingerprint=Fingerprint(**values.pop("fingerprint")), **values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None  # no record, or one that another version wrote: the step runs again

    def unreadable(self) -> list[Path]:
        """The files of records that cannot be read, whose steps run again."""
        return [file for file in self.files() if self.read(file.stem) is None]

    def files(self) -> list[Path]:
        """The file of every record."""
        return list(self._folder.glob("*.json"))

    def lost(self, record: StepRecord) -> dict[str, str]:
        """The outputs that are no longer as they were delivered, by name: each ``deleted`` or ``altered``."""
        became = {name: change_since(output.digest, self.path(output)) for name, output in record.outputs.items()}
        return {name: change for name, change in became.items() if change is not None}

    def save(self, record: StepRecord) -> None:
        """Write a record, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for digest in record.fingerprint.parts.values():
            place, part = self._place(digest), self._parts.get(digest)
            if part is not None and not place.exists():
                place.parent.mkdir(exist_ok=True)
                atomic_write(place, json.dumps(part, ensure_ascii=False))
        atomic_write(self._folder / f"{record.key}.json", json.dumps(asdict(record)))
        self._history.add(PastRun.of(record.fingerprint, record.key))

    def nearest(self, fingerprint: Fingerprint, unknown: frozenset[str] = frozenset()) -> StepRecord | None:
        """Return the earlier run that has most in common with a step as it stands; see :meth:`History.nearest`."""
        keys = self._history.nearest(PastRun.of(fingerprint, ""), unknown)
        return next(filter(None, map(self.read, keys)), None)

    def keep(self, part: Part) -> str:
        """Remember a part of a fingerprint, and return its digest."""
        digest = canonical_digest(part)
        self._parts[digest] = part
        return digest

    def part(self, digest: str) -> Part | None:
        """Return the part of a fingerprint with this digest; None if it is not known any more."""
        if digest not in self._parts:
            try:
                self._parts[digest] = json.loads(self._place(digest).read_bytes())
            except (OSError, ValueError):
                self._parts[digest] = None
        return self._parts[digest]

    def stored(self, path: Path) -> StoredOutput:
        """Describe an output that a step has just delivered."""
        return StoredOutput(os.path.relpath(path, self._home), data_digest(path))

    def path(self, output: StoredOutput) -> Path:
        """Where a stored output lies."""
        return self._home / output.path

    def _place(self, digest: str) -> Path:
        return self._folder / "parts" / f"{digest}.json"
