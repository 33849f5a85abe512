"""Features from files: what is a number, what is missing, what is refused; and samples of files that are large."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import columns
import diabetes_steps
from flows.drift.feature_rows import FEATURES, ZERO_IS_MISSING, read_features
from flows.errors import DataAssetError
from tests.terminal import PROJECT

SHIPPED = PROJECT / "data" / "diabetes-diagnostics" / "diabetes-diagnostics.csv"
HEADER = ",".join(("PatientID", *FEATURES, "Diabetic"))


def table(rows: int, **columns: Any) -> Any:
    """Rows that count up in each feature, from 1."""
    counting = {name: np.arange(1.0, rows + 1) for name in FEATURES}
    return pa.table({**counting, **columns})


def file_of(folder: Path, content: Any, name: str = "rows") -> Path:
    path = folder / name
    if isinstance(content, str):
        path.write_text(content)
    else:
        pq.write_table(content, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataAssetError) as refused:
        read_features(path, "d:1")
    return str(refused.value)


def test_features_are_those_that_prep_checks() -> None:
    assert list(FEATURES) == columns.FEATURES
    assert sorted(ZERO_IS_MISSING) == sorted(diabetes_steps.ZERO_IS_MISSING)


def test_shipped_rows_are_read_whole_with_zeros_of_measurements_missing() -> None:
    found = read_features(SHIPPED, "d:1")
    assert (found.rows, found.rows_in_file) == (768, 768)
    missing = {name: int(np.isnan(column).sum()) for name, column in found.columns.items()}
    assert missing == {
        "Pregnancies": 0,
        "PlasmaGlucose": 5,
        "DiastolicBloodPressure": 35,
        "TricepsThickness": 227,
        "SerumInsulin": 374,
        "BMI": 11,
        "DiabetesPedigree": 0,
        "Age": 0,
    }


def test_csv_and_parquet_of_the_same_rows_are_the_same(tmp_path: Path) -> None:
    parquet = file_of(tmp_path, pa_csv.read_csv(SHIPPED))
    one, other = read_features(SHIPPED, "d:1"), read_features(parquet, "d:1")
    for name in FEATURES:
        np.testing.assert_array_equal(one.columns[name], other.columns[name])


def test_empty_cells_are_missing_and_other_columns_of_no_matter(tmp_path: Path) -> None:
    path = file_of(tmp_path, f"{HEADER},Comment\n1,,85,66,29,94,28.1,0.167,,0,says nothing\n")
    found = read_features(path, "d:1").columns
    assert np.isnan(found["Pregnancies"][0]) and np.isnan(found["Age"][0])
    assert found["BMI"].tolist() == [28.1]


def test_numbers_of_any_width_are_numbers(tmp_path: Path) -> None:
    rows = table(3, Age=pa.array([21, 22, None], pa.int8()), BMI=pa.array([1.5, 2.5, 3.5], pa.float32()))
    found = read_features(file_of(tmp_path, rows), "d:1").columns
    np.testing.assert_array_equal(found["Age"], [21, 22, np.nan])
    assert found["BMI"].tolist() == [1.5, 2.5, 3.5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Age,BMI\n50,33.6\n", "lack Pregnancies, PlasmaGlucose, DiastolicBloodPressure"),
        (f"{HEADER}\n1,6,high,72,35,0,33.6,0.627,50,1\n", "column PlasmaGlucose, row 1: 'high' is no number"),
        (f"{HEADER}\n1,6,148\n", "Expected 10 columns, got 3"),
        (f"{HEADER}\n", "have a header but no rows"),
        (f"{HEADER},Age\n1,6,148,72,35,0,33.6,0.627,50,1,50\n", "have Age more than once"),
        ("", "lack Pregnancies"),
        (HEADER.replace(",", "\t"), "The cells seem to be separated by tabs: save the file with commas"),
        (HEADER.replace(",", ";"), "The cells seem to be separated by ';'"),
        (table(2, Age=pa.array(["old", "young"])), "column Age: must be numbers, not string"),
        (table(2, Age=pa.array([[1], [2]])), "column Age: must be numbers, not list"),
        (table(0), "have a header but no rows"),
        (table(2).drop_columns(["BMI"]), "lack BMI"),
        ("PAR1 and then nothing", "cannot be read"),
        ("\0\1\2", "are neither CSV in UTF-8 nor Parquet"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "parquet",
)
def test_file_that_is_not_the_data_is_refused_by_name(tmp_path: Path, content: Any, said: str) -> None:
    message = refusal(file_of(tmp_path, content))
    assert said in message
    assert "d:1" in message


def test_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(HEADER.replace("BMI", "Größe").encode("latin-1") + b"\n")
    assert "neither CSV in UTF-8 nor Parquet" in refusal(path)


@pytest.mark.parametrize("name", ["absent.csv", "."], ids=["absent", "a folder"])
def test_file_that_cannot_be_opened_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be read" in refusal(tmp_path / name)


def test_large_file_is_sampled_evenly_and_each_time_alike(tmp_path: Path) -> None:
    path = file_of(tmp_path, table(400_000))
    found, again = (read_features(path, "d:1", most_rows=10_000) for _ in range(2))
    assert found.rows_in_file == 400_000
    assert 5_000 <= found.rows <= 10_000
    ages = found.columns["Age"]
    assert len(np.unique(ages)) == found.rows
    assert abs(ages.mean() - 200_000) < 8_000  # six standard errors
    np.testing.assert_array_equal(ages, again.columns["Age"])
    np.testing.assert_array_equal(ages, found.columns["BMI"])  # rows stay rows
