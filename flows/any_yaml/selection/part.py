"""The part of a job that is asked for: which of its steps run, and which earlier job they read from.

``--only STEP`` and ``--from STEP`` read what the other steps have delivered in an earlier job of the same file: the one
that ``--job`` names, or the newest that has delivered all that is needed. ``--resume JOB`` runs what the job has not
finished, and reads what it has. A step that has finished without an optional input, because the step that delivers it
had failed, runs again with it.

A resumed job is named after the job before it: ``JOB-s1``, then ``JOB-s2``. So the same command, started again after
it was killed, asks for the same job. The tag ``tandem.resumes`` of the new job names the one before, whose outputs a
third job finds by following these tags.
"""

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from flows.any_yaml.selection.graph import Need, downstream, need, steps_named
from flows.engines.earlier import EarlierJob
from flows.engines.plan.definition import definition_digest, definition_parts, file_label, same_file
from flows.engines.runs import RunOutcome, RunStatus, StepOutcome
from flows.errors import ParameterError
from flows.spec.graph import order
from flows.spec.model.job import JobSpec, StepOutput
from flows.tags import DEFINITION, FILE, INPUTS_FROM, RESUMES, SELECTED

_OVER = frozenset({RunStatus.FAILED, RunStatus.CANCELED})


@dataclass(frozen=True, slots=True)
class PartAsked:
    """What a person asks for: at most one of ``only``, ``first`` (``--from``) and ``resume``; None is the whole job.

    ``job``: the earlier job that ``only`` or ``first`` read from; None for the newest that has what is needed.
    """

    only: str | None = None
    first: str | None = None
    job: str | None = None
    resume: str | None = None

    def __post_init__(self) -> None:
        flags = {"--only": self.only, "--from": self.first, "--resume": self.resume}
        given = [flag for flag, value in flags.items() if value is not None]
        if len(given) > 1:
            raise ParameterError(f"{' and '.join(given)} exclude each other. Give one of them.")
        if self.job is not None and (not given or self.resume is not None):
            raise ParameterError(
                f"--job {self.job} names the job whose outputs the steps of --only or --from read. Add one of these."
            )

    @property
    def chosen(self) -> str:
        """The steps that are asked for, as the tag ``tandem.selected`` has it; empty for all."""
        return f"only {self.only}" if self.only is not None else f"from {self.first}" if self.first is not None else ""

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> "PartAsked":
        """What an earlier job was asked for."""
        which, _, step = tags.get(SELECTED, "").partition(" ")
        only, first = (step if which == word else None for word in ("only", "from"))
        return cls(only, first, tags.get(INPUTS_FROM) if only or first else None)

    def __str__(self) -> str:
        return f"resumes {self.resume}" if self.resume is not None else self.chosen


@dataclass(frozen=True, slots=True)
class Part:
    """Steps of a job that are to be run.

    Attributes:
        chosen: Their names.
        delivered: Where the outputs of other steps are that they read.
        tags: What the new job is tagged with: which steps it has, and the earlier job.
        source: The earlier job; None if they read nothing of other steps.
        finished: What became of the steps that are done already, by name, where the new job goes on after another.
    """

    chosen: frozenset[str]
    delivered: Mapping[StepOutput, str]
    tags: Mapping[str, str]
    source: EarlierJob | None
    finished: Mapping[str, StepOutcome] = field(default_factory=lambda: MappingProxyType(dict[str, StepOutcome]()))

    def completed(self, outcome: RunOutcome, whole: JobSpec) -> RunOutcome:
        """The outcome with the steps that were finished before and with what they have delivered."""
        if not self.finished or self.source is None:
            return outcome
        steps = {**self.finished, **{step.name: step for step in outcome.steps}}
        outputs = {
            target.name: self.source.outputs[made]
            for name in self.finished
            for port, target in whole.steps[name].outputs.items()
            if (made := StepOutput(name, port)) in self.source.outputs
        }
        return replace(
            outcome,
            steps=tuple(steps[name] for name in order(whole) if name in steps),
            outputs={**outputs, **outcome.outputs},
        )


