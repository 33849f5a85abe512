"""Check the diabetes data, mark what was not measured, and divide the rows into a training and a test part.

The patient split hashes each PatientID to a number in [0, 1) and tests the patients below ``test_share``. Whether a
patient is tested therefore depends on nothing but the id, the seed and the share: all rows of a patient stand on one
side, new data moves nobody, and a larger share only ever adds patients to the test part. The hash is SHA-256 of the
text ``<seed>:<id>``, which is the same on every machine and in every version, and can be recomputed in SQL or Spark.
"""

# PyArrow has no types and makes its compute functions when it is imported.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import argparse
import csv
import difflib
import io
import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa_schema
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

PATIENT = "PatientID"
LABEL = "Diabetic"
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
ZERO_IS_MISSING = ["PlasmaGlucose", "DiastolicBloodPressure", "TricepsThickness", "SerumInsulin", "BMI"]
NUMBERS = [*FEATURES, LABEL]
COLUMNS = [PATIENT, *NUMBERS]
SPLITS = ("patient", "random")
ROWS_NAMED = 5
# The variable of the environment that says how many rows are read at most. Ten million take some four gigabytes.
MAX_ROWS = "TANDEM_MAX_ROWS"
DEFAULT_MAX_ROWS = 10_000_000
MOST_COLUMNS = 10_000
HEADER_BYTES = 1 << 20  # Arrow reads CSV in blocks of so many, and no row may be longer
FOOTER_BYTES = 4 << 20  # takes a hundred times that to read
TEXT_BYTES = 512 << 20  # of one column: 10 million ids of 50 characters
ROWS_A_BLOCK = 1 << 18
CASES_COUNTED = 100_000
CELL_SHOWN = 60
CHANCE_MARGIN = 0.1  # of ROC AUC
UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError)
_WRITE_PARQUET_AGAIN = "write the file, or copy it, again"
OTHER_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO (a named pipe)",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
OTHER_KINDS = {
    b"PARE": "it is encrypted Parquet; write it without encryption",
    b"\x1f\x8b": "it is compressed by gzip; unpack it (gunzip)",
    b"BZh": "it is compressed by bzip2; unpack it (bunzip2)",
    b"\xfd7zXZ": "it is compressed by xz; unpack it (unxz)",
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd; unpack it (unzstd)",
    b"PK\x03\x04": "it is a zip archive, as an Excel workbook is; save the rows as CSV in UTF-8",
    b"\xff\xfe": "it is UTF-16 or UTF-32; save it in UTF-8",
    b"\xfe\xff": "it is UTF-16; save it in UTF-8",
}


class DataError(ValueError):
    """The data cannot be used.

    Attributes:
        faults: One sentence for each fault, all that were found.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Parameters:
    """How rows are prepared and divided.

    Attributes:
        test_share: Share of the patients (or rows) that go to the test part, 0.05 to 0.95.
        split: ``patient`` keeps a patient's rows together, ``random`` divides rows as ``train_test_split`` does.
        split_seed: Draws another split, of either kind; 0 or greater.
        zeros_as_missing: Whether a zero in a physiological measurement stands for "not measured".
    """

    test_share: float = 0.3
    split: str = "patient"
    split_seed: int = 0
    zeros_as_missing: bool = True


@dataclass(frozen=True)
class Data:
    """The rows of a data file, before anything is changed.

    Attributes:
        patients: Canonical PatientIDs, text of shape (n_rows,), null where empty; None when the file has no ids.
        values: Features and label, of shape (n_rows, 9), float64; missing cells are NaN.
        ignored: Columns of the file that are not ours.
    """

    patients: pa.ChunkedArray | None
    values: pd.DataFrame
    ignored: list[str]


@dataclass(frozen=True)
class Prepared:
    """The two parts, as row positions in ``table``.

    Attributes:
        table: PatientID (if the file has it), features and label, in file order.
        train: Row positions of the training part.
        test: Row positions of the test part.
        report: What was found, as written to ``data_report``.
    """

    table: pa.Table
    train: np.ndarray
    test: np.ndarray
    report: dict[str, Any]


# --- reading ---------------------------------------------------------------------------------------------------------


def most_rows() -> int:
    """The most rows that a table may have: ``TANDEM_MAX_ROWS``, or 10 million.

    Raises:
        DataError: The variable is no whole number of 1 or more.
    """
    text = os.environ.get(MAX_ROWS) or str(DEFAULT_MAX_ROWS)
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text)):
        raise DataError(f"{MAX_ROWS} is {text[:40]!r}: set it to a whole number of 1 or more")
    return int(text)


def check_file(path: Path) -> None:
    """Check that a path leads to a regular file, without opening it: to open a FIFO would wait for its writer.

    Raises:
        DataError: It leads to something else, or nowhere.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        kind = OTHER_FILES.get(stat.S_IFMT(mode), "no regular file")
        raise DataError(f"{path} is {kind}: give a CSV or Parquet file")


