"""Jobs of the workspace that nobody waits for: found, with what Prefect says of them, told, and canceled."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.cli.reap.orphans import Fate, FlowRunFact, OpenJob, ReapDecision, judge, orphans_as_text
from flows.engines.polling import TERMINAL
from flows.errors import ServiceError, TandemError
from flows.prefect_api.server import DATABASE, PrefectApi, find_prefect_api, use_prefect_api
from flows.settings import Settings
from flows.tags import FLOW_RUN, goes_on_with

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.workspace import Workspace

BATCH = 100
GONE = "gone"
OVER = (*TERMINAL, GONE)


@dataclass(frozen=True, slots=True)
class FoundJobs:
    """The jobs of ours that are not over, the workspace that they are in, and the Prefect API that was asked."""

    workspace: str
    api: PrefectApi | None
    decisions: Sequence[ReapDecision]

    @property
    def prefect(self) -> str | None:
        """Where Prefect was asked, for a person; None if nowhere."""
        return self.api and ("the database of local runs" if self.api.origin == "temporary" else self.api.url)


async def find_jobs(
    workspace: "Workspace", settings: Settings, older_than: float, is_dead: Callable[[str], bool | None]
) -> FoundJobs:
    """List the jobs of ours that are not over and at least so many seconds old, and judge them.

    Args:
        workspace: Where they are.
        settings: Which Prefect knows their flow runs.
        older_than: In seconds.
        is_dead: Whether the process that waits for a job is known to be gone; see :func:`flows.cli.reap.command.reap`.
    """
    jobs = await _open_jobs(workspace)
    now = datetime.now(UTC)
    jobs = [job for job in jobs if (age := job.age(now)) is None or age >= older_than]
    api = await asyncio.to_thread(_prefect_api, settings) if jobs else None
    # After the jobs: what Prefect says of them is never older than they are.
    known = {} if api is None else await _flow_runs(api, {job.flow_run_id for job in jobs})
    decisions = [
        judge(job, known.get(job.flow_run_id, ()), is_dead(job.flow_run_id) if _is_id(job.flow_run_id) else None)
        for job in jobs
    ]
    return FoundJobs(workspace.name, api, decisions)


async def _open_jobs(workspace: "Workspace") -> list[OpenJob]:
    from flows.engines.azureml.sdk.retries import TRIES_FOR_A_PERSON, persistently

    found = await persistently(lambda: workspace.jobs.tagged(FLOW_RUN), TRIES_FOR_A_PERSON)
    return [
        OpenJob(job.name, job.status, job.compute, job.created, job.tags[FLOW_RUN])
        for job in found
        if job.status not in TERMINAL
    ]


def _prefect_api(settings: Settings) -> PrefectApi | None:
    """The Prefect API that knows the flow runs of this machine; None if there is none and never was."""
    if find_prefect_api(settings) is None and not (settings.prefect_home / DATABASE).exists():
        return None
    api = use_prefect_api(settings)
    api.wait_until_ready()
    return api


async def _flow_runs(api: PrefectApi, ids: set[str]) -> Mapping[str, Sequence[FlowRunFact]]:
    """The flow runs that go by each id: the one whose own it is, and those that say that they go on with its job."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterTags
    from prefect.client.schemas.sorting import FlowRunSort

    # Said in full: with a newer FastAPI the server refuses what the client sends for "as ever".
    paging: Any = {"sort": FlowRunSort.START_TIME_DESC, "limit": 200}
    known = sorted(filter(_is_id, ids))
    found: dict[str, list[FlowRunFact]] = {}
    try:
        async with get_client() as client:
            for at in range(0, len(known), BATCH):
                batch = known[at : at + BATCH]
                by_tag = {goes_on_with(id): id for id in batch}
                own = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(id) for id in batch]))
                later = FlowRunFilter(tags=FlowRunFilterTags(any_=list(by_tag)))
                for run in await client.read_flow_runs(flow_run_filter=own, **paging):
                    found.setdefault(str(run.id), []).append(_fact(run))
                for run in await client.read_flow_runs(flow_run_filter=later, **paging):
                    for tag in by_tag.keys() & set(run.tags):
                        found.setdefault(by_tag[tag], []).append(_fact(run))
    except httpx.HTTPError as error:
        said = str(error).partition("\n")[0]
        raise ServiceError(f"The Prefect API at {api.url} cannot be asked: {said}. Nothing was canceled.") from error
    return found


def _fact(run: Any) -> FlowRunFact:
    return FlowRunFact(run.name, run.state_name or "no state", run.state is not None and run.state.is_final())


async def cancel_jobs(workspace: "Workspace", chosen: Sequence[ReapDecision]) -> dict[str, str]:
    """Cancel jobs at once, and wait until they are over; their last status, or why they could not be canceled."""
    from flows.engines.azureml.stopping import LONG_SECONDS, stop_job

    say = partial(print, file=sys.stderr, flush=True)

    async def end(name: str) -> str:
        try:
            return await stop_job(workspace.jobs, name, LONG_SECONDS, say) or GONE
        except TandemError as error:
            return str(error)

    names = [finding.job.name for finding in chosen]
    return dict(zip(names, await asyncio.gather(*map(end, names)), strict=True))


def jobs_as_text(found: FoundJobs, age: str, now: datetime, *, unknown_too: bool) -> str:
    """What was found, for a person.

    Args:
        found: The jobs.
        age: Which of them were asked for, such as `` that are older than 2h``.
        now: For their ages.
        unknown_too: Whether those go too whose flow runs Prefect does not know.
    """
    if not found.decisions:
        return f"In the workspace {found.workspace} no jobs of ours{age} are running or waiting."
    where = f"Prefect: {found.prefect}" if found.api else "there is no Prefect API, and no database of local runs"
    table = orphans_as_text(found.decisions, now)
    lines = [f"Jobs of ours in the workspace {found.workspace}{age} ({where}):", "", table]
    if not unknown_too and any(decision.fate is Fate.UNKNOWN for decision in found.decisions):
        lines += [
            "",
            "The flow runs that are not known here may be those of another Prefect; --unknown-too takes them too.",
        ]
    return "\n".join(lines)


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
