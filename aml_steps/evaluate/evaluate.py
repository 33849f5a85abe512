"""Score the challenger, and the champion where there is one, on the same test rows.

Writes into ``evaluation_output``: ``metrics.json`` (its content is described in :mod:`figures`), ``report.html``, which
needs no other file, and its pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diabetes_run import log_run
from diabetes_steps import DataError, read_rows
from evaluation_report import report, summary
from figures import MODELS, SLICED_BY, evaluate, tracked
from model_file import ModelError, load_model, score, trained_with
from pictures import draw


def write_evaluation(
    folder: Path,
    rows: pd.DataFrame,
    scores: dict[str, np.ndarray],
    thresholds: dict[str, float],
    trained_with: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate, and write figures, pictures and report into an existing folder.

    ``trained_with``: what the challenger says it was trained with, if it does.

    Returns:
        The content of ``metrics.json``.
    """
    evaluation = {**evaluate(rows, scores, thresholds), "trained_with": trained_with}
    pictures = draw(rows, scores, evaluation)
    (folder / "metrics.json").write_text(json.dumps(evaluation, indent=2, allow_nan=False) + "\n")
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    (folder / "report.html").write_text(report(evaluation, pictures), encoding="utf-8")
    return evaluation


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
    for name in MODELS:
        if folder := getattr(arguments, name):
            try:
                model = load_model(folder)
                scores[name], thresholds[name] = score(model, rows), model.threshold
            except ModelError as error:
                print(f"evaluate: the {name}: {error}", file=sys.stderr)
                return 2
    told = trained_with(arguments.challenger)
    evaluation = write_evaluation(arguments.evaluation_output, rows, scores, thresholds, told)
    print(summary(evaluation))
    log_run({"threshold": evaluation["threshold"]}, tracked(evaluation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
