"""The steps of a running job as a table, made from their events."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from flows.engines.step_events import StepEvent, StepPhase
from flows.plain_text.visible import visible

_STYLES: Mapping[StepPhase, str] = {
    StepPhase.QUEUED: "dim",
    StepPhase.STARTED: "yellow",
    StepPhase.COMPLETED: "green",
    StepPhase.REUSED: "cyan",
    StepPhase.FAILED: "bold red",
    StepPhase.CANCELED: "red",
    StepPhase.NOT_RUN: "dim",
    StepPhase.LEFT_OUT: "dim",
}


def _now() -> datetime:
    return datetime.now(UTC)


class StepTable:
    """Steps with their states and times, in the order of their first events."""

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        """An empty table.

        Args:
            clock: Tells the time, with which the seconds of a step that waits or runs are counted.
        """
        self._clock = clock
        self._events: dict[str, StepEvent] = {}

    def observe(self, event: StepEvent) -> None:
        """Take note of an event."""
        self._events[event.step] = event

    def __rich__(self) -> Table:
        """The table as it is now."""
        table = Table("step", "state", box=None, padding=(0, 2), header_style="bold")
        table.add_column("seconds", justify="right", header_style="bold")
        for event in list(self._events.values()):  # a copy: it is drawn in a thread of its own
            state = "running" if event.phase is StepPhase.STARTED else event.phase.value
            seconds = f"{self._seconds(event):.1f}"
            table.add_row(Text(visible(event.step)), state, seconds, style=_STYLES[event.phase])
        return table

    def _seconds(self, event: StepEvent) -> float:
        match event.phase:
            case StepPhase.QUEUED | StepPhase.STARTED:
                return max(0.0, (self._clock() - event.at).total_seconds())  # it may be another machine's time
            case StepPhase.REUSED:
                return 0.0
            case _:
                return event.seconds
