"""The table of steps below the lines of a run in a terminal."""

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.theme import Theme

from flows.cli.terminal.step_table import StepTable
from flows.engines.step_events import StepEvent, StepPhase

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def shown(table: StepTable) -> list[list[str]]:
    """The table as Prefect's console draws it, which knows no styles by name."""
    file = io.StringIO()
    Console(file=file, theme=Theme(inherit=False), width=80).print(table)
    return [line.split() for line in file.getvalue().splitlines()]


def event(step: str, phase: StepPhase, seconds: float = 0.0, at: float = 0.0) -> StepEvent:
    return StepEvent(step, phase, seconds, START + timedelta(seconds=at))


def test_steps_are_shown_as_they_are_at_the_moment() -> None:
    now = START
    table = StepTable(lambda: now)
    table.observe(event("fit", StepPhase.STARTED))
    table.observe(event("prep", StepPhase.STARTED))
    table.observe(event("profile", StepPhase.REUSED, seconds=9.0))
    table.observe(event("report", StepPhase.QUEUED, at=1.0))
    now = START + timedelta(seconds=2.5)
    table.observe(event("prep", StepPhase.FAILED, 2.25, at=2.25))
    assert shown(table) == [
        ["step", "state", "seconds"],
        ["fit", "running", "2.5"],
        ["prep", "failed", "2.2"],
        ["profile", "reused", "0.0"],
        ["report", "queued", "1.5"],
    ]


def test_step_that_a_machine_with_a_fast_clock_has_started_runs_for_no_negative_time() -> None:
    table = StepTable(lambda: START)
    table.observe(event("fit", StepPhase.STARTED, at=60.0))
    assert shown(table)[1:] == [["fit", "running", "0.0"]]


def test_name_of_a_step_is_shown_to_the_letter() -> None:
    table = StepTable(lambda: START)
    table.observe(event("[bold]:x:\x1b[2J", StepPhase.CANCELED))
    assert shown(table)[1:] == [["[bold]:x:^[[2J", "canceled", "0.0"]]


def test_every_phase_can_be_shown() -> None:
    table = StepTable(lambda: START)
    for phase in StepPhase:
        table.observe(event(phase.name, phase))
    assert [row[0] for row in shown(table)[1:]] == [phase.name for phase in StepPhase]
