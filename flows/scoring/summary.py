"""What a scoring came to, as text for a person, as a table for Prefect, and as JSON. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.serving.endpoints import ServedModel

SCORED, UNCHANGED = "Scored", "Unchanged"


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """A scoring that is over.

    Attributes:
        data: What was scored: ``name:version`` of a data asset, or a path.
        model: What has scored it.
        engine: Where.
        output: The file of the scores.
        rows: How many it has.
        labels: How many rows have which label; empty where there are more labels than a person would read.
        seconds: How long it took; 0 where nothing was done.
        changed: Whether it was scored now; if not, the file had been made of the same before.
    """

    data: str
    model: ServedModel
    engine: str
    output: Path
    rows: int
    labels: Mapping[str, int]
    seconds: float
    changed: bool

    @property
    def verdict(self) -> str:
        """The name of the flow run's final state."""
        return SCORED if self.changed else UNCHANGED

    @property
    def message(self) -> str:
        """One sentence for a person."""
        what = f"{self.rows:,} rows of {self.data}"
        if not self.changed:
            return f"{self.output} has the scores of {what} by {self.model.label} already; nothing was done."
        return f"{self.model.label} has scored {what}: {self.output}."


def labels_table(summary: ScoreSummary) -> list[dict[str, Any]]:
    """How many rows have which label, for a table in Prefect; the last row is the sum."""
    rows = [
        {"label": label, "rows": count, "share %": round(100 * count / max(1, summary.rows), 1)}
        for label, count in sorted(summary.labels.items())
    ]
    return [*rows, {"label": "all", "rows": summary.rows, "share %": 100.0}]


def summary_as_text(summary: ScoreSummary) -> str:
    """What a person reads at the end of ``tandem score``."""
    lines = [f"\n{summary.verdict}: {summary.message}\n"]
    lines += [
        f"  label {row['label']}: {row['rows']:,} rows ({row['share %']} %)" for row in labels_table(summary)[:-1]
    ]
    if summary.changed and summary.seconds:
        rate = summary.rows / summary.seconds
        lines.append(f"  {summary.seconds:.1f} s{f', {rate:,.0f} rows/s' if rate >= 1 else ''}")
    return "\n".join(lines) + "\n"


def summary_as_json(summary: ScoreSummary) -> dict[str, Any]:
    """The same for machines."""
    return {
        "verdict": summary.verdict,
        "message": summary.message,
        "data": summary.data,
        "model": summary.model.name,
        "version": summary.model.version,
        "engine": summary.engine,
        "output": str(summary.output),
        "rows": summary.rows,
        "labels": dict(summary.labels),
        "seconds": round(summary.seconds, 3),
    }
