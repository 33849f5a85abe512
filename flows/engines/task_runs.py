"""Log lines and Prefect task runs, made from the events of steps."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from prefect import allow_failure, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed, Pending

from flows.engines.step_events import StepEvent, StepPhase, tell

_PREFECTS_LOGGER = logging.getLogger("prefect.flow_runs")
_LONG = r"\n"  # a line break, as a state is written in the log
_LEVELS = {StepPhase.QUEUED: logging.DEBUG, StepPhase.NOT_RUN: logging.WARNING}


def without_repetition(record: logging.LogRecord) -> bool:
    """Keep out of the log what Prefect repeats there of a failure: the state of the run has it, and the step's own log.

    Of the last line of a run, which has the whole message of its state, the first sentence is kept.
    """
    text = record.getMessage()
    if text.startswith("Finished in state") and _LONG in text:
        record.msg, record.args = f"{text.partition(_LONG)[0]} …')", ()
    return not text.startswith("Task run failed with state")  # what follows says the same


for _logger in (_PREFECTS_LOGGER, logging.getLogger("prefect.task_runs")):
    _logger.addFilter(without_repetition)


def report(event: StepEvent) -> None:
    """Log an event of a step in the current run, and pass it to who listens."""
    level = _LEVELS.get(event.phase, logging.INFO)
    if level > logging.DEBUG or _PREFECTS_LOGGER.isEnabledFor(level):  # to find the run's own logger takes milliseconds
        get_run_logger().log(level, "%s | %s", event.step, event.line)
    tell(event)


def task_state(event: StepEvent, upstream: Iterable[State[Any]] = (), started: datetime | None = None) -> State[Any]:
    """The state of the task run of a step that has ended.

    A step that did not run is over, too: left to Prefect, its task run would be pending for ever, and the graph would
    draw it as a bar that grows to the present day.

    Args:
        event: The last event of the step.
        upstream: The states of the steps that it would have read from.
        started: When its task run started, before which Prefect lets it not end.
    """
    at: dict[str, Any] = {"timestamp": max(event.at.astimezone(UTC), started or event.at)}
    match event.phase:
        case StepPhase.COMPLETED:
            return Completed(message=event.message or None, **at)
        case StepPhase.REUSED:
            return Completed(name="Cached", message="Reused.", **at)
        case StepPhase.FAILED:
            return Failed(message=event.message, **at)
        case StepPhase.LEFT_OUT:
            return Cancelled(name="NotStarted", message=event.message)
        case StepPhase.NOT_RUN:
            lacks_input = not all(state.is_completed() for state in upstream)
            return Cancelled(name="NotReady" if lacks_input else None, message=event.message)
        case _:
            return Cancelled(message=event.message, **at)


def shown_after(upstream: Iterable[State[Any]]) -> list[Any]:
    """What a task waits for to be drawn below steps that are over, even if they did not complete."""
    return [state if state.is_completed() else _edge(state) for state in upstream]


def _edge(state: State[Any]) -> Any:
    """A state of the same task run that Prefect lets a task begin after; of a canceled one it does not."""
    return allow_failure(Pending(name="NotReady", state_details=state.state_details))
