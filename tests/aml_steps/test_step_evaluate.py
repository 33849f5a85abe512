"""The evaluate step: right figures, both models on the same rows, and no model file that could run code."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn import metrics
from sklearn.preprocessing import FunctionTransformer

import data_file
import evaluate
import figures
import model_file
import pictures
import prep
import train
from flows.training.report_heading import with_heading
from tests.training.summaries import SUMMARY
from trained_with import trained_with

SCRIPT = Path(evaluate.__file__)
SCHEMA = json.loads((SCRIPT.parent / "metrics.schema.json").read_text())
PICTURES = [f"{name}.png" for name in pictures.PICTURES]


@pytest.fixture(scope="module")
def rows(shipped: Path) -> pd.DataFrame:
    prepared = prep.prepare(data_file.read(shipped), prep.Parameters())
    return prepared.table.take(prepared.test).to_pandas()


@pytest.fixture(scope="module")
def models(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two saved models and the test rows: ``challenger``, ``champion``, ``test_data``."""
    folder = tmp_path_factory.mktemp("models")
    prepared = prep.prepare(data_file.read(shipped), prep.Parameters())
    table = prepared.table.take(prepared.train).to_pandas()
    for name, rate, threshold in (("challenger", 0.01, 0.4), ("champion", 3000.0, 0.5)):
        train.save(train.fit(table, train.Parameters(reg_rate=rate, threshold=threshold)), table, folder / name)
    pq.write_table(prepared.table.take(prepared.test), folder / "test_data")
    return {name: folder / name for name in ("challenger", "champion", "test_data")}


def run(models: dict[str, Path], output: Path, *arguments: str) -> int:
    required = ["--test_data", models["test_data"], "--challenger", models["challenger"], "--evaluation_output", output]
    return evaluate.main([*map(str, required), *arguments])


