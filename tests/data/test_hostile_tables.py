"""Tables that nobody can use, before the flows: watching, registering and mini-batches say what is wrong with them."""

import gzip
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import csv_file
import diabetes_steps
import refusals
from flows.data import table_batches
from flows.data.assets import resolve_data, resolve_reference
from flows.drift.feature_rows import read_features
from flows.engines.local.parallel import rows as mini_batch_rows
from flows.errors import DataAssetError
from flows.spec.model.job import DataReference
from tests import hostile_tables
from tests.hostile_tables import LARGE, SMALL, csv_of
from tests.terminal import PROJECT, Terminal

ADDRESS_SPACE_BYTES = 1_500_000_000
ANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(name: str, folder: Path) -> Path:
    return hostile_tables.write_all({name: {**SMALL, **LARGE}[name]}, folder)[0]


def read_or_refused(file: Path) -> str | None:
    """The refusal; None if the rows were read, and are numbers."""
    try:
        found = read_features(file, "d:1")
    except DataAssetError as error:
        assert "d:1" in str(error) or "TANDEM_MAX_ROWS" in str(error)
        assert len(str(error)) < 1200
        return str(error)
    assert found.rows and not any(np.isinf(column).any() for column in found.columns.values())
    return None


# --- watching --------------------------------------------------------------------------------------------------------


def test_the_limits_are_those_of_prep() -> None:
    for name in ("MAX_ROWS", "DEFAULT_MAX_ROWS", "FOOTER_BYTES"):
        assert getattr(table_batches, name) == getattr(diabetes_steps, name)
    assert table_batches.MOST_COLUMNS == refusals.MOST_COLUMNS
    assert table_batches.HEADER_BYTES == csv_file.HEADER_BYTES


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_table_to_be_watched_is_read_or_told_what_is_wrong_with_it(name: str, tmp_path: Path) -> None:
    said = read_or_refused(written(name, tmp_path))
    if name.startswith("age_") and name not in ("age_null.parquet", "age_boolean.parquet"):
        is_number = any(word in name for word in ("int64", "huge", "decimal"))
        assert is_number or (said is not None and "Age" in said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fifo.csv", "fifo.csv: it is a FIFO (a named pipe), not a CSV or Parquet file"),
        ("loop.csv", "Too many levels of symbolic links"),
        ("zeroed_pages.parquet", "row group 1 of 1"),
        ("infinite.csv", "column PlasmaGlucose, row 2: must be finite"),
        ("dates.csv", "column Age, row 2: '2020-01-01' is no number"),
        ("ragged.csv", "Row #62: Expected 10 columns, got 2"),
    ],
)
def test_the_place_and_the_cause_are_named(name: str, said: str, tmp_path: Path) -> None:
    assert said in (read_or_refused(written(name, tmp_path)) or "")


def test_more_rows_than_the_limit_are_refused_before_any_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_MAX_ROWS", "59")
    content = bytearray(hostile_tables.bytes_of_parquet())
    content[4:800] = bytes(796)  # whoever unpacks this fails
    (tmp_path / "rows").write_bytes(content)
    assert "have 60 rows, and at most 59 are read" in (read_or_refused(tmp_path / "rows") or "")
    (tmp_path / "rows").write_text(csv_of(60))
    assert "have more than 59 rows" in (read_or_refused(tmp_path / "rows") or "")


@ANY
@given(at=st.integers(0, 8000), flips=st.binary(min_size=1, max_size=30), cut=st.integers(0, 200))
def test_any_damage_is_told(at: int, flips: bytes, cut: int, tmp_path: Path) -> None:
    for content in (hostile_tables.bytes_of_parquet(), csv_of().encode()):
        damaged = content[:at] + flips + content[at + len(flips) : len(content) - cut]
        (tmp_path / "rows").write_bytes(damaged)
        read_or_refused(tmp_path / "rows")


# --- finding and registering -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fifo.csv", "is a FIFO (a named pipe)"),
        ("loop.csv", "Too many levels of symbolic links"),
        ("link_to_nothing.csv", "does not exist"),
        ("below_a_file.csv", "does not exist"),
    ],
)
def test_what_is_neither_file_nor_folder_is_told_without_opening_it(name: str, said: str, tmp_path: Path) -> None:
    file = written(name, tmp_path)
    with pytest.raises(DataAssetError, match=re.escape(said)) as refused:
        resolve_data(str(file), [tmp_path])
    assert str(file) in str(refused.value)
    if name == "fifo.csv":
        with pytest.raises(DataAssetError, match="is a FIFO"):
            resolve_reference(DataReference("uri_file", str(file)), [tmp_path])


