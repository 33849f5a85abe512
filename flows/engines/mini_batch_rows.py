"""Read the rows of an mltable, as :mod:`flows.engines.mini_batch_driver` cuts them. Nothing else of Tandem is here."""

from __future__ import annotations

import json
import random
from typing import Any

import pandas as pd

ENCODINGS = {"iso88591": "latin-1", "utf8bom": "utf-8-sig", "windows1252": "cp1252"}
NUMBERED = "Column"  # how Azure ML calls the columns of a file that has no names for them


def rows(files: list[str], transformations: list[tuple[str, dict[str, Any]]]) -> tuple[Any, int]:
    """Read the files of an mltable as one frame, and do to it what else the mltable says.

    Returns:
        The frame, and how many rows the files have.
    """
    (reader, options), *further = transformations
    read = {"read_delimited": delimited, "read_parquet": parquet, "read_json_lines": json_lines}[reader]
    frames: list[Any] = []
    for file in files:
        frame = read(file, options, frames[0].columns if frames else None)
        if options.get("include_path_column"):
            frame.insert(0, "Path", file)
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    read_rows = len(frame)
    for name, argument in further:
        frame = transformed(frame, name, argument)
    return frame, read_rows


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


def delimited(file: str, options: dict[str, Any], names: Any) -> Any:
    """Read text with a delimiter; ``names`` are the columns of the first file."""
    header = options.get("header", "all_files_same_headers")
    is_first = names is None
    has_header = header != "no_header" and (is_first or header != "from_first_file")
    encoding = options.get("encoding", "utf8")
    types: Any = None if options.get("infer_column_types", True) else str
    frame: Any = pd.read_csv(
        file,
        sep=options.get("delimiter", ","),
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


def parquet(file: str, options: dict[str, Any], names: Any) -> Any:
    """Read a Parquet file."""
    return pd.read_parquet(file)


def json_lines(file: str, options: dict[str, Any], names: Any) -> Any:
    """Read a JSON object a line."""
    encoding = options.get("encoding", "utf8")
    found: list[Any] = []
    with open(file, encoding=ENCODINGS.get(encoding, encoding)) as lines:
        for line in filter(str.strip, lines):
            try:
                found.append(json.loads(line))
            except ValueError:
                if options.get("invalid_lines", "error") != "drop":
                    raise
    return pd.DataFrame(found)
