"""Close what dead processes have left open: flow runs and task runs as Crashed, MLflow runs as KILLED.

Where every process has taken its file away (:mod:`flows.state.living`), which is the usual case, this costs the look
into one folder. Else MLflow is started in a process of its own while the command goes on to start, and Prefect is asked
over the API at which the flow runs were made. What cannot be closed now is left for the next command.

A flow run is closed if it is Running, Pending or Cancelling. One that is suspended, paused or waits for a retry needs
no process. One that a worker has started is left to the worker as long as that lives. The Azure ML job of a flow run is
not touched: the same command, started again, goes on with it.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import flows
from flows.prefect_server import DATABASE, PrefectApi, start_temporary
from flows.settings import Settings
from flows.state.living import PROCESS, Dead, Life, is_running, look

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

WORKER_SCRIPT = Path(flows.__file__).with_name("mlflow_worker.py")
MLFLOW_SECONDS = 120.0
PAGE = 200
_UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]


class Closing:
    """The closing of what the dead have left. Nobody else closes the same meanwhile."""

    def __init__(self, settings: Settings, dead: Sequence[Dead]) -> None:
        self._settings = settings
        self._dead = dead
        self._mlflow = self._start_mlflow([each.life.id for each in dead if each.life.mlflow])

    @classmethod
    def begin(cls, settings: Settings) -> Self | None:
        """Begin, if there is anything that could be open; call before the slow part of a start."""
        _, dead = look(settings.home)
        return cls(settings, dead) if dead else None

    def finish(self, api: PrefectApi, say: Callable[[str], object]) -> None:
        """Close all that can be closed, and say in a line what was. Never raises for what cannot.

        Args:
            api: The Prefect API of this command, which answers.
            say: Takes the line.
        """
        kept, flow_runs, mlflow_runs, trouble = set[str](), 0, 0, ""
        try:
            mlflow_runs = self._killed_mlflow_runs()
        except Exception as error:  # whatever MLflow or its database is up to is not this command's concern yet
            kept |= {each.life.id for each in self._dead if each.life.mlflow}
            trouble = str(error)
        for url, lives in _by_api([each.life for each in self._dead]).items():
            try:
                flow_runs += asyncio.run(self._crash_all(api, url, lives, kept))
            except Exception as error:  # the server that the flow runs were made at may be gone for good
                kept |= {life.id for life in lives}
                trouble = str(error) or type(error).__name__
        for each in self._dead:
            with suppress(OSError):
                each.leave() if each.life.id in kept else each.forget()
        said = [f"{_count(flow_runs, 'flow run')} as Crashed"] * bool(flow_runs)
        said += [f"{_count(mlflow_runs, 'MLflow run')} as KILLED"] * bool(mlflow_runs)
        if said:
            say(f"Closed what was left open by processes that are gone: {', '.join(said)}.")
        if trouble:
            left = _count(len(kept), "process")
            cause = trouble.partition("\n")[0]
            say(f"What {left} left open when killed cannot be closed now; a later command tries again: {cause}")

    def _start_mlflow(self, ids: list[str]) -> "subprocess.Popen[str] | None":
        home = self._settings.home
        if not ids or not (home / "mlflow.db").exists():
            return None
        process = start_mlflow(self._settings)
        assert process.stdin is not None
        request = {"id": 1, "call": "kill_runs", "args": {"tag": PROCESS, "values": ids}}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return process

    def _killed_mlflow_runs(self) -> int:
        if self._mlflow is None:
            return 0
        try:
            said, _ = self._mlflow.communicate(timeout=MLFLOW_SECONDS)
        except subprocess.TimeoutExpired:
            self._mlflow.kill()
            self._mlflow.communicate()
            raise
        answer = json.loads(said)
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        return answer["ok"]

    async def _crash_all(self, api: PrefectApi, url: str | None, lives: Sequence[Life], kept: set[str]) -> int:
        from prefect.client.orchestration import PrefectClient, get_client

        own = api.origin != "configured"
        if (url is None and own) or url == api.url:
            async with get_client() as client:
                return await _crash(client, lives, kept)
        if url is None:
            if not (self._settings.prefect_home / DATABASE).exists():
                return 0
            temporary = start_temporary(self._settings.prefect_home)
            await asyncio.to_thread(temporary.wait_until_ready)
            url = temporary.url
        # Without the credentials of the API that is configured now, which are none of another's business.
        async with PrefectClient(url, auth_string="", api_key="") as client:
            return await _crash(client, lives, kept)


def start_mlflow(settings: Settings, uri: str | None = None) -> "subprocess.Popen[str]":
    """Start an MLflow worker on the local store, or on another; it makes the store, and ends when its input does."""
    from flows.engines.local_processes import step_environment

    variables = {**step_environment(settings), "TANDEM_MLFLOW_ARTIFACTS": str(settings.mlflow_artifacts)}
    with (settings.home / "mlflow-worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(WORKER_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env=variables | ({} if uri is None else {"MLFLOW_TRACKING_URI": uri}),
        )


async def _crash(client: "PrefectClient", lives: Sequence[Life], kept: set[str]) -> int:
    """Close the flow runs of these processes and their task runs; ``kept`` takes those that a worker sees to."""
    closed = 0
    for life in lives:
        for run in await _flow_runs(client, life):
            if run.state is not None and (run.state.is_paused() or run.state.is_scheduled()):
                continue
            if run.state is None or not run.state.is_final():
                if life.worker is not None and is_running(*life.worker):
                    kept.add(life.id)
                    continue
                await client.set_flow_run_state(run.id, _crashed(life), force=True)
                closed += 1
            await _crash_tasks(client, run, life)
    return closed


async def _flow_runs(client: "PrefectClient", life: Life) -> "list[FlowRun]":
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    wanted: Any = {"id": {"any_": [life.flow_run]}} if life.flow_run else {"tags": {"all_": [life.flow_run_tag]}}
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(wanted), sort=FlowRunSort.START_TIME_DESC, limit=PAGE
    )


async def _crash_tasks(client: "PrefectClient", run: "FlowRun", life: Life) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
    from prefect.client.schemas.sorting import TaskRunSort

    of_run = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
    unfinished = TaskRunFilter.model_validate({"state": {"type": {"any_": [*_UNFINISHED, "SCHEDULED"]}}})
    while True:
        tasks = await client.read_task_runs(
            flow_run_filter=of_run, task_run_filter=unfinished, sort=TaskRunSort.END_TIME_DESC, limit=PAGE
        )
        for task in tasks:
            await client.set_task_run_state(task.id, _crashed(life), force=True)
        if len(tasks) < PAGE:
            return


def _crashed(life: Life) -> Any:
    from prefect.states import Crashed

    return Crashed(message=f"Its process ({life.pid}: {life.what}) is gone; it was killed, or its machine went down.")


def _by_api(lives: Sequence[Life]) -> dict[str | None, list[Life]]:
    found: dict[str | None, list[Life]] = {}
    for life in lives:
        found.setdefault(life.api, []).append(life)
    return found


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
