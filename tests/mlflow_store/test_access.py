"""Commands at an MLflow server that cannot be used: one sentence before anything is started, and as doctor says it."""

import base64
import contextlib
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.errors import ServiceError, SettingsError, TandemError
from flows.mlflow_store.access import MlflowRequests, check_mlflow_servers, fault_of_server
from flows.mlflow_store.places import MlflowPlace, mlflow_place
from flows.prefect_api.server import free_port
from flows.settings import Settings
from tests.mlflow_store.fault_proxy import FaultProxy, Kind, RequestFault
from tests.mlflow_store.servers import MlflowServer
from tests.terminal import JOB, PIPELINE, PROJECT, Terminal

TRAINING = """
type: command
environment: azureml:diabetes-classify@latest
command: echo done
"""
SIGN_IN = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
WRONG = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "hunter3"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("server") / "team") as server:
        yield server


@pytest.fixture(scope="module")
def guarded(server: MlflowServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.url, sign_in="me:hunter2") as proxy:
        yield proxy


def commands(folder: Path) -> Mapping[str, list[str]]:
    """Every command that tracks, by what a person types."""
    job = folder / "job.yml"
    job.write_text(TRAINING, encoding="utf-8")
    output = ("--evaluation_output", str(folder / "evaluation"))
    return {
        "tandem run": [sys.executable, "-m", "flows", "run", str(job)],
        "create_aml_pipeline_train": [sys.executable, str(PIPELINE), *output],
        "create_aml_experiment_job_train": [sys.executable, str(JOB), *output],
    }


@pytest.mark.parametrize("command", commands(Path("/tmp")))
@pytest.mark.parametrize("sign_in", [{}, WRONG], ids=["none", "wrong"])
def test_command_that_is_not_let_in_ends_with_one_sentence_before_it_starts_anything(
    guarded: FaultProxy, tmp_path: Path, command: str, sign_in: Mapping[str, str]
) -> None:
    environment = {**Terminal(tmp_path, None).environment, "MLFLOW_TRACKING_URI": guarded.url, **sign_in}
    words = commands(tmp_path)[command]
    done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2, done.stderr
    assert f"The MLflow server {guarded.url} does not let us in: 401. Nothing was run. {SIGN_IN}" in done.stderr
    assert done.stderr.count("\n") == 1, "one line, and no traceback"
    assert not any(
        secret in done.stdout + done.stderr for secret in ("hunter3", base64.b64encode(b"me:hunter3").decode())
    )
    assert not (tmp_path / "state" / "prefect").exists(), "no server of Prefect was started"
    assert not (tmp_path / "state" / "mlflow-worker.log").exists(), "no worker was started"


def place(home: Path, url: str) -> MlflowPlace:
    return mlflow_place(Settings.from_environment({"TANDEM_HOME": str(home), "MLFLOW_TRACKING_URI": url}))


def told(home: Path, url: str, error: type[TandemError]) -> str:
    with pytest.raises(error) as raised:
        check_mlflow_servers(place(home, url))
    return str(raised.value)


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("500", ServiceError, "is out of order: status 500. Nothing was run. See its log."),
        (
            "403",
            SettingsError,
            "lets nobody with this sign-in read experiments: 403. Nothing was run. Ask who runs it.",
        ),
        ("refuse", ServiceError, "does not answer: Connection reset by peer. Nothing was run. Start that server, or "),
        ("hang", ServiceError, "does not answer: timed out. Nothing was run. Start that server, or go without one: "),
    ],
)
def test_fault_of_a_server_is_told_with_what_to_do(
    server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    error: type[TandemError],
    says: str,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with FaultProxy(server.url) as proxy:
        proxy.fault = RequestFault(kind, "POST", "", 9)
        assert told(tmp_path, proxy.url, error).startswith(f"The MLflow server {proxy.url} {says}")


def test_address_at_which_nobody_listens_is_told_without_the_password_in_it(tmp_path: Path) -> None:
    port = free_port()
    said = told(tmp_path, f"http://me:hunter2@127.0.0.1:{port}", ServiceError)
    assert said == (
        f"The MLflow server http://127.0.0.1:{port} does not answer: Connection refused. Nothing was run. "
        "Start that server, or go without one: unset MLFLOW_TRACKING_URI"
    )


class _Page(BaseHTTPRequestHandler):
    """A web server that has a page, and knows nothing of MLflow."""

    status = 200

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"<html>Sign in</html>")

    do_GET = do_POST = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def pages(status: int) -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("_Page", (_Page,), {"status": status})) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_address[1]}"
        web.shutdown()


@pytest.mark.parametrize("status", [200, 404])
def test_address_of_another_web_server_is_told(tmp_path: Path, status: int) -> None:
    with pages(status) as url:
        said = told(tmp_path, url, SettingsError)
    assert said == (
        f"The MLflow server {url} is no MLflow server: status {status}. Nothing was run. Correct MLFLOW_TRACKING_URI."
    )


def test_server_that_can_be_used_is_asked_once_and_nothing_is_asked_without_one(
    guarded: FaultProxy, tmp_path: Path
) -> None:
    asked = len(guarded.asked)
    check_mlflow_servers(place(tmp_path, guarded.url.replace("//", "//me:hunter2@")))
    assert guarded.asked[asked:] == [("POST", "/api/2.0/mlflow/experiments/search")]
    check_mlflow_servers(mlflow_place(Settings.from_environment({"TANDEM_HOME": str(tmp_path)})))


def test_server_of_the_models_is_asked_too(server: MlflowServer, guarded: FaultProxy, tmp_path: Path) -> None:
    variables = {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_REGISTRY_URI": guarded.url}
    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path), **variables})
    with pytest.raises(SettingsError, match=guarded.url):
        check_mlflow_servers(mlflow_place(settings))


def test_name_and_password_that_mlflow_keeps_in_its_file_sign_in(
    guarded: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    told(tmp_path, guarded.url, SettingsError)
    (tmp_path / ".mlflow").mkdir()
    kept = "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = hunter2\n"
    (tmp_path / ".mlflow" / "credentials").write_text(kept, encoding="utf-8")
    check_mlflow_servers(place(tmp_path, guarded.url))


def test_what_only_mlflow_can_tell_is_left_to_mlflow(
    guarded: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "a-plugin")
    here = place(tmp_path, guarded.url)
    check_mlflow_servers(here)
    fault = fault_of_server(MlflowRequests(here.tracking, here), here)
    assert fault is not None and not fault.certain, "doctor says it all the same"


def test_certificate_that_only_mlflow_may_trust_is_left_to_mlflow(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    here = place(tmp_path, server.url.replace("http://", "https://"))  # which is no certificate at all
    fault = fault_of_server(MlflowRequests(here.tracking, here), here)
    assert fault is not None and "SSL" in fault.does and not fault.certain
    check_mlflow_servers(here)
