"""A run on this machine that is killed after promoting its model comes to the same decision when started again."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow
from prefect.runtime import flow_run

from flows.errors import ServiceError
from flows.orchestration.run_identity import run_identity
from flows.settings import Settings
from flows.training.parameters import PipelineParameters
from tests.prefect_client import asking
from tests.terminal import PIPELINE, Terminal

MODEL = "interrupted"


@flow(name="identified")
async def identified(interrupted: bool, **parameters: Any) -> tuple[str, bool]:
    """The id that a run on this machine goes by, and whether it is its own; such a run may be interrupted."""
    settings, engine = Settings.from_environment(), SimpleNamespace(name="local")
    async with run_identity(engine, settings, PipelineParameters(**parameters), settings.pipeline_file) as run_id:  # type: ignore[arg-type]
        if interrupted:
            raise ServiceError(run_id)  # keeps what a process that was killed keeps
        return run_id, run_id == str(flow_run.id)


@pytest.mark.usefixtures("prefect_api", "home")
def test_start_after_an_interrupted_one_goes_by_its_id_and_a_start_after_a_finished_one_by_its_own() -> None:
    with pytest.raises(ServiceError) as interrupted:
        asyncio.run(identified(True))
    assert asyncio.run(identified(False, reg_rate=0.5))[1]
    assert asyncio.run(identified(False)) == (str(interrupted.value), False)
    assert asyncio.run(identified(False))[1]


def champion_of(state: Path) -> int | None:
    """The champion's version, read from the database itself, which takes no lock and no time."""
    database = state / "mlflow.db"
    if not database.exists():
        return None
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("select version from registered_model_aliases where name = ?", (MODEL,))
            return next((int(version) for (version,) in found), None)
        except sqlite3.OperationalError:  # its tables are being made
            return None


def verdicts(api: str) -> list[str]:
    asked = {"filter": {"event": {"prefix": ["tandem.model."]}}, "limit": 50}
    with asking(api) as client:
        events = client.post("/events/filter", json=asked).json()["events"]
    return [event["payload"]["verdict"] for event in events if event["payload"]["model"] == MODEL]


@pytest.mark.slow
def test_run_that_is_killed_once_its_model_is_the_champion_is_promoted_when_it_is_started_again(
    tmp_path: Path, prefect_api: str
) -> None:
    terminal = Terminal(tmp_path, prefect_api)
    flags = ("--model_name", MODEL, "--json")
    command = subprocess.Popen(
        terminal.words(PIPELINE, flags), env=terminal.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while command.poll() is None and champion_of(tmp_path / "state") is None:
        time.sleep(0.005)
    command.kill()
    said = command.communicate(timeout=60)[1].decode()
    assert command.returncode == -signal.SIGKILL, said
    assert verdicts(prefect_api) == []

    again = terminal.run(PIPELINE, *flags)
    assert "going on with a run that was interrupted" in again.stderr
    summary = json.loads(again.stdout)
    assert (summary["verdict"], summary["model"]) == ("Promoted", {"name": MODEL, "version": 1, "created": False})
    assert verdicts(prefect_api) == ["Promoted"]

    third = terminal.summary(PIPELINE, "--model_name", MODEL)
    assert (third["verdict"], third["model"]) == ("Rejected", None)
    assert champion_of(tmp_path / "state") == 1
