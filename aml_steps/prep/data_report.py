"""The report on the data: what is in it, what is missing, and how it was divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from columns import FEATURES, NUMBERS
from data_file import Data
from diabetes_steps import PATIENT, as_measured, too_few


def count_classes(labels: np.ndarray) -> dict[str, int]:
    """Count the rows of label 0 and of label 1; labels are of shape (n_rows,)."""
    ones = int(labels.sum())
    return {"0": len(labels) - ones, "1": ones}


def describe(data: Data, hashes: np.ndarray, classes: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Build the report, but for the file and the parameters.

    Args:
        data: The rows as the file has them.
        hashes: The hash of each row's patient, of shape (n_rows,), uint64.
        classes: What :func:`count_classes` says of the rows as a ``whole`` and of the parts ``train`` and ``test``.
    """
    values = as_measured(data.values)
    # Counted in the rows as they are in the file, and by hash: comparing ten million whole rows would take minutes.
    contents = pd.util.hash_pandas_object(data.values, index=False).to_numpy() ^ hashes
    warning = too_few(classes["test"]["0"], classes["test"]["1"])
    return {
        "rows": {part: sum(counts.values()) for part, counts in classes.items()},
        "patients": _distinct(hashes),
        "repeated_rows": len(contents) - _distinct(contents),
        "ignored_columns": data.ignored,
        "patient_column": data.patients is not None,
        "missing": {column: int(count) for column, count in values[FEATURES].isna().sum().items()},
        "classes": classes,
        "columns": _describe_columns(values),
        "warnings": [warning] if warning else [],
    }


def _distinct(hashes: np.ndarray) -> int:
    ordered = np.sort(hashes)  # many times faster than numpy.unique for millions of them
    return int(1 + np.count_nonzero(ordered[1:] != ordered[:-1]))


def _describe_columns(values: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    # A column at a time: describing all at once takes twice the memory of the data.
    described = {column: values[column].describe().drop("count") for column in NUMBERS}
    return {
        column: {str(name): None if np.isnan(value) else float(value) for name, value in figures.items()}
        for column, figures in described.items()
    }


def summary(report: dict[str, Any]) -> str:
    """Write the report's main figures as a few aligned lines."""
    rows, classes = report["rows"], report["classes"]
    lines = [f"{report['source']['name']}: {report['patients']:,} patients, {report['repeated_rows']:,} repeated rows"]
    lines += [
        f"  {part:<6}{rows[part]:>12,} rows{classes[part]['1'] / rows[part]:>8.1%} diabetic"
        for part in ("whole", "train", "test")
    ]
    missing = {column: count for column, count in report["missing"].items() if count}
    width = max(map(len, missing), default=0)
    lines += [f"  {c:<{width}}{count:>12,} missing{count / rows['whole']:>8.1%}" for c, count in missing.items()]
    if report["ignored_columns"]:
        lines.append(f"  ignored columns: {', '.join(report['ignored_columns'])}")
    if not report["patient_column"]:
        lines.append(f"  no column {PATIENT}: each row's content stands for its patient")
    return "\n".join([*lines, *(f"  warning: {warning}" for warning in report["warnings"])])
