"""Reader of the data: a CSV or Parquet file, checked cell by cell."""

# PyArrow has no types and makes its compute functions when it is imported.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from arrow_columns import canonical_ids
from cells import check_cells
from columns import COLUMNS, NUMBERS
from csv_file import HEADER_BYTES, read_csv
from diabetes_steps import PATIENT, DataError, check_regular_file
from parquet_file import read_parquet
from refusals import OTHER_KINDS, other_kind


@dataclass(frozen=True)
class Data:
    """The rows of a data file, before anything is changed.

    Attributes:
        patients: Canonical PatientIDs, text of shape (n_rows,), null where empty; None if the file has no such column.
        values: Features and label, of shape (n_rows, 9), float64; missing cells are NaN.
        ignored: The names of the file's other columns.
    """

    patients: pa.ChunkedArray | None
    values: pd.DataFrame
    ignored: list[str]


def read(path: Path) -> Data:
    """Read a CSV or Parquet file and check every cell. Its content decides which of the two it is, not its name.

    Raises:
        DataError: The data cannot be used. The error names every fault that was found.
    """
    try:
        check_regular_file(path, "a CSV or Parquet file")
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise DataError(f"{path.name} is empty")
    known = next((what for mark, what in OTHER_KINDS.items() if start.startswith(mark)), None)
    if start.startswith(b"PAR1"):
        header, table = read_parquet(path)
    elif known or b"\0" in start[:4096]:
        raise DataError(other_kind(path, known or "it holds NUL bytes, as UTF-16 and binary files do"))
    else:
        header, table = read_csv(path, start)
    if table.num_rows == 0:
        raise DataError(f"{path.name} has a header but no rows")
    patients = canonical_ids(table[PATIENT]) if PATIENT in header else None
    values = table.select(NUMBERS).to_pandas(split_blocks=True, self_destruct=True)
    del table
    return Data(patients, check_cells(values), [column for column in header if column not in COLUMNS])
