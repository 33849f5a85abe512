"""A deployed run on a worker whose variables name a team's MLflow server, with a name and a password in the address."""

import base64
import sys
from pathlib import Path

import pytest

from tests.deployments.station import prefect_server
from tests.mlflow_store.fault_proxy import FaultProxy
from tests.mlflow_store.servers import MlflowServer

SIGN_IN = "me:hunter2+secret"
SECRETS = (b"hunter2", base64.b64encode(SIGN_IN.encode()))
KINDS = ("flow_runs", "task_runs", "logs", "artifacts", "deployments", "work_pools", "variables", "block_documents")


@pytest.mark.slow
def test_deployed_run_tracks_on_the_server_of_its_worker_whose_password_is_kept_nowhere(tmp_path: Path) -> None:
    home = tmp_path / "station"
    home.mkdir()
    with (
        MlflowServer(tmp_path / "server") as server,
        FaultProxy(server.url, sign_in=SIGN_IN) as proxy,
        prefect_server(home) as station,
    ):
        station.environment["MLFLOW_TRACKING_URI"] = proxy.url.replace("//", "//me:hunter2%2Bsecret@")
        station.make("deploy")
        with station.process(sys.executable, "-m", "deployments.deploy", "worker", PREFECT_WORKER_QUERY_SECONDS="1"):
            asked = {"experiment_name": "deployed", "model_name": "from-a-worker"}
            run = station.ended(station.start("train-job/on-demand", **asked))
        assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Registered"), run["state"]
        client = server.client()
        experiment = client.get_experiment_by_name("deployed")
        assert experiment is not None
        assert len(client.search_runs([experiment.experiment_id], "tags.`tandem.step` != ''")) == 1
        assert len(client.search_model_versions("name='from-a-worker'")) == 1
        told = {kind: station.api.post(f"/{kind}/filter", json={}).content for kind in KINDS}
    assert all(len(content) > 2 for kind, content in told.items() if kind in ("flow_runs", "logs", "deployments"))
    assert [kind for kind, content in told.items() if any(secret in content for secret in SECRETS)] == []
    files = [path for path in home.rglob("*") if path.is_file()]
    assert [path for path in files if any(secret in path.read_bytes() for secret in SECRETS)] == []
