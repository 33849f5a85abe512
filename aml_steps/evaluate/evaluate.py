"""Score the challenger, and the champion where there is one, on the same test rows.

Writes into ``evaluation_output``: ``metrics.json``, ``report.html`` (which needs no other file) and its pictures.

``metrics.json`` holds, as ``metrics.schema.json`` says in full:

- ``schema_version``: 1.
- ``threshold``: the probability from which a patient counts as diabetic, 0 to 1; that of the challenger.
- ``challenger``: the figures below.
- ``champion``: the same figures, or null without a champion.
- ``warnings``: reasons why the figures say little, a sentence each; usually empty.

The figures of a model are ``accuracy``, ``roc_auc``, ``average_precision``, ``precision``, ``recall``, ``f1`` (0 to 1,
greater is better), ``brier_score_loss`` (0 to 1, less is better), ``log_loss`` (0 or greater, less is better),
``confusion_matrix`` (``tn``, ``fp``, ``fn``, ``tp``: rows), ``rows`` and ``positives``; ``threshold``, the
model's own, since each is judged as it is used; and ``slices``, the same figures for each age band that has rows:
``{"Age": {"21-30": {...}, ...}}``. A figure that the rows do not define is null: roc_auc if all rows have one label,
precision if none is predicted to be diabetic.
"""

from __future__ import annotations

import argparse
import html
import json
import sys
from pathlib import Path
from string import Template
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from sklearn import metrics
from skops.io.exceptions import UntrustedTypesFoundException

from diabetes_model import DiabetesModel, load_classifier
from diabetes_steps import LABEL, DataError, embedded, in_one_line, png, read_rows, too_few, use_identity_of_job

SLICED_BY = "Age"
AGE_BANDS = {"0-20": 20, "21-30": 30, "31-40": 40, "41-50": 50, "51-60": 60, "61+": np.inf}  # name: last age, in years
SCORES = {
    "accuracy": "Accuracy",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "brier_score_loss": "Brier score",
    "log_loss": "Log loss",
}
LESS_IS_BETTER = {"brier_score_loss", "log_loss"}
PICTURES = {
    "roc": "ROC curve",
    "precision_recall": "Precision and recall",
    "calibration": "Calibration",
    "confusion_matrix": "Confusion matrix",
    "score_distributions": "Score distributions",
}
COLOURS = {"challenger": "#2f6fde", "champion": "#c56a08"}
# The champion is drawn broad and pale, the challenger fine on top of it, so that both are seen where they agree.
STROKES: dict[str, dict[str, Any]] = {
    "challenger": {"linewidth": 1.6, "zorder": 3},
    "champion": {"linewidth": 3.6, "alpha": 0.55, "zorder": 2},
}
INK, FAINT = "#1f2430", "#c9ced8"
CURVE_POINTS = 2000  # of each drawn curve, at most


class ModelError(ValueError):
    """A model cannot be used: loading it is not safe, or it does not fit the test rows."""


# --- models ----------------------------------------------------------------------------------------------------------


def load_model(folder: Path) -> DiabetesModel:
    """Load a model from its folder, without unpickling anything or running code that came with it.

    It scores by this step's own copy of the code that :mod:`diabetes_model` saves with a model, so a model is judged as
    ``mlflow.pyfunc`` scores with it, whoever has registered it.

    Args:
        folder: The model's folder, with its ``MLmodel`` file.

    Raises:
        ModelError: It is no model of the sklearn flavour, is stored in another format than skops, holds a type that is
            not trusted, or gives no probabilities of the labels 0 and 1.
    """
    try:
        flavour = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["sklearn"]
        file, stored_as = folder / flavour["pickled_model"], flavour.get("serialization_format")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ModelError(f"{folder} is not an MLflow model of the sklearn flavour ({error})") from error
    if stored_as != "skops":
        raise ModelError(
            f"{folder} is stored as {stored_as}, and loading that can run any code: "
            "save it again with serialization_format='skops'"
        )
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{folder} points to a file outside of it: {flavour['pickled_model']}")
    try:
        classifier = load_classifier(file)
    except UntrustedTypesFoundException as error:
        raise ModelError(f"{folder} holds types that are not trusted: {error}") from error
    except Exception as error:  # a damaged archive raises any error of zipfile, json and skops
        raise ModelError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error
    try:
        return DiabetesModel(classifier)
    except ValueError as error:
        raise ModelError(f"{folder}: {error}") from error


