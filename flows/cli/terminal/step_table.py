"""The steps of a running job as a table, made from what the engine says of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from flows.plain_text.visible import visible
from flows.engines.local.messages import ENDED, REUSED, STARTED

_STYLES: Mapping[str, str] = {"running": "yellow", "completed": "green", "reused": "cyan", "failed": "bold red"}


@dataclass(slots=True)
class _Row:
    state: str
    since: float
    seconds: float | None = None


class StepTable:
    """Steps with their states and times, in the order in which they began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, _Row] = {}

    def observe(self, message: object, values: object) -> bool:
        """Take note of a log record by its format and values; whether it says that a step has another state."""
        if not isinstance(values, tuple):
            return False
        match message, values:
            case str(said), (str(name),) if said == STARTED:
                self._rows[name] = _Row("running", self._clock())
            case str(said), (str(name), str(how), float(seconds)) if said == ENDED:
                self._rows[name] = _Row(how, self._clock(), seconds)
            case str(said), (str(name), _) if said == REUSED:
                self._rows[name] = _Row("reused", self._clock(), 0.0)
            case _:
                return False
        return True

    def __rich__(self) -> Table:
        """The table as it is now."""
        table = Table("step", "state", box=None, padding=(0, 2), header_style="bold")
        table.add_column("seconds", justify="right", header_style="bold")
        for name, row in self._rows.items():
            seconds = self._clock() - row.since if row.seconds is None else row.seconds
            table.add_row(Text(visible(name)), row.state, f"{seconds:.1f}", style=_STYLES.get(row.state))
        return table
