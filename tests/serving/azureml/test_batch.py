"""Files scored by a batch endpoint: one job however often it is asked for, its child's output, and counted rows."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from flows.errors import RunCanceled, RunError, ServingError
from flows.serving.azureml.batch import BatchRequest, BatchScores, count_rows, score_batch
from flows.serving.endpoints import ServedModel
from flows.settings import Settings
from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec
from flows.spec.model.job import Environment
from tests.azure_ml_service.faults import EndpointFault, Fault, JobFault
from tests.serving.azureml.conftest import Shop

pytestmark = pytest.mark.filterwarnings("ignore")

SCRIPT = """
    import os
    from pathlib import Path

    def init():
        global model
        model = (Path(os.environ["AZUREML_MODEL_DIR"]) / "MLmodel").read_text().strip()

    def run(files):
        rows = []
        for file in map(Path, files):
            if "broken" in file.name:
                raise ValueError("this file is broken")
            for line in file.read_text().splitlines()[1:]:
                rows.append([line, os.environ["TANDEM_MODEL_VERSION"], model])
        return rows
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.engines.polling.FIRST_SECONDS", 0.1)


@pytest.fixture
def request_for(shop: Shop) -> Callable[..., BatchRequest]:
    """Makes a request for files of two rows each."""

    def make(files: int = 2, version: int = 1, job_name: str | None = None, **changes: Any) -> BatchRequest:
        code, data = shop.folder / "batch", shop.folder / "data"
        for folder in (code, data):
            folder.mkdir(exist_ok=True)
        (code / "batch_score.py").write_text(dedent(SCRIPT), encoding="utf-8")
        for number in range(files):
            (data / f"{number}.csv").write_text(f"x\n{number}.0\n{number}.5\n")
        deployment = BatchDeploymentSpec(
            name="batch",
            source=shop.folder / "batch.yml",
            compute="cpu-cluster-01",
            code=code,
            scoring_script="batch_score.py",
            environment=Environment(image="ubuntu:22.04"),
            mini_batch_size=1,
        )
        return BatchRequest(
            endpoint=BatchEndpointSpec(f"b{shop.endpoint}", shop.folder / "batch.yml"),
            deployment=replace(deployment, **changes),
            model=ServedModel(f"model-{shop.endpoint}", version, "0123abcd" * 8),
            source=shop.model(version),
            data=str(data),
            is_folder=True,
            rows=2 * files,
            job_name=job_name or f"score-{uuid.uuid4().hex[:8]}",
        )

    return make


async def score(request: BatchRequest, target: Path, said: list[str] | None = None) -> BatchScores:
    from flows.engines.azureml.sdk.workspace import open_workspace

    async with open_workspace(Settings.from_environment()) as workspace:
        return await score_batch(workspace, request, target, (said if said is not None else []).append)


def invocations(shop: Shop) -> int:
    return shop.service.count("POST", r"inference\.ml\.azure\.com/jobs$")


RequestFor = Callable[..., BatchRequest]


def test_files_are_scored_by_one_job_whose_predictions_come_here(
    shop: Shop, request_for: RequestFor, tmp_path: Path
) -> None:
    request, said = request_for(), list[str]()
    scores = asyncio.run(score(request, tmp_path / "out" / "scores.csv", said))
    assert (scores.job_name, scores.rows) == (request.job_name, 4)
    lines = scores.file.read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["0.0", "1"], ["0.5", "1"], ["1.0", "1"], ["1.5", "1"]]
    assert any("Completed" in line for line in said)
    assert shop.service.violations == []


def test_asked_again_nothing_is_made_and_no_other_job_is_started(
    shop: Shop, request_for: RequestFor, tmp_path: Path
) -> None:
    request = request_for()
    first = asyncio.run(score(request, tmp_path / "1.csv"))
    puts = shop.service.count("PUT", "/batchEndpoints/")
    again = asyncio.run(score(request, tmp_path / "2.csv"))
    assert again.job_name == first.job_name
    assert again.file.read_text() == first.file.read_text()
    assert (invocations(shop), shop.service.count("PUT", "/batchEndpoints/")) == (1, puts)


