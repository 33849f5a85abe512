"""A third engine, which completes every step at once; and a program that runs on it what can be run.

The program is given a folder, and writes there what came of it. It registers the engine before the parameters are
imported, which take the names from the table, as if the entry stood in the table.
"""

import asyncio
import contextlib
import io
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.data.assets import ResolvedData, resolve_data
from flows.engines.earlier import EarlierJob
from flows.engines.kind import EngineKind, Where
from flows.engines.open_engine import ENGINES
from flows.engines.polling import Timeouts
from flows.engines.runs import (
    KeptReport,
    PipelineRequest,
    RunAccount,
    RunOutcome,
    RunStatus,
    StepOutcome,
    Submission,
    Unfinished,
)
from flows.mlflow_store.model_registry import Candidate, ModelVersion, Overtaken
from flows.settings import Settings
from flows.spec.graph import order
from flows.spec.model.job import JobSpec, StepOutput
from flows.tags import decision_tags

SCORES = {
    "accuracy": 0.75, "roc_auc": 0.85, "average_precision": 0.7, "precision": 0.5, "recall": 1.0, "f1": 2 / 3,
    "brier_score_loss": 0.15, "log_loss": 1.25,
    "confusion_matrix": {"tn": 2, "fp": 1, "fn": 0, "tp": 1}, "rows": 4, "positives": 1,
}  # fmt: skip
FILE = """
type: command
command: none of this is run > ${{outputs.counted}}
environment: {image: "ubuntu:22.04"}
outputs: {counted: {type: uri_file}}
"""


class Versions:
    """A model registry in memory."""

    def __init__(self) -> None:
        self._versions: dict[str, list[ModelVersion]] = {}

    async def champion(self, model_name: str) -> ModelVersion | None:
        known = self._versions.get(model_name, [])
        return next((one for one in reversed(known) if one.alias == "champion"), None)

    async def version(self, model_name: str, version: int) -> ModelVersion | None:
        return next((one for one in self._versions.get(model_name, []) if one.version == version), None)

    async def register(self, candidate: Candidate, alias: str | None = None) -> ModelVersion:
        known = self._versions.setdefault(candidate.model_name, [])
        same = candidate.idempotency_tags
        found = next((one for one in known if same.items() <= one.tags.items()), None)
        if found is not None:
            return replace(found, created=False)
        number, tags = len(known) + 1, {**candidate.tags, **same}
        known.append(ModelVersion(candidate.model_name, number, True, alias, candidate.model, candidate.run_id, tags))
        return known[-1]

    async def promote(
        self, candidate: Candidate, *, compared_with: int | None, flow_run_id: str
    ) -> ModelVersion | Overtaken:
        champion = await self.champion(candidate.model_name)
        if champion is not None and champion.version != compared_with:
            return Overtaken(champion.version)
        tags = {**candidate.tags, **decision_tags(flow_run_id, compared_with)}
        return await self.register(replace(candidate, tags=tags), alias="champion")

    async def move(
        self, model_name: str, version: int, *, champion: int | None, new: Mapping[str, str], old: Mapping[str, str]
    ) -> ModelVersion | Overtaken:
        raise AssertionError("no test moves the champion here")

    async def tag(self, model_name: str, version: int, name: str, value: str) -> None:
        at = version - 1
        known = self._versions[model_name]
        known[at] = replace(known[at], tags={**known[at].tags, name: value})


REGISTRY = Versions()


