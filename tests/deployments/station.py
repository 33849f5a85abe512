"""A Prefect server with all its services, a worker on the deployments, and someone who is told: all on this machine."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import chdir, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import rollout
from deployments.deploy import DEPLOYMENTS, NOTIFICATIONS
from deployments.ours import Done
from flows.machine.child import Child
from flows.prefect_api.server import free_port, server_environment
from tests.prefect_client import asking
from tests.terminal import PROJECT, Terminal
from tests.waiting import until

DEADLINE_SECONDS = 240  # nothing here waits so long unless it hangs
BIN = Path(sys.executable).parent


def verbs(done: Sequence[Done], kind: str | None = None) -> set[str]:
    """What became of all objects, or of those of one kind."""
    return {each.verb for each in done if kind in (None, each.kind)}


class Station:
    """The commands that a person types, and the API that the web interface uses, on one server and one local state."""

    def __init__(self, home: Path, api: str) -> None:
        self.home = home
        self.environment = {**Terminal(home, api).environment, "NO_PROXY": "127.0.0.1", "COLUMNS": "500"}
        self.api = asking(api, DEADLINE_SECONDS)

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words,
            cwd=PROJECT,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )

    def make(self, target: str, **environment: str) -> str:
        """What ``make TARGET`` runs, which must succeed; what it prints."""
        done = self.run(sys.executable, "-m", "deployments.deploy", target, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deploy(self, deployments: Path = DEPLOYMENTS, /, **environment: str) -> list[Done]:
        """What ``make deploy`` does, without the start of a process."""
        return self._in_this_process(lambda: rollout.deploy(deployments, NOTIFICATIONS, environment))

    def undeploy(self) -> list[Done]:
        """What ``make undeploy`` does, without the start of a process."""
        return self._in_this_process(rollout.undeploy)

    def _in_this_process(self, work: Callable[[], Coroutine[Any, Any, list[Done]]]) -> list[Done]:
        with temporary_settings({PREFECT_API_URL: str(self.api.base_url).rstrip("/")}), chdir(PROJECT):
            return asyncio.run(work())

    def prefect(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.run(str(BIN / "prefect"), *words)

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a flow run as the web interface does; its id."""
        asked = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        answer = self.api.post(f"/deployments/{self.deployment(deployment)['id']}/create_flow_run", json=asked)
        assert answer.is_success, answer.text
        return answer.json()["id"]

    def deployment(self, name: str) -> dict[str, Any]:
        return self.api.get(f"/deployments/name/{name}").json()

    def make_block(self, slug: str, name: str, data: Mapping[str, Any]) -> str:
        """Make a block as the web interface does; its id."""
        kind = self.api.get(f"/block_types/slug/{slug}").json()["id"]
        asked = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
        schema = self.api.post("/block_schemas/filter", json=asked).json()[0]["id"]
        block = {"name": name, "data": data, "block_type_id": kind, "block_schema_id": schema}
        answer = self.api.post("/block_documents/", json=block)
        assert answer.is_success, answer.text
        return answer.json()["id"]

    def flow_run(self, id: str) -> dict[str, Any]:
        return self.api.get(f"/flow_runs/{id}").json()

    def flow_runs(self, deployment: str) -> list[dict[str, Any]]:
        asked = {"deployments": {"id": {"any_": [self.deployment(deployment)["id"]]}}, "sort": "START_TIME_ASC"}
        return self.api.post("/flow_runs/filter", json=asked).json()

    def ended(self, id: str) -> dict[str, Any]:
        """A flow run, once it is over."""
        over = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        until(lambda: self.flow_run(id)["state"]["type"] in over)
        return self.flow_run(id)

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All that a deployment can have changed, with the times at which it was."""
        return {
            kind: sorted(self.api.post(f"/{kind}/filter", json={}).json(), key=lambda each: each["id"])
            for kind in ("deployments", "automations", "work_pools", "variables", "block_documents")
        }

    @contextmanager
    def process(self, *words: str, **environment: str) -> Generator["subprocess.Popen[bytes]"]:
        """A process for as long as the block lasts; its children end with it."""
        log = self.home / "processes.log"
        with Child(words[-1], words, {**self.environment, **environment}, log=log, folder=PROJECT) as child:
            yield child.process


@contextmanager
def prefect_server(home: Path) -> Generator[Station]:
    """A server as ``make ui`` starts it, that schedules and notices what is late sooner."""
    port = free_port()
    station = Station(home, f"http://127.0.0.1:{port}/api")
    folder = home / "prefect"
    folder.mkdir()
    migrated = Path(f"~/.cache/tandem/prefect-{version('prefect')}.db").expanduser()
    if migrated.exists():
        shutil.copyfile(migrated, folder / "prefect.db")
    settings = {
        **server_environment(folder),
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5",
    }
    words = (str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with station.process(*words, **settings) as process:

        def ready() -> bool:
            assert process.poll() is None, (home / "processes.log").read_text()
            try:
                return station.api.get("/health").is_success
            except httpx.HTTPError:
                return False

        until(ready)
        yield station


class Receiver:
    """Who is told: keeps every message that is posted to ``url``."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.messages: list[dict[str, Any]] = []

    def about(self, *words: str) -> dict[str, Any]:
        """The first message with these words in its subject, once it has come."""

        def found() -> dict[str, Any] | None:
            hits = [each for each in self.messages if all(word in each["subject"] for word in words)]
            return hits[0] if hits else None

        hit = until(found)
        assert hit is not None
        return hit


@contextmanager
def receiver() -> Generator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            who.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    who = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield who
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
