"""What a command shows in the terminal while it runs: short lines, time and message. Prefect's UI has it all."""

import logging

from prefect.logging.handlers import PrefectConsoleHandler

# Said better by the steps' own lines, or naming a temporary server that will be gone.
_NOISE = ("Finished in state", "Task run failed with", "View at", "Beginning flow run", "Still processing items")


class ConsoleHandler(PrefectConsoleHandler):
    """Prefect's own handler, without the lines that say nothing to the person who typed the command."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a line, unless it is noise."""
        return not record.getMessage().startswith(_NOISE) and super().handle(record)