def read(path: Path) -> Data:
    """Read a CSV or Parquet file, told apart by content, and check every cell.

    Raises:
        DataError: Naming every fault that was found.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise DataError(f"{path.name} is empty")
    known = next((what for mark, what in OTHER_KINDS.items() if start.startswith(mark)), None)
    if start.startswith(b"PAR1"):
        header, table = _read_parquet(path)
    elif known or b"\0" in start[:4096]:
        raise DataError(_other_kind(path, known or "it holds NUL bytes, as UTF-16 and binary files do"))
    else:
        header, table = _read_csv(path, start)
    if table.num_rows == 0:
        raise DataError(f"{path.name} has a header but no rows")
    patients = _canonical_ids(table[PATIENT]) if PATIENT in header else None
    values = table.select(NUMBERS).to_pandas(split_blocks=True, self_destruct=True)
    del table
    return Data(patients, check_cells(values), [column for column in header if column not in COLUMNS])


def _other_kind(path: Path, why: str) -> str:
    return f"{path.name} is neither CSV in UTF-8 nor Parquet: {why}"


def _read_parquet(path: Path) -> tuple[list[str], pa.Table]:
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END) if path.stat().st_size >= 12 else None
        footer_bytes, end = int.from_bytes(file.read(4), "little"), file.read(4)
    if end == b"PARE":
        raise DataError(_other_kind(path, OTHER_KINDS[b"PARE"]))
    if end == b"PAR1" and FOOTER_BYTES < footer_bytes < path.stat().st_size:
        size = f"of {footer_bytes:,} bytes, and at most {FOOTER_BYTES:,} are read"
        raise DataError(f"{path.name} has a footer {size}: write it with fewer columns, or in larger row groups")
    try:
        metadata = pq.read_metadata(path)
        if metadata.num_columns > MOST_COLUMNS:
            raise DataError(_too_many_columns(path, metadata.num_columns))
        schema = metadata.schema.to_arrow_schema()
        header = schema.names
        groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{path.name} starts as Parquet but cannot be read: {_words(error)}") from error
    check_columns(header)
    fields = [schema.field(header.index(column)) for column in header if column in COLUMNS]
    if faults := [fault for field in fields if (fault := _type_fault(field))]:
        raise DataError(*faults)
    rows, most = max(metadata.num_rows, sum(groups)), most_rows()
    if rows > most:
        raise DataError(_too_many_rows(path, f"{rows:,} rows", most))
    return header, _row_groups(path, metadata, fields)


def _row_groups(path: Path, metadata: Any, fields: list[Any]) -> pa.Table:
    """The needed columns, a row group at a time: numbers as float64, text where a column does not hold numbers only."""
    names = [field.name for field in fields]
    # A text that recurs is unpacked once for each row, so that a kilobyte may become a gigabyte: it is kept packed
    # until it is known how long it all is.
    texts = [field.name for field in fields if _is_text(field.type)]
    text_bytes, first_row = dict.fromkeys(texts, 0), 0
    tables: list[Any] = []
    try:
        # Checksums of pages are verified where the file has them.
        file = pq.ParquetFile(path, metadata=metadata, read_dictionary=texts, page_checksum_verification=True)
    except UNREADABLE as error:
        raise DataError(f"{path.name} starts as Parquet but cannot be read: {_words(error)}") from error
    with file:
        for number in range(metadata.num_row_groups):
            where = f"{path.name}, row group {number + 1} of {metadata.num_row_groups}"
            table = _row_group(file, number, names, where)
            for name in texts:
                text_bytes[name] += _text_bytes(table[name], f"{where}, column {name}")
                if text_bytes[name] > TEXT_BYTES:
                    size = f"unpacks to more than {TEXT_BYTES:,} bytes of text"
                    raise DataError(f"{where}, column {name}: {size}; shorten its cells, or divide the rows into files")
            faults = Faults()
            columns = [_column(table[name], name, first_row, faults) for name in names]
            if faults.count:
                raise DataError(*faults.said())
            tables.append(pa.table(columns, names=names))
            first_row += table.num_rows
    # What is text in one row group and all numbers in another is text in both, for the cell check to name.
    kinds = {name: {table.schema.field(name).type for table in tables} for name in names}
    mixed = [name for name in names if len(kinds[name]) > 1]
    for position, table in enumerate(tables if mixed else []):
        for name in mixed:
            table = table.set_column(names.index(name), name, table[name].cast(pa.string()))
        tables[position] = table
    empty = pa.schema([(name, pa.string() if name == PATIENT else pa.float64()) for name in names]).empty_table()
    return pa.concat_tables(tables) if tables else empty


def _row_group(file: Any, number: int, names: list[str], where: str) -> pa.Table:
    try:
        table = file.read_row_group(number, names)
        table.validate()
    except UNREADABLE as error:
        at_fault = next((name for name in names if _is_unreadable(file, number, name)), None)
        where += "" if at_fault is None else f", column {at_fault}"
        raise DataError(f"{where}: cannot be unpacked: {_words(error)}; {_WRITE_PARQUET_AGAIN}") from error
    return table


def _is_unreadable(file: Any, number: int, name: str) -> bool:
    try:
        file.read_row_group(number, [name])
    except UNREADABLE:
        return True
    return False


def _text_bytes(column: pa.ChunkedArray, where: str) -> int:
    """How long the text of a column is once each row has its own."""
    whole = 0
    try:
        for chunk in column.chunks:
            if pa.types.is_dictionary(chunk.type):
                chunk.validate(full=True)
                lengths = pc.binary_length(chunk.dictionary)
                whole += pc.sum(pc.take(lengths, chunk.indices).cast(pa.int64())).as_py() or 0
            else:
                whole += pc.sum(pc.binary_length(chunk).cast(pa.int64())).as_py() or 0
    except UNREADABLE as error:
        raise DataError(f"{where}: {_words(error)}; {_WRITE_PARQUET_AGAIN}") from error
    return whole


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return binary or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return plain or pa.types.is_decimal(kind) or pa.types.is_null(kind)


def _type_fault(field: pa.Field) -> str | None:
    if _is_number(field.type) or _is_text(field.type):
        return None
    wanted = "numbers or text" if field.name == PATIENT else "numbers"
    return f"column {field.name} holds {field.type!s:.80}: must be {wanted}"


def _column(column: pa.ChunkedArray, name: str, first_row: int, faults: Faults) -> pa.ChunkedArray:
    """A column as float64, or as text where it is PatientID or not all of it is numbers.

    Args:
        column: Numbers of any width, text or bytes.
        name: What it is called.
        first_row: How many rows of the file come before it.
        faults: Takes the cells that are not UTF-8.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type):
        # Not checked for what float64 cannot tell apart: no number in the permitted ranges is so large.
        return column if name == PATIENT else column.cast(pa.float64(), safe=False)
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        column = column.cast(pa.binary())
    try:
        # By way of bytes, because what a file calls text need not be UTF-8.
        column = column.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        for row, cell in enumerate(column.cast(pa.binary()).to_pylist(), first_row):
            if cell is not None and not _is_utf8(cell):
                faults.add(name, "must be UTF-8", row, cell)
        return pa.chunked_array([pa.nulls(len(column), pa.float64())])
    if name == PATIENT:
        return column
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:  # some cell is no number
        return column


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_csv(path: Path, start: bytes) -> tuple[list[str], pa.Table]:
    header, rest = _read_header(path, start)
    check_columns(header)
    if not rest.strip() and len(start) < HEADER_BYTES:
        raise DataError(f"{path.name} has a header but no rows")
    _check_lines(path, len(header))
    types = {column: pa.string() if column == PATIENT else pa.float64() for column in header if column in COLUMNS}
    try:
        return header, _parse_csv(path, types)
    except UNREADABLE:
        # Arrow stops at the first cell that is no number; block by block, all of them can be found and named.
        return header, _parse_csv_by_blocks(path, list(types))


