"""Arrow columns of any type, turned into numbers or text."""

# PyArrow has no types and makes its compute functions when it is imported.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from cells import Faults
from diabetes_steps import PATIENT


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text or bytes, as they are or as a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return binary or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return plain or pa.types.is_decimal(kind) or pa.types.is_null(kind)


def type_fault(field: pa.Field, column: str) -> str | None:
    """Say that the field which has a needed column is of a type that is not read; None where it is read."""
    if _is_number(field.type) or is_text(field.type):
        return None
    wanted = "numbers or text" if column == PATIENT else "numbers"
    return f"column {field.name} holds {field.type!s:.80}: must be {wanted}"


def as_numbers_or_text(column: pa.ChunkedArray, name: str, first_row: int, faults: Faults) -> pa.ChunkedArray:
    """Turn a column into float64, or into text if some of its cells are no numbers.

    PatientID becomes text, or stays the numbers that it is.

    Args:
        column: Numbers of any width, text or bytes.
        name: The name of the column.
        first_row: How many rows of the file come before it.
        faults: Takes the cells that are not UTF-8.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type):
        # Unsafe, since only numbers far beyond the permitted ranges lose digits in float64.
        return column if name == PATIENT else column.cast(pa.float64(), safe=False)
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        column = column.cast(pa.binary())
    try:
        # First into bytes: what a file calls text need not be UTF-8, and only this cast checks it.
        column = column.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        for row, cell in enumerate(column.cast(pa.binary()).to_pylist(), first_row):
            if cell is not None and not is_utf8(cell):
                faults.add(name, "must be UTF-8", row, cell)
        return pa.chunked_array([pa.nulls(len(column), pa.float64())])
    if name == PATIENT:
        return column
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:  # some cell is no number
        return column


def is_utf8(cell: bytes) -> bool:
    """Whether bytes are text in UTF-8."""
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def canonical_ids(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Turn PatientIDs into text, whole numbers in their shortest form.

    So 7, 7.0 and "007" are one patient, in whichever type the file has them.
    """
    try:
        return ids.cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid:  # some id is no whole number
        trimmed = pc.utf8_trim_whitespace(ids.cast(pa.string()))
        return pc.replace_substring_regex(trimmed, r"^(-?)0*([0-9]+?)(\.0*)?$", r"\1\2")
