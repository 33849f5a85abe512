"""``tandem state repair``: move what is broken aside, and put in its place what can be read of it.

Nothing is deleted: a broken database is kept in the folder ``broken`` of the state. The new one has every row that can
be read, and the registered versions that the log of registrations knows. Model folders are never touched.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from flows.cli.state.clean import refuse_while
from flows.cli.state.closing import make_mlflow_store
from flows.cli.state.databases import Trouble, databases, read_through
from flows.cli.state.registry_log import LOG, Version, folder_of, logged, versions_in
from flows.cli.state.salvage import salvage
from flows.engines.plan.store import StepStore
from flows.errors import StateError
from flows.machine.faults import Cause, told
from flows.machine.living import nobody_else
from flows.prefect_api.server import DATABASE, python_path, server_environment
from flows.settings import Settings

ASIDE = "broken"
_COMPANIONS = ("-wal", "-shm", "-journal")
_TOLD = {
    "MLflow": {"runs": "runs", "model_versions": "model versions"},
    "Prefect": {"flow_run": "flow runs", "task_run": "task runs", "deployment": "deployments"},
}


def repair(settings: Settings, *, as_json: bool) -> int:
    """Repair the state, and print what was done.

    Raises:
        StateError: Somebody uses it, it is another's, or it cannot be written; what was whole is as it was.
    """
    home = settings.home
    if not home.is_dir():
        raise StateError(f"There is no local state at {home}: nothing to repair.")
    done: list[str] = _open_up(home)
    with nobody_else(home) as (living, _):
        refuse_while(living, home, "Nothing was changed.")
        aside = home / ASIDE / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
        for whose, database in databases(settings).items():
            trouble = read_through(database) if os.path.lexists(database) else None
            if trouble is not None and trouble.cause not in (Cause.BROKEN, Cause.MISPLACED):
                raise told(str(database), trouble.cause, trouble.detail)
            if trouble is not None:
                done += _renew(settings, whose, database, trouble, aside)
        done += _odd_records(settings, aside)
    if as_json:
        print(json.dumps({"home": str(home), "done": done}, indent=2))
    else:
        print("\n".join(done or [f"Nothing is broken in {home}; nothing was changed."]))
    return 0


def _open_up(home: Path) -> list[str]:
    """Give back the permissions that the owner has taken from the state: of its folders, databases and files in it."""
    done: list[str] = []
    for path in (home, home / "prefect", *home.glob("*"), *home.glob("prefect/prefect.db*")):
        try:
            found = path.lstat()
            wanted = stat.S_IRWXU if stat.S_ISDIR(found.st_mode) else stat.S_IRUSR | stat.S_IWUSR
            if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & wanted == wanted:
                continue
            path.chmod(stat.S_IMODE(found.st_mode) | wanted)
        except FileNotFoundError:
            continue
        done.append(f"opened   {path}: {stat.filemode(found.st_mode)} was {stat.filemode(found.st_mode | wanted)}")
    return done


def _renew(settings: Settings, whose: str, database: Path, trouble: Trouble, aside: Path) -> list[str]:
    """Make a new database of what can be read of a broken one; it takes its place when it is whole."""
    aside.mkdir(parents=True, exist_ok=True)
    work = aside / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        new = _empty(settings, whose, work)
        saved: Mapping[str, int] = {}
        if database.is_file():
            copy = work / f"copy-of-{database.name}"
            shutil.copyfile(database, copy)
            for end in _COMPANIONS:
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(f"{database}{end}", f"{copy}{end}")
            saved = salvage(copy, new, _mend_mlflow if whose == "MLflow" else lambda _: None)
        told = _restore_models(settings, new) if whose == "MLflow" else []
        if (left := read_through(new)) is not None:
            raise StateError(f"The new database {new} is not whole ({left.detail}). Nothing was changed.")
        _put_in_place(new, database, aside)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    rows = ", ".join(f"{saved.get(table, 0)} {noun}" for table, noun in _TOLD[whose].items())
    return [
        f"moved    {database} ({trouble.detail}) to {aside / database.name}",
        f"saved    {rows} could be read and are in the new {whose} database; the rest is only in the one aside",
        *told,
    ]


def _empty(settings: Settings, whose: str, work: Path) -> Path:
    """A new database without rows."""
    if whose == "MLflow":
        new = work / "mlflow.db"
        make_mlflow_store(settings, f"sqlite:///{new}")
        (work / "mlflow.db.lock").unlink(missing_ok=True)
    else:
        new = work / DATABASE
        variables = {**os.environ, **server_environment(work), "PYTHONPATH": python_path()}
        words = [sys.executable, "-m", "flows.prefect_api.temporary_server", "database"]
        subprocess.run(words, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if not new.exists():
        raise StateError(
            f"A new {whose} database cannot be made in {work}. Nothing was changed. `tandem state check` tells whether "
            "there is space."
        )
    return new


def _put_in_place(new: Path, database: Path, aside: Path) -> None:
    """Replace a broken database by a whole one, and keep the broken one aside. A kill leaves one of them in place."""
    kept = aside / database.name
    if database.is_dir() and not database.is_symlink():
        database.rename(kept)
    else:
        try:
            os.link(database, kept, follow_symlinks=False)
        except OSError:
            shutil.copy2(database, kept, follow_symlinks=False)
    for end in _COMPANIONS:  # one that belongs to the old must not be read with the new
        with contextlib.suppress(FileNotFoundError):
            Path(f"{database}{end}").rename(f"{kept}{end}")
    new.replace(database)


def _restore_models(settings: Settings, new: Path) -> list[str]:
    """Register again what the log knows and the database has lost; say which model folders belong to no version."""
    lines, known = logged(settings.home / LOG), {(each.name, each.version) for each in versions_in(new)}
    lost = {(each.name, each.version): each for each in lines if (each.name, each.version) not in known}
    here = [each for each in lost.values() if (folder := folder_of(each)) is not None and folder.is_dir()]
    aliases = {(each.name, each.alias): each.version for each in lines if each.alias}
    with contextlib.closing(sqlite3.connect(new)) as connection, connection:
        for each in here:
            _register(connection, each)
        _mend_mlflow(connection)
        for (name, alias), version in aliases.items():
            connection.execute(
                "INSERT OR IGNORE INTO registered_model_aliases (name, alias, version) SELECT ?, ?, ? WHERE EXISTS "
                "(SELECT 1 FROM model_versions WHERE name = ? AND version = ?)",
                (name, alias, version, name, version),
            )
    versions = versions_in(new)
    with contextlib.closing(sqlite3.connect(new)) as connection:
        rows = connection.execute("SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2").fetchall()
    named = "; ".join(f"{name} {version} is its {alias}" for name, alias, version in rows) or "no alias is known"
    logs = f"{len(here)} of them by the log of registrations"
    done = [f"models   {len(versions)} registered versions are kept, {logs}; {named}"]
    used = {folder_of(each) for each in versions}
    folders = {file.parent for file in settings.mlflow_artifacts.glob("*/artifacts/*/MLmodel")} - used
    told = "belongs to no registered version that is known; it is kept"
    return done + [f"folder   {folder} {told}" for folder in sorted(folders)]


def _register(connection: sqlite3.Connection, version: Version) -> None:
    folder = folder_of(version)
    made = int((folder.stat().st_mtime if folder else 0) * 1000)
    connection.execute(
        "INSERT OR IGNORE INTO model_versions (name, version, creation_time, last_updated_time, current_stage, source, "
        "run_id, status, storage_location) VALUES (?, ?, ?, ?, 'None', ?, ?, 'READY', ?)",
        (version.name, version.version, made, made, version.source, version.run_id, version.source),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO model_version_tags (key, value, name, version) VALUES (?, ?, ?, ?)",
        [(key, value, version.name, version.version) for key, value in version.tags.items()],
    )


def _mend_mlflow(connection: sqlite3.Connection) -> None:
    """Add a registered model for every name that has versions, and an experiment for runs whose own is lost."""
    connection.execute(
        "INSERT OR IGNORE INTO experiments (experiment_id, name, lifecycle_stage) "
        "SELECT experiment_id, 'recovered ' || experiment_id, 'active' FROM runs WHERE experiment_id NOT IN "
        "(SELECT experiment_id FROM experiments) GROUP BY experiment_id"
    )
    connection.execute(
        "INSERT OR IGNORE INTO registered_models (name, creation_time, last_updated_time) "
        "SELECT name, min(creation_time), max(last_updated_time) FROM model_versions GROUP BY name"
    )


def _odd_records(settings: Settings, aside: Path) -> list[str]:
    """Move records of finished steps that cannot be read aside; the steps run again."""
    odd = StepStore(settings.home).unreadable()
    for file in odd:
        (aside / "steps").mkdir(parents=True, exist_ok=True)
        file.rename(aside / "steps" / file.name)
    return [f"moved    {len(odd)} records of finished steps that cannot be read to {aside / 'steps'}"] if odd else []
