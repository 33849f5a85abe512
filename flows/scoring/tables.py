"""Reader of tables of any size: the files of an input, and their rows in portions. Sizes are checked before unpacking.

The cells of a CSV file are read as the text that stands in the file, so that what is passed on is not changed: a key
such as 007 stays one.
"""

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from flows.data.table_batches import FOOTER_BYTES, HEADER_BYTES, MOST_COLUMNS
from flows.errors import DataAssetError
from flows.plain_text.paths import unless_told
from flows.spec.text.locations import kind_of_file

PORTION_ROWS = 131_072
BLOCK_BYTES = 4 << 20  # of a CSV file, read at once; no row may be longer
SUFFIXES = (".csv", ".parquet", ".pq")
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}  # those that a file may have instead of commas


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of rows.

    Attributes:
        path: Where it is.
        is_parquet: Whether it is Parquet, else CSV.
        names: Of its columns, all different.
        types: Of its columns, as Arrow writes them; ``string`` for all of a CSV file.
        rows: How many it has; None for CSV, where that is not known before it is read.
    """

    path: Path
    is_parquet: bool
    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: int | None


@dataclass(frozen=True, slots=True)
class Portion:
    """Some rows of one file, one after the other.

    Attributes:
        rows: A table of Arrow with all columns of the file.
        file: Where they come from.
        first_row: The number of the first of them in the file, from 0.
        number: Of the portion, from 0, over all files.
        share: How much of the input has been read with it, 0 to 1.
        is_typed: Whether its columns have types, as those of Parquet; if not, all are text.
    """

    rows: Any
    file: Path
    first_row: int
    number: int
    share: float
    is_typed: bool


def open_tables(path: Path, label: str) -> tuple[TableFile, ...]:
    """Look at the files of an input: a CSV or Parquet file, or a folder of such, which are taken by name.

    Args:
        path: The file or folder. Folders in a folder, and files with another ending, are not looked at.
        label: What the input is called in messages.

    Raises:
        DataAssetError: There is none, one is of another form, or they do not have the same columns.
    """
    if not path.is_dir():
        return (_open_table(path, label),)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataAssetError(
            f"The data {label} have no CSV or Parquet file{unless_told(path, label)}. Nothing was scored."
        )
    tables = tuple(_open_table(file, label) for file in files)
    for table in tables[1:]:
        if (table.names, table.types) != (tables[0].names, tables[0].types):
            raise DataAssetError(
                f"The data {label}: {table.path.name} has other columns, or other types of them, than "
                f"{files[0].name}. Nothing was scored."
            )
    return tables


def portions(tables: Sequence[TableFile], label: str, rows: int = PORTION_ROWS) -> Iterator[Portion]:
    """Yield the rows of files in their order, at most ``rows`` at a time; no portion has rows of two files.

    Raises:
        DataAssetError: A file cannot be read to its end. The text quotes no cell.
    """
    sizes = [max(1, table.path.stat().st_size) for table in tables]
    number, before = 0, 0
    for table, size in zip(tables, sizes, strict=True):
        first = 0
        for part, share in (_parquet if table.is_parquet else _csv)(table, label, rows):
            if not part.num_rows:
                continue
            yield Portion(part, table.path, first, number, (before + share * size) / sum(sizes), table.is_parquet)
            first += part.num_rows
            number += 1
        before += size


def _open_table(path: Path, label: str) -> TableFile:
    try:
        if kind := kind_of_file(path):
            raise _cannot_be_read(path, label, f"it is {kind}, not a CSV or Parquet file")
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
            if start.startswith(b"PAR1"):
                table = _parquet_table(path, label, file)
            elif start[:4] == b"PARE" or b"\0" in start[:4096]:
                raise _cannot_be_read(path, label, "it is neither CSV in UTF-8 nor Parquet")
            else:
                names = _header(path, label, start)
                table = TableFile(path, False, names, ("string",) * len(names), None)
    except OSError as error:
        raise _cannot_be_read(path, label, error.strerror or type(error).__name__) from None
    _check_names(table, label)
    return table


def _parquet_table(path: Path, label: str, file: BinaryIO) -> TableFile:
    import pyarrow as pa
    from pyarrow.parquet import read_metadata

    size = os.fstat(file.fileno()).st_size
    file.seek(-min(8, size), os.SEEK_END)
    footer, end = int.from_bytes(file.read(4), "little"), file.read(4)
    if end == b"PAR1" and FOOTER_BYTES < footer < size:
        raise _cannot_be_read(path, label, f"its footer has {footer:,} bytes, and at most {FOOTER_BYTES:,} are read")
    try:
        metadata: Any = read_metadata(path)
        if metadata.num_columns > MOST_COLUMNS:
            raise _too_wide(path, label, metadata.num_columns)
        schema: Any = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, ValueError, MemoryError, OverflowError):
        raise _cannot_be_read(path, label, "it is no whole Parquet file") from None
    return TableFile(path, True, tuple(schema.names), tuple(map(str, schema.types)), int(metadata.num_rows))


def _header(path: Path, label: str, start: bytes) -> tuple[str, ...]:
    line, _, rest = start.lstrip(b"\r\n").partition(b"\n")
    if not rest and len(start) == HEADER_BYTES:
        raise _cannot_be_read(path, label, f"its first line has more than {HEADER_BYTES:,} bytes")
    try:
        names = next(csv.reader(io.StringIO(line.decode("utf-8-sig"), newline="")), [])
    except (UnicodeDecodeError, csv.Error):
        raise _cannot_be_read(path, label, "it is neither CSV in UTF-8 nor Parquet") from None
    if not names:
        raise _cannot_be_read(path, label, "it is empty")
    mark = next((shown for sign, shown in _SEPARATORS.items() if len(names) == 1 and sign in names[0]), None)
    if mark is not None:
        raise _cannot_be_read(path, label, f"its cells seem to be separated by {mark}: save it with commas")
    return tuple(names)


def _check_names(table: TableFile, label: str) -> None:
    if len(table.names) > MOST_COLUMNS:
        raise _too_wide(table.path, label, len(table.names))
    if twice := sorted({name for name in table.names if table.names.count(name) > 1}):
        raise _cannot_be_read(table.path, label, f"it has {', '.join(twice)[:200]} more than once")


def _parquet(table: TableFile, label: str, most: int) -> Iterator[tuple[Any, float]]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    done = 0
    try:
        with ParquetFile(table.path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(most, row_groups=[group]):
                    done += batch.num_rows
                    yield pa.Table.from_batches([batch]), done / max(1, table.rows or 1)
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise _cannot_be_read(table.path, label, f"it is damaged after row {done:,}") from error
    except OSError as error:
        raise _cannot_be_read(table.path, label, error.strerror or "it is damaged") from error


def _csv(table: TableFile, label: str, most: int) -> Iterator[tuple[Any, float]]:
    import pyarrow as pa

    size, done, waiting = max(1, table.path.stat().st_size), 0, list[Any]()
    # How far the rows are is told by the blocks that they came in: Arrow itself reads 32 blocks ahead.
    blocks, rows, share = 0, 0, 0.0
    wrong: list[Any] = []  # the row that has more or fewer cells than there are columns
    try:
        with table.path.open("rb") as file, _csv_batches(table, file, wrong.append) as batches:
            while (batch := next(batches, None)) is not None:
                waiting.append(batch)
                blocks, rows = blocks + 1, rows + batch.num_rows
                if rows - done <= most:  # the last rows are left for the end, also where they are just as many
                    continue
                together: Any = pa.Table.from_batches(waiting)
                while together.num_rows > most:
                    done += most
                    share = max(share, min(1.0, blocks * BLOCK_BYTES / size) * done / rows)
                    yield together.slice(0, most), share
                    together = together.slice(most)
                waiting = together.to_batches()
    except pa.ArrowException as error:
        raise _wrong_csv(table.path, label, wrong, str(error)) from None
    except OSError as error:
        raise _cannot_be_read(table.path, label, error.strerror or type(error).__name__) from None
    if waiting:
        yield pa.Table.from_batches(waiting), 1.0


def _csv_batches(table: TableFile, file: BinaryIO, told: Callable[[Any], object]) -> Any:
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    def refuse(row: Any) -> str:
        told(row)
        return "error"

    # One thread, because Arrow then knows the numbers of rows. Nothing is made null: text is passed on as it is.
    return pa_csv.open_csv(
        file,
        pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
        pa_csv.ConvertOptions(column_types=dict.fromkeys(table.names, pa.string()), strings_can_be_null=False),
    )


def _wrong_csv(path: Path, label: str, wrong: Sequence[Any], said: str) -> DataAssetError:
    """What is wrong with a CSV file; Arrow's own words quote the row."""
    if wrong:
        row = wrong[0]
        where = "a row" if row.number is None else f"row {row.number - 1:,}"
        has = f"has {row.actual_columns} cells, and there are {row.expected_columns} columns"
        return DataAssetError(f"The data {label}{unless_told(path, label)}: {where} {has}. Nothing was scored.")
    if "straddling" in said:
        why = f"a row is longer than {BLOCK_BYTES:,} bytes, or opens a quote that is not closed"
    elif "UTF8" in said or "UTF-8" in said:
        why = "it is not in UTF-8"
    else:
        why = "it is not CSV"
    return _cannot_be_read(path, label, why)


def _cannot_be_read(path: Path, label: str, why: str) -> DataAssetError:
    return DataAssetError(f"The data {label} cannot be read{unless_told(path, label)}: {why}. Nothing was scored.")


def _too_wide(path: Path, label: str, columns: int) -> DataAssetError:
    return _cannot_be_read(path, label, f"it has {columns:,} columns, and at most {MOST_COLUMNS:,} are read")
