"""What killed processes have left open is closed by the next command; what anybody still runs stays as it is."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.cli.state.closing import Closing
from flows.machine.living import PROCESS, Living, enlist, has_entries, parent, record_process
from flows.prefect_api.server import PrefectApi
from flows.settings import Settings
from tests.terminal import Terminal

TANDEM = (sys.executable, "-m", "flows")
SLEEPS = (
    "type: command\nname: sleeps\nenvironment: azureml:diabetes-classify@latest\ncommand: echo began && sleep 600\n"
)
QUICK = SLEEPS.replace("sleeps", "quick").replace(" && sleep 600", "")


def killed(home: Path, **facts: Any) -> Living:
    """The entry of a process that is gone."""
    entry = enlist(home, "tandem run job.yml", **facts)
    entry.leave()
    return entry


def close(api: PrefectApi, home: Path) -> list[str]:
    said: list[str] = []
    closing = Closing.begin(Settings.from_environment({"TANDEM_HOME": str(home)}))
    assert closing is not None
    closing.finish(api, said.append)
    return said


async def _flow_run(tags: list[str], state: Any, task_states: list[Any]) -> str:
    from prefect import Flow, Task
    from prefect.client.orchestration import get_client

    def nothing() -> None: ...

    async with get_client() as client:
        run = await client.create_flow_run(Flow(nothing, name="closes"), tags=tags, state=state)
        for number, each in enumerate(task_states):
            step = Task(nothing, name="step")
            await client.create_task_run(step, flow_run_id=run.id, dynamic_key=str(number), state=each)
    return str(run.id)


async def _states(run: str) -> tuple[str, list[str]]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import TaskRunSort

    async with get_client() as client:
        found = await client.read_flow_run(run)  # type: ignore[arg-type]
        of_run = FlowRunFilter.model_validate({"id": {"any_": [run]}})
        tasks = await client.read_task_runs(flow_run_filter=of_run, sort=TaskRunSort.END_TIME_DESC, limit=200)
    return str(found.state_name), sorted(str(each.state_name) for each in tasks)


def flow_run(tags: list[str], state: Any, *task_states: Any) -> str:
    return asyncio.run(_flow_run(tags, state, list(task_states)))


def states(run: str) -> tuple[str, list[str]]:
    return asyncio.run(_states(run))


def test_flow_runs_of_a_killed_command_crash_and_those_that_need_no_process_or_have_one_stay(
    tmp_path: Path, prefect_api: str
) -> None:
    from prefect.states import Cancelling, Completed, Paused, Pending, Running, Scheduled

    api = PrefectApi(prefect_api, "configured")
    tag = killed(tmp_path, api=prefect_api).life.flow_run_tag
    alive = record_process(tmp_path, "another command", api=prefect_api)
    running = flow_run([tag], Running(), Running(), Pending(), Completed())
    pending, cancelling = flow_run([tag], Pending()), flow_run([tag], Cancelling())
    suspended, waiting = flow_run([tag], Paused(name="Suspended"), Running()), flow_run([tag], Scheduled())
    ended = flow_run([tag], Completed(name="Promoted"), Running())
    others = flow_run([alive.life.flow_run_tag], Running(), Running())
    assert close(api, tmp_path) == ["Closed what was left open by processes that are gone: 3 flow runs as Crashed."]
    alive.end()
    assert states(running) == ("Crashed", ["Completed", "Crashed", "Crashed"])
    assert (states(pending)[0], states(cancelling)[0]) == ("Crashed", "Crashed")
    assert (states(suspended), states(waiting)[0]) == (("Suspended", ["Running"]), "Scheduled")
    assert states(ended) == ("Promoted", ["Crashed"])
    assert states(others) == ("Running", ["Running"])
    assert not has_entries(tmp_path)


def test_flow_run_of_a_deployment_is_left_to_its_worker_as_long_as_that_lives(tmp_path: Path, prefect_api: str) -> None:
    from prefect.states import Running

    api, worker = PrefectApi(prefect_api, "configured"), parent()
    assert worker is not None
    run = flow_run([], Running())
    killed(tmp_path, api=prefect_api, flow_run=run, worker=worker)
    assert close(api, tmp_path) == []
    assert states(run)[0] == "Running" and has_entries(tmp_path)
    (file,) = (tmp_path / "alive").glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"worker": [worker[0], worker[1] + 1]}))
    assert close(api, tmp_path) == ["Closed what was left open by processes that are gone: 1 flow run as Crashed."]
    assert states(run)[0] == "Crashed" and not has_entries(tmp_path)


def test_flow_runs_of_a_server_that_does_not_answer_are_left_for_a_later_command(
    tmp_path: Path, prefect_api: str
) -> None:
    killed(tmp_path, api="http://127.0.0.1:1/api")
    (said,) = close(PrefectApi(prefect_api, "configured"), tmp_path)
    assert said.startswith("What 1 process left open when killed cannot be closed now") and "\n" not in said
    assert has_entries(tmp_path)


def test_mlflow_runs_of_a_killed_command_are_ended_with_those_below_them(tmp_path: Path, prefect_api: str) -> None:
    from flows.mlflow_store.mlflow_worker import Tracking

    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path)})
    entry = killed(tmp_path, api=prefect_api, mlflow=True)
    tracking = Tracking.open(settings.mlflow_uri, settings.mlflow_artifacts)
    mine, other = {PROCESS: entry.life.id}, {PROCESS: "another"}
    job = tracking.create_run("e", "job", tags=mine)
    step = tracking.create_run("e", "step", parent_run_id=job, tags=mine)
    tracking.create_run("e", "made by the step's own code", parent_run_id=step)
    tracking.finish_run(tracking.create_run("e", "finished", parent_run_id=job, tags=mine), "FINISHED")
    tracking.create_run("e", "of a living process", tags=other)
    said = close(PrefectApi(prefect_api, "configured"), tmp_path)
    assert said == ["Closed what was left open by processes that are gone: 3 MLflow runs as KILLED."]
    assert mlflow_states(tmp_path) == {
        "job": "KILLED",
        "step": "KILLED",
        "made by the step's own code": "KILLED",
        "finished": "FINISHED",
        "of a living process": "RUNNING",
    }


def test_nothing_is_asked_where_nothing_was_left(tmp_path: Path) -> None:
    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path)})
    assert Closing.begin(settings) is None
    entry = record_process(tmp_path, "a command")
    assert Closing.begin(settings) is None
    entry.end()


@pytest.mark.slow
@pytest.mark.parametrize("server", ["temporary", "configured"])
def test_next_command_closes_what_a_killed_one_left_open(tmp_path: Path, prefect_api: str, server: str) -> None:
    terminal = Terminal(tmp_path, prefect_api if server == "configured" else None)
    for name, text in (("sleeps", SLEEPS), ("quick", QUICK)):
        (tmp_path / f"{name}.yml").write_text(text)
    home = Path(terminal.environment["TANDEM_HOME"])
    command = subprocess.Popen(
        (*TANDEM, "run", str(tmp_path / "sleeps.yml")), env=terminal.environment, stderr=subprocess.PIPE
    )
    assert command.stderr is not None
    for line in command.stderr:
        if b"sleeps | began" in line:
            break
    command.send_signal(signal.SIGKILL)
    command.communicate()
    assert sorted(mlflow_states(home).values()) == ["RUNNING", "RUNNING"]
    words = (*TANDEM, "run", str(tmp_path / "quick.yml"))
    done = subprocess.run(words, env=terminal.environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = "Closed what was left open by processes that are gone: 1 flow run as Crashed, 2 MLflow runs as KILLED.\n"
    assert done.stderr.count(said) == 1
    assert sorted(mlflow_states(home).values()) == ["FINISHED", "FINISHED", "KILLED", "KILLED"]
    again = subprocess.run(words, env=terminal.environment, capture_output=True, text=True, timeout=300)
    assert "Closed" not in again.stderr and not has_entries(home)


def mlflow_states(home: Path) -> Mapping[str, str]:
    connection = sqlite3.connect(home / "mlflow.db")
    try:
        return dict(connection.execute("select name, status from runs").fetchall())
    finally:
        connection.close()
