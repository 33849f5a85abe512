"""Scoring script of a batch deployment: files of rows in, the label and the probability of each row out.

Azure ML calls :func:`init` once in each process and :func:`run` for each mini-batch of files; so does ``tandem score``.
A file is CSV in UTF-8, with commas and a header, or Parquet, told apart by content. Further columns are ignored. For
each row there is one row of the result, in the order of the files and rows:

===================  ===================================================================================
column               meaning
===================  ===================================================================================
file                 the name of the file
row                  the row in it, from 0
label, probability   as in ``score.py``; the probability is empty for a model that gives none
model, version       which model has scored it; empty where the deployment does not say
column, reason       empty, but see below
===================  ===================================================================================

Of a file with a row that cannot be scored there is only that row, the first such, with the column and the reason, and
neither label nor probability. No value of a row is in the result or a log. The rows are scored as ``score.py`` scores
those of a request. What is different is the text of a CSV file: text that is a number counts as one where the signature
of the model wants a number, or any value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as pa_csv
from pyarrow import parquet as pa_parquet

import score
from score import BadRequest, Column, Scorer

BATCH_ROWS = 131_072  # scored at once
BLOCK_BYTES = 8 << 20  # of a CSV file, read at once; no row may be longer
RESULT = ("file", "row", "label", "probability", "model", "version", "column", "reason")
_FLOATS = {"double": pa.float64(), "float": pa.float32()}
_WHOLE = {"integer": pa.int32(), "long": pa.int64()}
_FLAGS = {"true": True, "false": False}

_scorer: Scorer | None = None


def init() -> None:
    """Load the model that ``AZUREML_MODEL_DIR`` has.

    Raises:
        RuntimeError: There is none, or its signature does not name its columns.
    """
    global _scorer
    _scorer = score.load(Path(os.environ["AZUREML_MODEL_DIR"]))


def run(mini_batch: list[str]) -> pd.DataFrame:
    """Score files.

    Args:
        mini_batch: Their paths.

    Returns:
        The result, of shape (n_rows, 8).

    Raises:
        OSError: A file cannot be read.
    """
    assert _scorer is not None
    found = [score_file(_scorer, Path(file)) for file in mini_batch]
    if len({tuple(each.dtypes) for each in found}) > 1:  # else whole numbers beside an empty cell become floats
        found = [each.astype(object) for each in found]
    return pd.concat(found, ignore_index=True)


def score_file(scorer: Scorer, file: Path) -> pd.DataFrame:
    """Score the rows of a file; see the head of the module."""
    same = {"file": file.name, "model": scorer.model, "version": scorer.version}
    labels: list[Any] = []
    probabilities: list[float | None] = []
    try:
        for table in _tables(file, scorer.columns):
            scored = score.scored(scorer, _frame(scorer.columns, table)) if table.num_rows else ([], [])
            labels += scored[0]
            probabilities += scored[1]
    except BadRequest as error:
        row: Any = error.said["row"]
        bad: dict[str, Any] = {
            **error.said,
            "row": None if row is None else len(labels) + row,
            "label": None,
            "probability": None,
        }
        return pd.DataFrame([{**bad, **same}], columns=list(RESULT), dtype=object)
    rows = {"row": np.arange(len(labels)), "label": labels, "probability": probabilities}
    nothing = np.full(len(labels), None)  # pandas would make NaN of None alone
    return pd.DataFrame({**rows, **same, "column": nothing, "reason": nothing}, columns=list(RESULT))


def _tables(file: Path, columns: tuple[Column, ...]) -> Iterator[Any]:
    """The columns of a signature that a file has, some rows at a time; all cells of a CSV file as text.

    Raises:
        BadRequest: It is neither CSV nor Parquet. Arrow's own message would quote a row.
    """
    try:
        yield from _read_tables(file, columns)
    except pa.ArrowException:
        raise BadRequest("the file is neither CSV, in UTF-8 and with rows of one length, nor Parquet") from None


def _read_tables(file: Path, columns: tuple[Column, ...]) -> Iterator[Any]:
    with file.open("rb") as stream:
        is_parquet = stream.read(4) == b"PAR1"
    if is_parquet:
        with pa_parquet.ParquetFile(file) as parquet:
            names = _present(columns, parquet.schema_arrow.names)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=names):
                yield pa.Table.from_batches([batch])
        return
    with file.open("rb") as stream, pa_csv.open_csv(stream, pa_csv.ReadOptions(block_size=BLOCK_BYTES)) as reader:
        names = _present(columns, reader.schema.names)
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), include_columns=names, strings_can_be_null=True
    )
    options = pa_csv.ReadOptions(block_size=BLOCK_BYTES), pa_csv.ParseOptions(newlines_in_values=True), convert
    with file.open("rb") as stream, pa_csv.open_csv(stream, *options) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _present(columns: tuple[Column, ...], there: list[str]) -> list[str]:
    """The columns that are read.

    Raises:
        BadRequest: One is missing, or is there more than once.
    """
    for column in columns:
        if column.required and column.name not in there:
            raise BadRequest("is missing", None, column.name)
        if there.count(column.name) > 1:
            raise BadRequest("is there more than once", None, column.name)
    return [column.name for column in columns if column.name in there]


def _frame(columns: tuple[Column, ...], table: Any) -> pd.DataFrame:
    """The rows as the signature has them."""
    there = [column for column in columns if column.name in table.column_names]
    typed = {column.name: _typed(column, table.column(column.name)) for column in there}
    return pd.DataFrame(typed, index=range(table.num_rows))


def _typed(column: Column, cells: Any) -> Any:
    """The cells of a column by its type: all at once if all are of it, else one by one, up to the one that is not."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    try:
        if (typed := _at_once(column, cells)) is not None:
            return typed
    except pa.ArrowException:
        pass
    is_text = pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)
    listed = cells.to_pylist()
    return score.cast(column, [_read(column.type, cell) for cell in listed] if is_text else listed)


