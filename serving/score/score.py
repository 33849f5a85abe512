"""Scoring script of an online deployment: rows in, the label and the probability of each out.

Azure ML's inference server calls :func:`init` once and :func:`run` for each request; so does ``tandem serve``. It takes

- ``{"input_data": {"columns": [...], "data": [[...], ...]}}``, with or without ``"index"``, which is ignored;
- ``{"input_data": [{"Age": 41, ...}, ...]}``, a mapping for each row;
- ``{"dataframe_split": {"columns": [...], "data": [...]}}``, as MLflow's own server does;

and answers, for each row in its order::

    {"predictions": [{"label": 1, "probability": 0.71}], "model": "diabetes-predict", "version": 4}

``probability`` is that of label 1, from 0 to 1, and null for a model that gives none, or whose labels are not two of
which one is 1. Further columns are ignored. A request with a row that cannot be scored is answered with status 400 and
the first such row, which counts from 0::

    {"error": {"row": 2, "column": "Age", "reason": "is no number"}}

``row`` and ``column`` are null where the reason is in no single one. No value of a row is in an answer or a log.

Where the deployment's ``data_collector`` enables them, the collection ``model_inputs`` gets the columns of the model's
signature, and no other that the client sent; ``model_outputs`` gets the answers. A request with ``"collect": false``
beside its rows, such as a test of the endpoint, is not collected.
The model is any MLflow model with a signature that names its columns; each column is cast as the signature says.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROBABILITIES = "probabilities"  # the parameter by which a model of this project gives probabilities
_WHOLE = {"integer": (-(1 << 31), (1 << 31) - 1), "long": (-(1 << 63), (1 << 63) - 1)}
_FLOATS = {"float": np.float32, "double": np.float64}
_MISSING = object()  # what a row has for a column that only other rows have
_ROW_ERROR = re.compile(r"column (?P<column>.+), row (?P<row>\d+): (?P<reason>.+)")

try:
    from azureml_inference_server_http.api.aml_response import AMLResponse  # pyright: ignore
except ImportError:  # elsewhere than on Azure ML: whoever calls run() asks for the status and the body by these names

    class AMLResponse:
        """An answer with a status, as Azure ML's inference server takes it."""

        def __init__(self, message: object, status_code: int, json_str: bool = False) -> None:
            self.status_code = status_code
            self._body = json.dumps(message) if json_str else str(message)

        def get_data(self) -> bytes:
            """Give the body."""
            return self._body.encode()


class BadRequest(Exception):
    """The request cannot be scored; its row counts from 0. No part of it quotes a value."""

    def __init__(self, reason: str, row: int | None = None, column: str | None = None) -> None:
        super().__init__(reason)
        self.said = {"row": row, "column": column, "reason": reason}


