"""Child jobs as Prefect task runs: each step of an Azure ML job has one, with its state and its times."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prefect import Task
from prefect.artifacts import acreate_link_artifact
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext

from flows.engines.azureml.iterations import expected, iterations
from flows.engines.azureml.sdk.jobs import Jobs, RemoteJob
from flows.engines.polling import QUEUED, RUNNING, TERMINAL
from flows.engines.runs import PipelineRequest, RunStatus, StepOutcome
from flows.engines.step_events import StepEvent, StepPhase, end_of
from flows.engines.task_runs import report, shown_after, task_state
from flows.spec.control import body_of, is_iteration_of
from flows.spec.graph import order
from flows.spec.model.job import Step

FAILED = frozenset({"Failed", "NotResponding"})
LAST_LINES = 20


@dataclass(slots=True)
class JobProgress:
    """What is known of a job while it runs. Every change wakes the tasks that wait for one."""

    job: RemoteJob
    children: dict[str, RemoteJob] = field(default_factory=dict[str, RemoteJob])
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    given_up: str = ""  # why the wait was given up before the job had ended

    @property
    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.job.status in TERMINAL or bool(self.given_up)

    async def change(self, **values: Any) -> None:
        """Set some fields, and wake the tasks that wait for a change."""
        async with self.changed:
            for name, value in values.items():
                setattr(self, name, value)
            self.changed.notify_all()


class Steps:
    """The steps of a job as Prefect task runs, each as long as its child job."""

    def __init__(self, jobs: Jobs, request: PipelineRequest, progress: JobProgress) -> None:
        self._jobs = jobs
        self._request = request
        self._progress = progress
        self._expected = expected(request.spec)
        self.errors: dict[str, str] = {}
        self._running: dict[str, asyncio.Task[tuple[StepOutcome, State[Any]]]] = {}

    async def show_all(self) -> list[StepOutcome]:
        """Show every step, and what loops repeat as it appears; returns when the job and all that is shown are over."""
        spec = self._request.spec
        for name in order(spec):
            if spec.steps[name].when.loop is None:
                self._start(spec.steps[name])
        over = False
        while not over:
            over, known = self._progress.over, self._progress.children
            for step in iterations(spec, known.keys() - self._running.keys()):
                self._start(step)
            await self._until(lambda known=known: self._progress.over or self._progress.children is not known)
        return [(await asyncio.shield(running))[0] for running in self._running.values()]

    def _start(self, step: Step) -> None:
        if step.name not in self._running:
            show = self._show if step.control is None else self._show_control
            self._running[step.name] = asyncio.create_task(show(step), name=step.name)

    async def close(self) -> None:
        """Cancel the tasks of steps that have not ended."""
        for running in self._running.values():
            running.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _upstream(self, step: Step) -> list[State[Any]]:
        """The states of the steps before one, when they are over."""
        names = (name for name in sorted(step.upstream) if name in self._running)
        return [(await asyncio.shield(self._running[name]))[1] for name in names]

    async def _show_control(self, step: Step) -> tuple[StepOutcome, State[Any]]:
        """Show a choice or a loop, which is over when a step after it begins, or the job is over."""
        upstream = await self._upstream(step)
        after = [name for name, other in self._request.spec.steps.items() if step.name in other.upstream]
        await self._until(lambda: self._progress.over or any(name in self._progress.children for name in after))
        outcome = self._of_control(step)
        event = end_of(outcome)
        report(event)

        async def over() -> State[Any]:
            return task_state(event, upstream, datetime.now(UTC))

        as_task: Any = Task(over, name=step.name, task_run_name=step.name)
        return outcome, await as_task(wait_for=shown_after(upstream), return_state=True)

    def _of_control(self, step: Step) -> StepOutcome:
        """What became of a choice or a loop, as the child jobs that it has run tell it."""
        name, job, children = step.name, self._progress.job, self._progress.children
        own, body = children.get(name), body_of(step)
        if body is None:
            bound = (other.name for other in self._request.spec.steps.values() if name in other.when.after)
            statuses = ["Completed" for other in bound if other in children]
        else:
            statuses = [child.status for one, child in children.items() if is_iteration_of(one, body)]
        statuses += [] if own is None else [own.status]
        if failed := [status for status in statuses if status in FAILED or status == "Canceled"]:
            status = RunStatus.CANCELED if "Canceled" in failed else RunStatus.FAILED
            return StepOutcome(name, status, message=f"The step {name} {status.lower()}: what it repeats did.")
        if statuses or job.status == "Completed":
            left_out = not statuses and name not in self._expected
            if not left_out or body is None:
                return StepOutcome(name, RunStatus.COMPLETED)
            return StepOutcome(name, RunStatus.NOT_STARTED, left_out=True, message=_why_not_run(step, True))
        return StepOutcome(name, RunStatus.NOT_STARTED, message=_why_not_run(step, False))

    async def _show(self, step: Step) -> tuple[StepOutcome, State[Any]]:
        upstream = await self._upstream(step)
        outcomes: list[StepOutcome] = []
        await self._until(lambda: self._progress.over or step.name in self._progress.children)
        if not self._progress.over and not self._started(step.name):
            report(StepEvent(step.name, StepPhase.QUEUED))
        # Its task run begins when the child job leaves the queue, as its start is understood.
        await self._until(lambda: self._progress.over or self._started(step.name))

        async def run_step() -> State[Any]:
            started = datetime.now(UTC)
            child = self._progress.children.get(step.name)
            if child is not None and not child.reused and (child.started or child.status in RUNNING):
                report(StepEvent(step.name, StepPhase.STARTED, at=child.started or started))
            await self._until(lambda: self._progress.over or self._status(step.name) in TERMINAL)
            outcome = await self._outcome(step)
            outcomes.append(outcome)
            child = self._progress.children.get(step.name)
            ended = end_of(outcome) if child is None else _end(outcome, child)
            if child is not None and ended.url is not None:
                key = _artifact_key(child.name)
                await acreate_link_artifact(ended.url, link_text=f"{step.name} in studio", key=key)
            report(ended)
            state = task_state(ended, upstream, started)
            if child is not None and not outcome.reused:
                _show_times_of(child, state)
            return state

        as_task: Any = Task(run_step, name=step.name, task_run_name=step.name)
        # A step that runs reads incomplete steps only through optional inputs; it is not drawn below them.
        shown = [state for state in upstream if state.is_completed() or step.name not in self._progress.children]
        state: State[Any] = await as_task(wait_for=shown_after(shown), return_state=True)
        outcome = (
            outcomes[0] if outcomes else StepOutcome(step.name, RunStatus.NOT_STARTED, message=state.message or "")
        )
        return outcome, state

    def _status(self, name: str) -> str:
        child = self._progress.children.get(name)
        return "NotStarted" if child is None else child.status

    def _started(self, name: str) -> bool:
        return self._status(name) not in QUEUED

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with self._progress.changed:
            await self._progress.changed.wait_for(holds)

    async def _outcome(self, step: Step) -> StepOutcome:
        child = self._progress.children.get(step.name)
        if child is None:
            # A job that completes has run all but what its choices left out.
            left_out = self._progress.job.status == "Completed" and step.name not in self._expected
            return StepOutcome(
                step.name, RunStatus.NOT_STARTED, left_out=left_out, message=_why_not_run(step, left_out)
            )
        if child.status == "Completed":
            return StepOutcome(step.name, RunStatus.COMPLETED, reused=child.reused, seconds=child.seconds)
        if child.status == "Canceled":
            limit = f" (its limit is {step.timeout_seconds} s)" if step.timeout_seconds else ""
            message = f"The step {step.name} was canceled{limit}."
            return StepOutcome(step.name, RunStatus.CANCELED, seconds=child.seconds, message=message)
        if child.status not in FAILED:
            return StepOutcome(step.name, RunStatus.NOT_STARTED, message=f"The step {step.name} did not run.")
        error, log = await asyncio.gather(self._error(child), self._jobs.log_of(child.name, LAST_LINES))
        self.errors[step.name] = error
        said = "".join(f"\n    {line}" for line in log.splitlines())
        message = f"The step {step.name} failed (job {child.name}): {error.rstrip('.') or 'no reason given'}.{said}"
        return StepOutcome(step.name, RunStatus.FAILED, seconds=child.seconds, message=message)

    async def _error(self, child: RemoteJob) -> str:
        if child.status == "NotResponding":
            return "NotResponding: its machine does not answer any more"
        return child.error or await self._jobs.error_of(child.name)


def _why_not_run(step: Step, left_out: bool) -> str:
    """Why a step has no child job: which condition was not for it, if that is known."""
    if not left_out:
        return f"The step {step.name} did not run."
    if len(step.when.only_if) == 1:
        choice, wanted = step.when.only_if[0]
        return f"The step {step.name} did not run: the condition of {choice} was {str(not wanted).lower()}."
    return f"The step {step.name} did not run: a condition was not for it, or for a step that it reads from."


def _end(outcome: StepOutcome, child: RemoteJob) -> StepEvent:
    """The last event of a step that has a child job."""
    ran = "" if outcome.reused else _times(child)
    return end_of(outcome, child.ended, message=ran, url=child.url)


def _show_times_of(child: RemoteJob, state: State[Any]) -> None:
    """Give the current task run the times of its child job, which may have run long before it was looked at."""
    context = TaskRunContext.get()
    if context is None or child.started is None or child.ended is None:
        return
    # Prefect would take these times from the states, whose times must increase; times that are already set it keeps.
    task_run: Any = context.task_run
    running: State[Any] | None = task_run.state
    task_run.start_time, task_run.end_time = child.started, child.ended
    if running is not None:
        task_run.total_run_time = (child.ended - child.started) - (state.timestamp - running.timestamp)


def _times(child: RemoteJob) -> str:
    """When and where a child job ran; empty if that is not told."""
    if child.started is None or child.ended is None:
        return ""
    where = f" on {child.compute}" if child.compute else ""
    return f"Ran {child.seconds:.1f} s{where}, from {child.started:%H:%M:%S} to {child.ended:%H:%M:%S} UTC."


def _artifact_key(name: str) -> str:
    """The key of the artifact that leads to a child job, in the letters that Prefect takes."""
    plain = "".join(sign if sign.isalnum() else "-" for sign in name.lower()).strip("-")
    return f"job-{plain if len(plain) <= 60 else hashlib.sha256(name.encode()).hexdigest()[:20]}"