def test_a_device_is_told_as_one() -> None:
    with pytest.raises(DataAssetError, match="The data file /dev/zero is a device"):
        resolve_data("/dev/zero", [])


@pytest.mark.parametrize("name", ["fifo.csv", "age_list.parquet", "flipped_page.parquet"])
def test_what_cannot_be_registered_is_told_in_a_line(name: str, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    words = [sys.executable, "-m", "flows", "data", "register", str(written(name, tmp_path))]
    done = subprocess.run(
        words, env=terminal.environment, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and name in done.stderr


# --- mini-batches ----------------------------------------------------------------------------------------------------


def ended(files: list[Path], reader: str = "read_delimited", **options: Any) -> str:
    with pytest.raises(SystemExit) as end:
        mini_batch_rows.rows([str(file) for file in files], [(reader, options)])
    return str(end.value.code)


@pytest.mark.parametrize("name", ["truncated.parquet", "flipped_page.parquet", "utf16.csv", "ragged.csv", "empty.csv"])
def test_a_file_of_mini_batches_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    reader = "read_parquet" if name.endswith("parquet") else "read_delimited"
    file = written(name, tmp_path)
    assert ended([file], reader).startswith(f"{file} cannot be read by {reader}: ")


def test_a_transformation_that_cannot_be_done_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(SystemExit) as end:
        mini_batch_rows.rows([str(tmp_path / "rows.csv")], [("read_delimited", {}), ("keep_columns", "b")])  # pyright: ignore[reportArgumentType]
    assert str(end.value.code).startswith("The mltable's keep_columns cannot be done: KeyError")


@pytest.mark.parametrize("reader", ["read_delimited", "read_parquet", "read_json_lines"])
def test_mini_batches_have_a_limit_over_all_files(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_MAX_ROWS", "100")
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        if reader == "read_parquet":
            pq.write_table(hostile_tables.pa.table(hostile_tables.rows(60)), file)
        else:
            file.write_text(csv_of(60) if reader == "read_delimited" else '{"a": 1}\n' * 60)
    said = ended(files, reader)
    assert said.startswith(f"{files[1]} cannot be read by {reader}: ") and "TANDEM_MAX_ROWS" in said
    monkeypatch.setenv("TANDEM_MAX_ROWS", "120")
    assert mini_batch_rows.rows([str(file) for file in files], [(reader, {})])[1] == 120


def test_compressed_text_is_read_and_a_bomb_is_not(tmp_path: Path) -> None:
    good, bomb = tmp_path / "rows.csv.gz", tmp_path / "bomb.csv.gz"
    good.write_bytes(gzip.compress(csv_of(60).encode()))
    assert mini_batch_rows.rows([str(good)], [("read_delimited", {})])[1] == 60
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(b"a\n")
        for _ in range(70):
            file.write(b"1" * 1_000_000)
    assert "a line is longer than 67,108,864 bytes" in ended([bomb])
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        for _ in range(110):
            file.write(b"\n" * 1_000_000)
    assert "unpacks to more than 200 times its size" in ended([bomb])


# --- large tables, in a process that may take 1.5 GB of addresses ----------------------------------------------------

WATCH = """
import sys
from pathlib import Path
from flows.cli.terminal.exit_codes import exit_code_of
from flows.drift.feature_rows import read_features
sys.exit(exit_code_of(lambda: read_features(Path(sys.argv[1]), "d:1") and 0))
"""
BATCHES = """
import sys
from flows.engines.local.parallel.rows import rows
rows([sys.argv[1]], [(sys.argv[2], {})])
"""


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))


def run(program: str, *words: str) -> Any:
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=PROJECT,
        env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limited,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LARGE))
def test_a_large_table_to_be_watched_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    done = run(WATCH, str(written(name, tmp_path)))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: The data d:1") and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["many_rows.parquet", "many_columns.csv", "gzip_bomb.csv.gz", "long_line_of_cells.csv", "zeros.csv"]
)
def test_a_large_file_of_mini_batches_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    file = written(name, tmp_path)
    done = run(BATCHES, str(file), "read_parquet" if name.endswith("parquet") else "read_delimited")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file} cannot be read by ") and "Traceback" not in done.stderr
