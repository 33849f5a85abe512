"""The features of a data file as numbers, of all rows or of a sample, without ever holding the whole file."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.errors import DataAssetError

# Those of aml_steps/prep, which the flows do not import; a test holds them together.
FEATURES = (
    "Pregnancies",
    "PlasmaGlucose",
    "DiastolicBloodPressure",
    "TricepsThickness",
    "SerumInsulin",
    "BMI",
    "DiabetesPedigree",
    "Age",
)
ZERO_IS_MISSING = frozenset({"PlasmaGlucose", "DiastolicBloodPressure", "TricepsThickness", "SerumInsulin", "BMI"})
SAMPLE_ROWS = 100_000  # shows differences far below any that count
BATCH_ROWS = 131_072
_SEED = 0

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """The values of each feature, NaN where missing, of equal length; and how many rows the file has."""

    columns: Mapping[str, Matrix]
    rows_in_file: int

    @property
    def rows(self) -> int:
        """How many rows are here: all of the file, or a sample of them."""
        return len(next(iter(self.columns.values())))


def read_features(path: Path, label: str, most_rows: int = SAMPLE_ROWS) -> FeatureRows:
    """Read the features of a CSV or Parquet file, told apart by content.

    Of more than ``most_rows`` rows a uniform sample of at most so many is taken, the same one for the same file. A zero
    in a measurement that nobody alive can have stands for a missing value.

    Raises:
        DataAssetError: It cannot be read, lacks a feature, has a cell that is no number, or has no rows.
    """
    whole, sample = 0, _Sample(most_rows)
    for batch in _batches(path, label):
        whole += len(batch)
        sample.add(batch)
    if not whole:
        raise DataAssetError(f"The data {label} have a header but no rows: {path}.")
    values = sample.rows()
    columns = {
        name: np.where(values[:, at] == 0, np.nan, values[:, at]) if name in ZERO_IS_MISSING else values[:, at].copy()
        for at, name in enumerate(FEATURES)
    }
    return FeatureRows(columns, whole)


class _Sample:
    """Keeps every row with the same probability, which is halved whenever there are too many."""

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._random = np.random.default_rng(_SEED)
        self._kept: list[Matrix] = []
        self._probability = 1.0

    def add(self, batch: Matrix) -> None:
        self._kept.append(self._thinned(batch, self._probability))
        while sum(map(len, self._kept)) > self._most_rows:
            self._probability /= 2
            self._kept = [self._thinned(np.concatenate(self._kept), 0.5)]

    def rows(self) -> Matrix:
        return np.concatenate(self._kept)

    def _thinned(self, rows: Matrix, probability: float) -> Matrix:
        return rows if probability == 1 else rows[self._random.random(len(rows)) < probability]


def _batches(path: Path, label: str) -> Iterator[Matrix]:
    """The rows of a file in portions, each of shape (n_rows, n_features)."""
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            start = file.read(4096)
        read = _parquet_batches if start.startswith(b"PAR1") else _csv_batches
        if read is _csv_batches and b"\0" in start:
            raise DataAssetError(f"The data {label} are neither CSV in UTF-8 nor Parquet: {path}.")
        for batch in read(path, label):
            columns = [_numbers(batch.column(name), name, label) for name in FEATURES]
            yield np.column_stack(columns)
    except pa.ArrowInvalid as error:
        raise DataAssetError(_not_read(path, label, str(error))) from None
    except (UnicodeDecodeError, csv.Error):
        raise DataAssetError(f"The data {label} are neither CSV in UTF-8 nor Parquet: {path}.") from None
    except OSError as error:  # a folder among them
        raise DataAssetError(f"The data {label} cannot be read: {path}: {error.strerror or error}.") from None


def _parquet_batches(path: Path, label: str) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        _check_columns(file.schema_arrow.names, label)
        yield from file.iter_batches(BATCH_ROWS, columns=list(FEATURES))


def _csv_batches(path: Path, label: str) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        _check_columns(next(csv.reader(file), []), label)
    with pa_csv.open_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(FEATURES, pa.float64()), include_columns=list(FEATURES)
        ),
    ) as batches:
        yield from batches


def _check_columns(header: Sequence[str], label: str) -> None:
    missing = [name for name in FEATURES if name not in header]
    if missing:
        raise DataAssetError(
            f"The data {label} lack {', '.join(missing)}; they have {', '.join(header) or 'no columns'}. "
            "Nothing was compared."
        )
    repeated = [name for name in FEATURES if header.count(name) > 1]
    if repeated:
        raise DataAssetError(f"The data {label} have {', '.join(repeated)} more than once. Nothing was compared.")


def _numbers(column: Any, name: str, label: str) -> Matrix:
    import pyarrow as pa

    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataAssetError(
            f"The data {label}, column {name}: must be numbers, not {column.type} ({error}). Nothing was compared."
        ) from None


def _not_read(path: Path, label: str, reason: str) -> str:
    """Arrow's words, with the name of the column that it counts."""
    found = re.search(r"CSV column #(\d+).*invalid value '(.*)'", reason, re.DOTALL)
    if found is None:
        return f"The data {label} cannot be read: {path}: {reason}."
    with path.open(encoding="utf-8-sig", newline="") as file:
        column = next(csv.reader(file))[int(found[1])]
    return f"The data {label}, column {column}: {found[2]!r} is no number. Nothing was compared."
