"""The evaluation for a person: an HTML page, and a few lines of text."""

from __future__ import annotations

import html
from typing import Any

from diabetes_steps import embedded, html_page, html_table
from figures import LESS_IS_BETTER, MODELS, SCORES, SLICED_BY
from pictures import PICTURES

TITLE = "Evaluation"


def report(evaluation: dict[str, Any], pictures: dict[str, bytes]) -> str:
    """Write the evaluation as one HTML page, its pictures inside."""
    challenger = evaluation["challenger"]
    lead = (
        f"{challenger['rows']:,} test rows, {challenger['positives']:,} of them diabetic; "
        f"a patient counts as diabetic from a probability of {evaluation['threshold']:g}. "
        + ("" if evaluation["champion"] else "There is no champion to compare with.")
    )
    parts = [
        *(f'<p class="warning">Warning: {html.escape(text)}.</p>' for text in evaluation["warnings"]),
        "<h2>Scores</h2>",
        _scores_table(challenger, evaluation["champion"]),
        "<h2>By age</h2>",
        _slices_table(challenger, evaluation["champion"]),
        embedded(pictures, PICTURES),
    ]
    return html_page(TITLE, lead, "\n".join(parts))


def _scores_table(challenger: dict[str, Any], champion: dict[str, Any] | None) -> str:
    head = ["", "challenger", *(["champion", "difference"] if champion else [])]
    body: list[list[str]] = []
    for name, title in SCORES.items():
        hint = " <small>less is better</small>" if name in LESS_IS_BETTER else ""
        row = [f"{title}{hint}", _number(challenger[name])]
        if champion:
            row += [_number(champion[name]), _difference(name, challenger[name], champion[name])]
        body.append(row)
    return html_table(head, body)


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
    return html_table(head, body)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _difference(name: str, challenger: float | None, champion: float | None) -> str:
    if challenger is None or champion is None:
        return "–"
    difference = challenger - champion
    better = difference < 0 if name in LESS_IS_BETTER else difference > 0
    kind = "same" if round(difference, 3) == 0 else "better" if better else "worse"
    return f'<span class="{kind}">{round(difference, 3) + 0:+.3f}</span>'.replace("-", "−")


def summary(evaluation: dict[str, Any]) -> str:
    """Write the scores as a few aligned lines, the champion's beside the challenger's."""
    models = {name: evaluation[name] for name in MODELS if evaluation[name]}
    lines = [" " * 18 + "".join(f"{name:>12}" for name in models)]
    lines += [f"{score:<18}" + "".join(f"{_number(model[score]):>12}" for model in models.values()) for score in SCORES]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in evaluation["warnings"])])
