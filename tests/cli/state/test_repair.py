"""Broken databases: found, told in one message, moved aside; the models and all that can be read are kept."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from flows.cli.state.registry_log import LOG
from flows.cli.state.salvage import salvage
from flows.machine.living import record_process
from flows.mlflow_store.model_registry import Candidate
from flows.settings import Settings
from tests.terminal import PROJECT

JOB = "type: command\nname: quick\nenvironment: azureml:diabetes-classify@latest\ncommand: echo began\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with both databases, and three versions of a model, the second of which is the champion."""
    from flows.mlflow_store.mlflow_worker import Tracking

    home = tmp_path_factory.mktemp("whole") / "state"
    record_process(home, "a command").end()
    settings = Settings.from_environment({"TANDEM_HOME": str(home)})
    tracking = Tracking.open(settings.mlflow_uri, settings.mlflow_artifacts)
    for number in (1, 2, 3):
        model = home / f"made-{number}"
        model.mkdir()
        (model / "MLmodel").write_text(f"model {number}")
        run = tracking.create_run("an experiment", f"run {number}")
        tracking.log_params(run, {"number": str(number)})
        candidate = Candidate("m", str(model), run, {"id": str(number)}, {"n": str(number)})
        if number < 3:
            tracking.promote(asdict(candidate), number - 1 or None, {"run": str(number)})
        else:
            tracking.register(asdict(candidate))
        shutil.rmtree(model)
    settings.prefect_home.mkdir()
    with closing(sqlite3.connect(settings.prefect_home / "prefect.db")) as connection:
        connection.execute("create table flow_run (id text, state text)")
        connection.commit()
    return home


@pytest.fixture
def home(whole: Path, tmp_path: Path) -> Path:
    """A copy of it in another place, of which the databases know nothing but the place of the first."""
    home = tmp_path / "state"
    shutil.copytree(whole, home)
    return home


