"""Scoring in the loopback workspace: the shipped endpoint, deployment and script, and the shipped model."""

# Neither pandas nor the loaded model has types worth the name here.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportPrivateUsage=false

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from columns import FEATURES
from flows.errors import DataAssetError, RunError
from flows.scoring.places.in_workspace import WorkspaceScoring
from flows.scoring.summary import ScoreSummary
from flows.scoring.work import Work, score_once
from flows.serving.endpoints import ServedModel
from flows.settings import Settings
from tests.azure_ml_service.faults import JobFault
from tests.scoring.conftest import Scorer
from tests.scoring.rows import MARK, broken_files, valid_rows
from tests.serving.azureml.conftest import Shop
from tests.terminal import ROWS

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.engines.polling.FIRST_SECONDS", 0.1)


@pytest.fixture
def work_for(shop: Shop, trained: Path, tmp_path: Path) -> Callable[..., Work]:
    """Makes a scoring by the shipped model, registered in the workspace under a name of this test."""
    source = shop.model(1)
    folder = shop.service.arm.path_of(f"azureml://datastores/workspaceblobstore/paths/models/model-{shop.endpoint}/1")
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    scorer = Scorer(trained, tmp_path / "home")

    def make(data: Path, output: Path, rows: int = 131_072) -> Work:
        work = scorer.work(data, output, rows=rows)
        request = replace(
            work.request,
            model=ServedModel(f"model-{shop.endpoint}", 1, "0123abcd" * 8),
            source=source,
            endpoint=replace(work.request.endpoint, name=f"b{shop.endpoint}"),
        )
        return replace(work, request=request)

    return make


def in_workspace(do: Callable[[WorkspaceScoring], Any]) -> Any:
    async def done() -> Any:
        from flows.engines.azureml.sdk.workspace import open_workspace

        async with open_workspace(Settings.from_environment()) as workspace:
            return await do(WorkspaceScoring(workspace, lambda line: None))

    return asyncio.run(done())


def score(work: Work) -> ScoreSummary:
    async def ignore(now: object) -> None: ...

    return in_workspace(lambda place: score_once(place, work, ignore))


def invocations(shop: Shop) -> int:
    return shop.service.count("POST", r"inference\.ml\.azure\.com/jobs$")


def test_a_thousand_random_rows_get_what_the_model_itself_gives_them_by_one_job(
    shop: Shop, work_for: Callable[..., Work], trained: Path, tmp_path: Path
) -> None:
    rows, data, output = valid_rows(Random(3), 1_000), tmp_path / "rows.csv", tmp_path / "scores.csv"
    rows.to_csv(data, index=False)
    work = work_for(data, output, rows=300)
    assert score(work).verdict == "Scored"
    scores = pd.read_csv(output, dtype={"PatientID": str})
    model: Any = mlflow.pyfunc.load_model(str(trained))
    wanted = model._model_impl.classifier.predict_proba(rows[list(FEATURES)])[:, 1]
    np.testing.assert_allclose(scores["probability"], wanted, rtol=0, atol=1e-12)
    assert scores["label"].tolist() == model.predict(rows[list(FEATURES)]).tolist()
    assert scores["PatientID"].tolist() == rows["PatientID"].tolist()
    assert set(scores["model"]) == {work.request.model.name} and set(scores["version"]) == {1}
    assert score(work).verdict == "Unchanged"
    output.unlink()  # what the job has left is fetched again
    assert score(work).verdict == "Scored" and invocations(shop) == 1
    store = shop.service.arm.path_of("azureml://datastores/workspaceblobstore/paths/LocalUpload")
    uploaded = list(store.rglob("part-*.parquet"))
    assert uploaded and all("PatientID" not in pd.read_parquet(file) for file in uploaded)
    assert shop.service.violations == []


def test_two_hundred_broken_rows_are_refused_with_their_row_and_column(
    work_for: Callable[..., Work], tmp_path: Path
) -> None:
    files = broken_files(Random(4), tmp_path / "data", 200)
    request = work_for(tmp_path / "data", tmp_path / "scores.csv").request

    async def answers(place: WorkspaceScoring) -> list[str]:
        folder = tmp_path / "folder"
        folder.mkdir()
        answers, said = await place.answered(request, folder), list[str]()
        assert answers is not None
        for portion in request.portions():
            with pytest.raises(DataAssetError) as caught:
                answers.scores(portion)
            said.append(str(caught.value))
        return said

    said = in_workspace(answers)
    assert len(said) == 200
    for (file, row, column), told in zip(files, said, strict=True):
        assert f"{file.name}: row {row + 1}, column {column}: is " in told and MARK not in told


def test_a_job_that_failed_is_told_and_the_next_start_makes_another(
    shop: Shop, work_for: Callable[..., Work], tmp_path: Path
) -> None:
    data = tmp_path / "rows.csv"
    valid_rows(Random(5), 10).to_csv(data, index=False)
    work = work_for(data, tmp_path / "scores.csv")
    shop.service.faults.add(JobFault("fail", step="batchscoring"))
    with pytest.raises(RunError, match="is Failed"):
        score(work)
    assert not (tmp_path / "scores.csv").exists()
    shop.service.faults.clear()
    assert score(work).rows == 10 and invocations(shop) == 2


def test_the_flow_scores_a_data_asset_of_the_workspace_by_a_version_of_its_registry(
    shop: Shop, work_for: Callable[..., Work], tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.scoring.score_data import score_data

    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))

    model = work_for(ROWS, tmp_path / "unused.csv").request.model.label
    definition = tmp_path / "batch-endpoint.yml"
    definition.write_text(f"name: b{shop.endpoint}\n")

    async def flow_run() -> ScoreSummary:
        state: Any = await score_data(
            data_asset_name="diabetes-diagnostics@latest",
            model=model,
            output=str(tmp_path / "{data}-{model}.parquet"),
            endpoint=str(definition),
            engine="azureml",
            return_state=True,
        )
        assert state.name == "Scored", state.message
        return await state.aresult()

    summary = asyncio.run(flow_run())
    assert summary.output.name == f"diabetes-diagnostics-1-{model.replace(':', '-')}.parquet"
    scores = pd.read_parquet(summary.output)
    assert list(scores) == ["PatientID", "Diabetic", "label", "probability", "model", "version"]
    assert (len(scores), summary.rows, summary.engine, invocations(shop)) == (768, 768, "azureml", 1)