@pytest.mark.parametrize("names", ["given", "own"])
def test_job_whose_start_was_answered_into_the_void_is_found_and_not_started_again(
    shop: Shop, request_for: RequestFor, tmp_path: Path, names: Any
) -> None:
    shop.service.batch.job_names = names
    request = request_for()
    shop.service.faults.add(Fault("POST", r"/jobs$", "reset", after_work=True))
    scores = asyncio.run(score(request, tmp_path / "scores.csv"))
    assert scores.rows == 4
    assert invocations(shop) == 1
    started = [job for job in shop.service.jobs.values() if job["display_name"] == request.job_name]
    assert [job["name"] for job in started] == [scores.job_name]
    assert (scores.job_name == request.job_name) == (names == "given")


def test_start_that_was_lost_on_the_way_is_repeated(shop: Shop, request_for: RequestFor, tmp_path: Path) -> None:
    shop.service.faults.add(Fault("POST", r"/jobs$", "reset"))
    shop.service.faults.add(Fault("POST", r"/jobs$", code=503))
    assert asyncio.run(score(request_for(), tmp_path / "scores.csv")).rows == 4
    assert invocations(shop) == 3


def test_interrupted_while_the_job_runs_it_is_waited_for(shop: Shop, request_for: RequestFor, tmp_path: Path) -> None:
    request = request_for()
    shop.service.faults.add(JobFault("held", step="batchscoring", status="Running"))

    async def interrupted() -> None:
        first = asyncio.create_task(score(request, tmp_path / "scores.csv"))
        while request.job_name not in shop.service.jobs:
            assert not first.done()
            await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(interrupted())
    shop.service.faults.clear()
    assert asyncio.run(score(request, tmp_path / "scores.csv")).rows == 4
    assert invocations(shop) == 1


def test_new_version_replaces_the_deployment(shop: Shop, request_for: RequestFor, tmp_path: Path) -> None:
    asyncio.run(score(request_for(), tmp_path / "1.csv"))
    second = asyncio.run(score(request_for(version=2), tmp_path / "2.csv"))
    assert {line.split(",")[1] for line in second.file.read_text().splitlines()} == {"2"}


def test_rows_that_are_missing_are_told_though_the_job_has_completed(
    shop: Shop, request_for: RequestFor, tmp_path: Path
) -> None:
    request = request_for()
    (tmp_path / "data" / "broken.csv").write_text("x\n1\n2\n")
    request = replace(request, rows=6)
    with pytest.raises(RunError, match=r"has scored 4 of 6 rows: .*error_threshold \(-1\)"):
        asyncio.run(score(request, tmp_path / "scores.csv"))
    assert count_rows(tmp_path / "scores.csv") == 4


def test_job_that_fails_is_told_with_its_reason_and_its_log(
    shop: Shop, request_for: RequestFor, tmp_path: Path
) -> None:
    request = request_for(error_threshold=0)
    (tmp_path / "data" / "broken.csv").write_text("x\n1\n2\n")
    with pytest.raises(RunError, match=r"(?s)is Failed: UserError.*this file is broken"):
        asyncio.run(score(request, tmp_path / "scores.csv"))
    assert not (tmp_path / "scores.csv").exists()


def test_job_that_was_canceled_is_told_as_such(shop: Shop, request_for: RequestFor, tmp_path: Path) -> None:
    request = request_for()
    shop.service.faults.add(JobFault("hang", step="batchscoring"))

    async def canceled() -> None:
        scoring = asyncio.create_task(score(request, tmp_path / "scores.csv"))
        while request.job_name not in shop.service.jobs:
            assert not scoring.done()
            await asyncio.sleep(0.01)
        shop.service.runner.cancel(request.job_name)
        await scoring

    with pytest.raises(RunCanceled, match="To score anew, start it again"):
        asyncio.run(canceled())


def test_deployment_that_cannot_be_made_starts_no_job(shop: Shop, request_for: RequestFor, tmp_path: Path) -> None:
    request = request_for()
    shop.service.faults.add(EndpointFault("fail", request.endpoint.name, "batch", message="No such luck."))
    with pytest.raises(ServingError, match=r"deployment batch of the batch endpoint .* is Failed: .*No such luck"):
        asyncio.run(score(request, tmp_path / "scores.csv"))
    with pytest.raises(ServingError, match=r"Unknown compute target.*No job was started"):
        asyncio.run(score(request_for(compute="no-such-cluster"), tmp_path / "scores.csv"))
    assert invocations(shop) == 0


def test_line_breaks_in_cells_end_no_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('1,"a\nb"\n2,c\n')
    assert count_rows(tmp_path / "rows.csv") == 2
