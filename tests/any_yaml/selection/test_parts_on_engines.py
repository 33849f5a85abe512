"""Parts of jobs on both engines: one step, from a step, and what a failed job has not finished."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from flows.any_yaml.outcome import FileOutcome
from flows.any_yaml.run_file import run_file
from flows.any_yaml.selection.part import successor_name
from flows.engines import polling
from flows.machine.locks import held
from flows.settings import Settings
from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.engines.jobs import FILE, FOLDER, command, delivered_by, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many


@dataclass
class Runs:
    """Runs parts of one pipeline on one engine, and counts how often each of its steps has run."""

    engine: str
    folder: Path
    service: Service | None = None
    flow_runs: list[str] = field(default_factory=list[str])

    def run(self, state: str = "Completed", file: str = "job.yml", **asked: Any) -> FileOutcome:
        """Run a file in this process. Returns the outcome of a flow run that ended in this state."""
        return self._run(state, file, asked)[1]

    def refused(self, state: str = "ParameterError", file: str = "job.yml", **asked: Any) -> str:
        """What a flow run says that ended before anything was started."""
        before = self.ran()
        said, _ = self._run(state, file, asked)
        assert self.ran() == before
        return said

    def _run(self, expected: str, file: str, asked: dict[str, Any]) -> tuple[str, Any]:
        async def flow_run() -> tuple[str, Any]:
            in_flow: Any = run_file
            state = await in_flow(file=str(self.folder / file), engine=self.engine, **asked, return_state=True)
            assert state.name == expected, state
            self.flow_runs.append(str(state.state_details.flow_run_id))
            value = await state.aresult(raise_on_failure=False) if state.data is not None else None
            return state.message or "", value

        return asyncio.run(flow_run())

    def last_flow_run(self) -> FlowRun:
        async def read() -> FlowRun:
            async with get_client() as client:
                return await client.read_flow_run(self.flow_runs[-1])  # type: ignore[arg-type]

        return asyncio.run(read())

    def ran(self) -> dict[str, int]:
        """How often each step has run."""
        return {file.stem: len(file.read_text().split()) for file in sorted(self.folder.glob("*.ran"))}

    def said(self, outcome: FileOutcome, name: str, folder: str) -> str:
        """The file ``said`` in an output of the job, which was copied to a folder."""
        return (self.folder / folder / "outputs" / name / "said").read_text()

    def allow(self, step: str) -> None:
        """Let a step of :func:`three_steps` end well from now on."""
        (self.folder / f"{step}.ok").touch()


def three_steps(folder: Path) -> dict[str, str]:
    """A pipeline of three steps in a row: the first is never the same, and the others fail until they are allowed."""
    counted = f"echo ran >> {folder}"
    fresh = command(
        f"{counted}/prep.ran; echo ${{{{inputs.word}}}} $RANDOM$RANDOM > ${{{{outputs.rows}}}}",
        inputs={"word": {"type": "string"}},
        outputs={"rows": FILE},
    )
    steps = {
        "prep": {
            "component": "./prep.yml",
            "inputs": {"word": "${{parent.inputs.word}}"},
            "outputs": {"rows": "${{parent.outputs.rows}}"},
        },
        "train": command(
            f"{counted}/train.ran; test -e {folder}/train.ok && cp ${{{{inputs.rows}}}} ${{{{outputs.model}}}}/weights",
            inputs={"rows": {**FILE, "path": delivered_by("prep", "rows")}},
            outputs={"model": FOLDER},
        ),
        "report": command(
            f"{counted}/report.ran; test -e {folder}/report.ok && "
            "cat ${{inputs.model}}/weights ${{inputs.rows}} > ${{outputs.out}}/said && "
            "echo ${{inputs.title}} >> ${{outputs.out}}/said",
            inputs={
                "model": delivered_by("train", "model"),
                "rows": delivered_by("prep", "rows"),
                "title": "${{parent.inputs.title}}",
            },
            outputs={"out": "${{parent.outputs.out}}"},
        ),
    }
    inputs = {"word": f"word of {folder.name}", "title": "first title"}
    text = pipeline(steps, inputs=inputs, outputs={"rows": FILE, "out": FOLDER})
    return {"job.yml": text, "prep.yml": json.dumps({**fresh, "name": "prep", "is_deterministic": False})}


@pytest.fixture(params=["local", pytest.param("azureml", marks=pytest.mark.slow)])
def runs(
    request: pytest.FixtureRequest, prefect_api: str, home: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runs]:
    service: Service | None = None
    if request.param == "azureml":
        monkeypatch.setattr(polling, "FIRST_SECONDS", 0.1)
        monkeypatch.setattr(polling, "LONGEST_SECONDS", 0.4)
        service = request.getfixturevalue("azure_environment")
        request.getfixturevalue("azure_client_allowed")
    folder = home.parent
    write(three_steps(folder))
    yield Runs(request.param, folder, service)
    if service is not None:
        assert not service.violations


def test_resumed_job_runs_what_has_failed_and_not_what_has_finished_though_that_would_never_be_reused(
    runs: Runs,
) -> None:
    first = runs.run("StepFailed", force_rerun=True).job
    runs.allow("train")
    second = runs.run("StepFailed", force_rerun=True, resume=first.job_name).job
    runs.allow("report")
    third = runs.run(force_rerun=True, resume=second.job_name, output_dir=str(runs.folder / "out"))

    assert runs.ran() == {"prep": 1, "train": 2, "report": 2}
    assert (second.job_name, third.job.job_name) == (f"{first.job_name}-s1", f"{first.job_name}-s2")
    assert [(step.name, step.state) for step in third.job.steps] == [
        ("prep", "reused"),
        ("train", "reused"),
        ("report", "Completed"),
    ]
    places = {name: str(runs.folder / "out" / "outputs" / name) for name in ("rows", "out")}
    assert third.job.outputs == places
    assert Path(places["rows"]).read_text().startswith("word of ")
    one, other, title = runs.said(third, "out", "out").splitlines()
    assert one == other
    assert one.startswith(f"word of {runs.folder.name} ")
    assert title == "first title"
    run = runs.last_flow_run()
    assert run.name == f"{runs.folder / 'job.yml'}, resumes {second.job_name}"
    assert f"tandem.resumes:{second.job_name}" in run.tags
    assert run.labels["tandem.resumes"] == second.job_name
    assert third.job.tags["tandem.resumes"] == second.job_name


@pytest.mark.slow
def test_resumption_that_is_asked_for_again_is_the_same_job(runs: Runs) -> None:
    first = runs.run("StepFailed").job
    again = [runs.run("StepFailed", resume=first.job_name).job for _ in range(2)]

    assert [job.job_name for job in again] == [successor_name(first.job_name)] * 2
    assert [(step.name, str(step.status)) for step in again[1].steps] == [
        ("prep", "Completed"),
        ("train", "Failed"),
        ("report", "NotStarted"),
    ]
    assert runs.ran() == {"prep": 1, "train": 2}


@pytest.mark.slow
def test_one_step_runs_alone_with_what_the_newest_job_that_has_it_has_delivered(runs: Runs) -> None:
    runs.allow("train")
    older = runs.run("StepFailed").job
    (runs.folder / "train.ok").unlink()
    newer = runs.run("StepFailed", force_rerun=True).job
    runs.allow("report")
    assert runs.ran() == {"prep": 2, "train": 2, "report": 1}

    out = str(runs.folder / "out")
    alone = runs.run(only="report", inputs={"title": "another title"}, output_dir=out)

    assert runs.ran() == {"prep": 2, "train": 2, "report": 2}
    assert [step.name for step in alone.job.steps] == ["report"]
    assert alone.job.outputs.keys() == {"out"}
    one, other, title = runs.said(alone, "out", "out").splitlines()
    assert (one == other, title) == (True, "another title")
    assert alone.job.tags["tandem.inputs_from"] == older.job_name
    assert alone.job.tags["tandem.selected"] == "only report"
    run = runs.last_flow_run()
    assert run.name == f"{runs.folder / 'job.yml'}, only report"
    assert {"tandem.selected:only report", f"tandem.inputs_from:{older.job_name}"} <= {*run.tags}
    said = runs.refused(only="report", job=newer.job_name)
    assert said == (
        f"report.model reads the output model of the step train, and the job {newer.job_name} has not delivered it "
        f"(train: Failed). Nothing was run. Run that step first: tandem run {runs.folder / 'job.yml'} --only train"
    )


@pytest.mark.slow
def test_from_a_step_on_runs_what_reads_from_it_too(runs: Runs) -> None:
    runs.run("StepFailed")
    runs.allow("train")
    runs.allow("report")
    rest = runs.run(from_step="train").job
    assert [step.name for step in rest.steps] == ["train", "report"]
    assert runs.ran() == {"prep": 1, "train": 2, "report": 1}


@pytest.mark.slow
def test_job_of_some_steps_is_gone_on_with_as_what_it_was(runs: Runs) -> None:
    whole = runs.run("StepFailed").job
    runs.allow("train")
    part = runs.run("StepFailed", from_step="train", job=whole.job_name).job
    runs.allow("report")
    rest = runs.run(resume=part.job_name).job
    assert [(step.name, step.state) for step in rest.steps] == [("train", "reused"), ("report", "Completed")]
    assert runs.ran() == {"prep": 1, "train": 2, "report": 2}
    assert rest.tags["tandem.selected"] == "from train"


@pytest.mark.slow
def test_what_cannot_be_gone_on_with_is_told_and_starts_nothing(runs: Runs, write: Write) -> None:
    file = runs.folder / "job.yml"
    assert runs.refused(only="train") == (
        "train.rows reads the output rows of the step prep, and no job of job.yml has delivered it. Nothing was run. "
        f"Run that step first: tandem run {file} --only prep"
    )
    assert runs.refused(resume="nothing-of-the-kind").startswith(
        "--resume nothing-of-the-kind: there is no job nothing-of-the-kind where this runs. Nothing was run."
    )
    assert runs.refused(only="train", job="nothing").startswith("--job nothing: there is no job nothing ")
    prep = runs.run(only="prep").job
    assert runs.refused(resume=prep.job_name) == (
        f"--resume {prep.job_name}: the job {prep.job_name} has completed, so there is nothing left to run. "
        f"To run it again: tandem run {file}"
    )
    failed = runs.run("StepFailed").job
    write({"other.yml": file.read_text()})
    assert runs.refused(file="other.yml", resume=failed.job_name) == (
        f"--resume {failed.job_name}: the job {failed.job_name} was made from {file.parent.name}/job.yml, and not from "
        f"{file.parent.name}/other.yml. Name a job of this file."
    )
    file.write_text(file.read_text().replace("first title", "second title"))
    said = runs.refused(resume=failed.job_name)
    assert said.startswith(f"--resume {failed.job_name}: job.yml, what it names, or a value that it is given")


@pytest.mark.slow
def test_job_that_has_not_ended_is_not_gone_on_with(runs: Runs) -> None:
    if runs.service is None:
        folder = Settings.from_environment().jobs / "running"
        folder.mkdir(parents=True)
        (folder / "submitted.json").write_text('{"engine": "local"}')
        name = "running"
    else:
        name = runs.run("StepFailed").job.job_name
        with runs.service.documents.change("jobs", name) as job:
            job["status"] = "Running"
    assert runs.refused(resume=name).startswith(f"--resume {name}: the job {name} has not ended (Running).")


@pytest.mark.slow
def test_one_process_at_a_time_goes_on_after_a_job_on_this_machine(runs: Runs) -> None:
    if runs.service is not None:
        pytest.skip("in a workspace, both wait for the same job")
    name = runs.run("StepFailed").job.job_name
    folder = Settings.from_environment().jobs / f"{name}-s1"
    folder.mkdir()
    with held(folder / ".resumed"):
        assert runs.refused(resume=name) == (
            f"Another process goes on after the job {name}, as {name}-s1. Nothing was started. Wait until it has ended."
        )
    runs.allow("train")
    runs.allow("report")
    assert runs.run(resume=name).job.job_name == f"{name}-s1"


@pytest.mark.slow
def test_step_that_ran_without_what_a_failed_one_was_to_give_it_runs_again_with_it(runs: Runs, write: Write) -> None:
    folder = runs.folder
    tolerant = command(
        f"echo ran >> {folder}/tolerant.ran; echo with $[[$(cat ${{{{inputs.it}}}})]] > ${{{{outputs.out}}}}/said",
        outputs={"out": FOLDER},
    )
    steps = {
        "fails": command(f"test -e {folder}/fails.ok && echo it > ${{{{outputs.out}}}}", outputs={"out": FILE}),
        "tolerant": {
            "component": "./tolerant.yml",
            "inputs": {"it": delivered_by("fails")},
            "outputs": {"out": "${{parent.outputs.out}}"},
        },
        "third": command(f"echo ran >> {folder}/third.ran"),
    }
    optional = {**tolerant, "name": "tolerant", "inputs": {"it": {**FILE, "optional": True}}}
    write({"job.yml": pipeline(steps, outputs={"out": FOLDER}), "tolerant.yml": json.dumps(optional)})
    failed = runs.run("StepFailed").job
    runs.allow("fails")
    rest = runs.run(resume=failed.job_name, output_dir=str(folder / "out"))
    assert runs.said(rest, "out", "out") == "with it\n"
    assert runs.ran() == {"third": 1, "tolerant": 2}


@pytest.mark.slow
@pytest.mark.parametrize("engines", [("azureml", "local"), ("local", "azureml")], ids=" to ".join)
def test_step_reads_what_a_job_of_the_other_engine_has_delivered(
    engines: tuple[str, str],
    prefect_api: str,
    home: Path,
    write: Write,
    azure_environment: Service,
    azure_client_allowed: None,
) -> None:
    folder = home.parent
    write(three_steps(folder))
    there, here = (Runs(engine, folder) for engine in engines)
    there.allow("train")
    name = there.run("StepFailed").job.job_name
    here.allow("report")

    done = here.run(only="train", job=name)

    assert (here.ran()["prep"], here.ran()["train"]) == (1, 2)
    assert done.job.tags["tandem.inputs_from"] == name
    assert [(step.name, step.state) for step in done.job.steps] == [("train", "Completed")]
