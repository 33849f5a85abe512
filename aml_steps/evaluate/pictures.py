"""Pictures of an evaluation: curves, confusion matrices and score distributions of the models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from sklearn import metrics

from diabetes_steps import LABEL, png
from figures import MODELS

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
    names = [name for name in MODELS if evaluation[name]]
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