def score(model: DiabetesModel, rows: pd.DataFrame) -> np.ndarray:
    """Compute the probability of diabetes for each row.

    Args:
        model: The model.
        rows: Test rows as they were measured, with at least the model's features.

    Returns:
        Probabilities of shape (n_rows,), 0 to 1.

    Raises:
        ModelError: The model needs columns that the rows lack, or gives a row no probability of label 1.
    """
    try:
        with np.errstate(all="ignore"):  # the probabilities are checked below
            probability = model.probabilities(rows)
    except (ValueError, ArithmeticError) as error:
        raise ModelError(f"cannot score the test rows: {in_one_line(error)}") from error
    if len(wrong := np.flatnonzero(~((probability >= 0) & (probability <= 1)))):
        raise ModelError(f"gives the test row {wrong[0] + 1} the probability {probability[wrong[0]]}")
    return probability


# --- figures ---------------------------------------------------------------------------------------------------------


def figures(label: np.ndarray, probability: np.ndarray, threshold: float) -> dict[str, Any]:
    """Compare probabilities with the true labels.

    Args:
        label: True labels of shape (n_rows,), 0 or 1; at least one row.
        probability: Probabilities of label 1, of shape (n_rows,).
        threshold: The probability from which a row counts as 1.

    Returns:
        The figures that the module's docstring lists, without slices; None for one that the labels do not define.
    """
    predicted = probability >= threshold
    tn, fp, fn, tp = metrics.confusion_matrix(label, predicted, labels=[0, 1]).ravel().tolist()
    both = 0 < label.sum() < len(label)
    return {
        "accuracy": (tn + tp) / len(label),
        "roc_auc": float(metrics.roc_auc_score(label, probability)) if both else None,
        "average_precision": float(metrics.average_precision_score(label, probability)) if both else None,
        "precision": tp / (tp + fp) if tp + fp else None,
        "recall": tp / (tp + fn) if tp + fn else None,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
        "brier_score_loss": float(np.mean((probability - label) ** 2)),
        "log_loss": float(metrics.log_loss(label, probability, labels=[0, 1])),
        "confusion_matrix": {"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        "rows": len(label),
        "positives": int(label.sum()),
    }


def figures_with_slices(rows: pd.DataFrame, probability: np.ndarray, threshold: float) -> dict[str, Any]:
    """Measure one model on all test rows and on each age band that has rows."""
    label = rows[LABEL].to_numpy()
    band_of = pd.cut(rows[SLICED_BY], [-np.inf, *AGE_BANDS.values()], labels=False).to_numpy()
    slices: dict[str, Any] = {}
    for position, band in enumerate([*AGE_BANDS, "missing"]):
        here = np.isnan(band_of) if band == "missing" else band_of == position
        if here.any():
            slices[band] = figures(label[here], probability[here], threshold)
    return {**figures(label, probability, threshold), "threshold": threshold, "slices": {SLICED_BY: slices}}


def evaluate(rows: pd.DataFrame, scores: dict[str, np.ndarray], thresholds: dict[str, float]) -> dict[str, Any]:
    """Build the content of ``metrics.json``.

    Args:
        rows: Test rows with label and age.
        scores: Probabilities of shape (n_rows,) of the ``challenger`` and, where there is one, the ``champion``.
        thresholds: For each of them the probability from which it takes a row as 1.
    """
    measured = {name: figures_with_slices(rows, scores[name], thresholds[name]) for name in scores}
    positives = measured["challenger"]["positives"]
    warning = too_few(measured["challenger"]["rows"] - positives, positives)
    return {
        "schema_version": 1,
        "threshold": thresholds["challenger"],
        "challenger": measured["challenger"],
        "champion": measured.get("champion"),
        "warnings": [warning] if warning else [],
    }


def tracked(evaluation: dict[str, Any]) -> dict[str, float]:
    """The metrics to log in MLflow: the challenger's scores by name, the champion's with ``champion_`` before it."""
    champion = evaluation["champion"] or {}
    both = {name: evaluation["challenger"][name] for name in SCORES}
    both |= {f"champion_{name}": champion[name] for name in SCORES if name in champion}
    return {name: value for name, value in both.items() if value is not None}


# --- pictures --------------------------------------------------------------------------------------------------------


def _axes(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    _tidy(axes)
    return axes


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK)
    axes.grid(color=FAINT, alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)


def thin(*curve: np.ndarray) -> list[np.ndarray]:
    """Keep at most ``CURVE_POINTS`` points of a curve: millions would take seconds to draw and look the same."""
    keep = np.unique(np.linspace(0, len(curve[0]) - 1, CURVE_POINTS).astype(int))
    return [values[keep] for values in curve]


def _figure(width: float = 5.2, height: float = 4.6) -> Figure:
    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def draw_roc(label: np.ndarray, scores: dict[str, np.ndarray]) -> Figure:
    """Draw the ROC curves."""
    figure = _figure()
    axes = _axes(figure, "False positive rate", "True positive rate")
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1, label="chance, area 0.500")
    for name, probability in scores.items():
        false, true, _ = metrics.roc_curve(label, probability)
        area = metrics.auc(false, true)
        axes.plot(*thin(false, true), color=COLOURS[name], label=f"{name}, area {area:.3f}", **STROKES[name])
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.legend(loc="lower right", frameon=False)
    return figure


