"""Lists and resumes the flow runs that were suspended for a job, by Prefect's API."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from flows.orchestration.suspension.watch_plan import Wait
from flows.tags import JOB, WAKE_AT, WATCHED

PAGE = 200
AT_ONCE = 4
_OF_INTEREST = FlowRunFilter.model_validate(
    {
        "tags": {"all_": [WATCHED]},
        # Suspended ones, and those that ended while their job may still run. A resumed one sees to its job itself.
        "state": {"type": {"any_": [StateType.PAUSED, StateType.CANCELLED, StateType.FAILED, StateType.CRASHED]}},
    }
)


class SuspendedRuns:
    """Lists flow runs that wait without a process, and resumes them. Everything here may be repeated freely."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def waiting(self) -> list[Wait]:
        """The flow runs that are suspended for a job, and those that have ended meanwhile."""
        found: list[FlowRun] = []
        while True:
            page = await self._client.read_flow_runs(
                flow_run_filter=_OF_INTEREST, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=len(found)
            )
            found.extend(page)
            if len(page) < PAGE:
                return [_wait(run) for run in found if JOB in run.labels]

    async def resume(self, wait: Wait) -> bool:
        """Have a worker run it again. Returns whether it was suspended until now."""
        async with self._at_once:
            try:
                result = await self._client.resume_flow_run(UUID(wait.flow_run_id))
            except ObjectNotFound:
                return False
            return result.status.value == "ACCEPT"

    async def forget(self, wait: Wait) -> None:
        """Take it off the list, because both it and its job have ended."""
        run_id = UUID(wait.flow_run_id)
        async with self._at_once:
            try:
                run = await self._client.read_flow_run(run_id)
                await self._client.update_flow_run(run_id, tags=set(run.tags) - {WATCHED})
            except ObjectNotFound:
                pass


def _wait(run: FlowRun) -> Wait:
    wake_at: Any = run.labels.get(WAKE_AT)
    suspended = run.state is not None and run.state.is_paused()
    return Wait(str(run.id), str(run.labels[JOB]), not suspended, None if wake_at is None else float(wake_at))


def said_of(error: httpx.HTTPError) -> str:
    """An error of the API as one sentence."""
    said = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return f"Prefect's API does not answer: {said}."
