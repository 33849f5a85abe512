"""Which earlier job the steps of a part read from, and what of a failed job is left to run."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

import pytest

from flows.any_yaml.selection.part import Part, PartAsked, part_of, successor_name
from flows.engines.earlier import EarlierJob
from flows.engines.runs import RunOutcome, RunStatus, StepOutcome
from flows.errors import ParameterError
from flows.spec.model.job import JobSpec, StepOutput
from flows.spec.reading.reader import read_job
from tests.conftest import Write
from tests.engines.jobs import FILE, FOLDER, command, delivered_by, pipeline

DONE, FAILED, NEVER = RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.NOT_STARTED


@dataclass(frozen=True)
class Known:
    """Earlier jobs, the newest first."""

    jobs: tuple[EarlierJob, ...]

    async def earlier_jobs(self, spec: JobSpec, name: str | None = None) -> AsyncIterator[EarlierJob]:
        for job in self.jobs:
            if name in (None, job.name):
                yield job


def job(name: str, status: str = "Failed", tags: Mapping[str, str] = {}, **steps: RunStatus) -> EarlierJob:
    """A job whose completed steps have each delivered the output ``out``."""
    outcomes = {step: StepOutcome(step, ended) for step, ended in steps.items()}
    outputs = {StepOutput(step, "out"): f"/{name}/{step}" for step, ended in steps.items() if ended is DONE}
    return EarlierJob(name, status, tags, outcomes, outputs)


@pytest.fixture
def row(write: Write) -> JobSpec:
    """Three steps in a row, and a fourth beside them."""
    steps = {
        "a": command("true", outputs={"out": "${{parent.outputs.first}}"}),
        "b": command("true", inputs={"it": delivered_by("a")}, outputs={"out": FOLDER}),
        "c": command("true", inputs={"it": delivered_by("b"), "first": delivered_by("a")}, outputs={"out": FOLDER}),
        "beside": command("true", outputs={"out": FOLDER}),
    }
    return read_job(write({"job.yml": pipeline(steps, outputs={"first": FILE})}) / "job.yml")


def part(spec: JobSpec, *jobs: EarlierJob, **asked: str) -> Part:
    """The part that is asked for, which is not all."""
    found = asyncio.run(part_of(spec, PartAsked(**asked), Known(jobs)))
    assert found is not None
    return found


def refusal(spec: JobSpec, *jobs: EarlierJob, **asked: str) -> str:
    with pytest.raises(ParameterError) as raised:
        asyncio.run(part_of(spec, PartAsked(**asked), Known(jobs)))
    return str(raised.value)


def test_all_of_a_job_is_no_part_of_it(row: JobSpec) -> None:
    assert asyncio.run(part_of(row, PartAsked(), Known(()))) is None


def test_one_step_reads_from_the_newest_job_that_has_all_that_it_needs(row: JobSpec) -> None:
    jobs = job("new", a=DONE, b=FAILED), job("older", a=DONE, b=DONE, c=FAILED), job("oldest", a=DONE, b=DONE)
    found = part(row, *jobs, only="c")
    assert found.chosen == {"c"}
    assert found.delivered == {StepOutput("b", "out"): "/older/b", StepOutput("a", "out"): "/older/a"}
    assert found.tags == {"tandem.selected": "only c", "tandem.inputs_from": "older"}
    assert part(row, *jobs, only="b").source == jobs[0]
    assert part(row, *jobs, only="c", job="oldest").delivered[StepOutput("b", "out")] == "/oldest/b"


def test_from_a_step_on_only_what_comes_before_is_read(row: JobSpec) -> None:
    found = part(row, job("new", a=DONE), first="b")
    assert (found.chosen, found.delivered) == ({"b", "c"}, {StepOutput("a", "out"): "/new/a"})


def test_step_that_reads_nothing_of_others_needs_no_job(row: JobSpec) -> None:
    found = part(row, job("new", a=DONE), only="beside")
    assert (found.source, found.delivered, found.tags) == (None, {}, {"tandem.selected": "only beside"})


def test_rest_of_a_job_is_what_has_not_finished_in_it_or_in_those_before_it(row: JobSpec) -> None:
    jobs = (
        job("j-s2", tags={"tandem.resumes": "j-s1"}, c=FAILED),
        job("j-s1", tags={"tandem.resumes": "j"}, b=DONE, c=FAILED),
        job("j", a=DONE, b=FAILED, c=NEVER, beside=DONE),
    )
    found = part(row, *jobs, resume="j-s2")
    assert found.chosen == {"c"}
    assert found.delivered == {StepOutput("b", "out"): "/j-s1/b", StepOutput("a", "out"): "/j/a"}
    assert found.tags == {"tandem.resumes": "j-s2"}
    assert {name: (step.state, step.message) for name, step in found.finished.items()} == dict.fromkeys(
        ("a", "b", "beside"), ("reused", "Delivered by the job j-s2.")
    )
    assert part(row, *jobs, resume="j").chosen == {"b", "c"}


def test_step_that_finished_without_what_a_failed_one_was_to_give_it_is_left_to_run(write: Write) -> None:
    optional = {**command("true", outputs={"out": FOLDER}), "name": "o", "inputs": {"it": {**FILE, "optional": True}}}
    steps = {
        "a": command("true", outputs={"out": FILE}),
        "tolerant": {"component": "./optional.yml", "inputs": {"it": delivered_by("a")}},
        "other": command("true", outputs={"out": FILE}),
    }
    spec = read_job(write({"job.yml": pipeline(steps), "optional.yml": json.dumps(optional)}) / "job.yml")
    found = part(spec, job("j", a=FAILED, tolerant=DONE, other=DONE), resume="j")
    assert (found.chosen, found.finished.keys()) == ({"a", "tolerant"}, {"other"})
    assert part(spec, job("j", a=FAILED), only="tolerant").delivered == {}
    assert part(spec, job("j", a=DONE), only="tolerant").delivered == {StepOutput("a", "out"): "/j/a"}


def test_finished_step_whose_output_was_deleted_runs_again(row: JobSpec) -> None:
    begun = job("j", a=DONE, b=DONE, c=FAILED, beside=DONE)
    assert part(row, begun, resume="j").chosen == {"c"}
    lost = replace(begun, outputs={output: path for output, path in begun.outputs.items() if output.step != "b"})
    assert part(row, lost, resume="j").chosen == {"b", "c"}


def test_rest_of_a_job_of_some_steps_is_of_these_and_reads_from_the_same_job(row: JobSpec) -> None:
    tags = {"tandem.selected": "from b", "tandem.inputs_from": "whole"}
    jobs = job("some", tags=tags, b=DONE, c=FAILED), job("whole", a=DONE, b=FAILED)
    found = part(row, *jobs, resume="some")
    assert found.chosen == {"c"}
    assert found.delivered == {StepOutput("b", "out"): "/some/b", StepOutput("a", "out"): "/whole/a"}
    assert found.finished.keys() == {"b"}
    assert found.tags == {**tags, "tandem.resumes": "some"}


def test_outcome_of_the_rest_has_what_was_finished_before_in_the_order_of_the_graph(row: JobSpec) -> None:
    found = part(row, job("j", a=DONE, b=FAILED, beside=DONE), resume="j")
    ran = RunOutcome("j-s1", DONE, (StepOutcome("b", DONE), StepOutcome("c", DONE)), {}, {}, "j-s1")
    whole = found.completed(ran, row)
    assert [(step.name, step.state) for step in whole.steps] == [
        ("a", "reused"),
        ("beside", "reused"),
        ("b", "Completed"),
        ("c", "Completed"),
    ]
    assert whole.outputs == {"first": "/j/a"}


def test_what_is_lacking_is_told_with_the_step_to_run_first(row: JobSpec) -> None:
    first = f"Run that step first: tandem run {row.source} --only b"
    assert refusal(row, job("j", a=DONE, b=FAILED), only="c", job="j") == (
        "c.it reads the output out of the step b, and the job j has not delivered it (b: Failed). Nothing was run. "
        + first
    )
    assert "(it did not run that step)" in refusal(row, job("j", a=DONE), only="c", job="j")
    assert "no job of job.yml has delivered it together with what else is read." in refusal(
        row, job("j", a=DONE), only="c"
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("Completed", "the job j has completed, so there is nothing left to run. To run it again: tandem run"),
        ("Running", "the job j has not ended (Running). Nothing was started."),
        ("NotResponding", "the job j has not ended (NotResponding). Nothing was started."),
    ],
)
def test_job_that_is_not_over_or_has_completed_is_not_gone_on_with(row: JobSpec, status: str, said: str) -> None:
    assert refusal(row, job("j", status, a=DONE), resume="j").startswith(f"--resume j: {said}")


def test_job_of_another_file_is_refused(row: JobSpec) -> None:
    other = job("j", tags={"tandem.file": "project/other.yml"}, a=DONE)
    own = f"{row.source.parent.name}/job.yml"
    said = f"the job j was made from project/other.yml, and not from {own}. Name a job of this file."
    assert refusal(row, other, resume="j") == f"--resume j: {said}"
    assert refusal(row, other, only="b", job="j") == f"--job j: {said}"
    elsewhere = job("j", tags={"tandem.file": "another-name-of-the-project/job.yml"}, a=DONE)
    assert part(row, elsewhere, only="b", job="j").source == elsewhere


def test_job_whose_definition_has_changed_is_refused(row: JobSpec) -> None:
    changed = job("j", tags={"tandem.definition": "of another content"}, a=DONE)
    assert "is not what the job was made from. Nothing was run." in refusal(row, changed, resume="j")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"only": "a", "first": "b"}, "--only and --from exclude each other. Give one of them."),
        ({"first": "a", "resume": "j"}, "--from and --resume exclude each other. Give one of them."),
        ({"job": "j"}, "--job j names the job whose outputs the steps of --only or --from read. Add one of these."),
        ({"resume": "i", "job": "j"}, "--job j names the job whose outputs"),
    ],
)
def test_flags_that_exclude_each_other_are_told(asked: dict[str, str], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        PartAsked(**asked)


def test_successors_of_a_job_are_numbered() -> None:
    names = [successor_name(name) for name in ("job-0123456789ab", "job-s1", "job-s9")]
    assert names == ["job-0123456789ab-s1", "job-s2", "job-s10"]
