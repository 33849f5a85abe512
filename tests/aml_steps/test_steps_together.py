"""The steps one after the other: against plain scikit-learn, and in one process against one by one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import data_file
import figures
import model_file
import prep
import train
from columns import FEATURES
from diabetes_steps import LABEL
from tests.aml_steps.conftest import STEPS


def challenger_of(data: Path, preparing: prep.Parameters, training: train.Parameters, folder: Path) -> dict[str, Any]:
    """The challenger's figures from prep, train, a saved and loaded model, and evaluate."""
    prepared = prep.prepare(data_file.read(data), preparing)
    rows, test_rows = (prepared.table.take(part).to_pandas() for part in (prepared.train, prepared.test))
    train.save(train.fit(rows, training), rows, folder)
    model = model_file.load_model(folder)
    scores = {"challenger": model_file.score(model, test_rows)}
    return figures.evaluate(test_rows, scores, {"challenger": model.threshold})["challenger"]


@pytest.mark.parametrize("solver", train.SOLVERS)
def test_figures_equal_plain_scikit_learn_on_the_same_rows(shipped: Path, tmp_path: Path, solver: str) -> None:
    rows = pd.read_csv(shipped)
    features, label = rows[FEATURES], rows[LABEL]
    x_train, x_test, y_train, y_test = train_test_split(features, label, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(x_train)
    plain = LogisticRegression(C=1 / 0.01, solver=solver, max_iter=1000, random_state=0)
    plain.fit(scaler.transform(x_train), y_train)
    expected_accuracy = accuracy_score(y_test, plain.predict(scaler.transform(x_test)))
    expected_roc_auc = roc_auc_score(y_test, plain.predict_proba(scaler.transform(x_test))[:, 1])

    preparing = prep.Parameters(test_share=0.3, split="random", split_seed=0)
    found = challenger_of(shipped, preparing, train.Parameters(solver=solver, zeros_as_missing=False), tmp_path)
    assert found["accuracy"] == pytest.approx(expected_accuracy, abs=1e-9)
    assert found["roc_auc"] == pytest.approx(expected_roc_auc, abs=1e-9)


def test_figures_of_the_shipped_rows_with_default_parameters(shipped: Path, tmp_path: Path) -> None:
    found = challenger_of(shipped, prep.Parameters(), train.Parameters(), tmp_path)
    assert found["rows"] == 236
    assert (found["accuracy"], found["roc_auc"]) == pytest.approx(SHIPPED_FIGURES, abs=1e-4)


SHIPPED_FIGURES = (0.7331, 0.8229)


@pytest.mark.slow
def test_the_job_gives_what_the_steps_give_and_needs_only_its_snapshot(
    shipped: Path, tmp_path: Path, run_script: Callable[..., Any]
) -> None:
    snapshot = shutil.copytree(
        STEPS, tmp_path / "code", ignore=shutil.ignore_patterns("profile", "*.yml", "__pycache__")
    )
    for name in ("model", "evaluation", "again"):
        (tmp_path / name).mkdir()
    options = ["--data", shipped, "--model", tmp_path / "model", "--evaluation", tmp_path / "evaluation"]
    done = run_script(Path("train_job.py"), *options, folder=snapshot)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    written = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert written["champion"] is None
    assert written["challenger"] == challenger_of(shipped, prep.Parameters(), train.Parameters(), tmp_path / "again")
