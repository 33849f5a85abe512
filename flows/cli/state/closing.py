"""Close the runs of dead processes: flow runs and task runs as Crashed, MLflow runs as KILLED.

Usually every process has removed its file (:mod:`flows.machine.living`), and all that this costs is listing one folder.
Otherwise MLflow is started in a process of its own while the command goes on to start, and Prefect is asked over the
API at which the flow runs were made. What cannot be closed now is left for the next command.

A flow run is closed if it is Running, Pending or Cancelling. One that is suspended, paused or waits for a retry needs
no process. One that a worker has started is left to the worker as long as that lives. The Azure ML job of a flow run is
not touched: the same command, started again, goes on with it.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

from flows.machine.child import Child
from flows.machine.living import PROCESS, Dead, look
from flows.mlflow_store.places import mlflow_place
from flows.prefect_api.server import DATABASE, PrefectApi, elsewhere, start_temporary
from flows.settings import Settings
from flows.spec.text.words import counted

MLFLOW_SECONDS = 120.0


class Closing:
    """Closes the runs of dead processes. Their files are locked, so no other command closes the same."""

    def __init__(self, settings: Settings, dead: Sequence[Dead]) -> None:
        self._settings = settings
        self._dead = dead
        self._mlflow = self._start_mlflow([each.life.id for each in dead if each.life.mlflow])

    @classmethod
    def begin(cls, settings: Settings) -> Self | None:
        """Begin if a dead process has left a file, else return None. Call before the slow part of a start."""
        _, dead = look(settings.home)
        return cls(settings, dead) if dead else None

    def finish(self, api: PrefectApi, say: Callable[[str], object]) -> None:
        """Close all that can be closed, and tell in a line what was. What cannot be closed raises nothing.

        Args:
            api: The Prefect API of this command, which answers.
            say: Takes the line.
        """
        kept, flow_runs, mlflow_runs, trouble = set[str](), 0, 0, ""
        try:
            mlflow_runs = self._killed_mlflow_runs()
        except Exception as error:  # a fault of MLflow or its database must not stop this command
            kept |= {each.life.id for each in self._dead if each.life.mlflow}
            trouble = str(error)
        for url in dict.fromkeys(each.life.api for each in self._dead):
            lives = [each.life for each in self._dead if each.life.api == url]
            try:
                if (reached := self._reached(api, url)) is not None:
                    from flows.cli.state.crashed import crash

                    closed, by_worker = asyncio.run(crash(reached, lives))
                    flow_runs += closed
                    kept |= by_worker
            except Exception as error:  # the server that the flow runs were made at may be gone for good
                kept |= {life.id for life in lives}
                trouble = str(error) or type(error).__name__
        for each in self._dead:
            with suppress(OSError):
                each.leave() if each.life.id in kept else each.forget()
        said = [f"{counted(flow_runs, 'flow run')} as Crashed"] * bool(flow_runs)
        said += [f"{counted(mlflow_runs, 'MLflow run')} as KILLED"] * bool(mlflow_runs)
        if said:
            say(f"Closed what was left open by processes that are gone: {', '.join(said)}.")
        if trouble:
            left = counted(len(kept), "process")
            cause = trouble.partition("\n")[0]
            say(f"What {left} left open when killed cannot be closed now; a later command tries again: {cause}")

    def _start_mlflow(self, ids: list[str]) -> Child | None:
        place = mlflow_place(self._settings)
        if not ids or (place.is_own and not (self._settings.home / "mlflow.db").exists()):
            return None
        from flows.engines.local.host.one_call import start_worker

        worker = start_worker(self._settings)
        assert worker.process.stdin is not None
        request = {"id": 1, "call": "kill_runs", "args": {"tag": PROCESS, "values": ids}}
        worker.process.stdin.write(json.dumps(request) + "\n")
        worker.process.stdin.flush()
        return worker

    def _killed_mlflow_runs(self) -> int:
        if self._mlflow is None:
            return 0
        with self._mlflow as worker:
            said, _ = worker.process.communicate(timeout=MLFLOW_SECONDS)
        answer = json.loads(said)
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        return answer["ok"]

    def _reached(self, api: PrefectApi, url: str | None) -> str | None:
        """Where flow runs are found that were made at an API (None: at that of the local state); None for nowhere."""
        home = self._settings.prefect_home
        if url is not None or api.origin != "configured" or elsewhere(api.url, home) is None:
            return url or api.url
        if not (home / DATABASE).exists():
            return None
        temporary = start_temporary(home)
        temporary.wait_until_ready()
        return temporary.url


def make_mlflow_store(settings: Settings, uri: str | None = None) -> None:
    """Make the local MLflow store, or another, unless it is there; it is made whole or not at all."""
    from flows.engines.local.host.one_call import start_worker

    with start_worker(settings, uri or settings.mlflow_uri) as worker:
        worker.process.communicate()
