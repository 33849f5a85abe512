"""``python -m tests.azure_ml_service --port 8500 --state DIR``: the service by hand."""

import argparse
import shlex
import signal
import threading
from pathlib import Path

from tests.azure_ml_service.service import Service


def main() -> None:
    """Start the service, say how to use it, and serve until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.azure_ml_service", description=__doc__)
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--state", type=Path, required=True, help="folder of the state, which outlives the service")
    arguments = parser.parse_args()
    service = Service(arguments.state.absolute(), arguments.port).start()
    for name, value in service.environment.items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"# faults, requests, violations: http://127.0.0.1:{service.port}/_control/… ; Ctrl+C stops.", flush=True)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: ended.set())
    ended.wait()
    service.stop()


if __name__ == "__main__":
    main()
