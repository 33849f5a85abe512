"""A team at work: both servers, deployments whose code is cloned, and a worker on each of two hosts."""

import asyncio
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from deployments import rollout
from deployments.deploy import DEPLOYMENTS, NOTIFICATIONS
from tests.prefect_client import Patient
from tests.team.hosts import Host
from tests.team.repository import served_repository
from tests.team.servers import BIN, Team
from tests.terminal import PROJECT
from tests.waiting import until

POOL = "tandem"
TRAIN = "train-pipeline/on-demand"
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# The first step puts the code where Python looks first: the folder that Prefect makes for the flow run.
CLONE = "prefect.deployments.steps.git_clone"


@dataclass(frozen=True, slots=True)
class Office:
    """What a person of the team asks both servers."""

    team: Team
    api: httpx.Client
    mlflow: httpx.Client

    def start(self, **parameters: Any) -> str:
        """Start a training run as the web interface does; its id."""
        deployment = self.api.get(f"/deployments/name/{TRAIN}").json()["id"]
        asked = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        answer = self.api.post(f"/deployments/{deployment}/create_flow_run", json=asked)
        assert answer.is_success, answer.text
        return answer.json()["id"]

    def flow_run(self, id: str) -> dict[str, Any]:
        return self.api.get(f"/flow_runs/{id}").json()

    def ended(self, id: str) -> dict[str, Any]:
        """A flow run, once it is over."""
        until(lambda: self.flow_run(id)["state"]["type"] in OVER, seconds=600)
        return self.flow_run(id)

    def log_of(self, id: str) -> str:
        """What a flow run has said."""
        asked = {"logs": {"flow_run_id": {"any_": [id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(each["message"] for each in self.api.post("/logs/filter", json=asked).json())

    def champion(self, model: str) -> dict[str, Any]:
        """The version that has the alias, as MLflow's API says it."""
        asked = {"name": model, "alias": "champion"}
        answer = self.mlflow.get("/api/2.0/mlflow/registered-models/alias", params=asked)
        assert answer.is_success, answer.text
        return answer.json()["model_version"]

    def versions(self, model: str) -> Sequence[Mapping[str, Any]]:
        """All versions of a model."""
        asked = {"filter": f"name = '{model}'"}
        return self.mlflow.get("/api/2.0/mlflow/model-versions/search", params=asked).json().get("model_versions", [])


@contextmanager
def office(team: Team) -> Generator[Office]:
    """The clients of both servers, for as long as the block lasts."""
    user, _, password = team.credential.partition(":")
    options: dict[str, Any] = {"timeout": 60, "trust_env": False}
    with (
        httpx.Client(base_url=team.prefect, auth=(user, password), transport=Patient(), timeout=60) as api,
        httpx.Client(base_url=team.mlflow, **options) as mlflow,
    ):
        yield Office(team, api, mlflow)


def with_cloned_code(folder: Path, repository: str) -> Path:
    """The deployments of this project, with the pull steps by which a host gets the code from a repository."""
    document: Any = yaml.safe_load(DEPLOYMENTS.read_text(encoding="utf-8"))
    clone = {CLONE: {"repository": repository, "branch": "main", "clone_directory_name": "."}}
    document["pull"] = [clone, *document["pull"]]
    for deployment in document["deployments"]:
        if "pull" in deployment:
            deployment["pull"] = [clone, *deployment["pull"]]
    file = folder / "prefect.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


@contextmanager
def at_work(folder: Path, team: Team, hosts: Sequence[Host], address: str) -> Generator[None]:
    """Deployed, and a worker on each host that runs one flow run at a time, until the block ends."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    with ExitStack() as stack:
        repository = stack.enter_context(served_repository(folder, address))
        file = with_cloned_code(folder, repository)
        settings: Any = {PREFECT_API_URL: team.prefect, PREFECT_API_AUTH_STRING: team.credential}
        with temporary_settings(settings), chdir(PROJECT):
            asyncio.run(rollout.deploy(file, NOTIFICATIONS, {}))
        words = (
            sys.executable,
            "-P",
            BIN / "prefect",
            "worker",
            "start",
            "--pool",
            POOL,
            "--type",
            "process",
            "--limit",
            "1",
        )
        for number, host in enumerate(hosts, 1):
            variables = {
                **team.variables,
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                "PREFECT_HOME": str(host.folder / "prefect"),
            }
            stack.enter_context(host.start("worker", [*words, "--name", f"host-{number}"], variables))
        yield
