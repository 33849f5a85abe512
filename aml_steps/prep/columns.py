"""Columns of the diabetes data: names and ranges, and how they are found in a header."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from diabetes_steps import LABEL, PATIENT, DataError

# Wide enough for any living person, narrow enough to catch a wrong unit or a shifted column.
RANGES: dict[str, tuple[float, float]] = {
    "Pregnancies": (0, 30),
    "PlasmaGlucose": (0, 1000),  # mg/dL
    "DiastolicBloodPressure": (0, 300),  # mm Hg
    "TricepsThickness": (0, 200),  # mm
    "SerumInsulin": (0, 3000),  # mu U/mL
    "BMI": (0, 200),  # kg/m2
    "DiabetesPedigree": (0, 10),
    "Age": (0, 130),  # years
}
FEATURES = list(RANGES)
NUMBERS = [*FEATURES, LABEL]
COLUMNS = [PATIENT, *NUMBERS]
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}  # those that a file may have instead of commas
CLOSE = 0.8  # how alike two names are, 0 to 1, where one is a misspelling of the other


@dataclass(frozen=True)
class Header:
    """What a header comes to.

    Attributes:
        faults: A sentence for each column that is missing or occurs twice, with the nearest one that is there.
        named: The needed columns by the names that they have in the file, in its order. Where there are faults, also
            those that are only misspelt, so that the faults of their cells are found at once.
    """

    faults: list[str]
    named: dict[str, str]


def read_header(header: list[str]) -> Header:
    """Find the needed columns; PatientID may be absent but not misspelt.

    Raises:
        DataError: It names none of them, and so it is another file.
    """
    others = [column for column in header if column not in COLUMNS]
    if len(others) == len(header):
        raise DataError(f"not the diabetes data: no column of {', '.join(COLUMNS)}{_other_separator(header)}")
    counts = {column: header.count(column) for column in COLUMNS}
    faults = [f"column {column!r} occurs {count} times" for column, count in counts.items() if count > 1]
    named = {column: column for column, count in counts.items() if count == 1}
    for column in COLUMNS:
        # An absent PatientID is allowed, so only a close resemblance counts as a misspelling of it.
        close = _nearest(column, others, cutoff=CLOSE)
        near = close or (None if column == PATIENT else _nearest(column, others, cutoff=0.5))
        if column not in header and (near or column != PATIENT):
            meant = f"the nearest present is {near!r:.100}" if near else f"present are {_listed(header)}"
            faults.append(f"column {column!r} is missing; {meant}")
            if close and header.count(close) == 1:
                named.setdefault(close, column)
    return Header(faults, {name: named[name] for name in header if name in named})


def _other_separator(header: list[str]) -> str:
    """A hint at what separates the cells, where all of the header seems to be one."""
    found = next((name for mark, name in SEPARATORS.items() if any(mark in column for column in header)), None)
    return f"; the cells seem to be separated by {found}: save the file with commas" if found else ""


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"{name:.40}" for name in names[:20])
    return f"{shown} and {len(names) - 20:,} more" if len(names) > 20 else shown


def _nearest(name: str, candidates: list[str], cutoff: float) -> str | None:
    plain = {candidate.casefold().strip().replace("_", "").replace(" ", ""): candidate for candidate in candidates}
    return next((plain[match] for match in difflib.get_close_matches(name.casefold(), plain, 1, cutoff)), None)
