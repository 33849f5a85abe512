"""Close the flow runs and task runs of dead processes as Crashed, over Prefect's API."""

from collections.abc import Sequence
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed

from flows.machine.living import Life, is_running

PAGE = 200
_UNFINISHED = ["RUNNING", "PENDING", "CANCELLING", "SCHEDULED"]


async def crash(url: str, lives: Sequence[Life]) -> tuple[int, set[str]]:
    """Close the flow runs of these processes at an API, and their task runs.

    Returns:
        How many flow runs were closed, and the entries of the processes whose flow runs a living worker sees to.
    """
    async with _client(url) as client:
        return await _crash(client, lives)


def _client(url: str) -> PrefectClient:
    if url.rstrip("/") == PREFECT_API_URL.value().rstrip("/"):
        return get_client()
    # Without the credentials of the API that is configured now: they must not be sent to another one.
    return PrefectClient(url)


async def _crash(client: PrefectClient, lives: Sequence[Life]) -> tuple[int, set[str]]:
    closed, by_worker = 0, set[str]()
    for life in lives:
        for run in await _flow_runs(client, life):
            if run.state is not None and (run.state.is_paused() or run.state.is_scheduled()):
                continue
            if run.state is None or not run.state.is_final():
                if life.worker is not None and is_running(*life.worker):
                    by_worker.add(life.id)
                    continue
                await client.set_flow_run_state(run.id, _crashed(life), force=True)
                closed += 1
            await _crash_tasks(client, run, life)
    return closed, by_worker


async def _flow_runs(client: PrefectClient, life: Life) -> list[FlowRun]:
    wanted: Any = {"id": {"any_": [life.flow_run]}} if life.flow_run else {"tags": {"all_": [life.flow_run_tag]}}
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(wanted), sort=FlowRunSort.START_TIME_DESC, limit=PAGE
    )


async def _crash_tasks(client: PrefectClient, run: FlowRun, life: Life) -> None:
    of_run = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
    unfinished = TaskRunFilter.model_validate({"state": {"type": {"any_": _UNFINISHED}}})
    while True:
        tasks = await client.read_task_runs(
            flow_run_filter=of_run, task_run_filter=unfinished, sort=TaskRunSort.END_TIME_DESC, limit=PAGE
        )
        for task in tasks:
            await client.set_task_run_state(task.id, _crashed(life), force=True)
        if len(tasks) < PAGE:
            return


def _crashed(life: Life) -> Any:
    return Crashed(message=f"Its process ({life.pid}: {life.what}) is gone; it was killed, or its machine went down.")
