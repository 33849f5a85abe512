"""MLflow tracking server of a local run, started by the first connection to it.

A plain script under our own interpreter logs to the local database itself. Whatever else a step runs (a shell command,
a notebook, another interpreter) may bring another version of MLflow, which need not know the schema of that database.
It gets the address of this server, and logs over HTTP, as on Azure ML. A step that logs nothing costs no server: only a
socket listens until somebody connects, and what is sent meanwhile waits in it.
"""

import asyncio
import socket
from collections.abc import Mapping

from flows.machine.child import Child
from flows.mlflow_store import mlflow_server
from flows.prefect_api.server import past_proxies, python_path
from flows.settings import OWN_TRACKING, Settings

GRACE_SECONDS = 5.0  # a part of the 30 s that Prefect grants between SIGTERM and SIGKILL


class TrackingServer:
    """The address of the server, and the server itself once it is needed. Made in the event loop that it is used in."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        """Listen at a free port of this machine.

        Args:
            settings: Where the local store is.
            environment: The variables of the server.
        """
        self._settings = settings
        self._environment = environment
        self._server: Child | None = None
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._port: int = self._socket.getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._start)

    @property
    def is_started(self) -> bool:
        """Whether anybody has connected."""
        return self._server is not None

    @property
    def url(self) -> str:
        """Where an MLflow of any version logs into the local store."""
        return f"http://127.0.0.1:{self._port}"

    async def end(self) -> None:
        """End the server, if it was started; takes :data:`GRACE_SECONDS` at most."""
        if self._server is None:
            self._release()
        else:
            await asyncio.to_thread(self._server.end)

    def _start(self) -> None:
        try:
            self._server = Child(
                "MLflow's tracking server",
                mlflow_server.server_command(self._settings, self._port, self._socket.fileno()),
                {**self._environment, **mlflow_server.VARIABLES, "PYTHONPATH": python_path()},
                log=self._settings.home / "mlflow-server.log",
                folder=self._settings.home,
                ends_with_us=True,
                lend=[self._socket.fileno()],
                grace_seconds=GRACE_SECONDS,
            )
        finally:
            self._release()  # if there is no server any more, whoever connects is refused, and does not wait

    def _release(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()


def tracking_variables(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What tells a step's MLflow to log to the server, past any proxy of its environment."""
    own = dict.fromkeys(("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", OWN_TRACKING), url)
    return {**own, **past_proxies(environment, ("127.0.0.1",))}