def figures_of(output: Path) -> dict[str, Any]:
    evaluation = json.loads((output / "metrics.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(evaluation)
    return evaluation


def test_figures_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    label, probability = random.integers(0, 2, 500), random.random(500)
    predicted = probability >= 0.4
    found = figures.figures(label, probability, 0.4)
    expected = {
        "accuracy": metrics.accuracy_score(label, predicted),
        "roc_auc": metrics.roc_auc_score(label, probability),
        "average_precision": metrics.average_precision_score(label, probability),
        "precision": metrics.precision_score(label, predicted),
        "recall": metrics.recall_score(label, predicted),
        "f1": metrics.f1_score(label, predicted),
        "brier_score_loss": metrics.brier_score_loss(label, probability),
        "log_loss": metrics.log_loss(label, probability),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert sum(found["confusion_matrix"].values()) == found["rows"] == 500


def test_what_one_class_does_not_define_is_null() -> None:
    healthy = figures.figures(np.zeros(4, int), np.full(4, 0.1), 0.5)
    undefined = {name for name in figures.SCORES if healthy[name] is None}
    assert undefined == {"roc_auc", "average_precision", "precision", "recall", "f1"}
    assert healthy["accuracy"] == 1


def test_a_probability_at_the_threshold_counts_as_diabetic() -> None:
    assert figures.figures(np.array([0, 1]), np.array([0.2, 0.5]), 0.5)["confusion_matrix"]["tp"] == 1


def test_age_bands_part_the_rows_and_name_their_bounds(rows: pd.DataFrame) -> None:
    aged = rows.head(8).assign(Age=[20, 21, 30, 31, 60, 61, 99, np.nan])
    slices = figures.figures_with_slices(aged, np.full(8, 0.5), 0.5)["slices"]["Age"]
    counts = {band: figures["rows"] for band, figures in slices.items()}
    assert counts == {"0-20": 1, "21-30": 2, "31-40": 1, "51-60": 1, "61+": 2, "missing": 1}


@pytest.fixture(scope="module")
def alone(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an evaluation without champion."""
    folder = tmp_path_factory.mktemp("alone")
    assert run(models, folder) == 0
    return folder


def test_evaluation_without_champion(alone: Path) -> None:
    evaluation = figures_of(alone)
    assert evaluation["champion"] is None and evaluation["threshold"] == 0.4
    assert {file.name for file in alone.iterdir()} == {"metrics.json", "report.html", *PICTURES}
    page = (alone / "report.html").read_text()
    assert "There is no champion" in page
    headed = with_heading(page, SUMMARY, datetime.now(UTC))
    assert "<h1>pipeline: Promoted</h1>" in headed and "<h1>Evaluation</h1>" not in headed


def test_champion_is_measured_on_the_same_rows_and_shown_beside_the_challenger(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = mlflow.MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert run(models, tmp_path, "--champion", str(models["champion"])) == 0
    evaluation = figures_of(tmp_path)
    challenger, champion = evaluation["challenger"], evaluation["champion"]
    assert challenger["rows"] == champion["rows"] == 236
    assert challenger["positives"] == champion["positives"] == 86
    assert {band: part["rows"] for band, part in challenger["slices"]["Age"].items()} == {
        band: part["rows"] for band, part in champion["slices"]["Age"].items()
    }
    assert challenger["roc_auc"] > champion["roc_auc"]
    assert (challenger["threshold"], champion["threshold"]) == (0.4, 0.5)
    logged = mlflow.get_run(run_id).data
    assert logged.metrics["roc_auc"] == challenger["roc_auc"]
    assert logged.metrics["champion_roc_auc"] == champion["roc_auc"]
    assert logged.params["threshold"] == "0.4"
    page = (tmp_path / "report.html").read_text()
    assert "difference" in page and 'class="better"' in page
    assert "champion" in capsys.readouterr().out


def test_evaluation_says_what_the_challenger_was_trained_with_unless_its_model_does_not(
    models: dict[str, Path], alone: Path, tmp_path: Path
) -> None:
    assert figures_of(alone)["trained_with"] == trained_with()
    older = shutil.copytree(models["challenger"], tmp_path / "older")
    described = yaml.safe_load((older / "MLmodel").read_text())
    (tmp_path / "out").mkdir()
    for metadata in (None, "text", {"trained_with": "text"}, {"trained_with": {"python": "3.11"}}):
        (older / "MLmodel").write_text(yaml.safe_dump({**described, "metadata": metadata}))
        assert run({**models, "challenger": older}, tmp_path / "out") == 0
        assert figures_of(tmp_path / "out")["trained_with"] is None


def test_the_report_needs_no_other_file(alone: Path) -> None:
    page = (alone / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,40})|url\(', page)
    assert len(sources) == len(PICTURES) and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in page and "<script" not in page and "$" not in page


def test_test_rows_of_one_class_still_give_a_report(rows: pd.DataFrame, tmp_path: Path) -> None:
    healthy = rows[rows["Diabetic"] == 0]
    scores = {"challenger": np.linspace(0, 1, len(healthy))}
    evaluate.write_evaluation(tmp_path, healthy, scores, {"challenger": 0.5})
    assert figures_of(tmp_path)["challenger"]["roc_auc"] is None
    assert not (tmp_path / "roc.png").exists()


@pytest.mark.parametrize("stored_as", ["pickle", "cloudpickle", None])
def test_a_pickled_model_is_refused_unread(
    models: dict[str, Path], tmp_path: Path, stored_as: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    flavour = {"pickled_model": "model.pkl"} | ({"serialization_format": stored_as} if stored_as else {})
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavour}}))
    (tmp_path / "model.pkl").write_bytes(b"cos\nabort\n(tR.")  # ends the process when unpickled
    assert run(models, tmp_path, "--champion", str(tmp_path)) == 2
    message = capsys.readouterr().err
    assert message.startswith("evaluate: the champion: ") and f"is stored as {stored_as}" in message


def test_a_model_file_cannot_vouch_for_its_own_types(models: dict[str, Path], tmp_path: Path) -> None:
    import skops.io

    model = FunctionTransformer(func=json.loads)
    skops.io.dump(model, tmp_path / "model.skops")
    wanted = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    described = yaml.safe_load((models["challenger"] / "MLmodel").read_text())
    described["flavors"]["sklearn"]["skops_trusted_types"] = wanted
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(described))
    with pytest.raises(model_file.ModelError, match="holds types that are not trusted"):
        model_file.load_model(tmp_path)


def test_a_model_may_not_point_outside_its_folder(models: dict[str, Path], tmp_path: Path) -> None:
    described = yaml.safe_load((models["challenger"] / "MLmodel").read_text())
    described["flavors"]["sklearn"]["pickled_model"] = str(models["challenger"] / "model.skops")
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(described))
    with pytest.raises(model_file.ModelError, match="outside"):
        model_file.load_model(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("MLmodel", None, "is not an MLflow model"),
        ("MLmodel", "flavors: {python_function: {}}", "is not an MLflow model of the sklearn flavour"),
        ("model.skops", "damaged", "cannot be loaded"),
    ],
)
def test_a_broken_model_folder_is_named(
    models: dict[str, Path], tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    for name in ("MLmodel", "model.skops"):
        (tmp_path / name).write_bytes((models["challenger"] / name).read_bytes())
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_text(content)
    with pytest.raises(model_file.ModelError, match=message):
        model_file.load_model(tmp_path)


def test_a_model_of_other_columns_is_refused(models: dict[str, Path], rows: pd.DataFrame) -> None:
    with pytest.raises(model_file.ModelError, match="cannot score the test rows: missing columns: BMI"):
        model_file.score(model_file.load_model(models["challenger"]), rows.drop(columns="BMI"))


def test_equal_evaluations_write_equal_files(rows: pd.DataFrame, tmp_path: Path) -> None:
    scores = {name: np.linspace(0, 1, len(rows)) for name in ("challenger", "champion")}
    for name in "ab":
        (tmp_path / name).mkdir()
        evaluate.write_evaluation(tmp_path / name, rows, scores, dict.fromkeys(scores, 0.5))
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    evaluation = figures_of(tmp_path / "a")
    assert evaluation["champion"] == evaluation["challenger"]


def test_millions_of_rows_are_drawn_as_thin_curves() -> None:
    false, true = pictures.thin(np.linspace(0, 1, 1_000_000), np.linspace(0, 1, 1_000_000))
    assert len(false) == len(true) == pictures.CURVE_POINTS
    assert (false[0], false[-1]) == (0, 1)
