"""``tandem ui`` on the state of a case: the Prefect server that the commands of the case find, and MLflow's page."""

import subprocess
from contextlib import suppress

from flows.prefect_api.server import SERVED, free_port
from tests.chaos.observe import open_records
from tests.chaos.processes import below, holds_within, send
from tests.chaos.world import BIN, World

START_SECONDS = 120.0
CLOSE_SECONDS = 20.0  # so long may it take to close the records of what has died


class Serving:
    """The command that serves; it counts as a helper of the world, not as one of its commands."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> list[int]:
        """Its processes, those that are nearer to the command first."""
        if self._process is None:
            return []
        return [self._process.pid, *(process.pid for process in below(self._process.pid))]

    def start(self) -> None:
        """Start it, and wait until it serves."""
        ports = [word for name in ("prefect", "mlflow") for word in (f"--{name}-port", str(free_port()))]
        with (self._world.folder / "log" / "ui").open("ab") as log:
            self._process = subprocess.Popen(
                [str(BIN / "tandem"), "ui", *ports],
                cwd=self._world.folder / "cwd",
                env=self._world.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._world.helpers.append(self._process.pid)
        served = self._world.state / "prefect" / SERVED
        holds_within(lambda: served.exists() or self._process_is_over(), START_SECONDS, 0.1)
        if not served.exists():
            raise RuntimeError(f"`tandem ui` does not serve; see {log.name}.")

    def stop(self) -> None:
        """End it; what does not end in time is killed."""
        if self._process is None:
            return
        pids = self.pids
        send(pids[:1], "SIGTERM")
        holds_within(self._process_is_over, 20.0)
        send(pids, "SIGKILL")
        self._process.wait()
        (self._world.state / "prefect" / SERVED).unlink(missing_ok=True)  # which a kill leaves
        with suppress(ValueError):
            self._world.helpers.remove(self._process.pid)
        self._process = None

    def open_after_start(self) -> list[str]:
        """Start it, and say which records it leaves open, though nothing runs."""
        self.start()
        holds_within(lambda: not open_records(self._world.state), CLOSE_SECONDS, 0.5)
        return [f"{record}, after a start of `tandem ui`" for record in open_records(self._world.state)]

    def _process_is_over(self) -> bool:
        return self._process is None or self._process.poll() is not None