def draw_precision_recall(label: np.ndarray, scores: dict[str, np.ndarray]) -> Figure:
    """Draw precision against recall; the dashed line is the share of positives, the precision of guesses."""
    figure = _figure()
    axes = _axes(figure, "Recall", "Precision")
    axes.axhline(label.mean(), color=FAINT, linestyle="--", linewidth=1, label=f"chance, {label.mean():.3f}")
    for name, probability in scores.items():
        precision, recall, _ = metrics.precision_recall_curve(label, probability)
        area = metrics.average_precision_score(label, probability)
        axes.plot(
            *thin(recall, precision),
            color=COLOURS[name],
            drawstyle="steps-post",
            label=f"{name}, average {area:.3f}",
            **STROKES[name],
        )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axes.legend(loc="lower left", frameon=False)
    return figure


def draw_calibration(label: np.ndarray, scores: dict[str, np.ndarray]) -> Figure:
    """Draw observed shares against predicted probabilities, in ten bins of equally many rows."""
    figure = _figure()
    axes = _axes(figure, "Mean predicted probability", "Share that is diabetic")
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1, label="perfect")
    for name, probability in scores.items():
        drawn = pd.DataFrame({"x": probability, "y": label})
        means = drawn.groupby(pd.qcut(drawn["x"], 10, duplicates="drop"), observed=True).mean()
        axes.plot(means["x"], means["y"], color=COLOURS[name], marker="o", markersize=5, label=name, **STROKES[name])
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.legend(loc="upper left", frameon=False)
    return figure


def draw_confusion_matrix(evaluation: dict[str, Any]) -> Figure:
    """Draw the confusion matrix at the threshold, one for each model."""
    names = [name for name in COLOURS if evaluation[name]]
    figure = _figure(4.2 * len(names) + 0.4, 4)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        counts = evaluation[name]["confusion_matrix"]
        matrix = np.array([[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]])
        shares = matrix / matrix.sum(axis=1, keepdims=True).clip(1)
        # Right predictions in the model's colour, wrong ones in grey; the larger the share of the row, the darker.
        for (row, column), count in np.ndenumerate(matrix):
            colour = COLOURS[name] if row == column else "#8a92a3"
            axes.add_patch(_cell(column, row, colour, 0.08 + 0.82 * shares[row, column]))
            ink = "white" if shares[row, column] > 0.75 else INK
            axes.text(column, row - 0.06, f"{count:,}", ha="center", va="center", size=18, color=ink)
            axes.text(column, row + 0.2, f"{shares[row, column]:.0%}", ha="center", va="center", size=10, color=ink)
        axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), aspect="equal", xlabel="Predicted", title=name)
        axes.set_xticks([0, 1], ["not diabetic", "diabetic"])
        axes.set_yticks([0, 1], ["not diabetic", "diabetic"], rotation=90, va="center")
        axes.set_ylabel("Actual")
        axes.tick_params(length=0, labelcolor=INK)
        axes.spines[:].set_visible(False)
    return figure


