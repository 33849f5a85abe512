"""Prefect server of ``make ui``, with its pages and all its services, until a signal or the end of its parent.

Does what ``prefect server start`` does, behind the check of :mod:`flows.machine.own_pages`.
"""

import sys

from flows.machine.child import end_with_standard_input
from flows.machine.hidden_memory import hide_memory
from flows.machine.own_pages import listen


def main(port: int) -> None:
    """Serve the database and the settings that the environment names."""
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    listen(
        create_app(final=True),
        port,
        log_level=server.logging_level.lower(),
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
    )


if __name__ == "__main__":
    hide_memory()
    end_with_standard_input()
    main(int(sys.argv[1]))
