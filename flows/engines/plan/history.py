"""History of fingerprints: one line for each finished run of a step, from which the most similar one is found."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.data.digests import text_digest
from flows.engines.plan.fingerprint import Fingerprint

NEWEST_BYTES = 4 << 20  # some ten thousand runs; what is older than those explains nothing
_DIGITS = 12  # of a digest: enough to tell two apart, which is all that happens here


@dataclass(frozen=True, slots=True)
class PastRun:
    """A finished run: its record's key, and short digests of all that it depended on."""

    key: str
    step: str
    source: str
    parts: Mapping[str, str]
    inputs: Mapping[str, str | None]

    @classmethod
    def of(cls, fingerprint: Fingerprint, key: str) -> "PastRun":
        """What of a run is written down here."""
        parts = {name: digest[:_DIGITS] for name, digest in fingerprint.parts.items()}
        inputs = {
            name: None if value is None else text_digest(value)[:_DIGITS] for name, value in fingerprint.inputs.items()
        }
        return cls(key, fingerprint.step, fingerprint.source, parts, inputs)

    def distance(self, other: "PastRun", unknown: frozenset[str]) -> int:
        """In how many parts and inputs two runs differ; inputs that are not known yet are not counted."""
        parts = sum(self.parts.get(name) != other.parts.get(name) for name in {*self.parts, *other.parts})
        inputs = {*self.inputs, *other.inputs} - unknown
        nothing = object()
        return parts + sum(self.inputs.get(name, nothing) != other.inputs.get(name, nothing) for name in inputs)


class History:
    """The runs of one state folder, in a file that is only ever appended to."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._by_step: dict[bytes, list[bytes]] | None = None

    def add(self, run: PastRun) -> None:
        """Write a run down. Several processes may do so at once."""
        line = json.dumps([run.step, run.key, run.source, run.parts, run.inputs], separators=(",", ":")).encode()
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line + b"\n")
        finally:
            os.close(descriptor)
        if self._by_step is not None:
            self._by_step.setdefault(_step_of(line), []).append(line)

    def nearest(self, wanted: PastRun, unknown: frozenset[str] = frozenset()) -> list[str]:
        """The keys of the earlier runs of this step of this file, nearest first: most in common, then newest."""
        runs = [run for run in self._runs(wanted.step) if run.source == wanted.source]
        ranked = sorted(enumerate(runs), key=lambda item: (item[1].distance(wanted, unknown), -item[0]))
        return list(dict.fromkeys(run.key for _, run in ranked))

    def _runs(self, step: str) -> list[PastRun]:
        if self._by_step is None:
            self._by_step = {}
            for line in self._lines():
                self._by_step.setdefault(_step_of(line), []).append(line)
        lines = self._by_step.get(json.dumps(step).encode(), ())
        return [run for run in map(_read, lines) if run is not None and run.step == step]

    def _lines(self) -> list[bytes]:
        try:
            with self._file.open("rb") as stream:
                behind = max(0, stream.seek(0, os.SEEK_END) - NEWEST_BYTES)
                stream.seek(behind)
                lines = stream.read().split(b"\n")
        except OSError:
            return []
        return lines[1:] if behind else lines


def _step_of(line: bytes) -> bytes:
    """The name of the step, as it is written, without reading the whole line."""
    return line[1 : line.find(b',"')]


def _read(line: bytes) -> PastRun | None:
    try:
        step, key, source, parts, inputs = json.loads(line)
        return PastRun(str(key), str(step), str(source), dict(parts), dict(inputs))
    except (ValueError, TypeError):
        return None  # cut short
