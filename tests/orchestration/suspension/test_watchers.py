"""One watcher is enough: who comes second sees the first, and one that is dead does not count."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Running, Scheduled

from flows.engines.kind import LastingJobs
from flows.errors import ServiceError
from flows.orchestration.suspension import watch_jobs as watching
from flows.orchestration.suspension.suspended_runs import SuspendedRuns
from flows.orchestration.suspension.watch_jobs import Watcher, watch_jobs
from flows.orchestration.suspension.watchers import DEAD_SECONDS, Watchers, is_alive
from flows.tags import LOOKED_AT

T = TypeVar("T")
Work = Callable[[PrefectClient, Watchers], Awaitable[T]]


def at_the_server(work: Work[T]) -> T:
    """Do something on a server that has a deployment of the watcher, and no run of it."""

    async def run() -> T:
        async with get_client() as client:
            deployment_id = await client.create_deployment(await client.create_flow(watch_jobs), "watcher")
            for old in await all_of(client, deployment_id):
                await client.delete_flow_run(old.id)
            watchers = await Watchers.deployed(client)
            assert watchers is not None
            return await work(client, watchers)

    return asyncio.run(run())


async def all_of(client: PrefectClient, deployment_id: UUID) -> list[FlowRun]:
    wanted = FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment_id]}})
    return await client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.START_TIME_ASC, limit=50)


async def running(client: PrefectClient, looked_seconds_ago: float | None = None) -> UUID:
    deployment = await client.read_deployment_by_name("watch-jobs/watcher")
    run = await client.create_flow_run_from_deployment(deployment.id)
    await client.set_flow_run_state(run.id, Running(), force=True)
    if looked_seconds_ago is not None:
        await client.update_flow_run_labels(run.id, {LOOKED_AT: datetime.now(UTC).timestamp() - looked_seconds_ago})
    return run.id


@pytest.mark.slow
def test_many_flow_runs_that_are_suspended_at_once_start_one_watcher(prefect_api: str) -> None:
    async def work(client: PrefectClient, watchers: Watchers) -> int:
        await asyncio.gather(*(watchers.ensure_one() for _ in range(20)))
        await watchers.ensure_one()
        deployment = await client.read_deployment_by_name("watch-jobs/watcher")
        return len(await all_of(client, deployment.id))

    assert at_the_server(work) in (1, 2)  # two if the ten seconds of one key end meanwhile


def test_no_watcher_is_started_while_one_is_alive(prefect_api: str) -> None:
    async def work(client: PrefectClient, watchers: Watchers) -> int:
        await running(client, looked_seconds_ago=1)
        await watchers.ensure_one()
        deployment = await client.read_deployment_by_name("watch-jobs/watcher")
        return len(await all_of(client, deployment.id))

    assert at_the_server(work) == 1


def test_of_two_watchers_the_first_goes_on(prefect_api: str) -> None:
    async def work(client: PrefectClient, watchers: Watchers) -> tuple[bool, bool]:
        first, second = await running(client), await running(client)
        return await watchers.is_needed(first), await watchers.is_needed(second)

    assert at_the_server(work) == (True, False)


def shown(state: Any, labels: dict[str, Any]) -> FlowRun:
    return FlowRun(flow_id=UUID(int=1), state=state, labels=labels)


@pytest.mark.parametrize(
    ("seconds", "looked_seconds_ago", "alive"),
    [
        (DEAD_SECONDS - 1, None, True),
        (DEAD_SECONDS + 1, None, False),
        (9000, DEAD_SECONDS - 1, True),
        (9000, DEAD_SECONDS + 1, False),
    ],
)
def test_watcher_is_alive_if_it_began_or_looked_not_long_ago(
    seconds: float, looked_seconds_ago: float | None, alive: bool
) -> None:
    now = datetime.now(UTC).timestamp() + seconds
    labels = {} if looked_seconds_ago is None else {LOOKED_AT: now - looked_seconds_ago}
    assert is_alive(shown(Running(), labels), now) is alive


def test_watcher_that_waits_for_a_worker_is_alive() -> None:
    assert is_alive(shown(Scheduled(), {}), datetime.now(UTC).timestamp() + 9000)


def test_watcher_ends_when_nobody_at_the_api_has_answered_for_a_long_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watching, "GIVE_UP_SECONDS", 1.0)
    monkeypatch.setattr(watching, "get_run_logger", logging.getLogger)  # there is no flow run here

    @asynccontextmanager
    async def no_jobs() -> AsyncGenerator[LastingJobs]:
        raise AssertionError("opened though nothing is suspended")
        yield

    async def watch() -> None:
        async with get_client() as client:
            await Watcher(SuspendedRuns(client)).watch(no_jobs())

    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES: 0}),
        pytest.raises(ServiceError, match="Prefect's API does not answer"),
    ):
        asyncio.run(watch())
