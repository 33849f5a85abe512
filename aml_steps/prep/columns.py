"""Columns of the diabetes data: names and ranges, and the check of a header."""

from __future__ import annotations

import difflib

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


def check_columns(header: list[str]) -> None:
    """Check that the needed columns are there, each once; PatientID may be absent but not misspelt.

    Raises:
        DataError: Naming each missing column and the nearest one that is there.
    """
    others = [column for column in header if column not in COLUMNS]
    if len(others) == len(header):
        hint = "; the cells seem to be separated by ';'" if any(";" in column for column in header) else ""
        raise DataError(f"not the diabetes data: no column of {', '.join(COLUMNS)}{hint}")
    counts = {column: header.count(column) for column in COLUMNS}
    faults = [f"column {column!r} occurs {count} times" for column, count in counts.items() if count > 1]
    for column in COLUMNS:
        # An absent PatientID is allowed, so only a close resemblance counts as a misspelling of it.
        near = _nearest(column, others, cutoff=0.8 if column == PATIENT else 0.5)
        if column not in header and (near or column != PATIENT):
            meant = f"the nearest present is {near!r:.100}" if near else f"present are {_listed(header)}"
            faults.append(f"column {column!r} is missing; {meant}")
    if faults:
        raise DataError(*faults)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"{name:.40}" for name in names[:20])
    return f"{shown} and {len(names) - 20:,} more" if len(names) > 20 else shown


def _nearest(name: str, candidates: list[str], cutoff: float) -> str | None:
    plain = {candidate.casefold().strip().replace("_", "").replace(" ", ""): candidate for candidate in candidates}
    return next((plain[match] for match in difflib.get_close_matches(name.casefold(), plain, 1, cutoff)), None)
