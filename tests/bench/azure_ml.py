"""What waiting for Azure ML costs: API calls of one pipeline run and of an hour, reaction time, many runs at once.

Everything is measured against the loopback service, with the unmodified SDK. Calls of the steps themselves are not
counted. ``make bench-azure``.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from threading import Thread

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from flows.engines.polling import Timeouts, Watch  # noqa: E402
from flows.prefect_api.server import use_prefect_api  # noqa: E402
from flows.settings import Settings  # noqa: E402
from tests.azure_ml_service.faults import JobFault  # noqa: E402
from tests.azure_ml_service.service import Recorded, Service  # noqa: E402

CALLS_A_LOOK = 2  # the job, and its children
KINDS = {
    "sign in": r"^login\.",
    "look at the job": r"GET .*/jobs/[^/]+$",
    "look at its children": r"GET .*/children$",
    "submit the job": r"PUT .*/jobs/",
    "components and code": r"/(components|codes)/",
    "environment": r"/environments/",
    "data": r"W?/data/|/datastores",
    "compute": r"/computes",
    "models": r"/models",
    "outputs": r"rundata|batchGetResolvedUris|\.blob\.",
}
JOB = """
type: command
command: echo done
environment: {image: ubuntu}
compute: azureml:cpu-cluster-01
"""


def calls_of_an_hour() -> tuple[int, float]:
    """The looks at a job in which nothing changes for an hour, by a clock that is not a clock, and the last pause."""
    watch, now, looks = Watch(Timeouts()), 0.0, 0
    while now < 3600:
        watch.observe(now, "Running", "the same")
        looks += 1
        now += watch.interval
    return looks, watch.interval


def environment_of(home: Path, service: Service, prefect_url: str) -> dict[str, str]:
    """What a command finds."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "AZURE", "MLFLOW_"))
    }
    more = {"TANDEM_HOME": str(home / "state"), "PREFECT_API_URL": prefect_url, "PYTHONPATH": str(PROJECT)}
    return {**inherited, **service.environment, **more}


def kind_of(request: Recorded) -> str | None:
    """What a request of the engine is for; None for one of a step."""
    text = f"{request.method} {request.host}{request.path}"
    if "/mlflow/" in text or "/artifacts" in text:
        return None
    found = (kind for kind, pattern in KINDS.items() if re.search(pattern, text) or re.search(pattern, request.host))
    return next(found, "others")


def one_run(home: Path, service: Service, prefect_url: str, seconds: float) -> tuple[float, Counter[str], float]:
    """Run the shipped pipeline so that its job takes about ``seconds``.

    Returns:
        The seconds of the job, its calls by kind, and the seconds from its end to the flow's word of it.
    """
    service.requests.clear()
    service.runner.step_seconds = seconds / 9  # three steps in a row, of three waits each, beside the job's own
    words = [
        sys.executable,
        str(PROJECT / "flows/create_aml_pipeline_train.py"),
        "--engine",
        "azureml",
        "--force_rerun",
    ]
    words += ["--evaluation_output", str(home / "evaluation"), "--pipeline", f"bench-{seconds:g}"]
    command = subprocess.Popen(
        words,
        env=environment_of(home, service, prefect_url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stderr is not None
    told = 0.0
    for line in command.stderr:
        if "| Completed, " in line and not told:
            told = time.time()
    if command.wait() != 0:
        raise SystemExit("The command failed.")
    (job,) = (job for name, job in service.jobs.items() if name.startswith(f"bench-{seconds:g}".replace(".", "-")))
    begun, ended = (datetime.fromisoformat(job[key]).timestamp() for key in ("created", "ended"))
    kinds = Counter(kind for request in service.requests if (kind := kind_of(request)))
    return ended - begun, kinds, told - ended


def many_waiting(home: Path, service: Service, prefect_url: str, runs: int, seconds: float) -> tuple[float, float]:
    """Let flow runs wait for jobs that stay in the queue.

    Returns:
        MiB of memory a run, beyond the first; calls a minute of all of them, once their pauses have grown.
    """
    file = home / "job.yml"
    file.write_text(JOB)
    service.faults.add(JobFault("stuck_queued", job=".*", times=None))
    before = len(service.jobs)
    with (home / "waiting.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "tests/bench/waiting.py"), str(file), str(runs)],
            env=environment_of(home, service, prefect_url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        memory: list[float] = []
        Thread(target=lambda: memory.extend(map(float, process.stdout or ())), daemon=True).start()
        _until(lambda: len(service.jobs) > before, 120, home / "waiting.log")
        time.sleep(10)
        alone = memory[-1]
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        _until(lambda: len(service.jobs) >= before + runs, 600, home / "waiting.log")
        time.sleep(120)  # until the pauses between looks are as long as they become
        service.requests.clear()
        time.sleep(seconds)
        calls = len(service.requests) / seconds * 60
        together = statistics.median(memory[-5:])
        process.kill()
        process.wait()
    service.faults.clear()
    return (together - alone) / (runs - 1), calls


def _until(holds: Callable[[], bool], seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"It did not happen within {seconds:g} s:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def main() -> None:
    """Measure all, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job-seconds", type=float, default=60.0, help="about how long the pipeline job takes")
    parser.add_argument("--runs", type=int, default=200, help="how many flow runs wait at once; 0 leaves it out")
    arguments = parser.parse_args()
    looks, pause = calls_of_an_hour()
    print(
        f"an hour without a change: {looks} looks, {looks * CALLS_A_LOOK} calls for a pipeline, {looks} for a job; ",
        end="",
    )
    print(f"at most {pause:.0f} s from the job's end to the flow's reaction", flush=True)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        service = Service(home / "service").start()
        os.environ.pop("PREFECT_API_URL", None)
        prefect = use_prefect_api(Settings.from_environment({"TANDEM_HOME": str(home / "server")}))
        prefect.wait_until_ready()
        try:
            _report_runs(home, service, prefect.url, arguments.job_seconds)
            if arguments.runs:
                memory, calls = many_waiting(home, service, prefect.url, arguments.runs, 60)
                print(f"{arguments.runs} flow runs waiting in one process: {memory:.2f} MiB and ", end="")
                print(f"{calls / arguments.runs:.1f} calls a minute each ({calls:.0f} in all)")
        finally:
            service.stop()


def _report_runs(home: Path, service: Service, prefect_url: str, seconds: float) -> None:
    one_run(home, service, prefect_url, 3)  # makes the assets
    took, kinds, delay = one_run(home, service, prefect_url, seconds)
    calls = sum(kinds.values())
    print(f"a pipeline job of {took:.0f} s: {calls} calls; {delay:.1f} s from its end to the flow's word of it")
    _print_kinds(kinds)


def _print_kinds(kinds: Mapping[str, int]) -> None:
    for kind, count in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"  {count:4}  {kind}", flush=True)


if __name__ == "__main__":
    main()
