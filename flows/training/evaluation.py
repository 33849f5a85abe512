"""What the evaluate step measured: ``metrics.json``, read into frozen values and checked. Pure, apart from one read.

Challenger and champion are measured on the same rows in the same step, so that their metrics may be compared.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeGuard, cast

from flows.errors import RunError

FILE_NAME = "metrics.json"
SCHEMA_VERSION = 1
_ROUNDING = 1e-9  # a mean of many ones may come out as 1.0000000000000002


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number means: how a table calls it, which direction is better, and its largest possible value.

    Every metric is at least 0.
    """

    label: str
    greater_is_better: bool
    highest: float = 1.0


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "roc_auc": Metric("ROC AUC", True),
        "average_precision": Metric("Average precision", True),
        "accuracy": Metric("Accuracy", True),
        "precision": Metric("Precision", True),
        "recall": Metric("Recall", True),
        "f1": Metric("F1", True),
        "brier_score_loss": Metric("Brier score", False),
        "log_loss": Metric("Log loss", False, math.inf),
    }
)
"""The metrics of a binary classifier, in the order of a table.

All are as scikit-learn defines them (https://scikit-learn.org/stable/modules/model_evaluation.html). ``accuracy``,
``precision``, ``recall`` and ``f1`` depend on the threshold; the others on the predicted probabilities alone.
``log_loss`` is in nats.
"""


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Rows counted by truth and prediction at the threshold: true and false negatives and positives."""

    tn: int
    fp: int
    fn: int
    tp: int


@dataclass(frozen=True, slots=True)
class ModelScores:
    """One model's metrics on one set of rows.

    ``values`` has every name of :data:`METRICS`; None means undefined, as ROC AUC is with one class only.
    ``slices`` is the same again for parts of the rows, by column and then by group: ``slices["Age"]["21-30"]``.
    """

    values: Mapping[str, float | None]
    confusion_matrix: ConfusionMatrix
    rows: int
    positives: int
    slices: Mapping[str, Mapping[str, "ModelScores"]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The challenger's scores, and the champion's on the same rows (None where there is no champion yet).

    ``threshold``: the probability, from 0 to 1, from which a row is predicted positive. ``warnings``: why the scores
    say little, such as too few test rows.
    """

    threshold: float
    challenger: ModelScores
    champion: ModelScores | None
    warnings: tuple[str, ...] = ()


class ComparisonRow(NamedTuple):
    """One line of a table. ``difference`` is challenger minus champion, whichever direction is better."""

    metric: str
    challenger: float | None
    champion: float | None
    difference: float | None


def read_evaluation(folder: Path) -> EvaluationReport:
    """Read what the evaluate step wrote.

    Args:
        folder: The step's output folder, which holds ``metrics.json``.

    Raises:
        RunError: The file is missing, is not what the step should write, has another schema version, or measures
            challenger and champion on different rows.
    """
    path = folder / FILE_NAME
    try:
        return parse_evaluation(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = f"The evaluate step left no {FILE_NAME} in {folder}."
    except (OSError, UnicodeDecodeError) as error:
        what = f"{path} cannot be read: {error}."
    except ValueError as error:  # also json.JSONDecodeError, which says the line
        what = f"{path} is not an evaluation: {error}."
    raise RunError(f"{what}\nNothing was compared or registered. Look at the evaluate step's log, and run it again.")


def parse_evaluation(text: str) -> EvaluationReport:
    """Parse and check the text of ``metrics.json``.

    Raises:
        ValueError: It is not JSON, or not an evaluation; the text names the key.
    """
    document = _object(json.loads(text), "the document")
    if (version := document.get("schema_version")) != SCHEMA_VERSION:
        raise ValueError(f"its schema_version is {version!r}, and this version of Tandem reads {SCHEMA_VERSION}")
    threshold = _number(document, "threshold", "threshold", highest=1.0)
    if threshold is None:
        raise ValueError("threshold is null")
    challenger = _scores(document.get("challenger"), "challenger")
    if "champion" not in document:
        raise ValueError("champion is missing (null says that there is none)")
    champion = None if document["champion"] is None else _scores(document["champion"], "champion")
    if champion and (champion.rows, champion.positives) != (challenger.rows, challenger.positives):
        raise ValueError(
            "challenger and champion were not measured on the same rows: "
            f"{challenger.rows} rows with {challenger.positives} positives against "
            f"{champion.rows} rows with {champion.positives} positives"
        )
    return EvaluationReport(threshold, challenger, champion, _warnings(document.get("warnings", [])))


def comparison(report: EvaluationReport) -> Iterator[ComparisonRow]:
    """Yield one row a metric, in the order of :data:`METRICS`, as a table shows it."""
    for metric in METRICS:
        challenger = report.challenger.values[metric]
        champion = report.champion.values[metric] if report.champion else None
        difference = None if challenger is None or champion is None else challenger - champion
        yield ComparisonRow(metric, challenger, champion, difference)


def _scores(value: object, where: str) -> ModelScores:
    scores = _object(value, where)
    rows = _count(scores, "rows", where)
    positives = _count(scores, "positives", where)
    matrix = _confusion_matrix(scores.get("confusion_matrix"), f"{where}.confusion_matrix")
    if (matrix.tn + matrix.fp + matrix.fn + matrix.tp, matrix.tp + matrix.fn) != (rows, positives):
        raise ValueError(f"{where}.confusion_matrix does not add up to {rows} rows with {positives} positives")
    slices = {
        column: MappingProxyType(
            {
                group: _scores(part, f"{where}.slices.{column}.{group}")
                for group, part in _object(groups, f"{where}.slices.{column}").items()
            }
        )
        for column, groups in _object(scores.get("slices", {}), f"{where}.slices").items()
    }
    return ModelScores(
        values=MappingProxyType(
            {name: _number(scores, name, f"{where}.{name}", metric.highest) for name, metric in METRICS.items()}
        ),
        confusion_matrix=matrix,
        rows=rows,
        positives=positives,
        slices=MappingProxyType(slices),
    )


def _warnings(value: object) -> tuple[str, ...]:
    texts = cast("list[object]", value) if isinstance(value, list) else [value]
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise ValueError(f"warnings holds {_kind(wrong[0])}, not text")
    return tuple(map(str, texts))


def _confusion_matrix(value: object, where: str) -> ConfusionMatrix:
    matrix = _object(value, where)
    return ConfusionMatrix(*(_count(matrix, cell, where) for cell in ("tn", "fp", "fn", "tp")))


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {_kind(value)}, not an object")
    return cast("dict[str, object]", value)


def _number(values: Mapping[str, object], key: str, where: str, highest: float) -> float | None:
    """A number from 0 to ``highest``; None for null, and for the NaN that Python writes where JSON has none."""
    if key not in values:
        raise ValueError(f"{where} is missing")
    value = values[key]
    if value is None or value != value:
        return None
    if not _is_number(value):
        raise ValueError(f"{where} is {_kind(value)}, not a number")
    if not -_ROUNDING <= value <= highest + _ROUNDING:
        raise ValueError(f"{where} is {value}, outside 0 to {highest:g}")
    return min(max(float(value), 0.0), highest)


def _count(values: Mapping[str, object], key: str, where: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{where}.{key} is {_kind(value)}, not a count of rows")
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    return "missing or null" if value is None else f"{value!r:.40}"
