"""``tandem reap``: list what runs though nobody waits for it, jobs and deployments, and end it."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from flows.cli.options import ReapOptions
from flows.cli.reap import deployments as idle
from flows.cli.reap import jobs
from flows.cli.reap.orphans import as_data, seconds_of, to_cancel
from flows.engines.open_engine import chosen_engine
from flows.errors import RunError, SettingsError
from flows.orchestration.journal import process_is_gone
from flows.serving.open_serving import open_serving
from flows.settings import Settings
from flows.spec.text.words import counted

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.workspace import Workspace
    from flows.serving.serving import Serving


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to look: for deployments, and in a workspace for jobs too."""

    serving: "Serving"
    workspace: "Workspace | None"


def reap(options: ReapOptions, is_dead: Callable[[str], bool | None] | None = None) -> int:
    """List jobs of ours that are not over and deployments without traffic; end what nobody needs if ``options.yes``.

    Jobs are those of the workspace. Deployments are those of the workspace, or of this machine where none is set.

    Args:
        options: What a person asked for.
        is_dead: Whether the process that waits for a job is known to be gone, or to be there, by the id that the job's
            name is derived from. Default: what the journal of this machine says.

    Raises:
        SettingsError: A part of the workspace is set.
        ServiceError: The workspace or the Prefect API does not answer.
        RunError: Jobs that were to be canceled are not over, or deployments that were to be deleted are there.
    """
    settings = Settings.from_environment()
    missing = settings.missing_workspace
    if options.engine == "auto" and missing and any(settings.workspace.values()):
        verb = "is" if len(missing) == 1 else "are"
        raise SettingsError(
            f"A part of the workspace is set, and {', '.join(missing)} {verb} not. Set all of it to look there, or add "
            "--engine local to look on this machine."
        )
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
    kind = chosen_engine(options.engine, settings).kind
    age = f" that are older than {options.older_than}" if options.older_than else ""
    async with _opened(kind.name, settings, in_workspace=kind.needs_workspace) as place:
        # All is looked at before anything is ended.
        found = place.workspace and await jobs.find_jobs(place.workspace, settings, older_than, is_dead)
        served = await idle.find_idle(place.serving, older_than)
        now = datetime.now(UTC)
        canceled = to_cancel(found.decisions, options.unknown_too) if found else []
        deleted = idle.to_delete(served, options.unknown_too)
        if not options.json:
            told = [jobs.jobs_as_text(found, age, now, unknown_too=options.unknown_too)] if found else []
            where = f"in the workspace {found.workspace}" if found else "on this machine"
            told.append(idle.idle_as_text(served, where, age, now, costs=not kind.runs_here))
            told += _next(len(canceled), len(deleted), options)
            print("\n\n".join(told), flush=True)
        ended: dict[str, str] = {}
        gone: idle.Outcomes = {}
        if options.yes:
            ended = await jobs.cancel_jobs(place.workspace, canceled) if place.workspace else {}
            gone = await idle.delete_all(place.serving, deleted, options.unknown_too)
    if options.json:
        place_of = {"workspace": found and found.workspace, "prefect": found and found.prefect}
        listed = as_data(found.decisions, now, ended) if found else []
        there = idle.as_data(served, now, gone, costs=not kind.runs_here)
        print(json.dumps({**place_of, "dry_run": not options.yes, "jobs": listed, "deployments": there}, indent=2))
    _check_ended(ended, gone, quiet=options.json)


@asynccontextmanager
async def _opened(engine: str, settings: Settings, *, in_workspace: bool) -> "AsyncGenerator[_Place]":
    async with open_serving(engine, settings) as serving:
        if not in_workspace:
            yield _Place(serving, None)
            return
        from flows.engines.azureml.sdk.workspace import open_workspace

        async with open_workspace(settings) as workspace:
            yield _Place(serving, workspace)


def _next(canceled: int, deleted: int, options: ReapOptions) -> list[str]:
    """How many may go, and the command to type."""
    parts = [counted(number, noun) for number, noun in ((canceled, "job"), (deleted, "deployment")) if number]
    if not parts:
        return ["Nothing is to be ended."]
    return [] if options.yes else [f"{' and '.join(parts)} may go; nothing was ended. To end: {_command(options)}"]


def _check_ended(ended: dict[str, str], deleted: "idle.Outcomes", *, quiet: bool) -> None:
    """Say how much is over.

    Raises:
        RunError: Something is not.
    """
    left = [f"{name}: {outcome}" for name, outcome in ended.items() if outcome not in jobs.OVER]
    said = [f"{len(left)} of {len(ended)} jobs are not over:", *left] if left else []
    kept = [f"{'/'.join(name)}: {outcome}" for name, outcome in deleted.items() if outcome not in idle.OVER]
    said += [f"{len(kept)} of {len(deleted)} deployments were not deleted:", *kept] if kept else []
    if said:
        raise RunError("\n".join(said))
    parts = [f"{counted(len(ended), 'job')} over"] if ended else []
    parts += [f"{counted(len(deleted), 'deployment')} deleted"] if deleted else []
    if parts and not quiet:
        print(f"\n{', '.join(parts)}.")


def _command(options: ReapOptions) -> str:
    """The command that ends what was shown."""
    older = f" --older-than {options.older_than}" if options.older_than else ""
    where = "" if options.engine == "auto" else f" --engine {options.engine}"
    return f"tandem reap --yes{older}{' --unknown-too' if options.unknown_too else ''}{where}"