def _at_once(column: Column, cells: Any) -> Any:
    """The cells of a column as NumPy or pandas has them; None, or an error of Arrow, if one may be of another type."""
    kind, has = column.type, cells.type
    is_text = pa.types.is_string(has) or pa.types.is_large_string(has)
    is_number = pa.types.is_integer(has) or pa.types.is_floating(has)
    if kind in _FLOATS and (is_text or is_number):
        numbers = cells.cast(_FLOATS[kind], safe=is_text).to_numpy()
        return None if np.isinf(numbers).any() else numbers
    if kind in _WHOLE and (is_text or is_number) and not cells.null_count:
        return cells.cast(_WHOLE[kind]).to_numpy()
    if kind == "boolean" and pa.types.is_boolean(has) and not cells.null_count:
        return cells.to_numpy()
    if kind == "string" and is_text:
        return cells.to_pandas().to_numpy()
    if kind == "datetime" and pa.types.is_timestamp(has):
        return cells.to_pandas().to_numpy()
    if kind == "any":
        return _as_it_is(cells) if is_text else cells.to_pandas().to_numpy()
    return None


def _as_it_is(cells: Any) -> Any:
    """Text as whole numbers if all of it is, else as numbers if all of it is, else as text."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return cells.cast(kind).to_numpy()
        except pa.ArrowException:
            continue
    return cells.to_pandas().to_numpy()


def _read(kind: str, cell: str | None) -> Any:
    """The value that a text of a CSV file stands for; the text itself where it stands for none of the type."""
    if cell is None:
        return None
    text = cell.strip()
    if kind == "boolean":
        return _FLAGS.get(text.lower(), cell)
    if (kind in _FLOATS or kind in _WHOLE) and "_" not in text:
        for read in (int, float):
            try:
                return read(text)
            except ValueError:
                continue
    return cell
