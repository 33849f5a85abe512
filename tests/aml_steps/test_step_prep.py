"""The prep step: what it accepts, what it says about what it does not accept, and how it divides patients."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data_file
import prep
import splitting
from columns import COLUMNS
from diabetes_steps import PATIENT, DataError

SCRIPT = Path(prep.__file__)
Rows = Callable[..., pd.DataFrame]


def run(data: Path, folder: Path, **options: object) -> int:
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    outputs = [
        text for name in ("train_data", "test_data", "data_report") for text in (f"--{name}", str(folder / name))
    ]
    return prep.main(["--data", str(data), *arguments, *outputs])


def faults_of(data: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        data_file.read(data)
    return list(caught.value.faults)


def edited(shipped: Path, target: Path, edits: dict[tuple[int, str], str]) -> Path:
    """Copy the shipped file with some cells changed; rows count from 1."""
    rows = pd.read_csv(shipped, dtype=str)
    for (row, column), cell in edits.items():
        rows.loc[row - 1, column] = cell
    rows.to_csv(target, index=False)
    return target


def halves(table: pd.DataFrame, parameters: prep.Parameters, tmp_path: Path) -> tuple[set[object], set[object]]:
    """The PatientIDs of the training part and of the test part."""
    file = tmp_path / "halves.csv"
    table.to_csv(file, index=False)
    prepared = prep.prepare(data_file.read(file), parameters)
    ids = prepared.table[PATIENT].to_numpy()
    return set(ids[prepared.train]), set(ids[prepared.test])


# --- what comes out --------------------------------------------------------------------------------------------------


def test_prep_writes_two_parquet_parts_and_a_report_of_the_shipped_rows(shipped: Path, tmp_path: Path) -> None:
    assert run(shipped, tmp_path) == 0
    train, test = pd.read_parquet(tmp_path / "train_data"), pd.read_parquet(tmp_path / "test_data")
    report = json.loads((tmp_path / "data_report").read_text())
    assert list(train.columns) == list(test.columns) == COLUMNS
    assert (len(train), len(test)) == (532, 236)
    assert report["rows"] == {"whole": 768, "train": 532, "test": 236}
    assert report["classes"]["whole"] == {"0": 500, "1": 268}
    assert report["source"] == {
        "name": "diabetes-diagnostics.csv",
        "sha256": hashlib.sha256(shipped.read_bytes()).hexdigest(),
    }
    assert {column: count for column, count in report["missing"].items() if count} == {
        "PlasmaGlucose": 5,
        "DiastolicBloodPressure": 35,
        "TricepsThickness": 227,
        "SerumInsulin": 374,
        "BMI": 11,
    }
    assert report["columns"]["Age"]["min"] == 21 and report["columns"]["Age"]["max"] == 81


def test_prep_counts_zeros_that_stand_for_missing_measurements_and_changes_none(shipped: Path, tmp_path: Path) -> None:
    assert run(shipped, tmp_path) == 0
    assert not pd.read_parquet(tmp_path / "train_data").isna().any(axis=None)
    assert (pd.read_parquet(tmp_path / "train_data")["SerumInsulin"] == 0).any()


def test_prep_gives_the_same_parts_for_csv_and_parquet_whatever_the_file_is_called(
    shipped: Path, tmp_path: Path
) -> None:
    pd.read_csv(shipped).to_parquet(tmp_path / "rows.csv")
    (tmp_path / "rows").write_bytes(shipped.read_bytes())
    one = prep.prepare(data_file.read(tmp_path / "rows.csv"), prep.Parameters())
    two = prep.prepare(data_file.read(tmp_path / "rows"), prep.Parameters())
    assert one.table.equals(two.table) and np.array_equal(one.test, two.test)


def test_prep_writes_the_same_bytes_each_time(shipped: Path, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        run(shipped, tmp_path / name)
    for output in ("train_data", "test_data", "data_report"):
        assert (tmp_path / "a" / output).read_bytes() == (tmp_path / "b" / output).read_bytes()


def test_prep_reads_a_byte_order_mark_windows_line_ends_and_blank_lines(shipped: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"\xef\xbb\xbf" + shipped.read_bytes().replace(b"\n", b"\r\n\r\n"))
    pd.testing.assert_frame_equal(data_file.read(file).values, data_file.read(shipped).values)


def test_prep_takes_empty_feature_cells_as_missing(shipped: Path, tmp_path: Path) -> None:
    file = edited(shipped, tmp_path / "rows.csv", {(3, "Age"): "", (4, "BMI"): "NA"})
    values = data_file.read(file).values
    assert np.isnan(values["Age"][2]) and np.isnan(values["BMI"][3])


def test_prep_ignores_unknown_columns_and_says_so(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.read_csv(shipped).assign(Note="a, \n b").to_csv(tmp_path / "rows.csv", index=False)
    assert run(tmp_path / "rows.csv", tmp_path) == 0
    assert "ignored columns: Note" in capsys.readouterr().out
    assert "Note" not in pd.read_parquet(tmp_path / "train_data")


def test_prep_reports_repeated_rows_and_keeps_them(shipped: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(shipped)
    pd.concat([rows, rows.head(19)]).to_csv(tmp_path / "rows.csv", index=False)
    report = prep.prepare(data_file.read(tmp_path / "rows.csv"), prep.Parameters()).report
    assert (report["rows"]["whole"], report["repeated_rows"], report["patients"]) == (787, 19, 768)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_prep_names_column_row_and_rule_of_a_text_value(shipped: Path, tmp_path: Path) -> None:
    file = edited(shipped, tmp_path / "rows.csv", {(17, "Age"): "abc"})
    assert faults_of(file) == ["column Age, row 17 ('abc'): must be a number"]


def test_prep_names_all_faults_at_once(shipped: Path, tmp_path: Path) -> None:
    edits = {
        (17, "Age"): "abc",
        (30, "Age"): "400",
        (20, "BMI"): "-3",
        (5, "Diabetic"): "2",
        (6, "Diabetic"): "yes",
        (7, "Diabetic"): "",
    }
    assert set(faults_of(edited(shipped, tmp_path / "rows.csv", edits))) == {
        "column Age, row 17 ('abc'): must be a number",
        "column Age, row 30 ('400'): must be 0 to 130",
        "column BMI, row 20 (-3.0): must be 0 to 200",
        "column Diabetic, rows 5 ('2'), 6 ('yes'), 7 (empty): must be 0 or 1",
    }


def test_prep_names_the_first_rows_and_counts_the_others(shipped: Path, tmp_path: Path) -> None:
    file = edited(shipped, tmp_path / "rows.csv", {(row, "Age"): "x" for row in range(11, 311)})
    (fault,) = faults_of(file)
    assert fault == "column Age, rows 11 ('x'), 12 ('x'), 13 ('x'), 14 ('x'), 15 ('x') and 295 more: must be a number"


def test_prep_names_rows_of_parquet_alike(shipped: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(shipped)
    rows.loc[16, "Age"] = 131
    rows.to_parquet(tmp_path / "rows")
    assert faults_of(tmp_path / "rows") == ["column Age, row 17 (131.0): must be 0 to 130"]


@pytest.mark.parametrize(
    ("column", "spelt", "fault"),
    [
        ("BMI", "Bmi", "column 'BMI' is missing; the nearest present is 'Bmi'"),
        ("PlasmaGlucose", "Plasma Glucos", "column 'PlasmaGlucose' is missing; the nearest present is 'Plasma Glucos'"),
        ("PatientID", "patient_id", "column 'PatientID' is missing; the nearest present is 'patient_id'"),
    ],
)
def test_prep_names_the_nearest_column_to_a_misspelt_one(
    shipped: Path, tmp_path: Path, column: str, spelt: str, fault: str
) -> None:
    pd.read_csv(shipped).rename(columns={column: spelt}).to_csv(tmp_path / "rows.csv", index=False)
    assert faults_of(tmp_path / "rows.csv") == [fault]


def test_prep_names_faults_of_columns_rows_and_cells_at_once(shipped: Path, tmp_path: Path) -> None:
    edited(shipped, tmp_path / "rows.csv", {(17, "Age"): "abc", (25, "BMI"): "-3", (40, "Age"): "400"})
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    lines[0] = lines[0].replace("BMI", "Bmi").replace("SerumInsulin", "Unknown")
    lines[20] += ",4"
    lines[30] = lines[30].rsplit(",", 1)[0]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    header = lines[0].replace(",", ", ")
    found = faults_of(tmp_path / "rows.csv")
    assert found[:3] == [
        f"column 'SerumInsulin' is missing; present are {header}",
        "column 'BMI' is missing; the nearest present is 'Bmi'",
        "rows 20 (11 cells), 30 (9 cells): must have 10 cells",
    ]
    assert sorted(found[3:]) == [
        "column Age, row 17 ('abc'): must be a number",
        "column Age, row 40 ('400'): must be 0 to 130",
        "column Bmi, row 25 (-3.0): must be 0 to 200",
    ]


def test_prep_names_faults_of_columns_types_and_cells_of_parquet_at_once(shipped: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(shipped).rename(columns={"BMI": "Bmi"})
    rows.loc[16, "Age"] = 131
    rows.loc[24, "Bmi"] = -3
    rows["SerumInsulin"] = pd.Timestamp("2020-01-01")
    rows.to_parquet(tmp_path / "rows")
    found = faults_of(tmp_path / "rows")
    assert found[0] == "column 'BMI' is missing; the nearest present is 'Bmi'"
    assert found[1].startswith("column SerumInsulin holds timestamp")
    assert sorted(found[2:]) == [
        "column Age, row 17 (131.0): must be 0 to 130",
        "column Bmi, row 25 (-3.0): must be 0 to 200",
    ]


def test_prep_tells_an_uneven_row_that_is_not_utf8_without_noise(
    shipped: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = shipped.read_bytes().splitlines()
    lines[20] += b",\xff"
    (tmp_path / "rows.csv").write_bytes(b"\n".join(lines))
    assert faults_of(tmp_path / "rows.csv") == ["row 20 (11 cells): must have 10 cells"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "rows is empty"),
        (b"PatientID,Age\n1,30\n", "column 'BMI' is missing; present are PatientID, Age"),
        (b"PatientID;Age;BMI\n1;30;20\n", "the cells seem to be separated by ';': save the file with commas"),
        (b"PatientID\tAge\tBMI\n1\t30\t20\n", "the cells seem to be separated by tabs: save the file with commas"),
        (b"PatientID|Age|BMI\n1|30|20\n", "the cells seem to be separated by '|'"),
        (b"Dear reader,\nthis is a letter.\n", "not the diabetes data: no column of PatientID"),
        (bytes(range(256)) * 20, "rows is neither CSV in UTF-8 nor Parquet"),
        ("näh".encode("latin-1"), "rows is neither CSV in UTF-8 nor Parquet"),
        (b"PAR1 and then nothing", "rows starts as Parquet but cannot be read"),
    ],
)
def test_prep_says_what_is_wrong_with_a_file_of_another_kind(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "rows").write_bytes(content)
    assert any(fault in found for found in faults_of(tmp_path / "rows"))


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_prep_refuses_a_header_without_rows(shipped: Path, tmp_path: Path, end: str) -> None:
    (tmp_path / "rows.csv").write_text(shipped.read_text().splitlines()[0] + end)
    assert faults_of(tmp_path / "rows.csv") == ["rows.csv has a header but no rows"]


def test_prep_names_rows_with_a_wrong_number_of_cells(shipped: Path, tmp_path: Path) -> None:
    lines = shipped.read_text().splitlines()
    lines[20] += ",4"
    lines[30] = lines[30].rsplit(",", 1)[0]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    assert faults_of(tmp_path / "rows.csv") == ["rows 20 (11 cells), 30 (9 cells): must have 10 cells"]


def test_prep_refuses_one_class_only(shipped: Path, tmp_path: Path) -> None:
    pd.read_csv(shipped).assign(Diabetic=1).to_csv(tmp_path / "rows.csv", index=False)
    assert faults_of(tmp_path / "rows.csv") == ["column Diabetic: every row has the label 1; both are needed"]


def test_prep_refuses_a_part_with_one_class_only(shipped: Path, tmp_path: Path) -> None:
    pd.read_csv(shipped).head(3).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match="the test part would hold 0 rows of label"):
        prep.prepare(data_file.read(tmp_path / "rows.csv"), prep.Parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"test_share": 0.96},
        {"test_share": "nan"},
        {"split": "time"},
        {"split_seed": -1},
        {"split_seed": 0.5},
    ],
)
def test_prep_refuses_parameters_out_of_range(shipped: Path, tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(shipped, tmp_path, **options)
    assert caught.value.code == 2


def test_prep_ends_with_code_2_and_a_message_but_no_traceback(
    run_script: Callable[..., Any], shipped: Path, tmp_path: Path
) -> None:
    file = edited(shipped, tmp_path / "rows.csv", {(17, "Age"): "abc", (5, "Diabetic"): "2"})
    outputs = ["--train_data", tmp_path / "a", "--test_data", tmp_path / "b", "--data_report", tmp_path / "c"]
    done = run_script(SCRIPT, "--data", file, *outputs)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert all(line.startswith("prep: column ") for line in done.stderr.splitlines())
    assert not (tmp_path / "a").exists()


# --- how patients are divided ----------------------------------------------------------------------------------------


def test_hash_is_the_documented_one() -> None:
    (hashed,) = splitting.hash_keys([b"7"], 1, seed=0)
    assert int(hashed) == int.from_bytes(hashlib.sha256(b"0:7").digest()[:8], "big")


def test_patients_of_the_shipped_rows_stay_where_the_first_release_put_them(shipped: Path) -> None:
    tested = prep.prepare(data_file.read(shipped), prep.Parameters()).test
    assert (tested[:10] + 1).tolist() == [4, 7, 15, 18, 20, 25, 33, 36, 37, 44]


@settings(max_examples=25, deadline=None)
@given(ids=st.lists(st.integers(0, 40), min_size=60, max_size=120), seed=st.integers(0, 2**32 - 1))
def test_a_patient_never_stands_on_both_sides(ids: list[int], seed: int) -> None:
    hashes = splitting.hash_keys((str(patient).encode() for patient in ids), len(ids), seed)
    train, test = splitting.split_rows(hashes, prep.Parameters(split_seed=seed))
    assert not {ids[row] for row in train} & {ids[row] for row in test}
    assert sorted([*train, *test]) == list(range(len(ids)))


@settings(max_examples=25, deadline=None)
@given(
    ids=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=60, unique=True),
    more=st.lists(st.text(min_size=1, max_size=8), max_size=60),
    shares=st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).map(sorted),
)
def test_a_patient_changes_side_neither_with_more_data_nor_back_with_a_larger_share(
    ids: list[str], more: list[str], shares: list[float]
) -> None:
    def tested(patients: list[str], share: float) -> set[str]:
        hashes = splitting.hash_keys((patient.encode() for patient in patients), len(patients), 0)
        return {patients[row] for row in splitting.split_rows(hashes, prep.Parameters(test_share=share))[1]}

    small, large = shares
    assert tested(ids, small) == tested(more + ids, small) & set(ids)
    assert tested(ids, small) <= tested(ids, large)


def test_a_share_of_the_patients_is_tested(make_rows: Rows, tmp_path: Path) -> None:
    train, test = halves(make_rows(20_000), prep.Parameters(test_share=0.2), tmp_path)
    assert len(test) / (len(train) + len(test)) == pytest.approx(0.2, abs=0.01)


def test_ids_are_alike_as_whole_number_float_and_text(make_rows: Rows, tmp_path: Path) -> None:
    rows = make_rows(300)
    expected = halves(rows, prep.Parameters(), tmp_path)
    for kind in ("float", "str"):
        assert halves(rows.astype({"PatientID": kind}), prep.Parameters(), tmp_path) == expected
    mixed = rows.astype({"PatientID": "float"}).astype({"PatientID": "str"})
    mixed.loc[0, "PatientID"] = "A-1"  # and now no cell is read as a number
    train, test = halves(mixed, prep.Parameters(), tmp_path)
    assert train - {"A-1"} == expected[0] - {"1"} and test - {"A-1"} == expected[1] - {"1"}
    for kind in ("int64", "float64", "str"):
        rows.astype({"PatientID": kind}).to_parquet(tmp_path / "rows")
        prepared = prep.prepare(data_file.read(tmp_path / "rows"), prep.Parameters())
        assert set(prepared.table[PATIENT].to_numpy()[prepared.test]) == expected[1]


def test_all_rows_of_a_patient_stay_together(make_rows: Rows, tmp_path: Path) -> None:
    visits = pd.concat([make_rows(400, seed=0), make_rows(400, seed=1)])
    train, test = halves(visits, prep.Parameters(), tmp_path)
    assert not train & test


def test_without_ids_equal_rows_stay_together(
    make_rows: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(300).drop(columns="PatientID")
    pd.concat([rows, rows]).to_csv(tmp_path / "rows.csv", index=False)
    prepared = prep.prepare(data_file.read(tmp_path / "rows.csv"), prep.Parameters())
    assert set(prepared.test % 300) == set(prepared.test) - set(range(300, 600))
    assert prepared.report["repeated_rows"] == prepared.report["patients"] == 300
    assert run(tmp_path / "rows.csv", tmp_path) == 0
    assert "no column PatientID" in capsys.readouterr().out


def test_rows_with_an_empty_id_are_not_one_patient(make_rows: Rows, tmp_path: Path) -> None:
    rows = make_rows(300)
    rows["PatientID"] = rows["PatientID"].where(rows["PatientID"] > 100)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert prep.prepare(data_file.read(tmp_path / "rows.csv"), prep.Parameters()).report["patients"] == 300


def test_another_seed_draws_another_split(shipped: Path) -> None:
    data = data_file.read(shipped)
    one, two = (prep.prepare(data, prep.Parameters(split_seed=seed)).test for seed in (0, 1))
    assert len(one) != len(two) or (one != two).any()


def test_random_split_is_that_of_scikit_learn(shipped: Path) -> None:
    from sklearn.model_selection import train_test_split

    patients = pd.read_csv(shipped)["PatientID"].to_numpy()
    expected = np.asarray(train_test_split(patients, test_size=0.25, random_state=3)[1])
    prepared = prep.prepare(data_file.read(shipped), prep.Parameters(test_share=0.25, split="random", split_seed=3))
    ids = prepared.table[PATIENT].to_numpy()[prepared.test]
    assert [int(patient) for patient in ids] == expected.tolist()