class InstantEngine:
    """Runs nothing: every step is completed, and every output is there."""

    name = "instant"
    outlives_process = False
    registry = REGISTRY

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def resolve_data(self, text: str) -> ResolvedData:
        return resolve_data(text, self._settings.data_assets)

    async def data_file(self, data: ResolvedData, folder: Path) -> Path:
        assert data.path is not None
        return data.path

    async def keep_data(self, data: ResolvedData) -> None:
        pass

    async def kept_data(self, sha256: str) -> Path | None:
        return None

    async def submit(self, request: PipelineRequest) -> Submission:
        return Submission(request)

    async def unfinished(self, submission: Submission, seconds: float) -> Unfinished | None:
        return None

    async def wait(self, submission: Submission) -> RunOutcome:
        request = submission.request
        steps = tuple(StepOutcome(name, RunStatus.COMPLETED) for name in order(request.spec))
        outputs = {name: f"instant://{request.job_name}/{name}" for name in request.spec.outputs}
        return RunOutcome(request.job_name, RunStatus.COMPLETED, steps, outputs, request.tags, where="nowhere")

    def failed_by_machine(self, outcome: RunOutcome) -> bool:
        return False

    def can_fetch(self, outcome: RunOutcome, output: str) -> bool:
        return True

    async def fetch(self, outcome: RunOutcome, output: str, folder: Path) -> Path:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if output == "counted":
            folder.write_text("instant\n")
            return folder
        folder.mkdir(exist_ok=True)
        if output == "evaluation":
            both = {"challenger": SCORES, "champion": SCORES if await REGISTRY.champion("m") else None}
            (folder / "metrics.json").write_text(json.dumps({"schema_version": 1, "threshold": 0.5, **both}))
        return folder

    async def bring(self, outcome: RunOutcome, folder: Path) -> RunOutcome:
        paths = {name: str(await self.fetch(outcome, name, folder / name)) for name in outcome.outputs}
        return replace(outcome, outputs=paths)

    async def identity(self, outcome: RunOutcome, output: str) -> Mapping[str, str]:
        return {"tandem.model_sha256": "of the only model that there is"}

    async def earlier_jobs(self, spec: JobSpec, name: str | None = None) -> AsyncIterator[EarlierJob]:
        for job in tuple[EarlierJob, ...]():
            yield job

    async def bring_output(self, job: EarlierJob, output: StepOutput, type: str, folder: Path) -> Path:
        return Path(job.outputs[output])

    async def keep_report(self, outcome: RunOutcome, report: Path, account: RunAccount) -> KeptReport:
        return KeptReport(report.as_uri(), "nowhere else")


class InstantKind(EngineKind):
    """The entry of the third engine."""

    name = "instant"
    title = "instant"
    registered: list[str]

    def __init__(self) -> None:
        self.registered = []

    @asynccontextmanager
    async def open(
        self, settings: Settings, timeouts: Timeouts, tracking: Where, python: Path | None
    ) -> AsyncGenerator[InstantEngine]:
        yield InstantEngine(settings)

    async def register_data(self, settings: Settings, path: Path, name: str) -> tuple[ResolvedData, bool]:
        self.registered.append(name)
        return ResolvedData(f"{name}:1", "uri_file", path, name, "1"), True


async def trained(flow: Any, folder: Path) -> dict[str, Any]:
    """What a training flow comes to."""
    state = await flow(engine="instant", model_name="m", evaluation_output=str(folder), return_state=True)
    summary = await state.aresult()
    version = None if summary.version is None else summary.version.version
    return {
        "engine": summary.engine,
        "verdict": state.name,
        "version": version,
        "steps": len(summary.outcome.steps),
    }


def typed(*words: str) -> tuple[int, Any]:
    """The exit code of ``tandem`` with these words, and the JSON that it prints."""
    from flows.cli.main import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main([*words, "--engine", "instant", "--json"])
    return code, json.loads(said.getvalue())


def run_all(folder: Path) -> None:
    """Run the flows and the commands, and write what came of them to ``said.json``."""
    kind = ENGINES["instant"] = InstantKind()

    from flows.train_job import train_job
    from flows.train_pipeline import train_pipeline

    said: dict[str, Any] = {
        "pipeline": asyncio.run(trained(train_pipeline, folder / "one")),
        "again": asyncio.run(trained(train_pipeline, folder / "two")),
        "job": asyncio.run(trained(train_job, folder / "job")),
    }
    (folder / "file.yml").write_text(FILE)
    code, outcome = typed("run", str(folder / "file.yml"), "--output-dir", str(folder / "out"))
    text = (folder / "out" / "outputs" / "counted").read_text()
    said["run"] = {"code": code, "outputs": list(outcome["outputs"]), "text": text}
    rows = Path(__file__).parents[2] / "data" / "diabetes-diagnostics" / "diabetes-diagnostics.csv"
    code, _ = typed("data", "register", str(rows), "--name", "rows")
    said["register"] = {"code": code, "names": kind.registered}
    (folder / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