def _read_header(path: Path, start: bytes) -> tuple[list[str], bytes]:
    """The names in the first line, and the rest of what was read of the file."""
    line = re.match(rb"[\r\n]*([^\r\n]*)", start)
    end = line.end() if line else 0
    if end == HEADER_BYTES:
        raise DataError(f"{path.name}: its first line is longer than {HEADER_BYTES:,} bytes; it must name the columns")
    try:
        # A name may hold a line end within quotes, so that the header may go on after the first line.
        text = start[:end].decode("utf-8-sig")
        if text.count('"') % 2:
            text = start.decode("utf-8-sig", errors="ignore")
        header = next((cells for cells in csv.reader(io.StringIO(text, newline="")) if cells), [])
    except UnicodeDecodeError as error:
        raise DataError(_other_kind(path, f"byte {error.start + 1} of its header is not UTF-8")) from error
    except csv.Error as error:
        raise DataError(_other_kind(path, f"its header cannot be read: {error}")) from error
    if len(header) > MOST_COLUMNS:
        raise DataError(_too_many_columns(path, len(header)))
    return header, start[end:]


def _check_lines(path: Path, columns: int) -> None:
    """Refuse too many rows before they are read. A row has a byte for each column at least, and is a line or more."""
    most = most_rows()
    if path.stat().st_size <= most * columns:
        return
    lines, returns = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(HEADER_BYTES):
            lines, returns = lines + chunk.count(b"\n"), returns + chunk.count(b"\r")
    if (lines or returns) - 1 > most:
        raise DataError(_too_many_rows(path, f"{(lines or returns) - 1:,} lines after its header", most))


