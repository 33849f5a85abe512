"""The table of steps below the lines of a run in a terminal."""

import io

from rich.console import Console
from rich.theme import Theme

from flows.cli.terminal.step_table import StepTable
from flows.engines.local.messages import ENDED, REUSED, STARTED


def shown(table: StepTable) -> list[list[str]]:
    """The table as Prefect's console draws it, which knows no styles by name."""
    file = io.StringIO()
    Console(file=file, theme=Theme(inherit=False), width=80).print(table)
    return [line.split() for line in file.getvalue().splitlines()]


def test_steps_are_shown_as_they_are_at_the_moment() -> None:
    now = 10.0
    table = StepTable(lambda: now)
    assert table.observe(STARTED, ("fit",))
    assert table.observe(STARTED, ("prep",))
    assert table.observe(REUSED, ("profile", "job-1"))
    now = 12.5
    assert table.observe(ENDED, ("prep", "failed", 2.25))
    assert shown(table) == [
        ["step", "state", "seconds"],
        ["fit", "running", "2.5"],
        ["prep", "failed", "2.2"],
        ["profile", "reused", "0.0"],
    ]


def test_line_of_a_step_is_no_news_of_it_whatever_it_says() -> None:
    table = StepTable()
    assert not table.observe("%s | %s", ("fit", "started"))
    assert not table.observe("fit | started", ())
    assert not table.observe("%(a)s", {"a": "b"})
    assert shown(table) == [["step", "state", "seconds"]]
