"""What following many suspended flow runs costs: memory, calls a minute, the time from a job's end to the resumption.

The jobs are documents of the loopback service that nothing runs; the flow runs are made through Prefect's API. The
watcher is the flow itself, in a process of its own. ``make bench-watcher``.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from prefect import flow  # noqa: E402
from prefect.client.orchestration import PrefectClient, get_client  # noqa: E402
from prefect.client.schemas.filters import FlowRunFilter  # noqa: E402
from prefect.client.schemas.sorting import FlowRunSort  # noqa: E402
from prefect.exceptions import PrefectHTTPStatusError  # noqa: E402
from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: E402
from prefect.states import Running, Suspended  # noqa: E402

from flows.tags import FLOW_RUN, JOB, WATCHED  # noqa: E402
from tests.azure_ml_service.jobs import new_job  # noqa: E402
from tests.azure_ml_service.service import Service  # noqa: E402
from tests.azure_ml_service.state import now  # noqa: E402
from tests.deployments.station import Station, prefect_server  # noqa: E402

AT_ONCE = 2  # more would be too much for a server on SQLite
WATCH = "import asyncio; from flows.orchestration.suspension.watch_jobs import watch_jobs; asyncio.run(watch_jobs())"


@flow(name="waits")
def waits() -> None:
    """What the suspended flow runs are of; nothing runs it."""


async def suspended_runs(client: PrefectClient, count: int) -> dict[str, str]:
    """Make flow runs that are suspended; the name of the job of each, by its id."""
    flow_id = await client.create_flow(waits)
    deployment = await client.create_deployment(flow_id, "bench")
    gate, jobs = asyncio.Semaphore(AT_ONCE), dict[str, str]()

    async def make(number: int) -> None:
        name = f"bench-{number:04}"
        while name not in jobs.values():
            with suppress(PrefectHTTPStatusError):  # 503: SQLite is busy
                await make_once(name)

    async def make_once(name: str) -> None:
        async with gate:
            run = await client.create_flow_run_from_deployment(
                deployment, tags=[WATCHED], labels={JOB: name}, state=Running(), idempotency_key=name
            )
            await client.set_flow_run_state(run.id, Suspended(pause_key="bench"))
            jobs[str(run.id)] = name

    await asyncio.gather(*map(make, range(count)))
    return jobs


def submitted(service: Service, template: Mapping[str, Any], jobs: Mapping[str, str]) -> None:
    """Put a job that runs into the workspace for each flow run."""
    for run, name in sorted(jobs.items(), key=lambda item: item[1]):
        document = new_job(name, {**template, "tags": {FLOW_RUN: run}})
        service.documents.put("jobs", name, {**document, "status": "Running"})


def end_job(service: Service, name: str) -> float:
    """End a job; the moment."""
    with service.documents.change("jobs", name) as job:
        job["status"], job["ended"] = "Completed", now()
    return time.time()


def memory_mib(process: int, key: str) -> float:
    """A figure of a process's memory."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"{key}:\s+(\d+)", text)
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(process: int) -> float:
    """User and system time of a process."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def resumed_at(client: PrefectClient, ids: list[str]) -> dict[str, float]:
    """When each of these flow runs was resumed; those that were not are left out."""
    found: dict[str, float] = {}
    for at in range(0, len(ids), 100):
        wanted = FlowRunFilter.model_validate({"id": {"any_": [UUID(id) for id in ids[at : at + 100]]}})
        for run in await client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=200):
            if run.state is not None and run.state.name == "Resuming":
                moment: datetime = run.state.timestamp
                found[str(run.id)] = moment.timestamp()
    return found


async def measure(station: Station, service: Service, template: Mapping[str, Any], count: int, minutes: float) -> None:
    """Follow so many jobs for some minutes, of which some end at any moment; then let all end at once."""
    async with get_client() as client:
        jobs = await suspended_runs(client, count)
        submitted(service, template, jobs)
        print(f"{count} suspended flow runs, {count} jobs", flush=True)
        with station.process(sys.executable, "-c", WATCH, PYTHONPATH=str(PROJECT)) as watcher:
            while not service.count("GET", r"/jobs"):
                await asyncio.sleep(0.5)
            await asyncio.sleep(30)
            service.requests.clear()
            cpu, began = cpu_seconds(watcher.pid), time.monotonic()
            ended: dict[str, float] = {}
            each = sorted(jobs.items(), key=lambda item: item[1])
            few = each[:: max(1, count // 30)][:30]
            for run, name in few:
                await asyncio.sleep(minutes * 60 / len(few))
                ended[run] = end_job(service, name)
            took = time.monotonic() - began
            kinds = Counter(
                ("list of jobs" if re.search(r"/jobs$", one.path) else one.path.rpartition("/")[0].rpartition("/")[2])
                for one in list(service.requests)
            )
            used = (cpu_seconds(watcher.pid) - cpu) / took * 100
            await asyncio.sleep(45)
            _report_delays("one at a time", ended, await resumed_at(client, list(ended)))
            print(f"calls to Azure ML: {sum(kinds.values()) / took * 60:.0f} a minute ({dict(kinds)} in {took:.0f} s)")
            print(f"memory: {memory_mib(watcher.pid, 'VmRSS'):.0f} MiB, at most {memory_mib(watcher.pid, 'VmHWM'):.0f}")
            print(f"processor: {used:.0f} % of one core", flush=True)
            rest = {run: end_job(service, name) for run, name in each if run not in ended}
            if not rest:
                return
            resumed: dict[str, float] = {}
            while len(resumed) < len(rest):
                await asyncio.sleep(5)
                resumed = await resumed_at(client, list(rest))
            _report_delays("all at once", rest, resumed)
            began = time.monotonic()
            await asyncio.to_thread(watcher.wait, 120)
            print(f"ended {time.monotonic() - began:.0f} s later, status {watcher.returncode}")


def _report_delays(what: str, ended: Mapping[str, float], resumed: Mapping[str, float]) -> None:
    delays = [resumed[run] - at for run, at in ended.items() if run in resumed]
    figures = f"median {statistics.median(delays):.1f} s, at most {max(delays):.1f} s"
    print(f"from the job's end to the resumption, {what}: {figures} ({len(delays)} of {len(ended)})", flush=True)


def template_of(station: Station, service: Service) -> Mapping[str, Any]:
    """What the shipped pipeline is submitted as."""
    words = [sys.executable, str(PROJECT / "flows/create_aml_pipeline_train.py"), "--engine", "azureml"]
    done = subprocess.run(
        [*words, "--evaluation_output", str(station.home / "evaluation")],
        env={**station.environment, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    (job,) = service.jobs.values()
    return job["submitted"]


def main() -> None:
    """Measure all, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="how many flow runs wait")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long they are followed before all jobs end")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        service = Service(home / "service").start()
        try:
            with prefect_server(home) as station:
                station.environment |= service.environment
                template = template_of(station, service)
                with temporary_settings({PREFECT_API_URL: str(station.api.base_url).rstrip("/")}):
                    asyncio.run(measure(station, service, template, arguments.jobs, arguments.minutes))
        finally:
            service.stop()


if __name__ == "__main__":
    main()
