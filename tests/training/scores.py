"""Scores of a model in which one metric counts and all others are neutral."""

from dataclasses import replace

from flows.training.evaluation import METRICS, ConfusionMatrix, ModelScores

NEUTRAL = ModelScores(dict.fromkeys(METRICS, 0.5), ConfusionMatrix(tn=60, fp=10, fn=10, tp=20), rows=100, positives=30)


def scores(metric: str, value: float | None) -> ModelScores:
    """Scores with this value of one metric."""
    return replace(NEUTRAL, values={**NEUTRAL.values, metric: value})


def auc(value: float | None) -> ModelScores:
    """Scores with this area under the ROC curve."""
    return scores("roc_auc", value)
