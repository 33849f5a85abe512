"""Scores the portions of an input, and writes them with what is passed on, unless the output was made of the same."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.data.digests import file_digest
from flows.errors import DataAssetError
from flows.scoring.columns import Columns
from flows.scoring.output import Rows, written
from flows.scoring.places.place import Scores, ScoringPlace, ScoringRequest
from flows.scoring.progress import Progress
from flows.scoring.record import Record, alone, place_of, read_record, write_record
from flows.scoring.summary import ScoreSummary
from flows.scoring.tables import Portion

SHOWN_LABELS = 20  # more different ones are no labels that a person counts


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done.

    Attributes:
        request: What is scored, by what.
        columns: Which columns the model takes, and which are passed on.
        engine: Where.
        output: The file of the scores.
        home: The local state.
    """

    request: ScoringRequest
    columns: Columns
    engine: str
    output: Path
    home: Path


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter[str])


async def score_once(place: ScoringPlace, work: Work, tell: Callable[[Progress], Awaitable[object]]) -> ScoreSummary:
    """Score an input into a file, unless that is there and was made of the same.

    Args:
        place: Where it is scored.
        work: What is to be done.
        tell: Takes how far it has come.

    Raises:
        DataAssetError: It has no rows, or one that cannot be scored. The output is as it was.
        RunError: The scoring script failed.
        SettingsError: The output cannot be written.
    """
    request, record_place = work.request, place_of(work.home, work.output)

    def summary(record: Record, seconds: float) -> ScoreSummary:
        made = request.label, request.model, work.engine, work.output, record.rows, record.labels
        return ScoreSummary(*made, seconds=seconds, changed=seconds > 0)

    async with alone(record_place):
        found = await asyncio.to_thread(read_record, record_place, work.output)
        if found is not None and found.key == request.key:
            return summary(found, 0.0)
        began, counts = time.monotonic(), _Counts()
        await tell(Progress(0, 0.0))
        with written(work.output) as rows:
            async with aclosing(place.scored(request)) as scored:
                async for portion, scores in scored:
                    await asyncio.to_thread(_add, rows, work, portion, scores, counts)
                    await tell(Progress(counts.rows, portion.share))
            if not counts.rows:
                raise DataAssetError(f"The data {request.label} have no rows. Nothing was written.")
        labels = dict(counts.labels) if len(counts.labels) <= SHOWN_LABELS else {}
        digest = await asyncio.to_thread(file_digest, work.output)
        record = Record(request.key, digest, counts.rows, labels)
        write_record(record_place, record)
        return summary(record, time.monotonic() - began)


def _add(rows: Rows, work: Work, portion: Portion, scores: Scores, counts: _Counts) -> None:
    """Write the rows of a portion: what is passed on, then what the model says."""
    import pyarrow as pa

    many, model = portion.rows.num_rows, work.request.model
    table: Any = portion.rows.select(list(work.columns.passed_on))
    table = table.append_column("label", scores.labels).append_column("probability", scores.probabilities)
    table = table.append_column("model", pa.repeat(model.name, many))
    table = table.append_column("version", pa.repeat(pa.scalar(model.version, pa.int64()), many))
    rows.write(table)
    counts.rows += many
    if len(counts.labels) <= SHOWN_LABELS:
        found: Any = scores.labels.value_counts()
        counts.labels.update({str(each["values"]): each["counts"] for each in found.to_pylist()[: SHOWN_LABELS + 1]})
