"""Runs, artifacts and models on an MLflow server of a team, from several machines (folders of local state)."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.mlflow_store.model_registry import Candidate, MlflowTracking, ModelVersion, Overtaken
from tests.mlflow_store.servers import MlflowServer
from tests.mlflow_store.stores import WORKER, Store, line_to


class Machine(Store):
    """A folder of local state on a machine that uses a server."""

    def __init__(self, folder: Path, server: MlflowServer, **variables: str) -> None:
        super().__init__(folder)
        self.environment |= {**server.environment, **variables}

    @contextlib.asynccontextmanager
    async def tracking(self) -> AsyncGenerator[MlflowTracking]:
        async with line_to(WORKER, environment=self.environment, timeout_seconds=300) as worker:
            yield MlflowTracking(worker)

    def candidate(self, name: str, label: str, run_id: str, **more: Any) -> Candidate:
        key = hashlib.sha256(label.encode()).hexdigest()
        return Candidate(name, self.model(label, label), run_id, {"tandem.model_sha256": key}, **more)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("server") / "team") as server:
        yield server


def test_model_that_one_machine_promotes_is_compared_by_another(server: MlflowServer, tmp_path: Path) -> None:
    here, there = Machine(tmp_path / "here", server), Machine(tmp_path / "there", server)

    async def scenario() -> None:
        async with here.tracking() as ours, there.tracking() as theirs:
            run_id = await ours.create_run("shared", "train")
            await ours.check_artifacts(run_id)
            await ours.log_metrics(run_id, {"loss": 0.5})
            report = tmp_path / "report"
            report.mkdir()
            (report / "report.html").write_text("the report")
            assert run_id in await ours.log_folder(run_id, report, "evaluation")
            made = await ours.promote(here.candidate("shared", "one", run_id), compared_with=None, flow_run_id="a")
            assert isinstance(made, ModelVersion) and made.created and made.version == 1
            assert made.source.startswith("mlflow-artifacts:/"), "a source that every machine can open"
            found = await theirs.champion("shared")
            assert found is not None and found.version == 1
            assert Path(found.source).is_relative_to(there.folder)
            assert (Path(found.source) / "MLmodel").read_text() == "flavors: one"
            assert (Path(found.source) / "data" / "model.skops").read_text() == "one" * 1000
            assert await theirs.champion("shared") == found, "the copy is kept"
            other = await theirs.create_run("shared", "train")
            second = there.candidate("shared", "two", other)
            assert await theirs.promote(second, compared_with=None, flow_run_id="b") == Overtaken(by=1)
            made = await theirs.promote(second, compared_with=1, flow_run_id="c")
            assert isinstance(made, ModelVersion)
            again = await theirs.promote(second, compared_with=1, flow_run_id="c")
            assert isinstance(again, ModelVersion) and (again.version, again.created) == (made.version, False)
            found = await ours.champion("shared")
            assert found is not None and found.version == made.version

    asyncio.run(scenario())
    assert not (here.folder / "mlflow.db").exists(), "nothing is in the local store"
    assert (server.folder / "served").is_dir()