def _cell(column: int, row: int, colour: str, alpha: float) -> Any:
    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=colour, alpha=alpha, linewidth=0)


def draw_score_distributions(label: np.ndarray, scores: dict[str, np.ndarray], evaluation: dict[str, Any]) -> Figure:
    """Draw how the probabilities of the two classes are distributed, one panel for each model."""
    figure = _figure(6.4, 2.3 * len(scores) + 0.9)
    edges = np.linspace(0, 1, 31)
    panels = np.atleast_1d(figure.subplots(len(scores), 1, sharex=True))
    for axes, (name, probability) in zip(panels, scores.items(), strict=True):
        _tidy(axes)
        for value, colour, text in ((0, "#8a92a3", "not diabetic"), (1, COLOURS[name], "diabetic")):
            counts = np.histogram(probability[label == value], edges)[0]
            axes.stairs(counts / counts.sum().clip(1), edges, color=colour, fill=True, alpha=0.35)
            axes.stairs(counts / counts.sum().clip(1), edges, color=colour, linewidth=1.6, label=text)
        axes.axvline(evaluation[name]["threshold"], color=INK, linestyle="--", linewidth=1)
        axes.set(xlim=(0, 1), ylabel="Share of the class", title=name)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="upper right", frameon=False)
    panels[-1].set_xlabel("Predicted probability (dashed: threshold)")
    return figure


def draw(rows: pd.DataFrame, scores: dict[str, np.ndarray], evaluation: dict[str, Any]) -> dict[str, bytes]:
    """Draw all pictures.

    Returns:
        PNG files by name, in the order of ``PICTURES``.
    """
    label = rows[LABEL].to_numpy()
    drawn = {
        "confusion_matrix": draw_confusion_matrix(evaluation),
        "score_distributions": draw_score_distributions(label, scores, evaluation),
    }
    if 0 < label.sum() < len(label):
        drawn["roc"] = draw_roc(label, scores)
        drawn["precision_recall"] = draw_precision_recall(label, scores)
        drawn["calibration"] = draw_calibration(label, scores)
    return {name: png(drawn[name]) for name in PICTURES if name in drawn}


# --- the report ------------------------------------------------------------------------------------------------------


def report(evaluation: dict[str, Any], pictures: dict[str, bytes]) -> str:
    """Write the evaluation as one HTML page, its pictures inside."""
    template = Template((Path(__file__).parent / "report_template.html").read_text(encoding="utf-8"))
    challenger = evaluation["challenger"]
    return template.substitute(
        lead=html.escape(
            f"{challenger['rows']:,} test rows, {challenger['positives']:,} of them diabetic; "
            f"a patient counts as diabetic from a probability of {evaluation['threshold']:g}. "
            + ("" if evaluation["champion"] else "There is no champion to compare with.")
        ),
        warnings="".join(f'<p class="warning">Warning: {html.escape(text)}.</p>' for text in evaluation["warnings"]),
        scores=_scores_table(challenger, evaluation["champion"]),
        slices=_slices_table(challenger, evaluation["champion"]),
        pictures=embedded(pictures, PICTURES),
    )


def _scores_table(challenger: dict[str, Any], champion: dict[str, Any] | None) -> str:
    head = ["", "challenger", *(["champion", "difference"] if champion else [])]
    body: list[list[str]] = []
    for name, title in SCORES.items():
        hint = " <small>less is better</small>" if name in LESS_IS_BETTER else ""
        row = [f"{title}{hint}", _number(challenger[name])]
        if champion:
            row += [_number(champion[name]), _difference(name, challenger[name], champion[name])]
        body.append(row)
    return _table(head, body)