def tandem(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flows", *words],
        env={**os.environ, "TANDEM_HOME": str(home), "XDG_CACHE_HOME": str(home.parent)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def cut(share: float) -> Callable[[Path], object]:
    return lambda file: os.truncate(file, int(file.stat().st_size * share))


def overwritten(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 4096 // 2 * 4096)
        stream.write(os.urandom(size // 4))


def replaced_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


FAULTS: dict[str, Callable[[Path], object]] = {
    "cut in half": cut(0.5),
    "cut to a tenth": cut(0.1),
    "cut by a byte": lambda file: os.truncate(file, file.stat().st_size - 1),
    "empty": cut(0),
    "not a database": lambda file: file.write_bytes(os.urandom(100_000)),
    "a folder in its place": replaced_by_a_folder,
}


@pytest.mark.parametrize("name", ["mlflow.db", "prefect/prefect.db"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_run_on_a_broken_database_is_one_message_before_anything_starts(
    home: Path, fault: Callable[[Path], object], name: str
) -> None:
    fault(home / name)
    (home.parent / "job.yml").write_text(JOB)
    done = tandem(home, "run", str(home.parent / "job.yml"))
    assert done.returncode == 4
    assert done.stderr.startswith(f"Error: {home / name}: ") and done.stderr.count("\n") == 1
    assert "tandem state check" in done.stderr and "Traceback" not in done.stderr
    assert not (home / "jobs").exists()
    found = tandem(home, "state", "check")
    assert found.returncode == 1
    (line,) = [line for line in found.stdout.splitlines() if "FAIL" in line]
    assert str(home / name) in line and "tandem state repair" in line


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=name, marks=() if name == "cut in half" else pytest.mark.slow)
        for name, fault in {**FAULTS, "overwritten": overwritten}.items()
    ],
)
def test_repair_keeps_every_model_with_its_version_tags_and_alias(home: Path, fault: Callable[[Path], object]) -> None:
    from mlflow import MlflowClient

    models = sorted((home / "mlartifacts").rglob("MLmodel"))
    assert len(models) == 3
    fault(home / "mlflow.db")
    assert tandem(home, "state", "check").returncode == 1
    done = tandem(home, "state", "repair")
    assert done.returncode == 0, done.stderr
    assert "3 registered versions are kept" in done.stdout and "m 2 is its champion" in done.stdout
    (aside,) = (home / "broken").glob("*/mlflow.db")
    assert str(aside) in done.stdout
    assert sorted((home / "mlartifacts").rglob("MLmodel")) == models
    assert "Nothing is broken" in tandem(home, "state", "repair").stdout
    client = MlflowClient(registry_uri=f"sqlite:///{home}/mlflow.db", tracking_uri=f"sqlite:///{home}/mlflow.db")
    versions = {int(each.version): each for each in client.search_model_versions("name = 'm'")}
    assert {number: each.tags["n"] for number, each in versions.items()} == {1: "1", 2: "2", 3: "3"}
    assert int(client.get_model_version_by_alias("m", "champion").version) == 2
    assert tandem(home, "state", "check").returncode == 0


def test_versions_from_before_there_was_a_log_are_written_down_with_the_next(home: Path) -> None:
    from flows.mlflow_store.mlflow_worker import Tracking

    (home / LOG).unlink()
    settings = Settings.from_environment({"TANDEM_HOME": str(home)})
    tracking = Tracking.open(settings.mlflow_uri, settings.mlflow_artifacts)
    model = home / "made"
    model.mkdir()
    (model / "MLmodel").write_text("model 4")
    run = tracking.create_run("an experiment", "run 4")
    candidate = Candidate("m", str(model), run, {"id": "4"}, {"n": "4"})
    for _ in range(2):
        tracking.promote(asdict(candidate), 2, {"run": "4"})
    assert (home / LOG).read_text().count("\n") == 4


def test_repair_refuses_while_something_runs(home: Path) -> None:
    cut(0.5)(home / "mlflow.db")
    entry = record_process(home, "tandem ui")
    done = tandem(home, "state", "repair")
    entry.end()
    assert done.returncode == 4 and f"process {os.getpid()}: tandem ui" in done.stderr
    assert not (home / "broken").exists()


def test_every_row_that_can_be_read_is_saved_and_references_to_lost_ones_are_let_go(tmp_path: Path) -> None:
    tables = (
        "create table parent (id integer primary key, text text);"
        "create table child (id integer primary key, parent integer references parent (id));"
        "create table part (parent integer not null references parent (id));"
    )
    for name in ("broken", "new"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.executescript(tables)
    with closing(sqlite3.connect(tmp_path / "broken")) as connection, connection:
        connection.executemany("insert into child values (?, ?)", [(n, n) for n in range(1, 2001)])
        connection.executemany("insert into part values (?)", [(n,) for n in range(1, 2001)])
        connection.executemany("insert into parent values (?, ?)", [(n, "x" * 100) for n in range(1, 2001)])
    size = (tmp_path / "broken").stat().st_size
    os.truncate(tmp_path / "broken", size // 4096 * 3 // 4 * 4096)
    saved = salvage(tmp_path / "broken", tmp_path / "new", lambda _: None)
    assert saved["child"] == 2000
    assert 500 < saved["parent"] < 2000
    with closing(sqlite3.connect(tmp_path / "new")) as connection:
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        kept = connection.execute("select count(*) from child where parent is not null").fetchone()[0]
    assert kept == saved["part"] == saved["parent"]


def test_store_whose_making_is_interrupted_is_made_anew(tmp_path: Path) -> None:
    """Half of MLflow's tables would stop every later start."""
    import flows
    from flows.mlflow_store.mlflow_worker import Tracking

    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path)})
    variables = {"MLFLOW_TRACKING_URI": settings.mlflow_uri, "TANDEM_MLFLOW_ARTIFACTS": str(settings.mlflow_artifacts)}
    worker = Path(flows.__file__).parent / "mlflow_store" / "mlflow_worker.py"
    process = subprocess.Popen(
        [sys.executable, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **variables}
    )
    while not list(tmp_path.glob(".mlflow.db.making")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (tmp_path / "mlflow.db").exists()
    tracking = Tracking.open(settings.mlflow_uri, settings.mlflow_artifacts)
    assert tracking.create_run("an experiment", "run")
    assert not list(tmp_path.glob(".mlflow.db*"))


def test_database_whose_migration_was_interrupted_counts_as_broken(home: Path) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute("create table _alembic_tmp_runs (id text)")
    assert tandem(home, "state", "check").returncode == 1
    done = tandem(home, "state", "repair")
    assert "3 registered versions are kept" in done.stdout
    assert tandem(home, "state", "check").returncode == 0
