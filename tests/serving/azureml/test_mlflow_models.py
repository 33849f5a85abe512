"""Real MLflow models on endpoints of a workspace: their answers are those of the model itself."""

import asyncio
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.serving.azureml.batch import BatchRequest
from flows.serving.endpoints import ServedModel
from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec
from tests.serving.azureml.conftest import OpenServing, Shop
from tests.serving.azureml.test_batch import score

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

ROWS = 1000
SCRIPT = """
    import json, os
    from pathlib import Path

    def init():
        global model
        from mlflow.sklearn import load_model
        (folder,) = Path(os.environ["AZUREML_MODEL_DIR"]).iterdir()
        model = load_model(str(folder))

    def run(text):
        import pandas as pd
        asked = json.loads(text)["input_data"]
        frame = pd.DataFrame(asked["data"], columns=asked["columns"])
        return [float(row[1]) for row in model.predict_proba(frame)]
"""


@pytest.fixture(scope="module")
def model_and_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any, Any]]:
    """The folder of a model, the model, and rows for it."""
    import numpy as np
    import pandas as pd
    from mlflow.sklearn import save_model
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(7)
    rows = pd.DataFrame(generator.normal(size=(ROWS, 3)), columns=["a", "b", "c"])
    model = LogisticRegression().fit(rows, (rows["a"] + generator.normal(size=ROWS) > 0).astype(int))
    folder = tmp_path_factory.mktemp("models") / "model"
    save_model(model, str(folder))
    yield folder, model, rows


def served(shop: Shop) -> ServedModel:
    return ServedModel(f"model-{shop.endpoint}", 1, "0123abcd" * 8)


def test_online_answers_are_the_probabilities_of_the_model(
    shop: Shop, open_serving: OpenServing, model_and_rows: tuple[Path, Any, Any]
) -> None:
    folder, model, rows = model_and_rows
    asked = {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}

    async def answers() -> list[float]:
        from dataclasses import replace

        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            request = replace(shop.request("blue", script=SCRIPT), source=str(folder), model=served(shop))
            await serving.deploy(request)
            await serving.deploy(request)  # the folder is uploaded, and the deployment made, once
            answer = await serving.score(shop.endpoint, json.dumps({"input_data": asked}).encode(), "blue")
            assert answer.status == 200
            return json.loads(answer.body)

    got = asyncio.run(answers())
    assert max(abs(one - other[1]) for one, other in zip(got, model.predict_proba(rows), strict=True)) < 1e-12
    assert shop.service.count("PUT", f"/models/{served(shop).name}/versions/sha256-") == 1
    assert shop.service.count("PUT", "/deployments/blue$") == 1


def test_batch_without_a_script_gives_each_row_in_order(
    shop: Shop, model_and_rows: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    folder, model, rows = model_and_rows
    rows.to_csv(tmp_path / "rows.csv", index=False)
    request = BatchRequest(
        endpoint=BatchEndpointSpec(f"b{shop.endpoint}", tmp_path / "batch.yml"),
        deployment=BatchDeploymentSpec("plain", tmp_path / "batch.yml", "cpu-cluster-01"),
        model=served(shop),
        source=str(folder),
        data=str(tmp_path / "rows.csv"),
        is_folder=False,
        rows=ROWS,
        job_name=f"plain-{shop.endpoint}",
    )
    scores = asyncio.run(score(request, tmp_path / "scores.csv"))
    with scores.file.open(newline="") as file:
        lines = list(csv.reader(file))
    assert [line[:2] for line in lines] == [[str(n), str(label)] for n, label in enumerate(model.predict(rows))]
    assert {line[2] for line in lines} == {"rows.csv"}
