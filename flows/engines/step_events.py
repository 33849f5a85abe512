"""Events of a step's life, which both engines report while a job runs.

The line in the log, the row in the table below it and the state of the step's task run in Prefect are made from the
event. The last event of a step tells how it ended; a step whose run is interrupted has none.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from flows.engines.runs import RunStatus, StepOutcome


class StepPhase(StrEnum):
    """What has become of a step, in the words of the log. ``QUEUED``: it could run, and waits for a machine."""

    QUEUED = "queued"
    STARTED = "started"
    REUSED = "reused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    NOT_RUN = "did not run"
    LEFT_OUT = "left out"
    """A condition was not for it, which is no failure."""


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One change in the life of a step.

    Attributes:
        step: The name of the step; of a trial of a sweep, ``<step>/<number>``.
        phase: What has become of it.
        seconds: How long it ran; 0 before it has ended, and if it did not run. Of a reused step, the earlier run's.
        at: When it happened, in UTC.
        message: Why it failed, was canceled or did not run; of one that completed, when and where, if that is known.
        source: The job whose outputs a reused step delivers; empty if the engine does not know it.
        url: The page of the step in studio; None if it has none.
    """

    step: str
    phase: StepPhase
    seconds: float = 0.0
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    message: str = ""
    source: str = ""
    url: str | None = None

    @property
    def line(self) -> str:
        """What the log says of it, after the name of the step."""
        match self.phase:
            case StepPhase.REUSED if self.source:
                return f"reused from the job {self.source}"
            case StepPhase.COMPLETED:
                return f"completed after {self.seconds:.1f} s"
            case StepPhase.FAILED | StepPhase.CANCELED if self.seconds:
                return f"{self.phase} after {self.seconds:.1f} s"
            case StepPhase.NOT_RUN | StepPhase.LEFT_OUT if self.message:
                return self.message
            case _:
                return self.phase.value


_PHASES = {
    RunStatus.COMPLETED: StepPhase.COMPLETED,
    RunStatus.FAILED: StepPhase.FAILED,
    RunStatus.CANCELED: StepPhase.CANCELED,
    RunStatus.NOT_STARTED: StepPhase.NOT_RUN,
}


def end_of(
    outcome: StepOutcome, at: datetime | None = None, *, message: str = "", source: str = "", url: str | None = None
) -> StepEvent:
    """The last event of a step, from its outcome and what else the engine knows.

    Args:
        outcome: How the step ended.
        at: When, in UTC; now if it is left out.
        message: In place of the outcome's message, where that is empty.
        source: The job whose outputs a reused step delivers.
        url: The page of the step in studio.
    """
    return StepEvent(
        step=outcome.name,
        phase=_phase(outcome),
        seconds=outcome.seconds,
        at=at or datetime.now(UTC),
        message=outcome.message or message,
        source=source,
        url=url,
    )


def _phase(outcome: StepOutcome) -> StepPhase:
    if outcome.left_out:
        return StepPhase.LEFT_OUT
    return StepPhase.REUSED if outcome.reused else _PHASES[outcome.status]


_listener: ContextVar[Callable[[StepEvent], object] | None] = ContextVar("step_listener", default=None)


@contextmanager
def listening_to_steps(listener: Callable[[StepEvent], object]) -> Generator[None]:
    """A block whose jobs pass each event to ``listener``, which is called in the event loop and must not wait."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(event: StepEvent) -> None:
    """Pass an event to the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(event)
