"""A scoring without Prefect: the shipped model and script, files of a test, the place on this machine."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from flows.data.digests import data_digest
from flows.scoring.columns import columns_of_input
from flows.scoring.places.here import LocalScoring
from flows.scoring.places.place import ScoringRequest
from flows.scoring.progress import Progress
from flows.scoring.record import key_of
from flows.scoring.summary import ScoreSummary
from flows.scoring.tables import open_tables, portions
from flows.scoring.work import Work, score_once
from flows.serving.endpoints import ServedModel
from flows.serving.local.pages import columns_of
from flows.settings import Settings
from flows.spec.reading.batch import read_batch_deployment, read_batch_endpoint
from tests.terminal import PROJECT

SERVING = PROJECT / "serving"


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores files with one model, which has a version for each number."""

    model: Path
    home: Path

    def work(self, data: Path, output: Path, version: int = 1, rows: int = 131_072) -> Work:
        """A scoring of files, in portions of so many rows."""
        tables = open_tables(data, str(data))
        columns = columns_of_input(tables[0].names, columns_of(self.model), str(data), "patients:1")
        definition = read_batch_deployment(SERVING / "batch-deployment.yml")
        model = ServedModel("patients", version, data_digest(self.model))
        request = ScoringRequest(
            str(data),
            partial(portions, tables, str(data), rows),
            columns.features,
            model,
            str(self.model),
            read_batch_endpoint(SERVING / "batch-endpoint.yml"),
            definition,
            key_of(data_digest(data), model, definition),
        )
        return Work(request, columns, "local", output, self.home)

    def score(self, data: Path, output: Path, version: int = 1, rows: int = 131_072) -> ScoreSummary:
        return self.do(self.work(data, output, version, rows))

    def do(self, work: Work, tell: Callable[[Progress], object] = lambda now: None) -> ScoreSummary:
        async def told(now: Progress) -> None:
            tell(now)

        async def scored() -> ScoreSummary:
            with LocalScoring(Settings.from_environment({"TANDEM_HOME": str(self.home)})) as place:
                return await score_once(place, work, told)

        return asyncio.run(scored())


@pytest.fixture
def scorer(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scorer:
    monkeypatch.setenv("OF_TEST", str(tmp_path / "home"))  # by which the processes that it starts are found
    return Scorer(trained, tmp_path / "home")
