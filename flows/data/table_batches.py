"""Reads the numeric columns of a CSV or Parquet file in batches. Sizes are checked before anything is unpacked."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.errors import DataAssetError
from flows.plain_text.paths import unless_told
from flows.spec.text.locations import kind_of_file

# As in aml_steps/prep, which the flows do not import; a test checks that they are the same.
MAX_ROWS = "TANDEM_MAX_ROWS"
DEFAULT_MAX_ROWS = 10_000_000
MOST_COLUMNS = 10_000
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}  # those that a file may have instead of commas
HEADER_BYTES = 1 << 20  # Arrow reads CSV in blocks of so many, and no row may be longer
FOOTER_BYTES = 4 << 20  # reading a footer takes a hundred times its size in memory
BATCH_ROWS = 131_072

Matrix = NDArray[np.float64]


def most_rows() -> int:
    """The most rows that a table may have: ``TANDEM_MAX_ROWS``, or 10 million.

    Raises:
        DataAssetError: The variable is no whole number of 1 or more.
    """
    text = os.environ.get(MAX_ROWS) or str(DEFAULT_MAX_ROWS)
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise DataAssetError(f"{MAX_ROWS} is {text[:40]!r}. Set it to a whole number of 1 or more.")
    return int(text)


def table_batches(path: Path, names: Sequence[str], label: str) -> Iterator[Matrix]:
    """Yield these columns of a file, told apart by content, in portions of shape (n_rows, n_names); NaN where empty.

    Raises:
        DataAssetError: It cannot be read, has too many rows, lacks a column, or has a cell that is no finite number.
            The text names ``label``.
    """
    import pyarrow as pa

    rows, most = 0, most_rows()
    try:
        if kind := kind_of_file(path):
            raise _cannot_be_read(path, label, f"it is {kind}, not a CSV or Parquet file")
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
        if start.startswith(b"PAR1"):
            batches = _parquet_batches(path, names, label, most)
        elif start[:4] == b"PARE" or b"\0" in start[:4096]:
            raise _no_table(path, label)
        else:
            batches = _csv_batches(path, start, names, label)
        for batch in batches:
            columns = [_numbers(batch.column(name), name, label, rows) for name in names]
            rows += batch.num_rows
            if rows > most:
                raise DataAssetError(_too_many(label, f"more than {most:,} rows", most))
            yield np.column_stack(columns)
    except (UnicodeDecodeError, csv.Error):
        raise _no_table(path, label) from None
    except OSError as error:
        raise _cannot_be_read(path, label, error.strerror or _words(error)) from None
    except (pa.ArrowException, ValueError, MemoryError, OverflowError) as error:
        raise _cannot_be_read(path, label, _words(error)) from None


def _parquet_batches(path: Path, names: Sequence[str], label: str, most: int) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile, read_metadata

    with path.open("rb") as file:
        file.seek(-min(8, path.stat().st_size), os.SEEK_END)
        footer_bytes, end = int.from_bytes(file.read(4), "little"), file.read(4)
    if end == b"PAR1" and FOOTER_BYTES < footer_bytes < path.stat().st_size:
        size = f"{footer_bytes:,} bytes, and at most {FOOTER_BYTES:,} are read"
        raise _cannot_be_read(path, label, f"its footer has {size}")
    metadata = read_metadata(path)
    if metadata.num_columns > MOST_COLUMNS:
        raise DataAssetError(_too_wide(label, metadata.num_columns))
    schema = metadata.schema.to_arrow_schema()
    _check_columns(schema.names, names, label)
    groups: int = metadata.num_row_groups
    rows = max(metadata.num_rows, sum(metadata.row_group(number).num_rows for number in range(groups)))
    if rows > most:
        raise DataAssetError(_too_many(label, f"{rows:,} rows", most))
    for name in names:
        kind = schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_temporal(kind):
            raise DataAssetError(
                f"The data {label}, column {name}: must be numbers, not {kind!s:.80}. Nothing was compared."
            )
    # Read as a dictionary, so that a text that recurs is parsed as a number only once.
    texts = [name for name in names if pa.types.is_string(schema.field(name).type)]
    with ParquetFile(path, metadata=metadata, read_dictionary=texts, page_checksum_verification=True) as file:
        for number in range(groups):
            try:
                yield from file.iter_batches(BATCH_ROWS, row_groups=[number], columns=list(names))
            except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
                where = f"row group {number + 1} of {groups}"
                raise _cannot_be_read(path, label, f"{where}: {_words(error)}") from None


def _csv_batches(path: Path, start: bytes, names: Sequence[str], label: str) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    begin, _, rest = start.lstrip(b"\r\n").partition(b"\n")
    if not rest and len(start) == HEADER_BYTES:
        raise _cannot_be_read(path, label, f"its first line has more than {HEADER_BYTES:,} bytes")
    header = next(csv.reader(io.StringIO(begin.decode("utf-8-sig"), newline="")), [])
    if len(header) > MOST_COLUMNS:
        raise DataAssetError(_too_wide(label, len(header)))
    _check_columns(header, names, label)
    options = {
        "parse_options": pa_csv.ParseOptions(newlines_in_values=True),
        "convert_options": pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.float64()), include_columns=list(names)
        ),
    }
    try:
        # An open file, because Arrow takes the ending of a name for a compression.
        with path.open("rb") as file, pa_csv.open_csv(file, **options) as batches:
            yield from batches
    except pa.ArrowInvalid as error:
        raise DataAssetError(_what_is_wrong(path, names, label, _words(error))) from None


def _what_is_wrong(path: Path, names: Sequence[str], label: str, reason: str) -> str:
    """The first cell that is no number, by its row; or else Arrow's words, with the row that it counts."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.binary()), include_columns=list(names), strings_can_be_null=True
    )
    parse, rows = pa_csv.ParseOptions(newlines_in_values=True), 0
    try:
        with (
            path.open("rb") as file,
            pa_csv.open_csv(file, pa_csv.ReadOptions(use_threads=False), parse, options) as batches,
        ):
            for batch in batches:
                for name in names:
                    if (row := _not_a_number(batch.column(name))) is not None:
                        cell = batch.column(name)[row].as_py().decode(errors="backslashreplace")
                        where = f"column {name}, row {rows + row + 1}"
                        return f"The data {label}, {where}: {cell[:60]!r} is no number. Nothing was compared."
                rows += batch.num_rows
    except pa.ArrowInvalid as error:
        reason = _words(error)
    if "straddling" in reason:
        reason = f"a row after row {rows} is longer than {HEADER_BYTES:,} bytes, or opens a quote that is not closed"
    return str(_cannot_be_read(path, label, reason))


