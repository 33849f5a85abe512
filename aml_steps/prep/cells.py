"""The check of every cell: types, ranges and labels."""

# pyright: reportUnknownLambdaType=false

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pandera.pandas as pa_schema

from columns import RANGES
from diabetes_steps import LABEL, DataError

ROWS_NAMED = 5  # of each column and rule; the others are counted
CELL_SHOWN = 60  # characters
CASES_COUNTED = 100_000  # the check ends after the block of rows that has more
ROWS_A_BLOCK = 1 << 18


def _numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce")


def _within(low: float, high: float) -> pa_schema.Check:
    # Negated, so that a cell that is no number breaks only the rule that says so.
    return pa_schema.Check(
        lambda column: ~(_numbers(column) < low) & ~(_numbers(column) > high), error=f"must be {low} to {high}"
    )


CELLS = pa_schema.DataFrameSchema(
    {
        **{
            feature: pa_schema.Column(
                nullable=True,
                required=False,
                checks=[
                    pa_schema.Check(lambda column: _numbers(column).notna(), error="must be a number"),
                    _within(low, high),
                ],
            )
            for feature, (low, high) in RANGES.items()
        },
        LABEL: pa_schema.Column(
            nullable=True,
            required=False,
            checks=pa_schema.Check(
                lambda column: _numbers(column).isin([0, 1]), error="must be 0 or 1", ignore_na=False
            ),
        ),
    }
)


class Faults:
    """What is wrong with a table: sentences, and for each column and rule the cells that break it.

    Of the cells, the first are named, and the others counted.
    """

    def __init__(self, sentences: Iterable[str] = (), named: Mapping[str, str] | None = None) -> None:
        """Begin with what is known.

        Args:
            sentences: Faults of other things than cells.
            named: The needed columns by their names in the file, where those differ.
        """
        self.count = 0
        self.skipped: list[int] = []  # rows of the file, from 0, that the counted rows are without; in order
        self._sentences = list(sentences)
        self._shown = {column: name for name, column in (named or {}).items()}
        self._found: dict[tuple[str, str], tuple[int, list[str]]] = {}

    def add(self, column: str, rule: str, row: int, cell: Any, cells: int = 1) -> None:
        """Count ``cells`` cells that break a rule, the first of them ``cell`` in the row ``row``, from 0."""
        count, named = self._found.get((column, rule), (0, []))
        if len(named) < ROWS_NAMED:
            shown = "empty" if cell is None or pd.isna(cell) else repr(cell)
            shown = shown if len(shown) <= CELL_SHOWN else f"{shown[:CELL_SHOWN]}…"
            named.append(f"{self._in_file(row) + 1} ({shown})")
        self._found[column, rule] = count + cells, named
        self.count += cells

    def _in_file(self, row: int) -> int:
        for skipped in self.skipped:
            if skipped > row:
                break
            row += 1
        return row

    def said(self) -> list[str]:
        """All sentences, and one for each column and rule."""
        at_least = " at least" if self.count > CASES_COUNTED else ""
        return self._sentences + [
            f"column {self._shown.get(column, column)}, row{'s' * (count > 1)} {', '.join(named)}"
            + (f" and{at_least} {count - len(named)} more" if count > len(named) else "")
            + f": {rule}"
            for (column, rule), (count, named) in self._found.items()
        ]


def check_block(values: pd.DataFrame, first_row: int, faults: Faults) -> pd.DataFrame:
    """Check types, ranges and labels of some of the rows.

    Args:
        values: Features and label, of shape (n_rows, 9), each column either float64 or text; the index counts rows.
            Columns that the file lacks may be left out.
        first_row: The row of the file that has the index 0; rows count from 0.
        faults: Takes the cells that break a rule.

    Returns:
        The same values as float64; NaN where a cell is no number.
    """
    try:
        CELLS.validate(values, lazy=True, inplace=True)
    except pa_schema.errors.SchemaErrors as error:
        cases = error.failure_cases.sort_values("index", kind="stable")
        for (column, rule), group in cases.groupby(["column", "check"], sort=False):
            named = group.head(ROWS_NAMED)
            for position, (row, cell) in enumerate(zip(named["index"], named["failure_case"], strict=True)):
                # The cells that are not named are counted with the last one that is.
                others = len(group) - len(named) if position == len(named) - 1 else 0
                faults.add(column, rule, first_row + int(row), cell, 1 + others)
    texts = values.select_dtypes("object")
    return values.assign(**texts.apply(_numbers)) if len(texts.columns) else values


def check_cells(values: pd.DataFrame) -> pd.DataFrame:
    """Check types, ranges and labels of all cells.

    Args:
        values: Features and label, of shape (n_rows, 9), each column either float64 or text.

    Returns:
        The same values as float64.

    Raises:
        DataError: One fault for each column and rule, with the first rows and how many break it.
    """
    faults, parts = Faults(), []
    has_text = len(values.select_dtypes("object").columns) > 0
    for start in range(0, len(values), ROWS_A_BLOCK):
        numbers = check_block(values.iloc[start : start + ROWS_A_BLOCK], 0, faults)
        if has_text:
            parts.append(numbers)
        if faults.count > CASES_COUNTED:
            break
    if faults.count:
        raise DataError(*faults.said())
    if has_text:
        values = pd.concat(parts, ignore_index=True)
    if values[LABEL].nunique() == 1:
        raise DataError(f"column {LABEL}: every row has the label {values[LABEL].iloc[0]:.0f}; both are needed")
    return values
