"""Reader of the rows of an mltable, for the driver beside this file. It imports nothing else of Tandem.

If something cannot be read, the driver ends with one message, which names the file or the transformation, and why.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
from typing import Any

import pandas as pd
from pandas.io.common import get_handle  # pyright: ignore[reportMissingImports] (without types)

ENCODINGS = {"iso88591": "latin-1", "utf8bom": "utf-8-sig", "windows1252": "cp1252"}
MAX_ROWS = "TANDEM_MAX_ROWS"  # the variable of the environment that says how many rows are read at most
DEFAULT_MAX_ROWS = 10_000_000
MOST_COLUMNS = 10_000
LINE_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
# How many times its size a compressed file may unpack to, once it is more than UNPACKED_BYTES.
UNPACKED_RATIO = 200
UNPACKED_BYTES = 100 << 20
PARTITION_FORMAT = "extract_columns_from_partition_format"
DATE_PARTS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
NUMBERED = "Column"  # what Azure ML calls the columns of a file that does not name them


def rows(files: list[str], transformations: list[tuple[str, dict[str, Any]]]) -> tuple[Any, int]:
    """Read the files of an mltable as one frame, and apply the mltable's other transformations.

    Returns:
        The frame, and how many rows the files have.
    """
    (reader, options), *further = transformations
    read = {"read_delimited": delimited, "read_parquet": parquet, "read_json_lines": json_lines}[reader]
    frames: list[Any] = []
    left = most = row_limit()
    for file in files:
        try:
            frame = read(file, options, frames[0].columns if frames else None, left)
        except Exception as error:  # damaged files fail in as many ways as the readers have parts
            sys.exit(f"{file} cannot be read by {reader}: {words(error)}")
        left -= len(frame)
        if left < 0:
            sys.exit(f"{file} cannot be read by {reader}: {too_many(most)}")
        if options.get("include_path_column"):
            frame.insert(0, "Path", file)
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    read_rows = len(frame)
    file_of_row = [file for file, part in zip(files, frames) for _ in range(len(part))]  # noqa: B905 (new in 3.10)
    for name, argument in further:
        try:
            if name == PARTITION_FORMAT:
                frame = with_partitions(frame, argument, file_of_row)
            else:
                frame = transformed(frame, name, argument)
        except Exception as error:
            sys.exit(f"The mltable's {name} cannot be done: {words(error)}")
    return frame, read_rows


def row_limit() -> int:
    """The most rows that are read, of all files together."""
    text = os.environ.get(MAX_ROWS) or str(DEFAULT_MAX_ROWS)
    if not (text.isdigit() and len(text) < 19 and int(text)):
        sys.exit(f"{MAX_ROWS} is {text[:40]!r}: set it to a whole number of 1 or more")
    return int(text)


def too_many(most: int) -> str:
    """Say that there are too many rows."""
    return f"there are more than {most:,} rows: divide them, or set {MAX_ROWS} to more"


def words(error: BaseException) -> str:
    """An error as one line of 300 characters at most."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def transformed(frame: Any, name: str, argument: Any) -> Any:
    """One transformation of an mltable."""
    if name == "keep_columns":
        return frame[[argument] if isinstance(argument, str) else argument]
    if name == "drop_columns":
        return frame.drop(columns=argument)
    if name == "take":
        return frame.head(int(argument))
    if name == "skip":
        return frame.iloc[int(argument) :]
    if name == "take_random_sample":
        chance = random.Random(argument.get("seed"))
        return frame[[chance.random() < float(argument["probability"]) for _ in range(len(frame))]]
    kinds = {"string": "string", "float": "float64", "int": "Int64", "boolean": "boolean", "datetime": "datetime64[ns]"}
    for one in argument:  # convert_column_types
        columns = one["columns"]
        kind = one["column_type"]
        named = kinds[kind if isinstance(kind, str) else next(iter(kind))]
        frame = frame.astype(dict.fromkeys([columns] if isinstance(columns, str) else columns, named))
    return frame


def with_partitions(frame: Any, argument: Any, file_of_row: list[str]) -> Any:
    """The frame with a column for each part of a partition format, such as ``/{store}/{day:yyyy/MM/dd}/rows.csv``.

    Args:
        frame: Rows, numbered as they were read.
        argument: The format, or a mapping with it as ``partition_format``.
        file_of_row: The path of the file that each row was read from, by its number.

    Raises:
        ValueError: The path of a file does not end as the format says.
    """
    text = argument if isinstance(argument, str) else argument["partition_format"]
    pattern, dates = partition_pattern(text)
    values: dict[str, dict[str, Any]] = {}
    for file in dict.fromkeys(file_of_row[number] for number in frame.index):
        found = re.search(pattern, file.replace(os.sep, "/"))
        if found is None:
            raise ValueError(f"{file} does not end as {text} says")
        values[file] = {
            name: pd.to_datetime(value, format=dates[name]) if name in dates else value
            for name, value in found.groupdict().items()
        }
    columns = {
        name: [values[file_of_row[number]][name] for number in frame.index] for name in re.compile(pattern).groupindex
    }
    return frame.assign(**columns)