@dataclass(frozen=True)
class Column:
    """A column of the signature: its name, its type in MLflow's words, and whether a request must have it."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class Scorer:
    """A loaded model: its columns, what scores a frame, which version it is, and what keeps rows with their answers."""

    columns: tuple[Column, ...]
    score: Callable[[pd.DataFrame], tuple[Any, Any]]
    model: str | None
    version: int | None
    collect: Callable[[pd.DataFrame, list[dict[str, Any]]], object]


_scorer: Scorer | None = None


def init() -> None:
    """Load the model that ``AZUREML_MODEL_DIR`` has.

    Raises:
        RuntimeError: There is none, or its signature does not name its columns.
    """
    global _scorer
    _scorer = load(Path(os.environ["AZUREML_MODEL_DIR"]))
    print(f"Ready: {_scorer.model or 'the model'}, version {_scorer.version}", flush=True)


def run(body: str | bytes) -> Any:
    """Answer a request: what becomes JSON, or an ``AMLResponse`` with status 400."""
    assert _scorer is not None
    try:
        return answer(_scorer, body)
    except BadRequest as error:
        return AMLResponse({"error": error.said}, 400, json_str=True)


def load(folder: Path) -> Scorer:
    """Load the MLflow model in a folder, or in the one folder below it that has one.

    Raises:
        RuntimeError: See :func:`init`.
    """
    found = [file.parent for file in (folder / "MLmodel", *sorted(folder.glob("*/MLmodel"))) if file.is_file()]
    if not found:
        raise RuntimeError(f"There is no MLflow model in AZUREML_MODEL_DIR, {folder}.")
    import mlflow.pyfunc  # imported here, where a model is loaded, because it takes seconds

    model: Any = mlflow.pyfunc.load_model(str(found[0].resolve()))  # MLflow takes no link
    signature = model.metadata.signature
    if signature is None or signature.inputs is None or not signature.inputs.has_input_names():
        raise RuntimeError("The model has no signature that names its columns. Save it again with one.")
    columns = tuple(Column(each.name, _type_of(each.type), each.required) for each in signature.inputs.inputs)
    # The frame is cast here, so that the checks which MLflow makes of it once more can be left out.
    inner = getattr(model, "_model_impl", model)
    name, version = _version_of(folder)
    return Scorer(columns, _scoring(model, inner, signature), name, version, _collecting())


def answer(scorer: Scorer, body: str | bytes) -> dict[str, Any]:
    """Score the rows of a request.

    Raises:
        BadRequest: A row cannot be scored.
    """
    request = parsed(body)
    frame = frame_of(scorer.columns, table(request))
    if len(frame):
        labels, probabilities = scored(scorer, frame)
    else:
        labels, probabilities = [], []
    rows = [{"label": label, "probability": share} for label, share in zip(labels, probabilities, strict=True)]
    if rows and request.get("collect", True):
        scorer.collect(frame, rows)
    return {"predictions": rows, "model": scorer.model, "version": scorer.version}


def parsed(body: str | bytes) -> dict[str, Any]:
    """Read the JSON of a request; what is no mapping is an empty one.

    Raises:
        BadRequest: It is not JSON.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the request is not JSON") from None
    return request if isinstance(request, dict) else {}


def table(request: Mapping[str, Any]) -> tuple[list[str], int, Callable[[str], list[Any]]]:
    """Find the rows of a request.

    Returns:
        The names of its columns, the number of its rows, and what gives the cells of a column.

    Raises:
        BadRequest: It is not one of the forms.
    """
    given: Any = request.get("input_data", request.get("dataframe_split"))
    if isinstance(given, list):
        return _records(given)
    if isinstance(given, dict) and isinstance(given.get("columns"), list) and isinstance(given.get("data"), list):
        return _split(given["columns"], given["data"])
    raise BadRequest("there is no input_data with columns and data, or with a mapping for each row")


def frame_of(columns: Sequence[Column], given: tuple[list[str], int, Callable[[str], list[Any]]]) -> pd.DataFrame:
    """The rows as the signature has them.

    Raises:
        BadRequest: A column is missing, or a cell cannot be cast.
    """
    names, rows, cells = given
    there = set(names)
    typed: dict[str, Any] = {}
    for column in columns:
        if column.name in there:
            typed[column.name] = cast(column, cells(column.name))
        elif column.required:
            raise BadRequest("is missing", None, column.name)
    return pd.DataFrame(typed, index=range(rows))


def _records(records: list[Any]) -> tuple[list[str], int, Callable[[str], list[Any]]]:
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise BadRequest("is no mapping of columns to values", number)
    names = list(dict.fromkeys(name for record in records for name in record))

    return names, len(records), lambda name: [record.get(name, _MISSING) for record in records]


def _split(columns: list[Any], data: list[Any]) -> tuple[list[str], int, Callable[[str], list[Any]]]:
    if not all(isinstance(name, str) for name in columns) or len(set(columns)) != len(columns):
        raise BadRequest("the names of the columns are not texts that are all different")
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            has = f"{len(row)} cells" if isinstance(row, list) else "no cells"
            raise BadRequest(f"has {has}, and there are {len(columns)} columns", number)
    places = {name: place for place, name in enumerate(columns)}
    return columns, len(data), lambda name: [row[places[name]] for row in data]


