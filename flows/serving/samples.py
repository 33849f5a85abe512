"""Samples of what an endpoint was asked: rows and answers, read from the files that a data collector has written.

They are ``DEPLOYMENT/COLLECTION/…/*.jsonl`` below a folder, as Azure ML lays them out: each line is a request, with its
rows in ``data``. The rows of ``model_inputs`` get the answers of ``model_outputs`` with the same ``correlationid``. A
line that is no such request (one that was being written when its process was killed) is passed over and counted.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

INPUTS, OUTPUTS = "model_inputs", "model_outputs"
ANSWER = "predicted_"  # begins the names of the columns of answers
REQUESTED_AT, MODEL_VERSION = "requested_at", "model_version"


@dataclass(slots=True)
class Samples:
    """What is kept of the requests of an endpoint.

    Attributes:
        rows: By deployment.
        requests: How many they came in.
        answered: How many of the rows have an answer.
        columns: The features, in the order in which they were first seen.
        answers: What an answer has, such as ``label`` and ``probability``.
        since: When the first was asked; None where there are none.
        until: When the last was asked.
        unreadable: How many lines were passed over.
    """

    rows: Counter[str] = field(default_factory=Counter[str])
    requests: int = 0
    answered: int = 0
    columns: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    unreadable: int = 0

    @property
    def total(self) -> int:
        """The number of all rows."""
        return self.rows.total()


@dataclass(frozen=True, slots=True)
class _Request:
    deployment: str
    id: str
    at: datetime
    model_version: str
    rows: Sequence[Mapping[str, Any]]


def read_samples(folder: Path, since: datetime | None = None, target: Path | None = None) -> Samples:
    """Count what is kept and, if asked to, write it as CSV: a row for each row that was asked.

    Args:
        folder: With a folder for each deployment.
        since: What was asked earlier is left out.
        target: The CSV file: the features; ``predicted_label`` and the like, empty where the answer was not kept;
            ``requested_at`` and ``model_version``.

    Returns:
        What was found. What is added meanwhile is in neither.
    """
    found = Samples()
    asked, answered = _Files.now(folder, INPUTS, since), _Files.now(folder, OUTPUTS, since)
    columns: dict[str, None] = {}
    names: dict[str, None] = {}
    for answer in answered.requests(found):
        names.update(dict.fromkeys(name for row in answer.rows for name in row))
    answers = _Answers(answered)
    for request in asked.requests(found):
        found.rows[request.deployment] += len(request.rows)
        found.requests += 1
        found.since = request.at if found.since is None else min(found.since, request.at)
        found.until = request.at if found.until is None else max(found.until, request.at)
        columns.update(dict.fromkeys(name for row in request.rows for name in row))
        found.answered += len(answers.take(request))
    found.columns, found.answers = tuple(columns), tuple(names)
    if target is not None:
        _write(target, found, asked, _Answers(answered))
    return found


def _write(target: Path, found: Samples, asked: "_Files", answers: "_Answers") -> None:
    names = [*found.columns, *(f"{ANSWER}{name}" for name in found.answers), REQUESTED_AT, MODEL_VERSION]
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for request in asked.requests():
            same = {REQUESTED_AT: request.at.isoformat(), MODEL_VERSION: request.model_version}
            for row, answer in zip(request.rows, answers.take(request) or [{}] * len(request.rows), strict=True):
                told = {f"{ANSWER}{name}": value for name, value in answer.items()}
                writer.writerow({**row, **told, **same})


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a collection, as long as they were at one moment."""

    folder: Path
    sizes: Mapping[Path, int]
    since: datetime | None

    @classmethod
    def now(cls, folder: Path, collection: str, since: datetime | None) -> "_Files":
        sizes: dict[Path, int] = {}
        for path in sorted(folder.glob(f"*/{collection}/**/*.jsonl")):
            with suppress(FileNotFoundError):  # the oldest are deleted while newer ones are written
                sizes[path] = path.stat().st_size
        return cls(folder, sizes, since)

    def requests(self, found: Samples | None = None) -> Iterator[_Request]:
        """The requests, in the order of the files; ``found`` counts what cannot be read."""
        for path, size in self.sizes.items():
            deployment = path.relative_to(self.folder).parts[0]
            with suppress(FileNotFoundError), path.open("rb") as file:
                while file.tell() < size and (line := file.readline()):
                    request = _parsed(deployment, line)
                    if request is None and found is not None:
                        found.unreadable += 1
                    elif request is not None and (self.since is None or request.at >= self.since):
                        yield request


class _Answers:
    """The answers that are kept, each of which is taken once."""

    def __init__(self, answered: _Files) -> None:
        self._kept: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for answer in answered.requests():
            self._kept.setdefault((answer.deployment, answer.id), []).extend(answer.rows)

    def take(self, request: _Request) -> list[Mapping[str, Any]]:
        """The answers of the rows of a request; none where they are not as many."""
        given = self._kept.pop((request.deployment, request.id), [])
        return given if len(given) == len(request.rows) else []


def _parsed(deployment: str, line: bytes) -> _Request | None:
    try:
        said: Any = json.loads(line)
        at = datetime.fromisoformat(said["time"])
        rows: Any = said["data"]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return None  # the address of a request that is too large to be kept here
        return _Request(
            deployment,
            str(said["correlationid"]),
            at if at.tzinfo else at.replace(tzinfo=UTC),
            str(said.get("modelversion") or ""),
            rows,
        )
    except (ValueError, TypeError, KeyError):
        return None
