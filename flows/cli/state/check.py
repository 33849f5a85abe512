"""``tandem state check``: examine the local state, and print a line for each check."""

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from flows.any_yaml.selection.part import successor_name
from flows.cli.doctor.findings import Finding, Status, fail, finding_as_text, findings_as_json, ok, skip, warn
from flows.cli.state.databases import databases, read_through
from flows.cli.state.registry_log import LOG, folder_of, versions_in
from flows.cli.state.usable import free_bytes, probe
from flows.engines.local.earlier_jobs import DESCRIPTION, SUBMITTED, ended_outcome
from flows.engines.plan.store import StepStore
from flows.engines.runs import RunStatus
from flows.errors import StateError
from flows.machine.faults import Cause, remedy, state_error, user_name
from flows.machine.living import Dead, Life, look
from flows.orchestration.journal import LONGEST_SECONDS
from flows.settings import Settings
from flows.spec.text.words import counted

REPAIR = "tandem state repair"
ENOUGH_BYTES, LEAST_BYTES = 2 << 30, 200 << 20


def check(settings: Settings, *, as_json: bool) -> int:
    """Examine the state and print what was found; the exit code is 1 if something is wrong."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    findings: list[Finding] = []
    for finding in examine_state(settings):
        findings.append(finding)
        if not as_json:
            print(finding_as_text(finding, width, colour), flush=True)
    if as_json:
        print(findings_as_json(findings))
    return 1 if any(finding.status is Status.FAIL for finding in findings) else 0


def examine_state(settings: Settings) -> Iterator[Finding]:
    """Examine all of it; nothing is changed."""
    home = settings.home
    if not os.path.lexists(home):
        yield ok("folder", f"{home} is not there; the first run makes it")
        return
    if not home.is_dir():
        yield fail("folder", f"{home} is not a folder", remedy(Cause.MISPLACED))
        return
    checks: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
        ("folder", _folder),
        ("space", _space),
        ("owner", _owner),
        ("permissions", _permissions),
        ("prefect db", lambda settings: _database("Prefect", settings)),
        ("mlflow db", lambda settings: _database("MLflow", settings)),
        ("models", _models),
        ("steps", _steps),
        ("jobs", _jobs),
        ("processes", _processes),
        ("journal", _journal),
    )
    for name, make in checks:
        try:
            yield make(settings)
        except (OSError, StateError) as error:
            yield fail(name, str(error if isinstance(error, StateError) else state_error(error, home)))


def _folder(settings: Settings) -> Finding:
    try:
        probe(settings.home)
    except OSError as error:
        return fail("folder", str(state_error(error, settings.home)))
    return ok("folder", str(settings.home))


def _space(settings: Settings) -> Finding:
    free = free_bytes(settings.home)
    told = f"{free / 2**30:.1f} GiB free" if free >= 2**30 else f"{free / 2**20:.0f} MiB free"
    if free < LEAST_BYTES:
        return fail("space", told, "Free some space, or set TANDEM_HOME to a folder on another disk")
    return ok("space", told) if free >= ENOUGH_BYTES else warn("space", told, "It may not do for large data")


def _owner(settings: Settings) -> Finding:
    others = [path for path in _entries(settings.home) if path.lstat().st_uid != os.geteuid()]
    if not others:
        return ok("owner", user_name())
    whose = ", ".join(sorted({user_name(path.lstat().st_uid) for path in others}))
    told = f"{len(others)} entries belong to {whose}, and you are {user_name()}; {others[0]} is one"
    if os.geteuid() == 0:
        return warn("owner", told, "Run as one user; what root makes here, the other cannot change")
    return fail("owner", told, "Set TANDEM_HOME to a folder of yours, or have the owner give it to you")


def _permissions(settings: Settings) -> Finding:
    if os.statvfs(settings.home).f_flag & os.ST_RDONLY:  # a permission would change nothing
        return skip("permissions", str(Cause.READ_ONLY))
    closed = [
        path for path in _entries(settings.home) if not path.is_symlink() and not os.access(path, os.R_OK | os.W_OK)
    ]
    if not closed:
        return ok("permissions", "all that is used can be read and written")
    told = f"{closed[0]} cannot be read and written ({stat.filemode(closed[0].stat().st_mode)})"
    more = f", and {len(closed) - 1} more" if len(closed) > 1 else ""
    return fail("permissions", told + more, "Give yourself the permission", f"chmod -R u+rwX {settings.home}")


def _entries(home: Path) -> list[Path]:
    """What every run writes to: the folder, its entries and the databases, but not the files of earlier runs."""
    return [home, *home.iterdir(), *(home / "prefect").glob("prefect.db*")]


def _database(whose: str, settings: Settings) -> Finding:
    name, database = f"{whose.lower()} db", databases(settings)[whose]
    if not os.path.lexists(database):
        return ok(name, "not there yet; the first run makes it")
    trouble = read_through(database)
    if trouble is None:
        return ok(name, f"whole, {database.stat().st_size / 2**20:.1f} MiB")
    told = f"{database}: {trouble.cause} ({trouble.detail})"
    if trouble.cause in (Cause.BROKEN, Cause.MISPLACED):
        return fail(name, told, "Move it aside and save what can be read of it; the models are kept", REPAIR)
    return fail(name, told, remedy(trouble.cause))


def _models(settings: Settings) -> Finding:
    database = databases(settings)["MLflow"]
    if read_through(database) is not None:
        return skip("models", "the MLflow database cannot be read")
    versions = versions_in(database)
    gone = [(each, folder) for each in versions if (folder := folder_of(each)) is not None and not folder.is_dir()]
    if gone:
        each, folder = gone[0]
        told = f"{len(gone)} of {len(versions)} versions have lost their folder: {each.name} {each.version}, {folder}"
        return fail("models", told, "Put the folder back, or delete the version in the MLflow UI", "tandem ui")
    noted = "" if (settings.home / LOG).exists() or not versions else "; not in the log of versions yet"
    return ok("models", f"{counted(len(versions), 'registered version')}, each with its folder{noted}")


def _steps(settings: Settings) -> Finding:
    store = StepStore(settings.home)
    odd, every = store.unreadable(), store.files()
    if odd:
        told = f"{len(odd)} of {len(every)} records of finished steps cannot be read; those steps run again"
        return warn("steps", told, "Take them away", REPAIR)
    return ok("steps", f"{len(every)} records of finished steps; outputs are checked when they are reused")


def _jobs(settings: Settings) -> Finding:
    """How many jobs have ended here, and which of those that have failed can still be gone on with."""
    files = sorted(settings.jobs.glob(f"*/{DESCRIPTION}"), key=lambda file: -file.stat().st_mtime_ns)
    failed = [
        file.parent.name
        for file in files
        if (file.parent / SUBMITTED).is_file()
        and not (settings.jobs / successor_name(file.parent.name)).exists()
        and (outcome := ended_outcome(file.parent)) is not None
        and outcome.status is RunStatus.FAILED
    ]
    told = f"{counted(len(files), 'job')} ended here"
    if failed:
        told += f"; {len(failed)} failed and can be gone on with, the newest by: tandem run --resume {failed[0]}"
    return ok("jobs", told)


def _processes(settings: Settings) -> Finding:
    living, dead = look(settings.home)
    for each in dead:
        each.leave()
    if dead:
        told = f"{_running(living)}; {_left(dead)} left open when killed"
        return warn("processes", told, "The next run, or tandem ui, closes what they left")
    return ok("processes", _running(living))


def _running(living: list[Life]) -> str:
    return "; ".join(f"{life.pid}: {life.what}" for life in living) or "nothing runs"


def _left(dead: list[Dead]) -> str:
    return ", ".join(f"process {each.life.pid} ({each.life.what})" for each in dead)


def _journal(settings: Settings) -> Finding:
    files = list(settings.begun_runs.glob("*/*.json"))
    old = [file for file in files if time.time() - file.stat().st_mtime > LONGEST_SECONDS]
    if old:
        told = f"{_runs(old)} interrupted more than a week ago and not started again"
        return warn("journal", told, "If any ran on Azure ML, see whether their jobs still run", "tandem reap")
    told = f"{_runs(files)} interrupted; the same command, started again, goes on" if files else "no run is open"
    return ok("journal", told)


def _runs(files: Sequence[Path]) -> str:
    return "1 run was" if len(files) == 1 else f"{len(files)} runs were"