def cast(column: Column, cells: list[Any]) -> Any:
    """The cells of a column by its type: what pandas makes a column of.

    Raises:
        BadRequest: A cell is not of the type.
    """
    cast_cell = _CASTS.get(column.type, _any)
    made: list[Any] = []
    for number, cell in enumerate(cells):
        if cell is _MISSING:
            if column.required:
                raise BadRequest("is missing", number, column.name)
            cell = None
        if isinstance(cell, list | dict) and column.type not in ("array", "object", "map"):
            raise BadRequest("is no single value", number, column.name)
        if cell is None and column.type not in ("integer", "long", "boolean"):
            made.append(None)
            continue
        try:
            made.append(cast_cell(cell, column.type))
        except (ValueError, OverflowError) as error:
            reason = str(error) if type(error) is _Reason else "is out of range"
            raise BadRequest(reason, number, column.name) from None
    if column.type in _FLOATS:
        return np.asarray([math.nan if cell is None else cell for cell in made], dtype=_FLOATS[column.type])
    if column.type in _WHOLE:
        return np.asarray(made, dtype=np.int32 if column.type == "integer" else np.int64)
    return made


class _Shape(RuntimeError):
    """The model does not give one value for each row, whatever the rows are."""


class _Reason(ValueError):
    """Why a cell cannot be cast, without the cell."""


def _number(cell: Any, type_: str) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise _Reason("is no number")
    number = float(cell)
    if math.isinf(number):
        raise _Reason("is infinite")
    return number


def _whole(cell: Any, type_: str) -> int:
    if isinstance(cell, bool) or not isinstance(cell, int | float) or not float(cell).is_integer():
        raise _Reason("is no whole number")
    low, high = _WHOLE[type_]
    if not low <= int(cell) <= high:
        raise _Reason("is out of range")
    return int(cell)


def _flag(cell: Any, type_: str) -> bool:
    if not isinstance(cell, bool):
        raise _Reason("is neither true nor false")
    return cell


def _text(cell: Any, type_: str) -> str:
    if not isinstance(cell, str):
        raise _Reason("is no text")
    return cell


def _time(cell: Any, type_: str) -> Any:
    try:
        return pd.Timestamp(cell)
    except (ValueError, TypeError):
        raise _Reason("is no date") from None


def _any(cell: Any, type_: str) -> Any:
    if isinstance(cell, int):
        float(cell)  # of a whole number that no column of numbers can have, pandas would make no frame
    return cell


_CASTS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(_FLOATS, _number),
    **dict.fromkeys(_WHOLE, _whole),
    "boolean": _flag,
    "string": _text,
    "datetime": _time,
}


def scored(scorer: Scorer, frame: pd.DataFrame) -> tuple[list[Any], list[float | None]]:
    """The labels and the probabilities of a frame's rows, each of shape (n_rows,); the frame is cast already.

    Raises:
        BadRequest: The model refuses a row.
    """
    try:
        labels, probabilities = scorer.score(frame)
        labels = np.asarray(labels)
        if labels.size != len(frame):
            raise _Shape(f"The model gives {labels.size} values for {len(frame)} rows, and one for each is wanted.")
        listed = labels.reshape(len(frame)).tolist()
        return listed, [None] * len(frame) if probabilities is None else np.asarray(probabilities, float).tolist()
    except _Shape:
        raise
    except Exception as error:
        raise _refused(scorer, frame, error) from None