class JobSource(Protocol):
    """Where earlier jobs are found: an engine, or the local state alone."""

    def earlier_jobs(self, spec: JobSpec, name: str | None = None) -> AsyncIterator[EarlierJob]:
        """See :meth:`flows.engines.engine.Engine.earlier_jobs`."""
        ...


def successor_name(job: str) -> str:
    """The name of the job that goes on after another: the other's name with the number of the resumption."""
    found = re.fullmatch(r"(.+)-s(\d+)", job)
    return f"{job}-s1" if found is None else f"{found[1]}-s{int(found[2]) + 1}"


async def part_of(spec: JobSpec, asked: PartAsked, jobs: JobSource) -> Part | None:
    """The part of a job that is asked for; None for all of it.

    Args:
        spec: The job, whole.
        asked: What is asked for.
        jobs: Where earlier jobs are found.

    Raises:
        ParameterError: There is no such step or job, the job is another file's, it is not over or has nothing left to
            run, or it lacks what the steps read.
    """
    if asked.resume is not None:
        return await _rest(spec, asked.resume, jobs)
    chosen = _steps(spec, asked)
    if chosen is None:
        return None
    needs = need(spec, chosen)
    source = await _source(spec, asked, jobs, needs)
    delivered: Mapping[StepOutput, str] = {} if source is None else _delivered(source.outputs, needs)
    named = {} if source is None else {INPUTS_FROM: source.name}
    return Part(chosen, delivered, {SELECTED: asked.chosen, **named}, source)


async def job_named(jobs: JobSource, spec: JobSpec, name: str) -> EarlierJob | None:
    """The job of a name, with what the jobs have left after which it goes on."""
    async for job in jobs.earlier_jobs(spec, name):
        return await _with_those_before(jobs, spec, job)
    return None


def _steps(spec: JobSpec, asked: PartAsked) -> frozenset[str] | None:
    if asked.only is not None:
        return steps_named(spec, asked.only, "--only")
    return None if asked.first is None else downstream(spec, steps_named(spec, asked.first, "--from"))


async def _with_those_before(jobs: JobSource, spec: JobSpec, job: EarlierJob) -> EarlierJob:
    seen, before = {job.name}, job.resumes
    while before is not None and before not in seen:
        seen.add(before)
        found = [older async for older in jobs.earlier_jobs(spec, before)]
        job, before = (job.after(found[0]), found[0].resumes) if found else (job, None)
    return job


async def _source(spec: JobSpec, asked: PartAsked, jobs: JobSource, needs: tuple[Need, ...]) -> EarlierJob | None:
    for each in needs:
        if each.literal and not each.optional:
            raise ParameterError(
                f"{each.readers[0]} receives the value that the step {each.output.step} computes, which no earlier job "
                f"can stand in for. Begin with that step: {_run(spec, f'--from {each.output.step}')}"
            )
    wanted = {each.output for each in needs if not each.optional}
    if asked.job is not None:
        job = await job_named(jobs, spec, asked.job)
        if job is None:
            raise ParameterError(f"--job {asked.job}: {_unknown(asked.job)}")
        _check_file(spec, job, f"--job {asked.job}")
        for each in needs:
            if each.output in wanted - job.outputs.keys():
                raise ParameterError(_lacking(spec, each, f"the job {job.name} has not delivered it{_why(job, each)}"))
        return job
    wanted = wanted or {each.output for each in needs}
    async for candidate in jobs.earlier_jobs(spec) if wanted else _none():
        job = await _with_those_before(jobs, spec, candidate)
        if wanted <= job.outputs.keys():
            return job
    missing = next((each for each in needs if not each.optional), None)
    if missing is None:
        return None
    lacked = " together with what else is read" if len(wanted) > 1 else ""
    raise ParameterError(_lacking(spec, missing, f"no job of {spec.source.name} has delivered it{lacked}"))


