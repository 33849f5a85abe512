"""Prepared states that cases begin with: made once, by the commands themselves, and copied for each case.

An MLflow database has absolute paths in it, so a copy is told its new place.
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Collection
from pathlib import Path

from tests.chaos.plan import CHAMPION_RATE, RATES, Program
from tests.chaos.world import PROJECT, World

SECONDS = "seconds.json"
MODEL = "chaos"  # whose champion is there in the state `champion`
_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


class Templates:
    """The prepared states, in a folder.

    ``empty`` has nothing; ``migrated`` has both databases; ``trained`` also the finished steps of the shipped pipeline
    for every rate; ``champion`` a version of that model. Each comes with the cache in which Prefect's tables are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seconds: dict[str, float] = {}  # how long a command takes, by program

    def prepare(self, states: Collection[str]) -> None:
        """Make those that are wanted, and those that they are made of."""
        wanted = {"migrated", *states} - {"empty"}
        if "champion" in wanted:
            wanted.add("trained")
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("a") as lock:  # another `make chaos` may be making the same
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._prepare(wanted)

    def _prepare(self, wanted: set[str]) -> None:
        for state in ("migrated", "trained", "champion"):
            seconds = self._folder / state / SECONDS  # written when all else is there
            if state in wanted and not seconds.exists():
                shutil.rmtree(self._folder / state, ignore_errors=True)
                seconds.write_text(json.dumps(self._make(state)))
            if seconds.exists():
                self.seconds |= json.loads(seconds.read_text())

    def copy(self, state: str, world: World) -> None:
        """Give a world its state."""
        shutil.copytree(self._folder / "migrated" / "cache", world.cache)
        if state != "empty":
            made = self._folder / state / "state"
            shutil.copytree(made, world.state)
            _tell_place(world.state / "mlflow.db", made, world.state)

    def _make(self, state: str) -> dict[str, float]:
        """Make a state; how long a command took, by its program."""
        world = World(self._folder / state, MODEL)
        seconds: dict[str, float] = {}
        if state == "migrated":
            seconds["steps"] = self._run(world, "steps")
        elif state == "trained":
            self.copy("migrated", world)
            for rate in (*RATES, CHAMPION_RATE):
                self._train(world, rate)
        else:
            self.copy("trained", world)
            seconds["pipeline"] = self._run(world, "pipeline", CHAMPION_RATE)
        for database in (world.state / "mlflow.db", world.state / "prefect" / "prefect.db"):
            with contextlib.closing(sqlite3.connect(database)) as connection:
                connection.execute("pragma wal_checkpoint(truncate)")
        return seconds

    def _run(self, world: World, program: Program, rate: str = "") -> float:
        command = world.start(program, rate, 0, output="0")
        command.wait()
        if command.process.returncode != 0:
            raise RuntimeError(f"The state cannot be prepared: {command.stderr[-2000:]}")
        return command.seconds

    def _train(self, world: World, rate: str) -> None:
        values = {"reg_rate": rate, "solver": "liblinear"}
        flags = [word for name, value in values.items() for word in ("--set", f"inputs.{name}={value}")]
        done = world.run_other("run", str(PROJECT / "aml_steps" / "train_pipeline.yml"), *flags)
        if done.returncode != 0:
            raise RuntimeError(f"The state cannot be prepared: {done.stderr[-2000:]}")


def _tell_place(database: Path, old: Path, new: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for table, column in _PATHS:
            connection.execute(f"update {table} set {column} = replace({column}, ?, ?)", (str(old), str(new)))
        connection.commit()


def digest_of_project() -> str:
    """What the prepared states depend on: the code, the data and the lock."""
    whole = hashlib.sha256((PROJECT / "requirements.lock").read_bytes())
    pipeline = [PROJECT / "tests" / "chaos" / "small_pipeline.py"]
    for found in (pipeline, *((PROJECT / name).rglob("*") for name in ("flows", "aml_steps", "data"))):
        for path in sorted(found):
            if path.is_file() and "__pycache__" not in path.parts:
                whole.update(f"{path.relative_to(PROJECT)}\n".encode() + path.read_bytes())
    return whole.hexdigest()[:12]