def _csv_options(types: dict[str, pa.DataType]) -> dict[str, Any]:
    return {
        "parse_options": pa_csv.ParseOptions(newlines_in_values=True),
        "convert_options": pa_csv.ConvertOptions(
            column_types=types, include_columns=list(types), strings_can_be_null=True
        ),
    }


def _parse_csv(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    # An open file, because Arrow takes the ending of a name for a compression.
    with path.open("rb") as file:
        return pa_csv.read_csv(file, **_csv_options(types))


def _uneven_rows(path: Path) -> str | None:
    """Name the rows whose number of cells is not that of the header; None if there are none."""
    count, expected, first = 0, 0, list[str]()

    def note(row: Any) -> str:
        nonlocal count, expected
        count, expected = count + 1, row.expected_columns
        if len(first) < ROWS_NAMED:
            first.append(f"{row.number - 1} ({row.actual_columns} cells)")
        return "skip"

    # Arrow knows the rows' numbers only when it reads in a single thread; it counts the header as the first. It decodes
    # what it shows of a row, which any bytes are made fit for by reading them as Latin-1.
    options = pa_csv.ReadOptions(use_threads=False, encoding="latin-1")
    parse = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note)
    try:
        with path.open("rb") as file, pa_csv.open_csv(file, options, parse) as batches:
            for _ in batches:
                pass
    except UNREADABLE:
        pass  # the rows up to there are known
    if not count:
        return None
    more = f" and {count - len(first)} more" if count > len(first) else ""
    return f"row{'s' * (count > 1)} {', '.join(first)}{more}: must have {expected} cells"


