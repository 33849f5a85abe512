"""A job that has a managed identity and no token: what its steps track reaches the workspace all the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import data_file
import prep
import train
from tests.aml_steps.conftest import STEPS, Script
from tests.azure_ml_service.identity import CLIENT
from tests.azure_ml_service.service import Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("steps")
    prepared = prep.prepare(data_file.read(shipped), prep.Parameters())
    pq.write_table(prepared.table.take(prepared.train), folder / "train.parquet")
    pq.write_table(prepared.table.take(prepared.test), folder / "test.parquet")
    rows = prepared.table.take(prepared.train).to_pandas()
    train.save(train.fit(rows, train.Parameters()), rows, folder / "model")
    return {"data": shipped, "train": folder / "train.parquet", "test": folder / "test.parquet", "of": folder / "model"}


@pytest.mark.parametrize(
    ("script", "options", "param"),
    [
        ("train/train.py", "--train_data {train} --model {new}/model", "reg_rate"),
        ("evaluate/evaluate.py", "--test_data {test} --challenger {of} --evaluation_output {new}", "threshold"),
        ("train_job.py", "--data {data} --model {new}/model --evaluation {new}", "solver"),
    ],
    ids=["train", "evaluate", "job"],
)
def test_a_step_tracks_as_the_managed_identity_of_its_job(
    script: str,
    options: str,
    param: str,
    files: Mapping[str, Path],
    azure_ml: Service,
    run_script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job: dict[str, Any] = {"name": f"identity-{param}", "root": "identity", "parent": None, "experiment": "identity"}
    azure_ml.mlflow.make_run({**job, "display_name": "step", "tags": {}})
    environment = dict(azure_ml.managed_identity_environment)
    environment["DEFAULT_IDENTITY_CLIENT_ID"] = environment.pop("MANAGED_IDENTITY_CLIENT_ID")  # as a job has it
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "AzureCloud")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", azure_ml.mlflow.tracking_uri)
    monkeypatch.setenv("MLFLOW_RUN_ID", job["name"])
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", job["experiment"])

    done = run_script(STEPS / script, *options.format(**files, new=tmp_path).split())

    assert done.returncode == 0, done.stderr
    run = azure_ml.mlflow.call("GET", "runs/get", {"run_id": job["name"]})["run"]
    assert param in {entry["key"] for entry in run["data"]["params"]}
    asked = [request.query["client_id"] for request in azure_ml.requests if request.path == "/_identity/token"]
    assert asked == [CLIENT]
