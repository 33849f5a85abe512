"""Worker and server are killed in the middle of a run on Azure ML and started again: no second job, no lost run.

A suspended flow run has nothing that could be killed: the watcher that the schedule starts again resumes it. One that
waits in its process goes on while the worker is gone, or the server. If that process is killed too, as by a machine
that goes down, Prefect takes the flow run for running, and its job goes on; declared crashed and retried, the flow run
goes on with that job.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.prefect_api.server import free_port, server_environment
from tests.azure_ml_service.faults import JobFault
from tests.azure_ml_service.service import Service
from tests.deployments.station import BIN, Station
from tests.orchestration.suspension.suspended import WATCHER, job_of, started, suspended, task_runs
from tests.processes import commands_with
from tests.waiting import until

pytestmark = pytest.mark.slow


class Machine:
    """A server and a worker that can be killed, each with all that it has started, and started again."""

    def __init__(self, station: Station, port: int, stack: ExitStack) -> None:
        self.station = station
        self._port = port
        self._stack = stack
        self.start_server()
        station.deploy()
        self.start_worker()

    def start_server(self) -> None:
        words = (str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(self._port))
        folder = self.station.home / "prefect"
        folder.mkdir(exist_ok=True)
        self.server = self._stack.enter_context(self.station.process(*words, **server_environment(folder)))
        until(self._is_ready)

    def start_worker(self) -> None:
        words = (sys.executable, "-m", "deployments.deploy", "worker")
        self.worker = self._stack.enter_context(self.station.process(*words, PREFECT_WORKER_QUERY_SECONDS="1"))

    def kill_server(self) -> None:
        self._kill(self.server)

    def kill_worker(self) -> None:
        self._kill(self.worker)

    def kill_run(self, run: str) -> None:
        """The process of a flow run."""
        for each in commands_with(run):
            with suppress(ProcessLookupError):
                os.kill(int(each.split()[0]), signal.SIGKILL)

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait()

    def _is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.station.api.get("/health").is_success
        return False


@contextmanager
def a_machine(home: Path, service: Service) -> Generator[Machine]:
    port = free_port()
    station = Station(home, f"http://127.0.0.1:{port}/api")
    station.environment |= service.environment
    with ExitStack() as stack:
        yield Machine(station, port, stack)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, azure_ml_session: Service) -> Iterator[Machine]:
    with a_machine(tmp_path_factory.mktemp("machine"), azure_ml_session) as machine:
        yield machine


def ended_well(machine: Machine, service: Service, run: str, name: str) -> dict[str, Any]:
    """A flow run that has led to one job, one version of the model, and all steps completed."""
    ended = machine.station.ended(run)
    assert ended["state"]["name"] == "Promoted", ended["state"]
    job = job_of(service, name)
    assert job["status"] == "Completed"
    assert [key for key in service.models if key.startswith(f"{name}:")] == [f"{name}:1"]
    completed = {task["name"] for task in task_runs(machine.station, run) if task["state"]["type"] == "COMPLETED"}
    assert completed == set(service.children(job["name"]))
    return ended


@pytest.mark.parametrize("killed", ["worker", "server", "both"])
def test_suspended_run_is_resumed_after_a_kill(machine: Machine, azure_ml: Service, killed: str) -> None:
    name = f"suspended-{killed}"
    azure_ml.faults.add(JobFault("held", step="train", status="Running"))
    run = started(machine.station, name)
    suspended(machine.station, run)
    if killed in ("worker", "both"):
        for watcher in machine.station.flow_runs(WATCHER):
            machine.kill_run(watcher["id"])
        machine.kill_worker()
    if killed in ("server", "both"):
        machine.kill_server()
    azure_ml.faults.clear()
    until(lambda: job_of(azure_ml, name)["status"] == "Completed")
    if killed in ("server", "both"):
        machine.start_server()
    if killed in ("worker", "both"):
        machine.start_worker()
    machine.station.start(WATCHER)  # as its schedule does within ten minutes; where one is at work, it ends at once
    ended_well(machine, azure_ml, run, name)


@pytest.mark.parametrize("killed", ["worker", "server", "both"])
def test_run_that_waits_in_its_process_goes_on_after_a_kill(machine: Machine, azure_ml: Service, killed: str) -> None:
    name = f"waiting-{killed}"
    azure_ml.faults.add(JobFault("held", step="train", status="Running"))
    run = started(machine.station, name, suspend="never")
    until(lambda: any(task["state"]["type"] == "RUNNING" for task in task_runs(machine.station, run)))
    if killed in ("worker", "both"):
        machine.kill_worker()
    if killed in ("server", "both"):
        machine.kill_server()
        machine.start_server()
    if killed in ("worker", "both"):
        machine.start_worker()
    azure_ml.faults.clear()
    ended_well(machine, azure_ml, run, name)


def test_run_whose_process_was_killed_too_goes_on_with_its_job_when_it_is_retried(
    machine: Machine, azure_ml: Service
) -> None:
    azure_ml.faults.add(JobFault("held", step="train", status="Running"))
    run = started(machine.station, "retried", suspend="never")
    until(lambda: any(task["state"]["type"] == "RUNNING" for task in task_runs(machine.station, run)))
    machine.kill_worker()
    machine.kill_run(run)
    machine.start_worker()
    assert machine.station.flow_run(run)["state"]["type"] == "RUNNING"
    assert job_of(azure_ml, "retried")["status"] == "Running"
    asked = {"state": {"type": "CRASHED", "message": "Its machine went down."}, "force": True}
    machine.station.api.post(f"/flow_runs/{run}/set_state", json=asked).raise_for_status()
    done = machine.station.prefect("flow-run", "retry", run)
    assert done.returncode == 0, done.stdout + done.stderr
    azure_ml.faults.clear()
    ended_well(machine, azure_ml, run, "retried")
