"""Tables that nobody can use: each step says what is wrong with them, and unpacks none that are too large."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data_file
import evaluate
import evaluation_report
import parquet_file
import prep
import profile_data
import train
from diabetes_steps import LABEL, LARGEST, MAX_ROWS, DataError, read_rows, too_few
from tests import hostile_tables
from tests.aml_steps.conftest import code_of
from tests.hostile_tables import GOOD, HEADER, LARGE, SMALL

OUTPUTS = ("train_data", "test_data", "data_report")
ADDRESS_SPACE_BYTES = 1_500_000_000
# Unusual, but nothing is wrong with them.
USABLE = {
    "age_null.parquet",
    "age_boolean.parquet",
    "patient_null.parquet",
    "long_patients.csv",
}
READERS = [data_file.read, read_rows]


def written(name: str, folder: Path) -> Path:
    return hostile_tables.write_all({name: {**SMALL, **LARGE}[name]}, folder)[0]


def run_prep(data: Path, folder: Path) -> int:
    outputs = [
        word for name in ("train_data", "test_data", "data_report") for word in (f"--{name}", f"{folder}/{name}")
    ]
    return prep.main(["--data", str(data), *outputs])


def assert_refused(code: int, said: str, file: Path, folder: Path) -> None:
    assert code == 2
    lines = said.splitlines()
    assert lines and all(line.startswith("prep: ") and len(line) < 1200 for line in lines)
    assert not any((folder / name).exists() for name in OUTPUTS)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_prep_tells_what_is_wrong_with_a_table_and_writes_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(name, tmp_path)
    code = run_prep(file, tmp_path)
    if name in USABLE:
        assert code == 0
    else:
        assert_refused(code, capsys.readouterr().err, file, tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("age_list.parquet", "column Age holds list<element: double>: must be numbers"),
        ("patient_date.parquet", "column PatientID holds date32[day]: must be numbers or text"),
        ("flipped_page.parquet", "row group 1 of 1, column PatientID: cannot be unpacked"),
        ("encrypted.parquet", "encrypted.parquet is neither CSV in UTF-8 nor Parquet: it is encrypted Parquet"),
        ("latin1_cell.csv", r"column Age, row 401 (b'\xe4'): must be UTF-8"),
        ("utf16.csv", "utf16.csv is neither CSV in UTF-8 nor Parquet: it is UTF-16 or UTF-32; save it in UTF-8"),
        ("gzip.csv.gz", "it is compressed by gzip; unpack it"),
        ("fifo.csv", "fifo.csv is a FIFO (a named pipe): give a CSV or Parquet file"),
        ("folder.csv", "folder.csv is a folder: give a CSV or Parquet file"),
        ("loop.csv", "loop.csv cannot be read: Too many levels of symbolic links"),
        ("plain_called_gzip.csv.gz", "column Age, row 2 ('x'): must be a number"),
    ],
)
def test_prep_names_the_place_and_the_cause(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_prep(written(name, tmp_path), tmp_path) == 2
    assert said in capsys.readouterr().err


def test_prep_says_that_a_device_is_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_prep(Path("/dev/zero"), tmp_path) == 2
    assert capsys.readouterr().err == "prep: /dev/zero is a device: give a CSV or Parquet file\n"


def test_more_rows_than_the_limit_are_refused_before_any_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_rows: Callable[..., pd.DataFrame]
) -> None:
    monkeypatch.setenv(MAX_ROWS, "1000")
    make_rows(1001).to_parquet(tmp_path / "rows")
    content = bytearray((tmp_path / "rows").read_bytes())
    content[4:2000] = bytes(1996)  # whoever unpacks this fails
    (tmp_path / "rows").write_bytes(content)
    with pytest.raises(DataError, match=r"rows has 1,001 rows, and at most 1,000 are read: .*TANDEM_MAX_ROWS"):
        data_file.read(tmp_path / "rows")
    with pytest.raises(DataError, match=r"1,001 rows, and at most 1,000 are read: set TANDEM_MAX_ROWS"):
        read_rows(tmp_path / "rows")
    make_rows(1001).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match="1,001 lines after its header, and at most 1,000"):
        data_file.read(tmp_path / "rows.csv")
    make_rows(1000).to_csv(tmp_path / "rows.csv", index=False)
    assert len(data_file.read(tmp_path / "rows.csv").values) == 1000


@pytest.mark.parametrize("limit", ["many", "0", "-5", "1e6", "9" * 40])
def test_a_limit_that_is_no_number_of_rows_is_refused(
    limit: str, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prep.prepare(data_file.read(shipped), prep.Parameters())
    pq.write_table(prepared.table, tmp_path / "rows")
    monkeypatch.setenv(MAX_ROWS, limit)
    for read in READERS:
        with pytest.raises(DataError, match=f"TANDEM_MAX_ROWS is '{limit}"):
            read(tmp_path / "rows")


def test_a_short_text_that_unpacks_to_gigabytes_is_refused_while_it_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_file, "TEXT_BYTES", 10_000_000)
    file = written("patient_long_text.parquet", tmp_path)
    with pytest.raises(DataError, match="column PatientID: unpacks to more than 10,000,000 bytes of text"):
        data_file.read(file)


def test_row_groups_are_read_one_by_one_and_give_the_rows_of_one(shipped: Path, tmp_path: Path) -> None:
    pd.read_csv(shipped).to_parquet(tmp_path / "rows", row_group_size=100)
    pd.testing.assert_frame_equal(data_file.read(tmp_path / "rows").values, data_file.read(shipped).values)


# --- the steps after prep --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*sorted(SMALL), "absent"])
def test_the_steps_after_prep_take_no_table_that_prep_would_not_write(name: str, tmp_path: Path) -> None:
    file = tmp_path / name if name == "absent" else written(name, tmp_path)
    try:
        rows = read_rows(file)
    except DataError as error:
        assert str(file) in str(error)
    else:
        assert name.endswith(".parquet") and rows[LABEL].isin([0, 1]).all()
        assert (rows.isna() | (rows.abs() <= LARGEST)).all(axis=None)


def test_the_steps_after_prep_end_with_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows").write_bytes(hostile_tables.bytes_of_parquet()[:-50])
    data, out = str(tmp_path / "rows"), str(tmp_path)
    assert evaluate.main(["--test_data", data, "--challenger", out, "--evaluation_output", out]) == 2
    assert profile_data.main(["--train_data", data, "--test_data", data, "--profile", out]) == 2
    assert train.main(["--train_data", data, "--model", out]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["evaluate", "profile", "train"]
    assert all(f"{data} cannot be read as the Parquet that prep writes" in line for line in lines)


def test_profile_shows_names_of_columns_to_the_letter(make_rows: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    make_rows(60).rename(columns={"Age": r"$\frac", "BMI": "<b>"}).to_parquet(tmp_path / "rows")
    data = str(tmp_path / "rows")
    assert profile_data.main(["--train_data", data, "--test_data", data, "--profile", str(tmp_path)]) == 0
    assert "<td>&lt;b&gt;</td>" in (tmp_path / "profile.html").read_text()


# --- too few rows ----------------------------------------------------------------------------------------------------


def test_test_rows_are_enough_where_guesses_stay_near_a_half() -> None:
    assert too_few(66, 66) is None and too_few(100_000, 33) is None
    assert "64 of them diabetic" in (too_few(62, 64) or "")
    assert "0.5 ± 0.50" in (too_few(1, 1) or "") and too_few(0, 5)


@pytest.mark.parametrize("count", [40, 200])
def test_guesses_are_as_far_from_a_half_as_the_warning_says(count: int) -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    label = np.arange(count) % 2
    areas = np.array([roc_auc_score(label, random.random(count)) for _ in range(400)])
    margin = 1.96 * math.sqrt((count + 1) / (12 * (count // 2) ** 2))
    assert 0.02 < np.mean(np.abs(areas - 0.5) > margin) < 0.09


def test_ten_rows_are_judged_with_a_warning_in_log_report_and_figures(
    make_rows: Callable[..., pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(10).assign(Diabetic=[0, 1] * 5)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert run_prep(tmp_path / "rows.csv", tmp_path) == 0
    assert "  warning: " in capsys.readouterr().out
    (warning,) = json.loads((tmp_path / "data_report").read_text())["warnings"]
    test = pd.read_parquet(tmp_path / "test_data")
    evaluation = evaluate.write_evaluation(
        tmp_path, test, {"challenger": np.linspace(0, 1, len(test))}, {"challenger": 0.5}
    )
    assert evaluation["warnings"] == [warning] and "are too few to judge a model by" in warning
    assert json.loads((tmp_path / "metrics.json").read_text())["warnings"] == [warning]
    assert 'class="warning">Warning: ' in (tmp_path / "report.html").read_text()
    assert f"warning: {warning}" in evaluation_report.summary(evaluation)


def test_the_shipped_rows_are_enough(shipped: Path) -> None:
    assert prep.prepare(data_file.read(shipped), prep.Parameters()).report["warnings"] == []


# --- any table -------------------------------------------------------------------------------------------------------


MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "copy", "drop"]), st.floats(0, 1), st.integers(1, 255)), max_size=4
)
CELLS = st.one_of(
    st.sampled_from(
        ["", "0", "1", "NA", "inf", "-1e308", "1e999", '"', '"x"', "2020-01-01", "\0", "\ufeff", "9" * 400]
    ),
    st.text(max_size=5),
    st.floats().map(str),
    st.integers().map(str),
)


def mutated(content: bytes, mutations: list[tuple[str, float, int]]) -> bytes:
    for how, share, number in mutations:
        at = int(share * len(content))
        if how == "flip":
            content = content[:at] + bytes([content[at] ^ number]) + content[at + 1 :] if at < len(content) else content
        elif how == "cut":
            content = content[:at]
        elif how == "copy":
            content = content[:at] + content[:number] + content[at:]
        else:
            content = content[:at] + content[at + number :]
    return content


def read_or_refused(content: bytes, folder: Path) -> None:
    file = folder / "any"
    file.write_bytes(content)
    for read in READERS:
        try:
            found = read(file)
        except DataError as error:
            assert str(error)
        else:
            assert set((found.values if isinstance(found, data_file.Data) else found)[LABEL]) <= {0, 1}


ANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANY
@given(mutations=MUTATIONS)
def test_any_damage_to_parquet_is_told(mutations: list[tuple[str, float, int]], tmp_path: Path) -> None:
    read_or_refused(mutated(hostile_tables.bytes_of_parquet(), mutations), tmp_path)


@ANY
@given(
    name=st.sampled_from(hostile_tables.NAMES),
    kind=st.sampled_from(sorted(hostile_tables.COLUMNS)),
    share=st.booleans(),
)
def test_any_type_of_any_column_is_taken_or_told(name: str, kind: str, share: bool, tmp_path: Path) -> None:
    column = hostile_tables.COLUMNS[kind]
    hostile_tables.with_columns(**{name: column.dictionary_encode() if share and kind == "decimal" else column})(
        tmp_path / "table"
    )
    read_or_refused((tmp_path / "table").read_bytes(), tmp_path)


@ANY
@given(
    rows=st.lists(st.lists(CELLS, min_size=9, max_size=11), max_size=12),
    header=st.one_of(st.just(hostile_tables.NAMES), st.lists(st.sampled_from(hostile_tables.NAMES), max_size=12)),
    separator=st.sampled_from([",", ",", ",", ";", "\t"]),
    end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-7"]),
    mutations=MUTATIONS,
)
def test_any_text_is_taken_or_told(
    rows: list[list[str]],
    header: list[str],
    separator: str,
    end: str,
    encoding: str,
    mutations: list[tuple[str, float, int]],
    tmp_path: Path,
) -> None:
    lines = [header, *rows, GOOD.split(","), GOOD[:-1].split(",")]
    text = end.join(separator.join(cells) for cells in lines)
    read_or_refused(mutated(text.encode(encoding, errors="replace"), mutations), tmp_path)


@ANY
@given(content=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: b"PAR1" + tail + b"PAR1")))
def test_any_bytes_are_told(content: bytes, tmp_path: Path) -> None:
    read_or_refused(content, tmp_path)


# --- large tables, in a process that may take 1.5 GB of addresses ----------------------------------------------------


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LARGE))
def test_prep_refuses_a_large_table_in_little_memory(name: str, tmp_path: Path) -> None:
    file = written(name, tmp_path)
    outputs = [word for one in OUTPUTS for word in (f"--{one}", f"{tmp_path}/{one}")]
    done: Any = subprocess.run(
        [sys.executable, code_of("prep", tmp_path / "code") / "prep.py", "--data", str(file), *outputs],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limited,
        env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    assert_refused(done.returncode, done.stderr, file, tmp_path)


def test_a_header_of_many_megabytes_is_refused_by_its_first(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(HEADER + ",x" * 1_000_000)
    with pytest.raises(DataError, match="its first line is longer than 1,048,576 bytes"):
        data_file.read(tmp_path / "rows.csv")


def test_a_row_that_is_too_long_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(hostile_tables.csv_of() + "1," * 1_500_000)
    with pytest.raises(DataError, match="row 61 is longer than 1,048,576 bytes"):
        data_file.read(tmp_path / "rows.csv")
