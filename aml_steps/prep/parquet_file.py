"""Reader of Parquet files: a row group at a time, and nothing is unpacked that is too large."""

# PyArrow has no types and makes its compute functions when it is imported.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from arrow_columns import as_numbers_or_text, is_text, type_fault
from cells import CASES_COUNTED, ROWS_A_BLOCK, Faults, check_block
from columns import NUMBERS, read_header
from diabetes_steps import (
    PATIENT,
    UNREADABLE,
    DataError,
    count_rows,
    in_one_line,
    most_rows,
    parquet_end,
    too_large_footer,
)
from refusals import MOST_COLUMNS, OTHER_KINDS, other_kind, too_many_columns, too_many_rows

TEXT_BYTES = 512 << 20  # of one column: 10 million ids of 50 characters
WRITE_AGAIN = "write the file, or copy it, again"


def read_parquet(path: Path) -> tuple[list[str], pa.Table]:
    """Read the needed columns of a Parquet file.

    Returns:
        The names of all columns, and a table of those that are needed: numbers as float64, and text where a column does
        not hold numbers only.

    Raises:
        DataError: The file cannot be read, or lacks a column, or is too large. What is wrong with its cells is told
            then, too.
    """
    if parquet_end(path)[1] == b"PARE":
        raise DataError(other_kind(path, OTHER_KINDS[b"PARE"]))
    if fault := too_large_footer(path):
        raise DataError(f"{path.name} {fault}: write it with fewer columns, or in larger row groups")
    try:
        metadata = pq.read_metadata(path)
        if metadata.num_columns > MOST_COLUMNS:
            raise DataError(too_many_columns(path, metadata.num_columns))
        schema = metadata.schema.to_arrow_schema()
        header = schema.names
        rows = count_rows(metadata)
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{path.name} starts as Parquet but cannot be read: {in_one_line(error)}") from error
    found = read_header(header)
    fields = {name: schema.field(header.index(name)) for name in found.named}
    of_types = {name: fault for name, field in fields.items() if (fault := type_fault(field, found.named[name]))}
    if rows > (most := most_rows()):
        raise DataError(*found.faults, *of_types.values(), too_many_rows(path, f"{rows:,} rows", most))
    readable = {name: column for name, column in found.named.items() if name not in of_types}
    faults = Faults([*found.faults, *of_types.values()], readable)
    table = _row_groups(path, metadata, {name: fields[name] for name in readable}, readable, faults)
    if faults.said():
        _check_rows(table, faults)
        raise DataError(*faults.said())
    return header, table


def _check_rows(table: pa.Table, faults: Faults) -> None:
    """Check the cells of a table whose other faults are known, so that all are told at once."""
    for start in range(0, table.num_rows, ROWS_A_BLOCK):
        block = table.slice(start, ROWS_A_BLOCK).select([name for name in NUMBERS if name in table.column_names])
        check_block(block.to_pandas(), start, faults)
        if faults.count > CASES_COUNTED:
            break


def _row_groups(path: Path, metadata: Any, fields: dict[str, Any], named: dict[str, str], faults: Faults) -> pa.Table:
    """Read columns, a row group at a time, under the names that are needed; text that is not UTF-8 is a fault."""
    names = list(fields)
    # Text that recurs is stored once and unpacked once a row, so that a kilobyte may become a gigabyte. It stays packed
    # (a dictionary) until it is known how long it would be.
    texts = [name for name, field in fields.items() if is_text(field.type)]
    text_bytes, first_row = dict.fromkeys(texts, 0), 0
    tables: list[Any] = []
    try:
        # Checksums of pages are verified where the file has them.
        file = pq.ParquetFile(path, metadata=metadata, read_dictionary=texts, page_checksum_verification=True)
    except UNREADABLE as error:
        raise DataError(f"{path.name} starts as Parquet but cannot be read: {in_one_line(error)}") from error
    with file:
        for number in range(metadata.num_row_groups):
            where = f"{path.name}, row group {number + 1} of {metadata.num_row_groups}"
            table = _row_group(file, number, names, where)
            for name in texts:
                text_bytes[name] += _text_bytes(table[name], f"{where}, column {name}")
                if text_bytes[name] > TEXT_BYTES:
                    size = f"unpacks to more than {TEXT_BYTES:,} bytes of text"
                    raise DataError(f"{where}, column {name}: {size}; shorten its cells, or divide the rows into files")
            columns = [as_numbers_or_text(table[name], named[name], first_row, faults) for name in names]
            tables.append(pa.table(columns, names=[named[name] for name in names]))
            first_row += table.num_rows
    # A column that is text in one row group only becomes text in all: the check of the cells names its faults.
    needed = [named[name] for name in names]
    kinds = {name: {table.schema.field(name).type for table in tables} for name in needed}
    mixed = [name for name in needed if len(kinds[name]) > 1]
    for position, table in enumerate(tables if mixed else []):
        for name in mixed:
            table = table.set_column(needed.index(name), name, table[name].cast(pa.string()))
        tables[position] = table
    empty = pa.schema([(name, pa.string() if name == PATIENT else pa.float64()) for name in needed]).empty_table()
    return pa.concat_tables(tables) if tables else empty


def _row_group(file: Any, number: int, names: list[str], where: str) -> pa.Table:
    try:
        table = file.read_row_group(number, names)
        table.validate()
    except UNREADABLE as error:
        at_fault = next((name for name in names if _is_unreadable(file, number, name)), None)
        where += "" if at_fault is None else f", column {at_fault}"
        raise DataError(f"{where}: cannot be unpacked: {in_one_line(error)}; {WRITE_AGAIN}") from error
    return table


def _is_unreadable(file: Any, number: int, name: str) -> bool:
    try:
        file.read_row_group(number, [name])
    except UNREADABLE:
        return True
    return False


def _text_bytes(column: pa.ChunkedArray, where: str) -> int:
    """The bytes that the text of a column takes once it is unpacked."""
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
        raise DataError(f"{where}: {in_one_line(error)}; {WRITE_AGAIN}") from error
    return whole
