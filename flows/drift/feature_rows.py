"""Features of a data file as numbers, read in batches: of all rows, or of a sample where there are many."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.data.table_batches import Matrix, table_batches
from flows.errors import DataAssetError
from flows.plain_text.paths import unless_told

# Those of aml_steps/prep, which the flows do not import; a test checks that they are the same.
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
_SEED = 0


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

    Of a file with more than ``most_rows`` rows, a uniform sample of at most that many is read, always the same one. A
    zero stands for a missing value in those measurements that are never zero (:data:`ZERO_IS_MISSING`).

    Raises:
        DataAssetError: It cannot be read, lacks a feature, has a cell that is no number, or has no rows.
    """
    whole, sample = 0, _Sample(most_rows)
    for batch in table_batches(path, FEATURES, label):
        whole += len(batch)
        sample.add(batch)
    if not whole:
        raise DataAssetError(f"The data {label} have a header but no rows{unless_told(path, label)}.")
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
