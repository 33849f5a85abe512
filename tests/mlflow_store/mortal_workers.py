"""MLflow workers that are killed at random: forked, for each connection, from a process that has imported MLflow.

Each worker is a process of its own, as of a machine of its own, and starts in milliseconds. It is killed before or
after a request that changes the registry (with a chance of 4 % each), or at any moment of its life by a timer.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Self

from flows.machine.child import Child, end_with_standard_input, wait_until
from flows.mlflow_store.mlflow_worker import answer_requests
from flows.mlflow_store.model_registry import MlflowWorker
from flows.mlflow_store.worker.store import import_mlflow

WRITES = ("create_model_version", "set_registered_model_alias", "set_model_version_tag", "delete_model_version")
CHANCE = 0.04
LIFE_SECONDS = 20.0  # the timer of a worker goes off within so many seconds after it was connected to


class MortalWorkers:
    """The process that workers are forked from; as a context manager, it ends with the block."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="workers-")  # short: the path of a socket is limited
        self._socket = Path(self._folder.name) / "socket"
        words = [sys.executable, "-m", "tests.mlflow_store.mortal_workers", str(self._socket)]
        self._child = Child("The process that forks workers", words, os.environ, log=self._log, ends_with_us=True)
        assert wait_until(self._socket.exists, [self._child], 300)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()
        self._folder.cleanup()

    @contextlib.asynccontextmanager
    async def line(self, environment: Mapping[str, str], mortal: bool = True) -> AsyncGenerator[MlflowWorker]:
        """A connection to a new worker with these variables."""
        reader, writer = await asyncio.open_unix_connection(self._socket)
        writer.write(json.dumps({"environment": dict(environment), "mortal": mortal}).encode() + b"\n")
        async with MlflowWorker(reader, writer, timeout_seconds=600) as worker:
            yield worker


def be_mortal() -> None:
    """Die at a random moment, or at a random request that changes the registry."""
    import mlflow

    random.seed()
    for name in WRITES:
        setattr(mlflow.MlflowClient, name, _deadly(getattr(mlflow.MlflowClient, name)))
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.05, LIFE_SECONDS))  # its signal ends the process at once


def _deadly(method: Any) -> Any:
    def call(*values: Any, **named: Any) -> Any:
        chance = random.random()
        if chance < CHANCE:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = method(*values, **named)
        if chance > 1 - CHANCE:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return call


def _work(connection: socket.socket) -> None:
    with connection.makefile("r", encoding="utf-8") as requests, connection.makefile("w", encoding="utf-8") as answers:
        asked = json.loads(requests.readline())
        os.environ.update(asked["environment"])
        if asked["mortal"]:
            be_mortal()
        place = Path(os.environ["TANDEM_MLFLOW_ARTIFACTS"])
        answer_requests(requests, answers, os.environ["MLFLOW_TRACKING_URI"], place)


def main(path: str) -> None:
    """Fork a worker for each connection to a socket."""
    import_mlflow()
    end_with_standard_input()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                with contextlib.suppress(BrokenPipeError):
                    _work(connection)
                os._exit(0)
            connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
