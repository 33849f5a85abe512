"""What a line of the log looks like on the terminal."""

import io
import logging
import re

import pytest
from rich.console import Console

from flows.cli.terminal.console import ConsoleHandler, steps_shown
from flows.cli.terminal.step_table import StepTable
from flows.engines.step_events import StepEvent, StepPhase, tell

COLOURS = re.compile("\x1b\\[[0-9;]*m")


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    monkeypatch.setattr("flows.cli.terminal.console._screen.console", None)
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8")


def logged(handler: ConsoleHandler, file: io.TextIOWrapper, line: str) -> str:
    handler.handle(logging.LogRecord("flow", logging.INFO, __file__, 1, "%s | %s", ("prep", line), None))
    file.flush()
    assert isinstance(file.buffer, io.BytesIO)
    return file.buffer.getvalue().decode(file.encoding)


LINES = [
    "root:x:0:0",
    "[bold]b[/bold] [/] [link=https://a]",
    "Completed flow run 'a' https://b:x:c",
    "a" * 9999,
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_of_a_step_is_shown_to_the_letter(line: str, terminal: bool, file: io.TextIOWrapper) -> None:
    handler = ConsoleHandler(stream=file)
    if terminal:
        handler.console = Console(file=file, force_terminal=True, width=80, highlighter=handler.console.highlighter)

    assert COLOURS.sub("", logged(handler, file, line)) == f"prep | {line}\n"


@pytest.mark.parametrize("logger", ["prefect.flow_runs", "prefect.task_runs"])
def test_a_crash_that_the_end_of_the_command_tells_is_no_line(logger: str, file: io.TextIOWrapper) -> None:
    said = "Crash detected! Execution was cancelled by the runtime environment."
    record = logging.LogRecord(logger, logging.ERROR, __file__, 1, said, None, None)
    ConsoleHandler(stream=file).handle(record)
    file.flush()
    assert isinstance(file.buffer, io.BytesIO) and file.buffer.getvalue() == b""


def test_a_line_of_a_step_cannot_command_the_terminal(file: io.TextIOWrapper) -> None:
    assert logged(ConsoleHandler(stream=file), file, "\x1b[2J\x1b]0;a\x07\x9b") == "prep | ^[[2J^[]0;a^G\\x9b\n"


def test_a_terminal_that_has_not_every_letter_is_sent_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cli.terminal.console._screen.console", None)
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    assert logged(ConsoleHandler(stream=file), file, "żółw \udcff") == "prep | \\u017c\\xf3\\u0142w \\udcff\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_table_of_steps_is_drawn_on_a_terminal_only_even_if_colours_are_forced(
    terminal: bool, file: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cli.terminal.console._screen.live", None)
    monkeypatch.setattr("flows.cli.terminal.console._screen.table", StepTable())
    monkeypatch.setattr(file, "isatty", lambda: terminal)
    handler = ConsoleHandler(stream=file)
    handler.console = Console(file=file, force_terminal=True, width=80)
    monkeypatch.setattr("flows.cli.terminal.console._screen.console", handler.console)

    with steps_shown():
        tell(StepEvent("prep", StepPhase.STARTED))
        written = logged(handler, file, "a line")

    assert ("running" in written) is terminal
    assert "prep | a line" in written
