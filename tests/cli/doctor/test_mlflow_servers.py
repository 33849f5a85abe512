"""What doctor says of an MLflow server, asked over real HTTP."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.doctor.findings import Finding
from flows.cli.doctor.mlflow_servers import check_mlflow
from flows.prefect_api.server import free_port
from flows.settings import Settings
from tests.mlflow_store.fault_proxy import FaultProxy, Kind, RequestFault
from tests.mlflow_store.servers import MlflowServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("server") / "team") as server:
        yield server


def examined(home: Path, url: str) -> list[Finding]:
    return asyncio.run(check_mlflow(Settings.from_environment({"TANDEM_HOME": str(home), "MLFLOW_TRACKING_URI": url})))


def test_server_that_a_run_can_use_is_ok_and_nothing_is_written_to_it(server: MlflowServer, tmp_path: Path) -> None:
    before = len(server.client().search_experiments())
    mlflow, artifacts = examined(tmp_path, server.url)
    assert (mlflow.status, artifacts.status) == ("ok", "ok")
    assert mlflow.message.startswith(f"{server.url}, MLflow 3.") and artifacts.message == f"served by {server.url}"
    assert len(server.client().search_experiments()) == before


def test_local_state_needs_no_server(tmp_path: Path) -> None:
    mlflow, artifacts = asyncio.run(check_mlflow(Settings.from_environment({"TANDEM_HOME": str(tmp_path)})))
    assert (mlflow.status, mlflow.message, artifacts.status) == (
        "ok",
        "runs and models are kept in the local state",
        "ok",
    )


def test_address_at_which_nobody_listens_fails(tmp_path: Path) -> None:
    mlflow, artifacts = examined(tmp_path, f"http://me:hunter2@127.0.0.1:{free_port()}")
    assert (mlflow.status, artifacts.status) == ("FAIL", "skip")
    assert "does not answer" in mlflow.message and mlflow.command == "unset MLFLOW_TRACKING_URI"
    assert "hunter2" not in f"{mlflow}"


@pytest.mark.parametrize(
    ("kind", "method", "path", "check", "says"),
    [
        ("500", "POST", "experiments/search", "mlflow", "out of order: status 500"),
        ("403", "POST", "experiments/create", "mlflow", "does not let us create experiments and runs: 403"),
        ("403", "POST", "experiments/search", "mlflow", "read experiments: 403"),
        ("cut", "GET", "version", "mlflow", "does not answer"),
        ("500", "GET", "mlflow-artifacts/artifacts", "artifacts", "serves no artifacts: status 500"),
    ],
)
def test_each_fault_of_a_server_is_told_with_a_remedy(
    server: MlflowServer, tmp_path: Path, kind: Kind, method: str, path: str, check: str, says: str
) -> None:
    with FaultProxy(server.url) as proxy:
        proxy.fault = RequestFault(kind, method, path, 9)
        found = {finding.check: finding for finding in examined(tmp_path, proxy.url)}
    assert found[check].status == "FAIL" and says in found[check].message and found[check].remedy


def test_sign_in_that_is_missing_or_wrong_is_told(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultProxy(server.url, sign_in="me:hunter2") as proxy:
        mlflow, _ = examined(tmp_path, proxy.url)
        assert (mlflow.status, mlflow.message) == ("FAIL", f"{proxy.url} does not let us in: 401")
        assert "MLFLOW_TRACKING_USERNAME" in mlflow.remedy
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
        assert [finding.status for finding in examined(tmp_path, proxy.url)] == ["ok", "ok"]
        assert [f.status for f in examined(tmp_path, proxy.url.replace("//", "//me:hunter2@"))] == ["ok", "ok"]