def _slices_table(challenger: dict[str, Any], champion: dict[str, Any] | None) -> str:
    shown = ["accuracy", "roc_auc", "recall", "precision"]
    head = [SLICED_BY, "rows", "diabetic", *(SCORES[name] for name in shown)]
    head += ["ROC AUC, champion", "difference"] if champion else []
    body: list[list[str]] = []
    for band, figures_of_band in challenger["slices"][SLICED_BY].items():
        row = [html.escape(band), f"{figures_of_band['rows']:,}", f"{figures_of_band['positives']:,}"]
        row += [_number(figures_of_band[name]) for name in shown]
        if champion:
            other = champion["slices"][SLICED_BY][band]["roc_auc"]
            row += [_number(other), _difference("roc_auc", figures_of_band["roc_auc"], other)]
        body.append(row)
    return _table(head, body)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _difference(name: str, challenger: float | None, champion: float | None) -> str:
    if challenger is None or champion is None:
        return "–"
    difference = challenger - champion
    better = difference < 0 if name in LESS_IS_BETTER else difference > 0
    kind = "same" if round(difference, 3) == 0 else "better" if better else "worse"
    return f'<span class="{kind}">{round(difference, 3) + 0:+.3f}</span>'.replace("-", "−")


def _table(head: list[str], body: list[list[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


# --- the step --------------------------------------------------------------------------------------------------------


def write_evaluation(
    folder: Path, rows: pd.DataFrame, scores: dict[str, np.ndarray], thresholds: dict[str, float]
) -> dict[str, Any]:
    """Evaluate, and write figures, pictures and report into an existing folder.

    Returns:
        The content of ``metrics.json``.
    """
    evaluation = evaluate(rows, scores, thresholds)
    pictures = draw(rows, scores, evaluation)
    (folder / "metrics.json").write_text(json.dumps(evaluation, indent=2, allow_nan=False) + "\n")
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    (folder / "report.html").write_text(report(evaluation, pictures), encoding="utf-8")
    return evaluation


def summary(evaluation: dict[str, Any]) -> str:
    """Write the scores as a few aligned lines, the champion's beside the challenger's."""
    models = {name: evaluation[name] for name in COLOURS if evaluation[name]}
    lines = [" " * 18 + "".join(f"{name:>12}" for name in models)]
    lines += [f"{score:<18}" + "".join(f"{_number(model[score]):>12}" for model in models.values()) for score in SCORES]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in evaluation["warnings"])])


def main(argv: list[str] | None = None) -> int:
    """Run the step with the arguments of component.yml; return the exit code, 2 for rows or a model it cannot use."""
    parser = argparse.ArgumentParser(prog="evaluate", allow_abbrev=False)
    parser.add_argument("--test_data", type=Path, required=True, help="Parquet, as prep writes it")
    parser.add_argument("--challenger", type=Path, required=True, help="folder of an MLflow model")
    parser.add_argument("--champion", type=Path, help="folder of an MLflow model; leave out when there is none")
    parser.add_argument("--evaluation_output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    try:
        rows = read_rows(arguments.test_data)
        if SLICED_BY not in rows:
            raise DataError(f"{arguments.test_data} has no column {SLICED_BY}")
    except DataError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    scores: dict[str, np.ndarray] = {}
    thresholds: dict[str, float] = {}
    for name in COLOURS:
        if folder := getattr(arguments, name):
            try:
                model = load_model(folder)
                scores[name], thresholds[name] = score(model, rows), model.threshold
            except ModelError as error:
                print(f"evaluate: the {name}: {error}", file=sys.stderr)
                return 2
    evaluation = write_evaluation(arguments.evaluation_output, rows, scores, thresholds)
    use_identity_of_job()
    with mlflow.start_run():
        mlflow.log_params({"threshold": evaluation["threshold"]})
        mlflow.log_metrics(tracked(evaluation))
    print(summary(evaluation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