def _parse_csv_by_blocks(path: Path, columns: list[str]) -> pa.Table:
    """Read text that is not all numbers, and name every cell that is to blame.

    Raises:
        DataError: Naming these cells, or the row that cannot be read.
    """
    faults = Faults()
    options = _csv_options(dict.fromkeys(columns, pa.binary()))
    tables: list[Any] = []
    first_row = 0
    try:
        with (
            path.open("rb") as file,
            pa_csv.open_csv(file, pa_csv.ReadOptions(use_threads=False), **options) as batches,
        ):
            for batch in batches:
                table = pa.Table.from_batches([batch])
                parts = [_column(table[name], name, first_row, faults) for name in columns]
                values = pa.table(parts, names=columns)
                numbers = check_block(values.select(NUMBERS).to_pandas(), first_row, faults)
                first_row += table.num_rows
                if faults.count > CASES_COUNTED:
                    break
                if not faults.count:
                    checked = pa.Table.from_pandas(numbers, preserve_index=False)
                    tables.append(checked.append_column(PATIENT, values[PATIENT]) if PATIENT in columns else checked)
    except UNREADABLE as error:
        if uneven := _uneven_rows(path):
            raise DataError(uneven) from error
        raise DataError(f"{path.name} cannot be read as CSV: {_long_row(path) or _words(error)}") from error
    if faults.count:
        raise DataError(*faults.said())
    return pa.concat_tables(tables)


def _long_row(path: Path) -> str | None:
    """Say which row is longer than Arrow reads, as one is whose quote never closes; None if none is."""
    row, begun, is_open = 0, 0, False
    with path.open("rb") as file:
        while line := file.readline(HEADER_BYTES):
            begun += len(line)
            is_open ^= bool(line.count(b'"') & 1)
            if begun >= HEADER_BYTES:
                why = "; it opens a quote that is not closed" if is_open else ""
                return f"row {row} is longer than {HEADER_BYTES:,} bytes{why}"
            if not is_open:
                row, begun = row + (len(line.strip()) > 0), 0
    return None


