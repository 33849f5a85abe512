"""Requests, submissions and outcomes: what an engine takes and returns.

A failed job is an outcome like any other, until :meth:`RunOutcome.raise_for_status` raises for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from flows.errors import RunCanceled, StepFailed
from flows.spec.model.job import JobSpec


class RunStatus(StrEnum):
    """How a job or a step ended, in Azure ML's words."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    NOT_STARTED = "NotStarted"


@dataclass(frozen=True, slots=True)
class PipelineRequest:
    """What an engine is asked to run: a spec whose inputs are all bound, under one job name.

    The job name is derived from the flow run and the spec, so that a retry asks for the same job.
    ``python`` is the interpreter of the steps on this machine, where it is not that of this process.
    """

    spec: JobSpec
    job_name: str
    experiment_name: str
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    force_rerun: bool = False
    python: Path | None = None


def attempt_name(job_name: str, number: int) -> str:
    """The name of a job's attempt: of the first (0) the job's own name, of a later one that with the number."""
    return job_name if number == 0 else f"{job_name}-r{number}"


def attempt_number(job_name: str, attempt: str) -> int:
    """The number of an attempt, from 0, by its name; 0 where the name is that of another job."""
    number = attempt.removeprefix(f"{job_name}-r")
    return int(number) if number.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that an engine has accepted. Asking again with the same request gives the same submission.

    ``found``: it was submitted before. ``canceled``: and has been canceled since.
    """

    request: PipelineRequest
    url: str | None = None
    canceled: bool = False
    found: bool = False

    @property
    def job_name(self) -> str:
        """The name of the job, unique in its workspace."""
        return self.request.job_name


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A job that goes on though nobody waits. ``limit_seconds``: until a limit may have passed; None: never."""

    status: str
    limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How one step ended.

    Attributes:
        name: The name of the step.
        status: How it ended.
        reused: Whether it delivered the outputs of an earlier run instead of running.
        seconds: How long it ran; of a reused step, the earlier run.
        outputs: What it delivered on this machine, by name; empty where it ran elsewhere.
        log: Where its output was written on this machine, if it was.
        mlflow_run_id: Its MLflow run, if it has one.
        message: Why it failed or did not run; of a choice or a loop that completed, what it came to.
        left_out: Whether it did not run because a condition was not for it, which is no failure.
    """

    name: str
    status: RunStatus
    reused: bool = False
    seconds: float = 0.0
    outputs: Mapping[str, Path] = field(default_factory=dict[str, Path])
    log: Path | None = None
    mlflow_run_id: str | None = None
    message: str = ""
    left_out: bool = False

    @property
    def is_fine(self) -> bool:
        """Whether the job can complete with it."""
        return self.status is RunStatus.COMPLETED or self.left_out

    @property
    def state(self) -> str:
        """Its status, as a person reads it in a table."""
        return "reused" if self.reused else self.status.value


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a job ended. Every engine says all of it; what only one knows is behind a method of :class:`Engine`.

    Attributes:
        job_name: The name of the job.
        status: How it ended.
        steps: How its steps ended, in the order of the graph.
        outputs: The address of each named output: a path on this machine, or
            ``azureml://jobs/<name>/outputs/<output>``.
        tags: Those that the job was submitted with.
        where: Where a person finds the job: its folder on this machine, or its name in the workspace.
        url: Its page, in studio or on an MLflow server; None for a job that only this machine knows.
        mlflow_run_id: The MLflow run that it has, in whichever tracking store; None for a job that kept none.
        message: Why it failed, where no step says it.
        mlflow_page: The page of that run, if the local state keeps it and ``tandem ui`` shows it now.
    """

    job_name: str
    status: RunStatus
    steps: tuple[StepOutcome, ...]
    outputs: Mapping[str, str]
    tags: Mapping[str, str]
    where: str
    url: str | None = None
    mlflow_run_id: str | None = None
    message: str = ""
    mlflow_page: str | None = None

    @property
    def reused(self) -> tuple[str, ...]:
        """The names of the steps that delivered earlier outputs instead of running."""
        return tuple(step.name for step in self.steps if step.reused)

    def raise_for_status(self) -> "RunOutcome":
        """Return this outcome if the job completed.

        Raises:
            StepFailed: A step failed; the message has its name, its last words and where its log lies.
            RunCanceled: The job was canceled.
        """
        if self.status is RunStatus.COMPLETED:
            return self
        if self.status is RunStatus.CANCELED:
            raise RunCanceled(
                f"The job {self.job_name} was canceled, not by this run. Finished steps are kept and will be reused."
            )
        failed = [step.message for step in self.steps if step.status in (RunStatus.FAILED, RunStatus.CANCELED)]
        raise StepFailed("\n".join(failed or [self.message or f"The job {self.job_name} failed."]), self)


@dataclass(frozen=True, slots=True)
class RunAccount:
    """What came of a job, as the page of its MLflow run tells it.

    Attributes:
        metrics: Of the model; one that is undefined is None.
        tags: What runs are filtered by.
        description: For a person, in Markdown.
    """

    metrics: Mapping[str, float | None]
    tags: Mapping[str, str]
    description: str


class KeptReport(NamedTuple):
    """A report that is kept with a job: the address of a page that shows it, and which program has that page."""

    url: str
    where: str
