"""Reader of CSV files: fast if all cells are numbers, else one that names every wrong cell."""

# PyArrow has no types and makes its compute functions when it is imported.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from arrow_columns import as_numbers_or_text, is_utf8
from cells import CASES_COUNTED, ROWS_NAMED, Faults, check_block
from columns import NUMBERS, Header, read_header
from diabetes_steps import PATIENT, UNREADABLE, DataError, in_one_line, most_rows
from refusals import MOST_COLUMNS, other_kind, too_many_columns, too_many_rows

HEADER_BYTES = 1 << 20  # Arrow reads CSV in blocks of so many bytes, and no row may be longer


def read_csv(path: Path, start: bytes) -> tuple[list[str], pa.Table]:
    """Read the needed columns of a CSV file.

    Args:
        path: The file.
        start: Its first ``HEADER_BYTES`` bytes, or all of a shorter file.

    Returns:
        The names of all columns, and a table of those that are needed: numbers as float64, PatientID as text.

    Raises:
        DataError: The file cannot be read, lacks a column or is too large, or cells break a rule. The error names every
            such column and cell.
    """
    header, rest = _read_header(path, start)
    found = read_header(header)
    if not rest.strip() and len(start) < HEADER_BYTES:
        raise DataError(*found.faults, f"{path.name} has a header but no rows")
    _check_lines(path, len(header))
    if not found.faults:
        types = {column: pa.string() if column == PATIENT else pa.float64() for column in found.named}
        try:
            return header, _parse_csv(path, types)
        except UNREADABLE:
            pass  # Arrow stops at the first cell that is no number. Read as text, block by block, all are found.
    return header, _parse_csv_by_blocks(path, found)


def _read_header(path: Path, start: bytes) -> tuple[list[str], bytes]:
    """The names in the first line, and the rest of what was read of the file."""
    line = re.match(rb"[\r\n]*([^\r\n]*)", start)
    end = line.end() if line else 0
    if end == HEADER_BYTES:
        raise DataError(f"{path.name}: its first line is longer than {HEADER_BYTES:,} bytes; it must name the columns")
    try:
        # A name within quotes may hold a line end, so that the header goes on in the next line.
        text = start[:end].decode("utf-8-sig")
        if text.count('"') % 2:
            text = start.decode("utf-8-sig", errors="ignore")
        header = next((cells for cells in csv.reader(io.StringIO(text, newline="")) if cells), [])
    except UnicodeDecodeError as error:
        raise DataError(other_kind(path, f"byte {error.start + 1} of its header is not UTF-8")) from error
    except csv.Error as error:
        raise DataError(other_kind(path, f"its header cannot be read: {error}")) from error
    if len(header) > MOST_COLUMNS:
        raise DataError(too_many_columns(path, len(header)))
    return header, start[end:]


def _check_lines(path: Path, columns: int) -> None:
    """Refuse too many rows before they are parsed.

    A row takes one line or more, and one byte or more for each column: a file that is short enough is not looked into.
    """
    most = most_rows()
    if path.stat().st_size <= most * columns:
        return
    lines, returns = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(HEADER_BYTES):
            lines, returns = lines + chunk.count(b"\n"), returns + chunk.count(b"\r")
    if (lines or returns) - 1 > most:
        raise DataError(too_many_rows(path, f"{(lines or returns) - 1:,} lines after its header", most))


def _csv_options(types: dict[str, pa.DataType]) -> dict[str, Any]:
    return {
        "parse_options": pa_csv.ParseOptions(newlines_in_values=True),
        "convert_options": pa_csv.ConvertOptions(
            column_types=types, include_columns=list(types), strings_can_be_null=True
        ),
    }


def _parse_csv(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    # An open file, because Arrow would unpack a file with a name like rows.csv.gz, whatever is in it.
    with path.open("rb") as file:
        return pa_csv.read_csv(file, **_csv_options(types))


@dataclass
class _UnevenRows:
    """The rows that have more or fewer cells than the header."""

    fault: str = ""
    rows: list[int] = field(default_factory=list[int])  # of the file, from 0
    can_be_skipped: bool = True


def _uneven_rows(path: Path, columns: list[str]) -> _UnevenRows:
    found, named, expected = _UnevenRows(), list[str](), 0

    def note(row: Any) -> str:
        nonlocal expected
        expected = row.expected_columns
        found.rows.append(row.number - 2)  # the header is row 1
        if len(named) < ROWS_NAMED:
            named.append(f"{row.number - 1} ({row.actual_columns} cells)")
        found.can_be_skipped &= is_utf8(row.text.encode("latin-1"))
        return "skip"

    # Arrow knows the numbers of rows only if it reads in one thread. It decodes the row that it hands over; Latin-1
    # decodes any bytes.
    options = pa_csv.ReadOptions(use_threads=False, encoding="latin-1")
    parse = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note)
    convert = _csv_options(dict.fromkeys(columns, pa.binary()))["convert_options"]
    try:
        with path.open("rb") as file, pa_csv.open_csv(file, options, parse, convert) as batches:
            for _ in batches:
                pass
    except UNREADABLE:
        pass  # the rows before the fault have been counted
    if count := len(found.rows):
        more = f" and {count - len(named)} more" if count > len(named) else ""
        found.fault = f"row{'s' * (count > 1)} {', '.join(named)}{more}: must have {expected} cells"
    return found


def _parse_csv_by_blocks(path: Path, header: Header) -> pa.Table:
    """Read every cell as text, and check it.

    Raises:
        DataError: It names what is wrong with the header, every row that has more or fewer cells, and every other cell
            that breaks a rule; or the row that cannot be read.
    """
    needed = list(header.named.values())
    uneven = _uneven_rows(path, list(header.named))
    faults = Faults([*header.faults, *filter(None, [uneven.fault])], header.named)
    if not uneven.can_be_skipped:
        raise DataError(*faults.said())
    faults.skipped = uneven.rows
    options = _csv_options(dict.fromkeys(header.named, pa.binary()))
    options["parse_options"] = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")
    tables: list[Any] = []
    first_row = 0
    try:
        with (
            path.open("rb") as file,
            pa_csv.open_csv(file, pa_csv.ReadOptions(use_threads=False), **options) as batches,
        ):
            for batch in batches:
                table = pa.Table.from_batches([batch]).rename_columns(needed)
                parts = [as_numbers_or_text(table[name], name, first_row, faults) for name in needed]
                values = pa.table(parts, names=needed)
                numbers = [name for name in NUMBERS if name in needed]
                checked = check_block(values.select(numbers).to_pandas(), first_row, faults)
                first_row += table.num_rows
                if faults.count > CASES_COUNTED:
                    break
                if not faults.said():
                    rows = pa.Table.from_pandas(checked, preserve_index=False)
                    tables.append(rows.append_column(PATIENT, values[PATIENT]) if PATIENT in needed else rows)
    except UNREADABLE as error:
        unreadable = f"{path.name} cannot be read as CSV: {_long_row(path) or in_one_line(error)}"
        raise DataError(*faults.said(), unreadable) from error
    if said := faults.said():
        raise DataError(*said)
    return pa.concat_tables(tables)


def _long_row(path: Path) -> str | None:
    """Say which row is longer than Arrow reads, most often by a quote that is not closed; None if none is."""
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