def _words(error: BaseException) -> str:
    """What a library says of an error, in a line; an error without words, by its name."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _too_many_rows(path: Path, found: str, most: int) -> str:
    return f"{path.name} has {found}, and at most {most:,} are read: divide it, or set {MAX_ROWS} to more"


def _too_many_columns(path: Path, count: int) -> str:
    return f"{path.name} has {count:,} columns, and at most {MOST_COLUMNS:,} are read: leave out what is not needed"


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


# --- checking --------------------------------------------------------------------------------------------------------


def _numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce")


def _within(low: float, high: float) -> pa_schema.Check:
    # Negated, so that a cell that is no number breaks one rule only.
    return pa_schema.Check(
        lambda column: ~(_numbers(column) < low) & ~(_numbers(column) > high), error=f"must be {low} to {high}"
    )


CELLS = pa_schema.DataFrameSchema(
    {
        **{
            feature: pa_schema.Column(
                nullable=True,
                checks=[
                    pa_schema.Check(lambda column: _numbers(column).notna(), error="must be a number"),
                    _within(low, high),
                ],
            )
            for feature, (low, high) in RANGES.items()
        },
        LABEL: pa_schema.Column(
            nullable=True,
            checks=pa_schema.Check(
                lambda column: _numbers(column).isin([0, 1]), error="must be 0 or 1", ignore_na=False
            ),
        ),
    }
)


class Faults:
    """Cells that break a rule: how many, and the first of them, for each column and rule."""

    def __init__(self) -> None:
        self.count = 0
        self._found: dict[tuple[str, str], tuple[int, list[str]]] = {}

    def add(self, column: str, rule: str, row: int, cell: Any, cells: int = 1) -> None:
        """Count cells; the first one is in the row ``row``, from 0."""
        count, named = self._found.get((column, rule), (0, []))
        if len(named) < ROWS_NAMED:
            shown = "empty" if cell is None or pd.isna(cell) else repr(cell)
            shown = shown if len(shown) <= CELL_SHOWN else f"{shown[:CELL_SHOWN]}…"
            named.append(f"{row + 1} ({shown})")
        self._found[column, rule] = count + cells, named
        self.count += cells

    def said(self) -> list[str]:
        """A sentence for each column and rule."""
        at_least = " at least" if self.count > CASES_COUNTED else ""
        return [
            f"column {column}, row{'s' * (count > 1)} {', '.join(named)}"
            + (f" and{at_least} {count - len(named)} more" if count > len(named) else "")
            + f": {rule}"
            for (column, rule), (count, named) in self._found.items()
        ]


def check_block(values: pd.DataFrame, first_row: int, faults: Faults) -> pd.DataFrame:
    """Check types and ranges of some of the rows.

    Args:
        values: Features and label, of shape (n_rows, 9), each column either float64 or text; the index counts rows.
        first_row: Which row of the file has the index 0, from 0.
        faults: Takes what is found.

    Returns:
        The same values as float64.
    """
    try:
        CELLS.validate(values, lazy=True, inplace=True)
    except pa_schema.errors.SchemaErrors as error:
        cases = error.failure_cases.sort_values("index", kind="stable")
        for (column, rule), group in cases.groupby(["column", "check"], sort=False):
            named = group.head(ROWS_NAMED)
            for position, (row, cell) in enumerate(zip(named["index"], named["failure_case"], strict=True)):
                # The last one that is named stands for all that are not.
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


# --- dividing --------------------------------------------------------------------------------------------------------


def _canonical_ids(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write whole numbers in their shortest form: 7, 7.0 and "007" are one patient, however the file stores them."""
    try:
        return ids.cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid:  # some id is no whole number
        trimmed = pc.utf8_trim_whitespace(ids.cast(pa.string()))
        return pc.replace_substring_regex(trimmed, r"^(-?)0*([0-9]+?)(\.0*)?$", r"\1\2")


def hash_keys(keys: Iterable[bytes], count: int, seed: int) -> np.ndarray:
    """Hash keys to evenly spread numbers: the first eight bytes, big-endian, of SHA-256 of ``<seed>:<key>``.

    Args:
        keys: The keys.
        count: How many there are.
        seed: Gives other numbers; 0 or greater.

    Returns:
        Numbers of shape (count,), uint64.
    """
    prefix = f"{seed}:".encode()
    # Eight bytes a key go straight into the array: no list of ten million Python objects.
    digests = np.fromiter((sha256(prefix + key).digest()[:8] for key in keys), dtype="S8", count=count)
    return digests.view(">u8").astype(np.uint64)


def hash_patients(data: Data, seed: int) -> np.ndarray:
    """Hash each row's PatientID, or the row's content where there is none, to numbers of shape (n_rows,), uint64."""
    count = len(data.values)
    if data.patients is None:
        return hash_keys(_row_bytes(data.values), count, seed)
    hashes = hash_keys(_id_bytes(data.patients), count, seed)
    anonymous = np.flatnonzero(data.patients.is_null().to_numpy())
    if len(anonymous):
        hashes[anonymous] = hash_keys(_row_bytes(data.values.iloc[anonymous]), len(anonymous), seed)
    return hashes


