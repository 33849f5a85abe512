"""How fast an endpoint of this machine is, beside ``mlflow models serve`` with the same model.

Both serve the shipped classifier, trained here, and are asked for one row at a time by clients that keep their
connection. They start one after the other, and then take turns, in another order each round, so that what else the
machine does meets both alike; every ratio is of medians of the same session. ``tandem`` answers label and probability,
MLflow only the label. The router's own cost is what a request through it takes longer than one that is sent to the
instance over its socket. Memory is the proportional set size of all processes of a contestant. With ``--collecting``,
the other contestant is not MLflow's server but an endpoint that keeps all that it is asked.
"""

import argparse
import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles

from measure import table
from shipped import memory_mib, train

from flows.data.digests import data_digest
from flows.prefect_api.server import free_port
from flows.serving.endpoints import DeploymentRequest, ServedModel
from flows.serving.local import files
from flows.serving.local.adapter import LocalServing
from flows.serving.local.frames import HELLO, frame, receive_frame
from flows.serving.local.lifetime import end_supervisor, supervisor_pid
from flows.spec.model.endpoint import Collection, DataCollector
from flows.spec.reading.endpoints import read_endpoint, read_online_deployment

PROJECT = Path(__file__).resolve().parents[2]
CLIENTS = 4
START_SECONDS = 300.0


@dataclass
class Contestant:
    """One server: how it is asked, which process all others of it come from, and what was measured."""

    name: str
    port: int
    path: str
    body: bytes
    headers: dict[str, str]
    pid: int
    ready_seconds: float
    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    mib: float = 0.0

    def ask(self, connection: http.client.HTTPConnection) -> None:
        """Send one request, which must be answered with 200."""
        connection.request("POST", self.path, self.body, self.headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{self.name} answered {answer.status}: {content[:300]!r}")

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is kept."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.connect()
        assert connection.sock is not None
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


@contextmanager
def tandem(home: Path, model: Path, columns: list[str], *, collecting: bool = False) -> Generator[Contestant]:
    """An endpoint of the local state in a folder, which may keep every request and answer."""
    serving = LocalServing(home)
    spec = read_endpoint(PROJECT / "serving" / "endpoint.yml")
    deployment = read_online_deployment(PROJECT / "serving" / "deployment.yml")
    if collecting:
        kept = DataCollector((Collection("model_inputs"), Collection("model_outputs")))
        deployment = replace(deployment, data_collector=kept)
    served = ServedModel("diabetes-predict", 1, data_digest(model))

    async def deploy() -> str:
        await serving.create_endpoint(spec)
        await serving.deploy(DeploymentRequest(spec.name, "blue", deployment, served, str(model)))
        await serving.set_traffic(spec.name, {"blue": 100})
        return await serving.key(spec.name)

    began = time.perf_counter()
    key = asyncio.run(deploy())
    seconds, port = time.perf_counter() - began, files.read_port(home / "serving")
    try:
        body = json.dumps({"input_data": {"columns": columns, "data": [[1] * len(columns)]}}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        path = f"/endpoints/{spec.name}/score"
        name = "tandem, collecting" if collecting else "tandem"
        yield Contestant(name, port or 0, path, body, headers, supervisor_pid(home / "serving") or 0, seconds)
    finally:
        asyncio.run(serving.delete_endpoint(spec.name))
        end_supervisor(home)


@contextmanager
def mlflow(folder: Path, model: Path, columns: list[str]) -> Generator[Contestant]:
    """``mlflow models serve`` in this environment."""
    port, binaries = free_port(), Path(sys.executable).parent
    words = [binaries / "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "-p", str(port)]
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    began = time.perf_counter()
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(words, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        while not _pings(port):
            if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                raise SystemExit(f"mlflow models serve did not start: {(folder / 'mlflow.log').read_text()[-2000:]}")
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        body = json.dumps({"dataframe_split": {"columns": columns, "data": [[1] * len(columns)]}}).encode()
        headers = {"Content-Type": "application/json"}
        yield Contestant("mlflow models serve", port, "/invocations", body, headers, process.pid, seconds)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pings(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def one_at_a_time(contestant: Contestant, requests: int) -> list[float]:
    """The seconds that each of so many requests takes, over one connection."""
    connection = contestant.connect()
    taken: list[float] = []
    for _ in range(requests):
        began = time.perf_counter()
        contestant.ask(connection)
        taken.append(time.perf_counter() - began)
    connection.close()
    return taken


def together(contestant: Contestant, seconds: float) -> float:
    """The requests a second that several clients get answered."""
    counts = [0] * CLIENTS
    until = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = contestant.connect()
        while time.perf_counter() < until:
            with suppress(TimeoutError):
                contestant.ask(connection)
                counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def direct(home: Path, body: bytes, requests: int) -> list[float]:
    """The seconds of requests that are sent to the instance, past the router."""
    (folder,) = files.folders_with(home / "serving", files.ENDPOINT)
    ((_, status),) = files.deployments_of(folder)
    message, taken = frame({}, body), list[float]()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(status.sockets[0])
        assert connection.recv(len(HELLO)) == HELLO
        for _ in range(requests):
            began = time.perf_counter()
            connection.sendall(message)
            answer = receive_frame(connection)
            taken.append(time.perf_counter() - began)
            assert answer is not None and answer[0]["status"] == 200
    return taken


def run(rounds: int, requests: int, seconds: float, *, collecting: bool) -> None:
    """Measure, and print a table and the ratios."""
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        folder = Path(name)
        model, home = folder / "model", folder / "home"
        columns = train(model)
        routed, past = list[float](), list[float]()
        other = tandem(folder / "collecting", model, columns, collecting=True) if collecting else None
        with tandem(home, model, columns) as ours, other or mlflow(folder, model, columns) as theirs:
            both = [ours, theirs]
            for each in both:
                one_at_a_time(each, 20)  # the first ones make what later ones find
            for number in range(rounds):
                for each in both if number % 2 else reversed(both):
                    each.latencies += one_at_a_time(each, requests)
                    each.rates.append(together(each, seconds))
                past += direct(home, ours.body, requests)
                routed += one_at_a_time(ours, requests)
            for each in both:
                each.mib = memory_mib(each.pid)
    figures: list[tuple[str, Callable[[Contestant], float], str]] = [
        ("ready, s", lambda each: each.ready_seconds, "≤ 0.5"),
        ("one row, p50 ms", lambda each: 1000 * median(each.latencies), "≤ 0.5"),
        ("one row, p99 ms", lambda each: 1000 * quantiles(each.latencies, n=100)[98], ""),
        (f"requests/s, {CLIENTS} clients", lambda each: median(each.rates), "≥ 2"),
        ("memory, MiB", lambda each: each.mib, ""),
    ]
    rows = [
        [what, f"{of(ours):.1f}", f"{of(theirs):.1f}", f"{of(ours) / of(theirs):.2f}", "" if collecting else aim]
        for what, of, aim in figures
    ]
    print(table(["", ours.name, theirs.name, "ratio", "aim"], 1, rows))
    cost = 1000 * (median(routed) - median(past))
    told = f"{1000 * median(past):.2f} ms direct, {1000 * median(routed):.2f} routed"
    print(f"\nthe router's own cost: {cost:.2f} ms ({told})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=300, help="one at a time, of each contestant in each round")
    parser.add_argument("--seconds", type=float, default=5.0, help="of requests together")
    parser.add_argument("--collecting", action="store_true", help="beside an endpoint that keeps what it is asked")
    asked = parser.parse_args()
    run(asked.rounds, asked.requests, asked.seconds, collecting=asked.collecting)
