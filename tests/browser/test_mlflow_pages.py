"""MLflow's pages of the experiment, the run and the registered model."""

import json
import urllib.parse
import urllib.request
from typing import Any

import pytest

from flows.mlflow_store.pages import experiments_page
from tests.browser.conftest import Shown


def asked(shown: Shown, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{shown.mlflow}/api/2.0/mlflow/{call}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.browser
def test_experiment_lists_the_run_of_the_job(visit: Any, shown: Shown) -> None:
    with visit(f"{shown.mlflow}/#/experiments/1/runs") as seen:
        assert "diabetes-classification" in seen.text
        assert "diabetes-training-pipeline" in seen.text


@pytest.mark.browser
def test_address_that_serve_prints_opens_the_experiments_of_training(visit: Any, shown: Shown) -> None:
    with visit(experiments_page(shown.mlflow)) as seen:
        assert "diabetes-classification" in seen.text
        assert "Model registry" in seen.text  # which MLflow leaves out where it is a tool for language models


@pytest.mark.browser
def test_run_that_was_rejected_is_found_by_its_decision_with_its_data(visit: Any, shown: Shown) -> None:
    wanted = urllib.parse.quote("tags.`tandem.decision` = 'Rejected'")
    with visit(f"{shown.mlflow}/#/experiments/1/runs?searchFilter={wanted}") as seen:
        assert "1 matching run" in seen.text
        assert "diabetes-diagnostics:1" in seen.text


@pytest.mark.browser
def test_page_that_a_rejected_run_names_says_why_on_which_data_and_which_model_stays(visit: Any, shown: Shown) -> None:
    with visit(shown.rejected) as seen:
        assert "Rejected: roc_auc" in seen.text
        assert "model: diabetes-predict version 1 stays" in seen.text
        assert "data: diabetes-diagnostics:1 (diabetes-diagnostics.csv" in seen.text
        assert "tandem.decision" in seen.text
        assert "Model registry" in seen.text


@pytest.mark.browser
def test_version_says_which_decision_and_data_it_comes_of(visit: Any, shown: Shown) -> None:
    with visit(f"{shown.mlflow}/#/models/diabetes-predict/versions/1") as seen:
        assert "Promoted: roc_auc" in seen.text
        assert "data: diabetes-diagnostics:1 (diabetes-diagnostics.csv" in seen.text


@pytest.mark.browser
def test_run_shows_params_and_metrics(visit: Any, shown: Shown) -> None:
    runs = asked(shown, "runs/search", {"experiment_ids": ["1"]})["runs"]
    train = next(run for run in runs if run["info"]["run_name"] == "train")
    with visit(f"{shown.mlflow}/#/experiments/1/runs/{train['info']['run_id']}") as seen:
        assert "reg_rate" in seen.text
        assert "solver" in seen.text


@pytest.mark.browser
def test_registered_model_shows_its_version_and_the_champion(visit: Any, shown: Shown) -> None:
    with visit(f"{shown.mlflow}/#/models/diabetes-predict") as seen:
        assert "diabetes-predict" in seen.text
        assert "champion" in seen.text