def partition_pattern(text: str) -> tuple[str, dict[str, str]]:
    """A partition format as a regular expression for the end of a path, and the format of each column that is a date.

    Raises:
        ValueError: A part has no name that a column can have, or stands there twice.
    """
    dates: dict[str, str] = {}
    pattern = ""
    for number, part in enumerate(re.split(r"\{([^{}]*)\}", text)):
        if number % 2 == 0:
            pattern += re.escape(part)
            continue
        name, _, date = part.partition(":")
        if not name.isidentifier() or f"(?P<{name}>" in pattern:
            raise ValueError(f"{{{part}}} in {text} cannot be the name of a column")
        shape = "[^/]+?"
        if date:
            dates[name] = re.sub("yyyy|MM|dd|HH|mm|ss", lambda found: DATE_PARTS[found[0]], date)
            shape = re.sub("yyyy|MM|dd|HH|mm|ss", lambda found: f"[0-9]{{{len(found[0])}}}", re.escape(date))
        pattern += f"(?P<{name}>{shape})"
    return f"{pattern}$", dates


def check_text(file: str, delimiter: bytes) -> None:
    """Refuse text that takes too much memory to read. A compressed file is unpacked for this, but not kept.

    Raises:
        ValueError: A line is too long, the first one has too many columns, or it unpacks to far more than its size.
    """
    size, unpacked, line, columns, is_first = os.path.getsize(file), 0, 0, 1, True
    with get_handle(file, "rb", compression="infer", is_text=False) as opened:
        while True:
            chunk = opened.handle.read(CHUNK_BYTES)
            if not chunk:
                return
            unpacked += len(chunk)
            if unpacked > max(UNPACKED_BYTES, size * UNPACKED_RATIO):
                raise ValueError(f"it unpacks to more than {UNPACKED_RATIO} times its size of {size:,} bytes")
            if is_first:
                begin, end, _ = chunk.partition(b"\n")
                columns, is_first = columns + begin.count(delimiter), not end
                if columns > MOST_COLUMNS:
                    raise ValueError(f"its first line has more than {MOST_COLUMNS:,} columns")
            line = len(chunk) - chunk.rfind(b"\n") - 1 if b"\n" in chunk else line + len(chunk)
            if line > LINE_BYTES:
                raise ValueError(f"a line is longer than {LINE_BYTES:,} bytes")


def delimited(file: str, options: dict[str, Any], names: Any, left: int) -> Any:
    """Read text with a delimiter. ``names``: the first file's columns; ``left``: how many rows may still be read."""
    header = options.get("header", "all_files_same_headers")
    is_first = names is None
    has_header = header != "no_header" and (is_first or header != "from_first_file")
    encoding = options.get("encoding", "utf8")
    types: Any = None if options.get("infer_column_types", True) else str
    delimiter = options.get("delimiter", ",")
    check_text(file, delimiter.encode("utf-8"))
    frame: Any = pd.read_csv(
        file,
        sep=delimiter,
        nrows=left + 1,
        header=0 if has_header else None,
        encoding=ENCODINGS.get(encoding, encoding),
        keep_default_na=False,
        na_values=[] if options.get("empty_as_string") else [""],
        dtype=types,
    )
    if not has_header:
        columns = [f"{NUMBERED}{number}" for number in range(1, len(frame.columns) + 1)]
        frame.columns = columns if header == "no_header" else names
    return frame


def parquet(file: str, options: dict[str, Any], names: Any, left: int) -> Any:
    """Read a Parquet file, unless its footer says that it has more than ``left`` rows."""
    try:
        from pyarrow.parquet import read_metadata
    except ImportError:  # pandas then has another library for it
        return pd.read_parquet(file)
    metadata = read_metadata(file)
    rows = max(metadata.num_rows, sum(metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)))
    if rows > left:
        raise ValueError(f"it has {rows:,} rows, and only {left:,} more may be read: set {MAX_ROWS} to more")
    if metadata.num_columns > MOST_COLUMNS:
        raise ValueError(f"it has {metadata.num_columns:,} columns, and at most {MOST_COLUMNS:,} are read")
    return pd.read_parquet(file)


def json_lines(file: str, options: dict[str, Any], names: Any, left: int) -> Any:
    """Read one JSON object from each line, at most ``left`` + 1 of them."""
    encoding = options.get("encoding", "utf8")
    found: list[Any] = []
    with open(file, encoding=ENCODINGS.get(encoding, encoding)) as lines:
        for line in filter(str.strip, lines):
            try:
                found.append(json.loads(line))
            except ValueError:
                if options.get("invalid_lines", "error") != "drop":
                    raise
            if len(found) > left:
                break
    return pd.DataFrame(found)
