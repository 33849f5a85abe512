"""Find a flow run that trains on the same at this moment, so that an unattended one does not begin it again.

A flow run that trains is labelled with the model and the basis of its decision. Before it trains, an unattended flow
run looks for that label on the flow runs that have begun and not ended, and then labels itself. A concurrency limit of
Prefect lets one flow run at a time do so. If that one is killed meanwhile, the others stop waiting after a minute.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError, concurrency
from prefect.exceptions import ObjectAlreadyExists
from prefect.runtime import flow_run

from flows.tags import TRAINS

LIMIT = "tandem-begin-training"
WAIT_SECONDS = 60.0
# A flow run whose process was killed may be shown as running for ever; one that is suspended has no process.
RUNNING_HOURS = 24
MOST_RUNS = 200
_BEGUN = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.PAUSED]  # scheduled: to be retried
_logger = logging.getLogger("prefect.tandem")


def trains(model_name: str, basis: str) -> str:
    """The value of the label of a flow run that trains: what its decision is about, and what it rests on."""
    return f"{model_name};{basis}"


async def trained_elsewhere(wanted: str) -> str:
    """Say which other flow run trains on the same and is not over; if none does, label this one, and return nothing.

    Args:
        wanted: What this flow run is about to train: :func:`trains`.
    """
    async with get_client() as client, _one_at_a_time(client):
        own = UUID(str(flow_run.id))
        for run in await _begun(client):
            if run.id != own and run.labels.get(TRAINS) == wanted:
                return f"the flow run {run.name} ({run.id}) has begun to train on the same, and is not over"
        await client.update_flow_run_labels(own, {TRAINS: wanted})
    return ""


@asynccontextmanager
async def _one_at_a_time(client: PrefectClient) -> AsyncGenerator[None]:
    with suppress(ObjectAlreadyExists):  # another has made it at this moment
        await client.upsert_global_concurrency_limit_by_name(LIMIT, 1)
    async with AsyncExitStack() as turn:
        try:
            await turn.enter_async_context(concurrency(LIMIT, timeout_seconds=WAIT_SECONDS))
        except AcquireConcurrencySlotTimeoutError:
            _logger.warning("no turn within %g s to see what is trained elsewhere; going on without one", WAIT_SECONDS)
        yield


async def _begun(client: PrefectClient) -> list[FlowRun]:
    now = datetime.now(UTC)
    wanted = {"state": {"type": {"any_": _BEGUN}}, "start_time": {"is_null_": False}}
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(wanted), sort=FlowRunSort.START_TIME_DESC, limit=MOST_RUNS
    )
    oldest = now - timedelta(hours=RUNNING_HOURS)
    return [run for run in runs if _is_suspended(run) or (run.start_time is not None and run.start_time > oldest)]


def _is_suspended(run: FlowRun) -> bool:
    return run.state is not None and run.state.type is StateType.PAUSED
