"""The flow ``watch-jobs``: resumes suspended flow runs when their jobs are over, in one process for all of them.

A flow run that suspends itself starts it. It ends when no flow run is suspended; if it is killed, a schedule starts it
again. It has no state of its own: it reads from Prefect what there is to do.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import httpx
from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.engines.kind import LastingJobs
from flows.engines.open_engine import chosen_engine
from flows.errors import ServiceError, TandemError
from flows.orchestration.failures import failures_as_states
from flows.orchestration.suspension.suspended_runs import SuspendedRuns, said_of
from flows.orchestration.suspension.watch_plan import LOOK_SECONDS, STATUS_GONE, Action, Wait, WatchPlan, actions
from flows.orchestration.suspension.watchers import Watchers
from flows.settings import Settings
from flows.tags import FLOW_RUN

IDLE_SECONDS = 5.0  # a flow run that starts the watcher is suspended a moment later
IDLE_LOOKS = 2
GIVE_UP_SECONDS = 900.0  # without an answer of Prefect's API; the schedule starts another watcher when it is back


@flow(name="watch-jobs", flow_run_name="watch jobs")
@failures_as_states
async def watch_jobs() -> State[Any]:
    """Resume suspended flow runs as their jobs end, until none is suspended.

    Cancels the job of a flow run that was cancelled while it was suspended, since that one has no process.
    """
    settings = Settings.from_environment()
    jobs = chosen_engine("auto", settings).kind.open_jobs(settings)
    if jobs is None:
        return Completed(name="NothingSuspended", message="No workspace is set: nothing here runs on Azure ML.")
    async with get_client() as client:
        own, watchers = UUID(str(flow_run.id)), await Watchers.deployed(client)
        if watchers is not None and not await watchers.is_needed(own):
            return Completed(name="AlreadyWatched", message="Another watcher is at work.")
        beat = None if watchers is None else partial(watchers.beat, own)
        watcher = Watcher(SuspendedRuns(client), beat)
        await watcher.watch(jobs)
    if not watcher.looks:
        return Completed(name="NothingSuspended", message="No flow run is suspended.")
    return Completed(message=f"{watcher.resumed} flow runs resumed, {watcher.ended} jobs canceled.")


@dataclass(slots=True)
class Watcher:
    """Looks at the jobs of suspended flow runs; resumes the flow runs, or cancels the jobs."""

    runs: SuspendedRuns
    beat: Callable[[], Awaitable[None]] | None = None
    plan: WatchPlan = field(default_factory=WatchPlan)
    looks: int = 0
    resumed: int = 0
    ended: int = 0
    said: str = ""

    async def watch(self, opening: AbstractAsyncContextManager[LastingJobs]) -> None:
        """Look until nothing is suspended. The jobs are opened, which takes a second, only if something is."""
        if not await self._until(1):
            return
        async with opening as jobs:
            while waits := await self._until(IDLE_LOOKS):
                began = time.monotonic()
                await self.look(jobs, waits)
                await asyncio.sleep(max(0.0, LOOK_SECONDS - (time.monotonic() - began)))

    async def look(self, jobs: LastingJobs, waits: Sequence[Wait]) -> None:
        """Look once, at as many jobs as the plan allows. A service that does not answer is asked again next time."""
        self.looks += 1
        statuses: Mapping[str, str] = {}
        try:
            statuses = await self._statuses(jobs, {wait.job_name for wait in waits})
        except TandemError as error:
            self._say(str(error))
        done = actions(waits, statuses, time.time())
        for failed in await asyncio.gather(*(self._act(jobs, wait, action) for wait, action in done)):
            if failed:
                self._say(failed)

    async def _until(self, idle_looks: int) -> list[Wait]:
        """The flow runs that wait now; none after ``idle_looks`` looks in a row have found none.

        Raises:
            ServiceError: Prefect's API has not answered for a long time.
        """
        idle, asked = 0, time.monotonic()
        while True:
            try:
                if self.beat is not None:
                    await self.beat()
                waits = await self.runs.waiting()
            except httpx.HTTPError as error:
                if time.monotonic() - asked > GIVE_UP_SECONDS:
                    raise ServiceError(f"{said_of(error)} It has not for {GIVE_UP_SECONDS:.0f} s.") from error
                self._say(said_of(error))
                await asyncio.sleep(LOOK_SECONDS)
                continue
            asked = time.monotonic()
            idle += 1
            if waits or idle >= idle_looks:
                return waits
            await asyncio.sleep(IDLE_SECONDS)

    async def _statuses(self, jobs: LastingJobs, wanted: set[str]) -> Mapping[str, str]:
        statuses, calls = dict[str, str](), 0
        if pages := self.plan.pages(wanted):
            found, calls = await jobs.newest(FLOW_RUN, wanted, pages)
            statuses |= found
        try:
            for name in self.plan.one_by_one(wanted - statuses.keys(), calls):
                job = await jobs.find(name)
                statuses[name] = STATUS_GONE if job is None else job.status
        except ServiceError as error:
            self._say(str(error))  # the statuses that were read until then are used
        self.plan.saw(statuses.keys(), wanted, time.monotonic())
        return statuses

    async def _act(self, jobs: LastingJobs, wait: Wait, action: Action) -> str:
        """Do one thing. Returns why it failed, or an empty text; the next look finds what is still to be done."""
        try:
            match action:
                case Action.RESUME:
                    if await self.runs.resume(wait):
                        self.resumed += 1
                        get_run_logger().info("job %s | resuming flow run %s", wait.job_name, wait.flow_run_id)
                case Action.CANCEL:
                    said = "job %s | canceling: flow run %s is over"
                    get_run_logger().warning(said, wait.job_name, wait.flow_run_id)
                    await jobs.cancel(wait.job_name)
                    self.ended += 1
                case Action.FORGET:
                    await self.runs.forget(wait)
        except httpx.HTTPError as error:
            return said_of(error)
        except TandemError as error:
            return str(error)
        return ""

    def _say(self, text: str) -> None:
        """Log what is wrong, unless it was the last thing logged."""
        if text != self.said:
            get_run_logger().warning("%s Trying again.", text)
        self.said = text
