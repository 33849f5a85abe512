"""MLflow's pages of the experiment, the run and the registered model."""

import json
import urllib.request
from typing import Any

import pytest

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
def test_run_shows_params_and_metrics(visit: Any, shown: Shown) -> None:
    runs = asked(shown, "runs/search", {"experiment_ids": ["1"]})["runs"]
    (train,) = (run for run in runs if run["info"]["run_name"] == "train")
    with visit(f"{shown.mlflow}/#/experiments/1/runs/{train['info']['run_id']}") as seen:
        assert "reg_rate" in seen.text
        assert "solver" in seen.text


@pytest.mark.browser
def test_registered_model_shows_its_version_and_the_champion(visit: Any, shown: Shown) -> None:
    with visit(f"{shown.mlflow}/#/models/diabetes-predict") as seen:
        assert "diabetes-predict" in seen.text
        assert "champion" in seen.text
