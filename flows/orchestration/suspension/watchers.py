"""Start of a watcher, a flow run of ``watch-jobs``, if none is alive. Two at once do no harm.

A watcher records the time of its last look. Prefect's own concurrency limits are not used: a watcher whose process was
killed would count as running, and hold back the next one.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.tags import LOOKED_AT

WATCHER = "watch-jobs/watcher"
DEAD_SECONDS = 120.0  # six looks; also what a worker may take to start a process
SOON_SECONDS = 10.0


class Watchers:
    """Starts a watcher unless one is alive. Everything here may be repeated freely."""

    def __init__(self, client: PrefectClient, deployment_id: UUID) -> None:
        self._client = client
        self._deployment_id = deployment_id

    @classmethod
    async def deployed(cls, client: PrefectClient) -> "Watchers | None":
        """The watchers of the deployment; None if there is no such deployment."""
        try:
            return cls(client, (await client.read_deployment_by_name(WATCHER)).id)
        except ObjectNotFound:
            return None

    async def ensure_one(self) -> None:
        """Start one, unless one is alive or about to start."""
        now = datetime.now(UTC).timestamp()
        due = {"before_": datetime.fromtimestamp(now + SOON_SECONDS, UTC)}  # and not what is scheduled for later
        runs = await self._runs(StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, expected_start_time=due)
        if not any(is_alive(run, now) for run in runs):
            # Of the many flow runs that may be suspended at once, one starts it.
            key = f"{WATCHER} {int(now / SOON_SECONDS)}"
            await self._client.create_flow_run_from_deployment(self._deployment_id, idempotency_key=key)

    async def is_needed(self, own: UUID) -> bool:
        """Whether a watcher that has just started is to watch: no other that is alive has started before it.

        Watchers that are dead are marked as crashed.
        """
        now, needed = datetime.now(UTC).timestamp(), True
        runs = await self._runs(StateType.RUNNING)
        mine = next((_begun(run) for run in runs if run.id == own), now)
        for run in runs:
            if run.id == own:
                continue
            if not is_alive(run, now):
                state: Any = Crashed(message="Its process is gone.")
                await self._client.set_flow_run_state(run.id, state, force=True)
            elif (_begun(run), str(run.id)) < (mine, str(own)):
                needed = False
        return needed

    async def beat(self, own: UUID) -> None:
        """Record that a watcher is alive."""
        await self._client.update_flow_run_labels(own, {LOOKED_AT: datetime.now(UTC).timestamp()})

    async def _runs(self, *types: StateType, **filters: Any) -> list[FlowRun]:
        wanted = {"deployment_id": {"any_": [self._deployment_id]}, "state": {"type": {"any_": list(types)}}, **filters}
        return await self._client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(wanted), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=50
        )


def is_alive(run: FlowRun, now: float) -> bool:
    """Whether a watcher that Prefect shows as running, or about to, really is; ``now`` in seconds since 1970."""
    if run.state is None or run.state.is_scheduled():
        return True  # a worker will take it
    looked_at: Any = run.labels.get(LOOKED_AT, 0.0)
    return now - max(run.state.timestamp.timestamp(), float(looked_at)) < DEAD_SECONDS


def _begun(run: FlowRun) -> float:
    return run.start_time.timestamp() if run.start_time is not None else 0.0
