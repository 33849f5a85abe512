"""Figures of the models on the test rows: the content of ``metrics.json``.

As ``metrics.schema.json`` says in full, it has:

- ``schema_version``: 1.
- ``threshold``: the probability from which a patient counts as diabetic, 0 to 1; that of the challenger.
- ``challenger``: the figures below.
- ``champion``: the same figures, or null without a champion.
- ``warnings``: reasons why the figures say little, a sentence each; usually empty.
- ``trained_with``: the ``python``, ``platform`` and ``packages`` that the challenger was trained with; null where its
  model does not say so.

The figures of a model are ``accuracy``, ``roc_auc``, ``average_precision``, ``precision``, ``recall``, ``f1`` (0 to 1,
greater is better), ``brier_score_loss`` (0 to 1, less is better), ``log_loss`` (0 or greater, less is better),
``confusion_matrix`` (``tn``, ``fp``, ``fn``, ``tp``: rows), ``rows`` and ``positives``; ``threshold``, the
model's own, since each is judged as it is used; and ``slices``, the same figures for each age band that has rows:
``{"Age": {"21-30": {...}, ...}}``. A figure that the rows do not define is null: roc_auc if all rows have one label,
precision if none is predicted to be diabetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from diabetes_steps import LABEL, too_few

MODELS = ("challenger", "champion")
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