def _cannot_be_read(path: Path, label: str, why: str) -> DataAssetError:
    return DataAssetError(f"The data {label} cannot be read{unless_told(path, label)}: {why}.")


def _no_table(path: Path, label: str) -> DataAssetError:
    return DataAssetError(f"The data {label} are neither CSV in UTF-8 nor Parquet{unless_told(path, label)}.")


def _not_a_number(column: Any) -> int | None:
    import pyarrow as pa

    try:
        column.cast(pa.string()).cast(pa.float64())
        return None
    except pa.ArrowInvalid:
        for row, cell in enumerate(column):
            try:
                cell.cast(pa.string()).cast(pa.float64())
            except pa.ArrowInvalid:
                return row
        return None


def _numbers(column: Any, name: str, label: str, first_row: int) -> Matrix:
    import pyarrow as pa

    try:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary.cast(pa.float64()).take(column.indices)
        # Not checked for whole numbers that float64 cannot hold exactly: no measurement is that large.
        cast = column.cast(pa.float64(), safe=pa.types.is_string(column.type))
        numbers = np.asarray(cast.to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        raise DataAssetError(
            f"The data {label}, column {name}: must be numbers, not {kind!s:.80} ({_words(error)}). "
            "Nothing was compared."
        ) from None
    if len(wrong := np.flatnonzero(np.isinf(numbers))):
        where = f"column {name}, row {first_row + wrong[0] + 1}"
        raise DataAssetError(f"The data {label}, {where}: must be finite. Nothing was compared.")
    return numbers


def _check_columns(header: Sequence[str], names: Sequence[str], label: str) -> None:
    missing = [name for name in names if name not in header]
    if missing:
        there = ", ".join(f"{name:.40}" for name in header[:20]) or "no columns"
        there += f" and {len(header) - 20:,} more" if len(header) > 20 else ""
        mark = next((name for mark, name in _SEPARATORS.items() if len(header) == 1 and mark in header[0]), None)
        there += f". The cells seem to be separated by {mark}: save the file with commas" if mark else ""
        raise DataAssetError(f"The data {label} lack {', '.join(missing)}; they have {there}. Nothing was compared.")
    repeated = [name for name in names if header.count(name) > 1]
    if repeated:
        raise DataAssetError(f"The data {label} have {', '.join(repeated)} more than once. Nothing was compared.")


def _too_many(label: str, found: str, most: int) -> str:
    return (
        f"The data {label} have {found}, and at most {most:,} are read. Divide them, or set {MAX_ROWS} to more. "
        "Nothing was compared."
    )


def _too_wide(label: str, columns: int) -> str:
    return f"The data {label} have {columns:,} columns, and at most {MOST_COLUMNS:,} are read. Nothing was compared."


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
