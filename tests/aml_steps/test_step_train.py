"""The train step: nothing leaks from the test part, and what it saves is read without unpickling."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import sklearn as mlflow_sklearn

import data_file
import prep
import train
from columns import FEATURES
from diabetes_steps import ZERO_IS_MISSING, as_measured
from flows.prefect_api.server import free_port
from flows.tags import PACKAGES, PLATFORM, PYTHON
from trained_with import trained_with


@pytest.fixture(scope="module")
def prepared(shipped: Path) -> prep.Prepared:
    return prep.prepare(data_file.read(shipped), prep.Parameters())


@pytest.fixture(scope="module")
def rows(prepared: prep.Prepared) -> pd.DataFrame:
    return prepared.table.take(prepared.train).to_pandas()


def test_imputer_and_scaler_know_the_training_part_only(prepared: prep.Prepared, rows: pd.DataFrame) -> None:
    steps = train.fit(rows, train.Parameters()).estimator_.named_steps
    medians = as_measured(rows)[FEATURES].median()
    filled = as_measured(rows)[FEATURES].fillna(medians)
    order = [*ZERO_IS_MISSING, *(name for name in FEATURES if name not in ZERO_IS_MISSING)]  # of the imputed columns
    imputed = pd.DataFrame(steps["impute"].transform(rows[FEATURES]), columns=order)
    np.testing.assert_allclose(imputed[FEATURES], filled, rtol=1e-12)
    np.testing.assert_allclose(steps["scale"].mean_, filled[order].mean(), rtol=1e-12)
    np.testing.assert_allclose(steps["scale"].scale_, filled[order].std(ddof=0), rtol=1e-12)
    assert not np.allclose(medians, as_measured(prepared.table.to_pandas())[FEATURES].median())


def test_the_patient_id_is_no_feature(rows: pd.DataFrame) -> None:
    assert list(train.fit(rows, train.Parameters()).feature_names_in_) == FEATURES


@pytest.mark.parametrize("solver", train.SOLVERS)
def test_every_solver_converges_to_the_same_classifier(rows: pd.DataFrame, solver: str) -> None:
    features, _ = train.features_and_label(rows)
    training = train.train(rows, train.Parameters(solver=solver))
    expected = train.fit(rows, train.Parameters()).predict_proba(features)
    assert training.metrics["converged"] == 1 and training.warning is None
    # liblinear also regularises the intercept, hence the loose bound.
    np.testing.assert_allclose(training.model.predict_proba(features), expected, atol=0.01)


def test_a_column_that_was_never_measured_does_not_break_the_fit(rows: pd.DataFrame) -> None:
    blank = rows.assign(SerumInsulin=np.nan)
    assert np.isfinite(train.train(blank, train.Parameters()).model.estimator_.named_steps["classify"].coef_).all()


def test_fitting_leaves_the_rows_as_they_were(rows: pd.DataFrame) -> None:
    before = rows.copy()
    train.train(rows, train.Parameters())
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.parametrize("solver", train.SOLVERS)
def test_a_solver_that_stops_too_early_says_so_in_metrics_and_words(rows: pd.DataFrame, solver: str) -> None:
    training = train.train(rows, train.Parameters(solver=solver, max_iter=1))
    assert (training.metrics["converged"], training.metrics["n_iter"]) == (0, 1)
    assert training.warning and f"warning: {training.warning}" in train.summary(training)


def test_a_stronger_regularisation_gives_smaller_coefficients(rows: pd.DataFrame) -> None:
    sizes = [
        np.abs(train.fit(rows, train.Parameters(reg_rate=rate)).estimator_.named_steps["classify"].coef_).sum()
        for rate in (1e-9, 0.01, 100)
    ]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    "option", ["--reg_rate=0", "--reg_rate=nan", "--max_iter=0", "--solver=adam", "--threshold=nan"]
)
def test_train_refuses_parameters_out_of_range(tmp_path: Path, option: str) -> None:
    with pytest.raises(SystemExit) as caught:
        train.main(["--train_data", "rows", "--model", str(tmp_path), option])
    assert caught.value.code == 2


def test_train_logs_parameters_and_metrics_into_the_run_of_the_job(
    prepared: prep.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(prepared.table.take(prepared.train), tmp_path / "train_data")
    run_id = mlflow.MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    (tmp_path / "model").mkdir()
    assert train.main(["--train_data", str(tmp_path / "train_data"), "--model", str(tmp_path / "model")]) == 0
    logged = mlflow.get_run(run_id)
    assert logged.data.params == {
        "reg_rate": "0.01",
        "solver": "liblinear",
        "max_iter": "1000",
        "zeros_as_missing": "True",
        "threshold": "0.5",
    }
    assert logged.data.metrics["training_rows"] == 532
    assert {name: logged.data.tags[name] for name in (PYTHON, PLATFORM, PACKAGES)} == train.run_tags()
    assert {"converged", "n_iter", "training_accuracy", "training_roc_auc"} <= set(logged.data.metrics)
    assert logged.info.status == "FINISHED"


def test_a_model_is_kept_though_the_server_of_mlflow_is_away(
    prepared: prep.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(prepared.table.take(prepared.train), tmp_path / "train_data")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert train.main(["--train_data", str(tmp_path / "train_data"), "--model", str(tmp_path / "model")]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("warning: MLflow does not have all params and metrics of this step: API request to ")
    assert said.err.count("\n") == 1
    assert "training_roc_auc" in said.out, "the figures are in the log of the step"
    assert mlflow_sklearn.load_model(str(tmp_path / "model")) is not None


def test_a_saved_model_comes_back_the_same_without_pickle(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = train.fit(rows, train.Parameters())
    train.save(model, rows, tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", refuse)
    features = rows[FEATURES]
    again: Any = mlflow_sklearn.load_model(str(tmp_path))
    np.testing.assert_array_equal(again.predict_proba(features), model.predict_proba(features))
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(str(tmp_path)).predict(features), model.predict(features))


def test_a_saved_model_says_what_it_takes_and_needs(rows: pd.DataFrame, tmp_path: Path) -> None:
    train.save(train.fit(rows, train.Parameters()), rows, tmp_path)
    described = yaml.safe_load((tmp_path / "MLmodel").read_text())
    assert [column["name"] for column in yaml.safe_load(described["signature"]["inputs"])] == FEATURES
    assert "saved_input_example_info" in described
    needed = (tmp_path / "requirements.txt").read_text()
    assert all(f"{package}==" in needed for package in ("scikit-learn", "skops", "azureml-ai-monitoring"))
    assert not list(tmp_path.rglob("*.pkl"))


def test_a_saved_model_says_which_python_platform_and_packages_it_was_trained_with(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.save(train.fit(rows, train.Parameters()), rows, tmp_path / "model")
    told = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())["metadata"]["trained_with"]
    assert told == trained_with()
    assert (told["python"], told["platform"]) == (
        platform.python_version(),
        f"{platform.system()} {platform.machine()}",
    )

    (tmp_path / "site" / "some_package-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with_it = trained_with()["packages"]
    (tmp_path / "site" / "some_package-1.0.dist-info").rename(tmp_path / "site" / "Some.Package-1.0.dist-info")
    assert trained_with()["packages"] == with_it != told["packages"]
    (tmp_path / "site" / "Some.Package-1.0.dist-info").rename(tmp_path / "site" / "some_package-1.1.dist-info")
    assert trained_with()["packages"] != with_it


def test_the_signature_does_not_depend_on_which_cells_the_first_rows_miss(
    rows: pd.DataFrame, tmp_path: Path, make_rows: Callable[..., pd.DataFrame]
) -> None:
    signatures = []
    for name, table in (("holes", rows), ("whole", make_rows(200).astype(float))):
        train.save(train.fit(table, train.Parameters()), table, tmp_path / name)
        signatures.append(yaml.safe_load((tmp_path / name / "MLmodel").read_text())["signature"])
    assert signatures[0] == signatures[1]