async def _rest(spec: JobSpec, name: str, jobs: JobSource) -> Part:
    """What a job has not finished."""
    job = await job_named(jobs, spec, name)
    if job is None:
        raise ParameterError(f"--resume {name}: {_unknown(name)}")
    _check_file(spec, job, f"--resume {name}")
    if job.status not in _OVER:
        raise ParameterError(_not_over(spec, job))
    if job.tags.get(DEFINITION) not in (None, definition_digest(definition_parts(spec))):
        raise ParameterError(
            f"--resume {name}: {spec.source.name}, what it names, or a value that it is given is not what the job was "
            f"made from. Nothing was run. Put back what was submitted, or run what is there now: {_run(spec)}"
        )
    before = PartAsked.of_tags(job.tags)
    steps = _steps(spec, before) or frozenset(spec.steps)
    outputs = dict(job.outputs)
    if before.job is not None and (source := await job_named(jobs, spec, before.job)) is not None:
        outputs = {**source.outputs, **outputs}
    unfinished = steps - job.finished
    while True:
        chosen = downstream(spec, unfinished) & steps
        needs = need(spec, chosen)
        gone = {each.output.step for each in needs if not each.optional and each.output not in outputs}
        if not gone & steps - unfinished:
            break
        unfinished |= gone & steps  # what it had delivered was deleted since
    for each in needs:
        if each.output.step in gone:
            raise ParameterError(_lacking(spec, each, "what it had delivered is not there any more"))
    if not chosen:
        raise ParameterError(
            f"--resume {name}: every step of the job {name} has completed, so there is nothing left to run. "
            f"To run it again: {_run(spec)}"
        )
    finished = {
        step: replace(job.steps[step], reused=True, message=f"Delivered by the job {name}.") for step in steps - chosen
    }
    tags = {key: value for key, value in job.tags.items() if key in (SELECTED, INPUTS_FROM)}
    return Part(chosen, _delivered(outputs, needs), {**tags, RESUMES: name}, job, finished)


def _delivered(outputs: Mapping[StepOutput, str], needs: Iterable[Need]) -> Mapping[StepOutput, str]:
    return {each.output: outputs[each.output] for each in needs if each.output in outputs and not each.literal}


def _check_file(spec: JobSpec, job: EarlierJob, what: str) -> None:
    label = file_label(spec.source)
    if not same_file(other := job.tags.get(FILE, label), label):
        raise ParameterError(
            f"{what}: the job {job.name} was made from {other}, and not from {label}. Name a job of this file."
        )


def _not_over(spec: JobSpec, job: EarlierJob) -> str:
    if job.status == RunStatus.COMPLETED:
        return (
            f"--resume {job.name}: the job {job.name} has completed, so there is nothing left to run. "
            f"To run it again: {_run(spec)}"
        )
    return (
        f"--resume {job.name}: the job {job.name} has not ended ({job.status}). Nothing was started. If the command "
        "that waited for it was interrupted, the same command, typed again, goes on with it."
    )


def _lacking(spec: JobSpec, each: Need, why: str) -> str:
    readers = " and ".join(each.readers)
    return (
        f"{readers} {'read' if len(each.readers) > 1 else 'reads'} the output {each.output.output} of the step "
        f"{each.output.step}, and {why}. Nothing was run. "
        f"Run that step first: {_run(spec, f'--only {each.output.step}')}"
    )


def _why(job: EarlierJob, each: Need) -> str:
    step = job.steps.get(each.output.step)
    if step is None:
        return " (it did not run that step)"
    return " (it was deleted)" if step.status is RunStatus.COMPLETED else f" ({step.name}: {step.status})"


def _unknown(name: str) -> str:
    return f"there is no job {name} where this runs. Nothing was run. A run prints the name of its job at its end."


def _run(spec: JobSpec, flags: str = "") -> str:
    return f"tandem run {spec.source} {flags}".rstrip()


async def _none() -> AsyncIterator[EarlierJob]:
    for job in tuple[EarlierJob, ...]():
        yield job
