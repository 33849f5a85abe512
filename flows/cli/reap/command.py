"""``tandem reap``: list the jobs of the workspace that nobody waits for, and cancel them."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.cli.options import ReapOptions
from flows.cli.reap.orphans import (
    Fate,
    FlowRunFact,
    OpenJob,
    ReapDecision,
    as_data,
    judge,
    orphans_as_text,
    seconds_of,
    to_cancel,
)
from flows.engines.polling import TERMINAL
from flows.errors import RunError, ServiceError, SettingsError, TandemError
from flows.orchestration.journal import process_is_gone
from flows.prefect_api.server import DATABASE, PrefectApi, find_prefect_api, use_prefect_api
from flows.settings import Settings
from flows.spec.text.words import counted
from flows.tags import FLOW_RUN, goes_on_with

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.workspace import Workspace

BATCH = 100
GONE = "gone"


def reap(options: ReapOptions, is_dead: Callable[[str], bool | None] | None = None) -> int:
    """List the jobs of ours that are not over, and cancel those that nobody waits for if ``options.yes``.

    Args:
        options: What a person asked for.
        is_dead: Whether the process that waits for a job is known to be gone, or to be there, by the id that the job's
            name is derived from. Default: what the journal of this machine says.

    Raises:
        SettingsError: No workspace is set.
        ServiceError: The workspace or the Prefect API does not answer.
        RunError: Jobs that were to be canceled are not over.
    """
    settings = Settings.from_environment()
    missing = settings.missing_workspace
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise SettingsError(f"The jobs of a workspace are listed, and {', '.join(missing)} {verb} not set.")
    older_than = seconds_of(options.older_than) if options.older_than else 0.0
    try:
        asyncio.run(_reap(settings, options, older_than, is_dead or partial(process_is_gone, settings.begun_runs)))
    except KeyboardInterrupt:
        print("\nInterrupted. Jobs that were asked to end do so; `tandem reap` shows the others.", file=sys.stderr)
        return 130
    return 0


async def _reap(
    settings: Settings, options: ReapOptions, older_than: float, is_dead: Callable[[str], bool | None]
) -> None:
    from flows.engines.azureml.sdk.workspace import open_workspace

    async with open_workspace(settings) as workspace:
        jobs = await _open_jobs(workspace)
        now = datetime.now(UTC)
        jobs = [job for job in jobs if (age := job.age(now)) is None or age >= older_than]
        api = await asyncio.to_thread(_prefect_api, settings) if jobs else None
        # After the jobs: what Prefect says of them is never older than they are.
        known = {} if api is None else await _flow_runs(api, {job.flow_run_id for job in jobs})
        findings = [
            judge(job, known.get(job.flow_run_id, ()), is_dead(job.flow_run_id) if _is_id(job.flow_run_id) else None)
            for job in jobs
        ]
        chosen = to_cancel(findings, options.unknown_too)
        if not options.json:
            print(_told(workspace.name, api, findings, options, now), flush=True)
        outcomes = await _end(workspace, chosen) if options.yes else {}
    if options.json:
        told = {"workspace": workspace.name, "prefect": api and _where(api), "dry_run": not options.yes}
        print(json.dumps({**told, "jobs": as_data(findings, now, outcomes)}, indent=2))
    left = [f"{name}: {outcome}" for name, outcome in outcomes.items() if outcome not in (*TERMINAL, GONE)]
    if left:
        raise RunError("\n".join((f"{len(left)} of {len(chosen)} jobs are not over:", *left)))
    if outcomes and not options.json:
        print(f"\n{counted(len(outcomes), 'job')} over.")


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


async def _end(workspace: "Workspace", chosen: Sequence[ReapDecision]) -> dict[str, str]:
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


def _told(
    workspace: str, api: PrefectApi | None, findings: Sequence[ReapDecision], options: ReapOptions, now: datetime
) -> str:
    """What was found, for a person, and the command to type."""
    age = f" that are older than {options.older_than}" if options.older_than else ""
    if not findings:
        return f"In the workspace {workspace} no jobs of ours{age} are running or waiting."
    where = "there is no Prefect API, and no database of local runs" if api is None else f"Prefect: {_where(api)}"
    lines = [f"Jobs of ours in the workspace {workspace}{age} ({where}):", "", orphans_as_text(findings, now), ""]
    unknown = sum(finding.fate is Fate.UNKNOWN for finding in findings)
    goes = len(to_cancel(findings, options.unknown_too))
    if unknown and not options.unknown_too:
        lines.append(
            "The flow runs that are not known here may be those of another Prefect; --unknown-too takes them too."
        )
    if goes == 0:
        lines.append("Nothing is to be canceled.")
    elif not options.yes:
        lines.append(f"{counted(goes, 'job')} may go; nothing was canceled. To cancel: {_command(options)}")
    return "\n".join(lines)


def _command(options: ReapOptions) -> str:
    """The command that cancels what was shown."""
    older = f" --older-than {options.older_than}" if options.older_than else ""
    return f"tandem reap --yes{older}{' --unknown-too' if options.unknown_too else ''}"


def _where(api: PrefectApi) -> str:
    return "the database of local runs" if api.origin == "temporary" else api.url


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
