"""Reader of ``metrics.json``, which the evaluate step writes: checked, and as frozen values.

Challenger and champion are measured on the same rows in the same step, so that their metrics may be compared.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from flows.errors import RunError
from flows.training.wrong_values import wrong_values

FILE_NAME = "metrics.json"
Count = Annotated[int, Field(ge=0)]
_SHOWN_DIGITS = 4  # decimals that tables show; a smaller difference counts as none
_ROUNDING = 1e-9  # how far outside of its range a value may be: a mean of ones may be 1.0000000000000002


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a binary classifier. The smallest possible value of each is 0.

    Attributes:
        label: What a table shows.
        greater_is_better: Which direction is better.
        floor: The worst value that the gate accepts by default. On the shipped rows, of which 35 % are positive, no
            guess that ignores the features reaches it, but for recall: whoever always says yes has a recall of 1.
        highest: Its largest possible value.
    """

    label: str
    greater_is_better: bool
    floor: float
    highest: float = 1.0


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "roc_auc": Metric("ROC AUC", True, 0.75),
        "average_precision": Metric("Average precision", True, 0.6),
        "accuracy": Metric("Accuracy", True, 0.7),
        "precision": Metric("Precision", True, 0.55),
        "recall": Metric("Recall", True, 0.52),
        "f1": Metric("F1", True, 0.55),
        "brier_score_loss": Metric("Brier score", False, 0.2),
        "log_loss": Metric("Log loss", False, 0.6, math.inf),
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

    tn: Count
    fp: Count
    fn: Count
    tp: Count


@dataclass(frozen=True, slots=True)
class ModelScores:
    """One model's metrics on one set of rows.

    ``values`` has every name of :data:`METRICS`; None means undefined, as ROC AUC is with one class only.
    ``slices`` has the scores on parts of the rows, by column and then by group: ``slices["Age"]["21-30"]``.
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
    are unreliable, such as too few test rows. ``trained_with``: the ``python``, ``platform`` and ``packages`` that the
    challenger was trained with, as its model says; empty where it does not.
    """

    threshold: float
    challenger: ModelScores
    champion: ModelScores | None
    warnings: tuple[str, ...] = ()
    trained_with: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


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
        return _Evaluation.model_validate_json(path.read_bytes()).report()
    except FileNotFoundError:
        what = f"The evaluate step left no {FILE_NAME} in {folder}."
    except OSError as error:
        what = f"{path} cannot be read: {error}."
    except ValidationError as error:
        said = [sentence for _, sentence in wrong_values(error)]
        # In a file of another version, everything else may differ too.
        said = said[:1] if said[0].startswith("schema_version:") else said
        what = f"{path} is not an evaluation: {'; '.join(said)}."
    raise RunError(f"{what}\nNothing was compared or registered. Look at the evaluate step's log, and run it again.")


def comparison(report: EvaluationReport) -> Iterator[ComparisonRow]:
    """Yield one row for each metric, in the order of :data:`METRICS`."""
    for metric in METRICS:
        challenger = report.challenger.values[metric]
        champion = report.champion.values[metric] if report.champion else None
        difference = None if challenger is None or champion is None else challenger - champion
        yield ComparisonRow(metric, challenger, champion, difference)


def worse_metrics(report: EvaluationReport) -> Iterator[ComparisonRow]:
    """Yield the rows of :func:`comparison` in which the challenger is worse, by 0.0001 or more after rounding."""
    for row in comparison(report):
        if row.challenger is None or row.champion is None:
            continue
        gain = round(row.challenger, _SHOWN_DIGITS) - round(row.champion, _SHOWN_DIGITS)
        if gain and (gain > 0) is not METRICS[row.metric].greater_is_better:
            yield row


def _number_up_to(highest: float) -> Any:
    """The type of a number from 0 to ``highest``. Null, and NaN as Python writes it into JSON, become None."""

    def check(value: float | None) -> float | None:
        if value is None or math.isnan(value):
            return None
        if not -_ROUNDING <= value <= highest + _ROUNDING:
            raise ValueError(f"{value} is outside 0 to {highest:g}")
        return min(max(value, 0.0), highest)

    return Annotated[float | None, AfterValidator(check)]


class _Part(BaseModel):
    """A part of ``metrics.json``. Text is never converted to a number; unknown keys are ignored."""

    model_config = ConfigDict(strict=True)


_fields: dict[str, Any] = {name: (_number_up_to(metric.highest), ...) for name, metric in METRICS.items()}
_Metrics: type[_Part] = create_model("_Metrics", __base__=_Part, **_fields)


class _Scores(_Metrics):
    rows: Count
    positives: Count
    confusion_matrix: ConfusionMatrix
    slices: dict[str, dict[str, "_Scores"]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        matrix = self.confusion_matrix
        if (matrix.tn + matrix.fp + matrix.fn + matrix.tp, matrix.tp + matrix.fn) != (self.rows, self.positives):
            raise ValueError(f"confusion_matrix does not add up to {self.rows} rows with {self.positives} positives")
        return self

    def scores(self) -> ModelScores:
        slices = {
            column: MappingProxyType({group: part.scores() for group, part in groups.items()})
            for column, groups in self.slices.items()
        }
        values = MappingProxyType({name: getattr(self, name) for name in METRICS})
        return ModelScores(values, self.confusion_matrix, self.rows, self.positives, MappingProxyType(slices))


class _TrainedWith(_Part):
    python: str
    platform: str
    packages: str


class _Evaluation(_Part):
    schema_version: Literal[1]
    threshold: Annotated[float, Field(ge=0, le=1)]
    challenger: _Scores
    champion: _Scores | None
    warnings: tuple[str, ...] = ()
    trained_with: _TrainedWith | None = None

    @model_validator(mode="after")
    def _measured_on_the_same_rows(self) -> Self:
        one, other = self.challenger, self.champion
        if other and (other.rows, other.positives) != (one.rows, one.positives):
            raise ValueError(
                f"challenger and champion were not measured on the same rows: {one.rows} rows with {one.positives} "
                f"positives against {other.rows} rows with {other.positives} positives"
            )
        return self

    def report(self) -> EvaluationReport:
        champion = None if self.champion is None else self.champion.scores()
        told = {} if self.trained_with is None else self.trained_with.model_dump()
        scores = self.challenger.scores()
        return EvaluationReport(self.threshold, scores, champion, self.warnings, MappingProxyType(told))
