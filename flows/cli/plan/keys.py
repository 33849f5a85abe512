"""Text and JSON of the keys that a job's files have and this machine ignores or emulates. Pure."""

from collections.abc import Iterator, Sequence
from os.path import relpath
from pathlib import Path
from typing import Any

from flows.engines.local.keys.in_files import KeyUse
from flows.engines.local.keys.table import Treatment

MOST_PLACES = 3
_ORDER = (Treatment.EMULATED, Treatment.IGNORED)


def keys_as_rows(uses: Sequence[KeyUse], source: Path) -> Iterator[tuple[str, str]]:
    """A row for each reason: what is done, and which keys at which lines.

    Args:
        uses: The keys.
        source: The job's file, whose lines are named without it.
    """
    by_reason: dict[tuple[Treatment, str], list[KeyUse]] = {}
    for use in sorted(uses, key=lambda use: _ORDER.index(use.row.treatment)):
        by_reason.setdefault((use.row.treatment, use.row.reason), []).append(use)
    for (treatment, reason), alike in by_reason.items():
        names = ", ".join(dict.fromkeys(use.path.removeprefix("jobs.*.").removeprefix("component.") for use in alike))
        yield treatment.value, f"{names} ({_places(alike, source)}): {reason}"


def keys_as_json(uses: Sequence[KeyUse]) -> list[dict[str, Any]]:
    """The same for machines, each key alone."""
    return [
        {
            "file": str(use.place.file),
            "line": use.place.line,
            "key": use.place.key,
            "treatment": use.row.treatment.value,
            "reason": use.row.reason,
        }
        for use in uses
    ]


def _places(uses: Sequence[KeyUse], source: Path) -> str:
    """``lines 3, 9, prep/component.yml:12 and 4 more``."""
    own = list(dict.fromkeys(str(use.place.line) for use in uses if use.place.file == source))
    others = dict.fromkeys(
        f"{relpath(use.place.file, source.parent)}:{use.place.line}" for use in uses if use.place.file != source
    )
    shown = [*own, *others][:MOST_PLACES]
    noun = "" if not own else "line " if len(own) == 1 else "lines "
    more = len(own) + len(others) - len(shown)
    return f"{noun}{', '.join(shown)}{f' and {more} more' if more else ''}"
