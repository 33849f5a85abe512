"""Messages that refuse a whole file: its kind, and its number of rows and columns."""

from __future__ import annotations

from pathlib import Path

from diabetes_steps import MAX_ROWS

MOST_COLUMNS = 10_000
# What another kind of file begins with, and what to do with it.
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


def other_kind(path: Path, why: str) -> str:
    """Say that a file is of a kind that is not read."""
    return f"{path.name} is neither CSV in UTF-8 nor Parquet: {why}"


def too_many_rows(path: Path, found: str, most: int) -> str:
    """Say that a file has more than ``most`` rows."""
    return f"{path.name} has {found}, and at most {most:,} are read: divide it, or set {MAX_ROWS} to more"


def too_many_columns(path: Path, count: int) -> str:
    """Say that a file has more than ``MOST_COLUMNS`` columns."""
    return f"{path.name} has {count:,} columns, and at most {MOST_COLUMNS:,} are read: leave out what is not needed"
