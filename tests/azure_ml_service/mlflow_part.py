"""The MLflow API of the workspace: a real ``mlflow server`` behind the workspace's path, with the workspace's run ids.

The server has no way to take a run's id from its client, so the runs of jobs are made through its API and then renamed
in its database.
"""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlencode

from flows.prefect_api.server import free_port
from tests.azure_ml_service.arm import API, Workspace
from tests.azure_ml_service.messages import API_HOST, Answer, Json, Refused, Request, Route, route

_SERVED = ("runs", "experiments", "metrics", "registered-models", "model-versions", "artifacts")
_START_SECONDS = 60.0
# The server and its workers end when standard input does, which it does however this process ends.
_WHILE_WE_LIVE = 'trap : TERM; "$@" </dev/null & read _; kill -TERM 0; wait'


class Mlflow:
    """The MLflow server, and the requests that are passed on to it."""

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        self._folder = folder
        self._workspace = workspace
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._ready = threading.Event()
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """The routes of this part."""
        return [
            route("GET|POST|PATCH|DELETE|PUT", API_HOST, "/mlflow/v[12].0W/api/{version}/mlflow/{call*}", self.forward),
            route("GET|POST", API_HOST, "/mlflow/v[12].0W/(?:version|health|api/.*)", self.missing),
        ]

    def start(self) -> None:
        """Start the server; it is waited for only when it is first needed."""
        self._port = free_port()
        self._folder.mkdir(parents=True, exist_ok=True)
        proxies = ("http_proxy", "https_proxy", "all_proxy")
        environment = {
            name: value
            for name, value in os.environ.items()
            if name.lower() not in proxies and not name.startswith(("MLFLOW_", "AZUREML_"))
        }
        environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # nothing here needs its queue
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}", "--workers", "1"]
        command += ["--default-artifact-root", (self._folder / "artifacts").as_uri(), "--no-serve-artifacts"]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WHILE_WE_LIVE, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the server."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            Refused: It does not start.
        """
        end = time.monotonic() + _START_SECONDS
        while not self._ready.is_set():
            try:
                if self._exchange("GET", "/health", {}, b"")[0] == 200:
                    self._ready.set()
                    return
            except OSError:
                pass
            if time.monotonic() > end or self._process is None or self._process.poll() is not None:
                raise Refused(503, "ServiceUnavailable", f"mlflow server does not run, see {self._folder}/server.log")
            time.sleep(0.1)

    def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with closing(connection):
            connection.request(method, path, body or None, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("Content-Type", "application/json")

    def call(self, method: str, call: str, payload: Json) -> Json:
        """One call of the MLflow API.

        Raises:
            Refused: The server says no.
        """
        self.wait_until_ready()
        path, body = f"/api/2.0/mlflow/{call}", b""
        if method == "GET":
            path += "?" + urlencode(payload)
        else:
            body = json.dumps(payload).encode()
        status, answer, _ = self._exchange(method, path, {"Content-Type": "application/json"}, body)
        found: Json = json.loads(answer or b"{}")
        if status != 200:
            raise Refused(status, found.get("error_code", ""), found.get("message", ""))
        return found

    # Requests of clients

    def forward(self, request: Request, version: str, call: str, **workspace: str) -> Answer:
        """Pass a request on to the server, if Azure serves its kind of call."""
        if call.startswith("traces"):
            raise _mlflow_error(403, "PERMISSION_DENIED", "Traces are not supported by this workspace.")
        if version != "2.0" or call.partition("/")[0] not in _SERVED:
            return self.missing(request)
        self.wait_until_ready()
        path = f"/api/2.0/mlflow/{quote(call)}"
        if request.query:
            path += "?" + urlencode(request.query)
        headers = {"Content-Type": request.headers.get("content-type", "application/json")}
        status, body, kind = self._exchange(request.method, path, headers, request.body)
        if status == 200 and kind.startswith("application/json"):
            body = json.dumps(self._rewrite(json.loads(body or b"{}"))).encode()
        return Answer(status, body, {"Content-Type": kind})

    def missing(self, request: Request, **path: str) -> Answer:
        """The 404 for calls that Azure does not serve, such as ``logged-models``."""
        return _mlflow_error(404, "ENDPOINT_NOT_FOUND", f"No handler for {request.path}").answer

    def _rewrite(self, value: object) -> object:
        """Rewrite the addresses of artifacts to those of Azure."""
        if isinstance(value, list):
            return [self._rewrite(item) for item in value]
        if not isinstance(value, dict):
            return value
        rewritten = {key: self._rewrite(item) for key, item in value.items()}
        if "artifact_uri" in rewritten and "run_id" in rewritten:
            experiment, run = rewritten["experiment_id"], rewritten["run_id"]
            rewritten["artifact_uri"] = f"{self.tracking_uri}/experiments/{experiment}/runs/{run}/artifacts"
        elif "artifact_location" in rewritten:
            rewritten["artifact_location"] = f"{self.tracking_uri}/experiments/{rewritten['experiment_id']}/artifacts"
        return rewritten

    @property
    def tracking_uri(self) -> str:
        """What a job's MLFLOW_TRACKING_URI says."""
        return f"azureml://{API}{self._workspace.mlflow_path}"

    # Runs of jobs

    def make_run(self, job: Json) -> str:
        """Make the run of a job, whose id is the job's name, unless it is there; returns the experiment's id."""
        with self._lock:
            try:
                found = self.call("GET", "experiments/get-by-name", {"experiment_name": job["experiment"]})
                experiment = found["experiment"]["experiment_id"]
            except Refused:
                experiment = self.call("POST", "experiments/create", {"name": job["experiment"]})["experiment_id"]
            try:
                self.call("GET", "runs/get", {"run_id": job["name"]})
            except Refused:
                tags = {"mlflow.rootRunId": job["root"], "mlflow.user": "Loopback", **job["tags"]}
                if job["parent"]:
                    tags["mlflow.parentRunId"] = job["parent"]
                run = self.call(
                    "POST",
                    "runs/create",
                    {
                        "experiment_id": experiment,
                        "start_time": int(time.time() * 1000),
                        "run_name": job["display_name"],
                        "tags": [{"key": key, "value": value} for key, value in tags.items()],
                    },
                )
                self._rename(run["run"]["info"]["run_id"], job["name"])
            return experiment

    def end_run(self, name: str, status: str) -> None:
        """Write into MLflow how a job's run ended."""
        said = {"Completed": "FINISHED", "Canceled": "KILLED"}.get(status, "FAILED")
        self.call("POST", "runs/update", {"run_id": name, "status": said, "end_time": int(time.time() * 1000)})

    def copy_run(self, old: str, new: str) -> None:
        """Give a run the metrics and parameters of another, as a reused step has them."""
        data = self.call("GET", "runs/get", {"run_id": old})["run"]["data"]
        batch = {key: data[key] for key in ("metrics", "params") if data.get(key)}
        if batch:
            self.call("POST", "runs/log-batch", {"run_id": new, **batch})

    def _rename(self, old: str, new: str) -> None:
        with closing(sqlite3.connect(self._folder / "mlflow.db", timeout=30)) as database, database:
            tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
            for table in tables:
                columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
                if "run_uuid" in columns:
                    database.execute(f"update {table} set run_uuid = ? where run_uuid = ?", (new, old))


def _mlflow_error(status: int, code: str, message: str) -> Refused:
    refused = Refused(status, code, message)
    refused.answer = Answer.of({"error_code": code, "message": message}, status)
    return refused
