"""What a replay has found, by operation: how many requests were answered alike, and what differs how often."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tests.azure_ml_service.messages import Json
from tests.recorded.explained import reason_for
from tests.recorded.operations import Operation
from tests.recorded.replay import Compared
from tests.recorded.shapes import Difference

COLUMNS: Final = ("requests", "same", "explained", "more", "less", "different", "not answered")


@dataclass(slots=True)
class Row:
    """The requests of one operation: each is counted in ``requests`` and in one other column, that of its worst."""

    counts: Counter[str] = field(default_factory=Counter[str])
    differences: Counter[Difference] = field(default_factory=Counter[Difference])

    def add(self, operation: Operation, differences: list[Difference] | None) -> None:
        """Count a request."""
        self.counts["requests"] += 1
        if differences is None:
            self.counts["not answered"] += 1
            return
        self.differences.update(differences)
        kinds = {one.kind for one in differences if reason_for(operation, one) is None}
        worst = next((kind for kind in ("different", "less", "more") if kind in kinds), None)
        self.counts[worst or ("explained" if differences else "same")] += 1


class Report:
    """All rows, and the files that are no recordings."""

    def __init__(self) -> None:
        self.files = 0
        self.broken: dict[str, str] = {}
        self.rows: dict[Operation, Row] = {}

    def add(self, found: Iterable[Compared]) -> None:
        """Count the requests of a recording."""
        self.files += 1
        for operation, differences in found:
            self.rows.setdefault(operation, Row()).add(operation, differences)

    def total(self) -> Counter[str]:
        """The sums of all rows."""
        return sum((row.counts for row in self.rows.values()), Counter())

    def table(self) -> str:
        """The table of operations, and below it the files that were skipped."""
        rows = [("operation", *COLUMNS)]
        rows += [
            (str(name), *_cells(row.counts)) for name, row in sorted(self.rows.items(), key=lambda one: one[0][1:])
        ]
        rows.append(("all", *_cells(self.total())))
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) + 1)]
        lines = [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.append(f"{self.files} recordings were replayed; {len(self.broken)} were skipped.")
        lines += [f"  skipped {name}: {why}" for name, why in self.broken.items()]
        return "\n".join(lines)

    def differences(self, wanted: str) -> str:
        """What differs in the operations whose name has this text in it, the most frequent first."""
        lines: list[str] = []
        for name, row in sorted(self.rows.items()):
            if wanted.lower() in str(name).lower():
                lines.append(f"{name}: {row.counts['requests']} requests")
                lines += [
                    f"  {count:5}  {one.kind:9}  {one.where}: {one.what}{_because(name, one)}"
                    for one, count in sorted(row.differences.items(), key=lambda found: (-found[1], found[0]))
                ]
        return "\n".join(lines) or f"No operation has {wanted!r} in its name."

    def as_json(self) -> Json:
        """The same as data."""
        return {
            "files": self.files,
            "broken": self.broken,
            "total": {column: self.total()[column] for column in COLUMNS},
            "operations": [
                {
                    "operation": str(name),
                    **{column: row.counts[column] for column in COLUMNS},
                    "differences": [
                        {**one._asdict(), "requests": count, "reason": reason_for(name, one)}
                        for one, count in sorted(row.differences.items())
                    ],
                }
                for name, row in sorted(self.rows.items())
            ],
        }


def _cells(counts: Counter[str]) -> list[str]:
    return [str(counts[column] or "·") for column in COLUMNS]


def _because(operation: Operation, difference: Difference) -> str:
    reason = reason_for(operation, difference)
    return "" if reason is None else f"  ({reason})"
