"""The log of a running command in the terminal: short lines, time and message. Prefect's UI has it all.

Every letter of a message is shown as it is: no emoji for ``:x:``, no markup in ``[bold]``; the module
``flows.plain_text.visible`` says what becomes of control characters.

Where the lines go to a terminal, a table below them shows the steps as they are at the moment.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console
from rich.live import Live

from flows.cli.state.usable import is_told_at_the_end
from flows.cli.terminal import interrupts
from flows.cli.terminal.step_table import StepTable
from flows.engines.step_events import StepEvent, listening_to_steps
from flows.plain_text.visible import visible

# Said better by the steps' own lines, or naming a temporary server that will be gone.
_NOISE = (
    *("Finished in state", "Task run failed with", "View at", "Beginning flow run", "Still processing items"),
    "Crash detected",  # of every task and flow that Ctrl+C ends
)
_REFRESHES_PER_SECOND = 4


class _Screen:
    """The one terminal, which the handlers of flows, of tasks and of the rest write to."""

    def __init__(self) -> None:
        self.console: Console | None = None
        self.table = StepTable()
        self.live: Live | None = None

    def show(self, event: StepEvent) -> None:
        self.table.observe(event)
        # Colours may be forced on a file or a pipe, but a table cannot be drawn anew there.
        if self.live is not None or self.console is None or not self.console.file.isatty():
            return
        self.live = Live(
            self.table,
            console=self.console,
            transient=True,
            refresh_per_second=_REFRESHES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.live.start()

    def end_table(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None


_screen = _Screen()


class ConsoleHandler(PrefectConsoleHandler):
    """Prefect's own handler, without the lines that say nothing to the person who typed the command."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        _screen.console = self.console = _screen.console or self.console
        setattr(self.console, Console.on_broken_pipe.__name__, self._reader_is_gone)

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a line, unless it is noise."""
        if record.getMessage().startswith(_NOISE):
            return False
        if record.exc_info and record.exc_info[1] is not None and is_told_at_the_end(record.exc_info[1]):
            return False  # told in one message at the end
        return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line to the letter."""
        try:
            text = visible(self.format(record), self.console.encoding)
            self.console.print(text, soft_wrap=True, markup=False, emoji=False)
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def _reader_is_gone(self) -> None:
        """End the command in order. By itself the console raises SystemExit, in whichever thread has written a line."""
        self.console.quiet = True
        interrupts.reader_is_gone(self.console.file.fileno())


@contextmanager
def steps_shown() -> Generator[None]:
    """A block whose jobs are shown as a table of their steps, where the log goes to a terminal."""
    try:
        with listening_to_steps(_screen.show):
            yield
    finally:
        end_table()


def end_table() -> None:
    """Remove the table, so that later output starts in its place."""
    _screen.end_table()