def _id_bytes(ids: pa.ChunkedArray) -> Iterator[bytes]:
    for start in range(0, len(ids), 1 << 18):
        yield from (text.encode() for text in ids.slice(start, 1 << 18).fill_null("").to_pylist())


def _row_bytes(values: pd.DataFrame) -> Iterator[bytes]:
    for start in range(0, len(values), 1 << 18):
        # Adding zero turns -0.0 into 0.0, and every NaN gets the same bits, so that equal rows have equal bytes.
        block = values.iloc[start : start + (1 << 18)].to_numpy(dtype="<f8") + 0.0
        block[np.isnan(block)] = np.nan
        yield from (row.tobytes() for row in block)


def split_rows(hashes: np.ndarray, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into a training and a test part.

    Args:
        hashes: A hash for each row, equal for rows that must stay together; of shape (n_rows,), uint64.
        parameters: How to divide.

    Returns:
        Row positions of the training part and of the test part.
    """
    if parameters.split == "random":
        # Imported here because it takes longer than all the rest of this step.
        from sklearn.model_selection import train_test_split

        rows = np.arange(len(hashes))
        train, test = train_test_split(rows, test_size=parameters.test_share, random_state=parameters.split_seed)
        return np.asarray(train), np.asarray(test)
    tested = (hashes >> np.uint64(11)) * 2.0**-53 < parameters.test_share
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def prepare(data: Data, parameters: Parameters) -> Prepared:
    """Mark what was not measured, divide the rows and describe the result.

    Raises:
        DataError: When a part would hold one class only.
    """
    hashes = hash_patients(data, parameters.split_seed)
    train, test = split_rows(hashes, parameters)
    labels = data.values[LABEL].to_numpy()
    balance = {name: _classes(labels[rows]) for name, rows in (("train", train), ("test", test))}
    for name, classes in balance.items():
        if not all(classes.values()):
            raise DataError(
                f"the {name} part would hold {classes['0']} rows of label 0 and {classes['1']} of label 1; "
                "both are needed: set another test_share or split_seed, or bring more rows"
            )
    # Counted before zeros become NaN, and by hash: comparing ten million whole rows would take minutes.
    contents = pd.util.hash_pandas_object(data.values, index=False).to_numpy() ^ hashes
    repeated = len(contents) - _distinct(contents)
    warnings = [text for text in [too_few(balance["test"]["0"], balance["test"]["1"])] if text]
    values = data.values
    if parameters.zeros_as_missing:
        values = values.assign(**{column: values[column].replace(0, np.nan) for column in ZERO_IS_MISSING})
    report = {
        "rows": {"whole": len(values), "train": len(train), "test": len(test)},
        "patients": _distinct(hashes),
        "repeated_rows": repeated,
        "ignored_columns": data.ignored,
        "patient_column": data.patients is not None,
        "missing": {column: int(count) for column, count in values[FEATURES].isna().sum().items()},
        "classes": {"whole": _classes(labels), **balance},
        "columns": _summary(values[NUMBERS]),
        "warnings": warnings,
    }
    table = pa.Table.from_pandas(values.astype({LABEL: "int64"}), preserve_index=False)
    if data.patients is not None:
        table = table.add_column(0, PATIENT, data.patients)
    return Prepared(table, train, test, report)


def too_few(label_0: int, label_1: int) -> str | None:
    """Say that the test rows are too few to judge a model by; None where they are enough.

    They are, where a model that guesses stays within 0.5 ± ``CHANCE_MARGIN`` of ROC AUC in 19 of 20 draws. The standard
    deviation of the ROC AUC of guesses is sqrt((n + m + 1) / 12nm) for n and m rows of the two labels (Mann and
    Whitney, 1947), so that some 65 rows of each label are needed, or 33 of one and very many of the other.
    """
    if not label_0 or not label_1:
        margin = 0.5
    else:
        margin = min(1.96 * math.sqrt((label_0 + label_1 + 1) / (12 * label_0 * label_1)), 0.5)
    if margin <= CHANCE_MARGIN:
        return None
    return (
        f"{label_0 + label_1:,} test rows, {label_1:,} of them diabetic, are too few to judge a model by: "
        f"the ROC AUC of mere guesses lies within 0.5 ± {margin:.2f}, and should within 0.5 ± {CHANCE_MARGIN:g}; "
        "bring more rows, or a larger test_share"
    )


def _distinct(hashes: np.ndarray) -> int:
    ordered = np.sort(hashes)  # many times faster than numpy.unique for millions of them
    return int(1 + np.count_nonzero(ordered[1:] != ordered[:-1]))


def _classes(labels: np.ndarray) -> dict[str, int]:
    ones = int(labels.sum())
    return {"0": len(labels) - ones, "1": ones}


def _summary(values: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    # A column at a time: describing all at once takes twice the memory of the data.
    described = {column: values[column].describe().drop("count") for column in NUMBERS}
    return {
        column: {str(name): None if np.isnan(value) else float(value) for name, value in figures.items()}
        for column, figures in described.items()
    }


# --- the step --------------------------------------------------------------------------------------------------------


def boolean(text: str) -> bool:
    """Read a boolean as Azure ML writes it into a command: ``True`` or ``False``."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def share(text: str) -> float:
    """Read a share of 0.05 to 0.95."""
    value = float(text)
    if not 0.05 <= value <= 0.95:
        raise argparse.ArgumentTypeError(f"{text} is outside 0.05 to 0.95")
    return value


def seed(text: str) -> int:
    """Read a seed, which scikit-learn wants within 0 to 4294967295."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to {2**32 - 1}")
    return value


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add the options that :class:`Parameters` holds."""
    parser.add_argument("--test_share", type=share, default=Parameters.test_share)
    parser.add_argument("--split", choices=SPLITS, default=Parameters.split)
    parser.add_argument("--split_seed", type=seed, default=Parameters.split_seed)
    parser.add_argument("--zeros_as_missing", type=boolean, default=Parameters.zeros_as_missing)


def read_parameters(arguments: argparse.Namespace) -> Parameters:
    """Take the options of :func:`add_parameters` from parsed arguments."""
    return Parameters(arguments.test_share, arguments.split, arguments.split_seed, arguments.zeros_as_missing)


def prepare_file(path: Path, parameters: Parameters) -> Prepared:
    """Read, check and divide a data file; the report then also says which file it was.

    Raises:
        DataError: When the file cannot be used, naming every fault.
    """
    prepared = prepare(read(path), parameters)
    with path.open("rb") as file:
        source = {"name": path.name, "sha256": file_digest(file, "sha256").hexdigest()}
    report = {"schema_version": 1, "source": source, "parameters": vars(parameters), **prepared.report}
    return Prepared(prepared.table, prepared.train, prepared.test, report)


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


def main(argv: list[str] | None = None) -> int:
    """Prepare a file; the arguments are those of component.yml."""
    parser = argparse.ArgumentParser(prog="prep", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="CSV or Parquet file")
    add_parameters(parser)
    parser.add_argument("--train_data", type=Path, required=True)
    parser.add_argument("--test_data", type=Path, required=True)
    parser.add_argument("--data_report", type=Path, required=True)
    arguments = parser.parse_args(argv)
    try:
        prepared = prepare_file(arguments.data, read_parameters(arguments))
    except DataError as error:
        print(*(f"prep: {fault}" for fault in error.faults), sep="\n", file=sys.stderr)
        return 2
    pq.write_table(prepared.table.take(prepared.train), arguments.train_data)
    pq.write_table(prepared.table.take(prepared.test), arguments.test_data)
    arguments.data_report.write_text(json.dumps(prepared.report, indent=2) + "\n")
    print(summary(prepared.report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