def _refused(scorer: Scorer, frame: pd.DataFrame, error: Exception) -> Exception:
    """What is to be raised for a frame that the model refuses: the first row that it refuses alone.

    An error of a model may quote values, so its text is not used, but for ``RowError`` of this project's models, which
    promises not to. If no row is refused alone, the fault is not in a row, and the error itself goes to the log.
    """
    if type(error).__name__ == "RowError" and (found := _ROW_ERROR.fullmatch(str(error))):
        return BadRequest(found["reason"], int(found["row"]) - 1, found["column"])
    good, bad = 0, len(frame)  # so many of the first rows are scored together, and so many are not
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if _fails(scorer, frame.iloc[:middle]) else (middle, bad)
    if own := _fails(scorer, frame.iloc[good:bad]):
        return BadRequest(f"the model refuses it ({own})", good)
    return RuntimeError(f"The model failed ({type(error).__name__}), though it scores each row alone.")


def _fails(scorer: Scorer, frame: pd.DataFrame) -> str:
    """The kind of the error by which a model refuses rows; empty if it does not."""
    try:
        scorer.score(frame)
    except Exception as error:
        return type(error).__name__
    return ""


def _scoring(model: Any, inner: Any, signature: Any) -> Callable[[pd.DataFrame], tuple[Any, Any]]:
    """What gives the labels of a frame, and the probabilities of label 1 or None."""
    if any(parameter.name == PROBABILITIES for parameter in signature.params or ()):
        return _by_parameter(inner)
    raw: Any
    try:
        raw = model.get_raw_model()
    except NotImplementedError:
        raw = None
    classes: list[Any] = list(getattr(raw, "classes_", ()))
    if hasattr(raw, "predict_proba") and len(classes) == 2 and 1 in classes:
        of_one = classes.index(1)  # not always the last: of classes 1 and 2, say
        return lambda frame: (inner.predict(frame), raw.predict_proba(frame)[:, of_one])
    return lambda frame: (inner.predict(frame), None)


def _by_parameter(inner: Any) -> Callable[[pd.DataFrame], tuple[Any, Any]]:
    """As a model of this project scores. One that says its threshold is asked once, which takes half the time."""
    asked, threshold = {PROBABILITIES: True}, getattr(inner, "threshold", None)
    if not isinstance(threshold, float):
        return lambda frame: (inner.predict(frame), inner.predict(frame, params=asked))

    def once(frame: pd.DataFrame) -> tuple[Any, Any]:
        probabilities = np.asarray(inner.predict(frame, params=asked))
        return (probabilities >= threshold).astype(np.int64), probabilities

    return once


def _collecting() -> Callable[[pd.DataFrame, list[dict[str, Any]]], object]:
    """What keeps the rows of a request and their answers, as the deployment's ``data_collector`` says.

    Azure ML says by these variables that there is one. What cannot be kept is told once in the log, and answered.
    """
    if not os.environ.get("AZUREML_MDC_CONFIG_PATH") and os.environ.get("AZUREML_MDC_ENABLED", "").lower() != "true":
        return lambda frame, rows: None
    from azureml.ai.monitoring import Collector

    told: set[str] = set()

    def tell(error: Exception) -> None:
        if str(error) not in told:
            told.add(str(error))
            print(f"Not collected: {error}", flush=True)

    inputs: Any = Collector(name="model_inputs", on_error=tell)
    outputs: Any = Collector(name="model_outputs", on_error=tell)
    return lambda frame, rows: outputs.collect(pd.DataFrame(rows), inputs.collect(frame))


def _type_of(kind: Any) -> str:
    """The type of a column in MLflow's words: ``double``, ``any``; ``array`` and the like for what is nested."""
    return str(getattr(kind, "name", type(kind).__name__)).lower().removesuffix("type")


def _version_of(folder: Path) -> tuple[str | None, int | None]:
    """The model's name and version: as the deployment says them, else as Azure ML names the folder."""
    name, version = os.environ.get("TANDEM_MODEL"), os.environ.get("TANDEM_MODEL_VERSION", "")
    if name is None and "azureml-models" in folder.parts[:-2]:
        name, version = folder.parts[-2:]
    return name, int(version) if version.isdecimal() else None
