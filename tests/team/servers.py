"""Both servers of a team: Prefect's with basic authentication and MLflow's with artifact serving, on PostgreSQL."""

import os
import secrets
import sys
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.machine.child import Child, wait_until
from flows.prefect_api.server import free_port
from tests.team.postgres import Postgres

BIN = Path(sys.executable).parent
START_SECONDS = 240.0  # the first start makes the tables, on a machine that has much else to do
USER = "team"
LOOPBACK = "127.0.0.1"
# With fewer, two hundred requests at once wait for each other's connections until they time out (docs/servers.md).
FOR_MANY = {
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "40",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "40",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_TIMEOUT": "120",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
}
# Flow runs of tests should not wait for what the server looks at once a minute.
_SOONER = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5",
}


@dataclass(frozen=True, slots=True)
class Team:
    """Where both servers are, and the credential of Prefect's."""

    prefect: str
    mlflow: str
    credential: str = field(repr=False)
    logs: Sequence[Path] = ()

    @property
    def variables(self) -> Mapping[str, str]:
        """What a member of the team sets."""
        return {
            "PREFECT_API_URL": self.prefect,
            "PREFECT_API_AUTH_STRING": self.credential,
            "MLFLOW_TRACKING_URI": self.mlflow,
        }


def own_variables(folder: Path) -> dict[str, str]:
    """The variables of a process that inherits nothing of Prefect, MLflow, Azure or Tandem from this one."""
    ours = ("PREFECT_", "MLFLOW_", "AZUREML_", "AZURE_", "TANDEM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    quiet = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return {**kept, **quiet, "HOME": str(folder), "NO_PROXY": "*", "no_proxy": "*", "COLUMNS": "500"}


def responds(url: str) -> bool:
    """Whether a server answers at an address at all."""
    try:
        with _opener.open(url, timeout=5) as response:
            return response.status == 200
    except (OSError, ValueError):
        return False


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def prefect_child(folder: Path, database: str, credential: str, host: str = LOOPBACK) -> tuple[Child, str]:
    """A Prefect server on a database, and the address of its API. An empty credential asks for none."""
    port = free_port()
    variables = {
        **own_variables(folder),
        **_SOONER,
        **(FOR_MANY if database.startswith("postgresql") else {}),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        **({"PREFECT_SERVER_API_AUTH_STRING": credential} if credential else {}),
    }
    words = (BIN / "prefect", "server", "start", "--host", host, "--port", str(port))
    child = Child("The Prefect server", words, variables, log=folder / "prefect.log", folder=folder)
    return child, f"http://{host}:{port}/api"


def mlflow_child(folder: Path, database: str, host: str = LOOPBACK) -> tuple[Child, str]:
    """An MLflow server on a database, which keeps what runs leave in a folder of its own; and its address."""
    port, artifacts = free_port(), folder / "artifacts"
    artifacts.mkdir()
    words = (
        *(BIN / "mlflow", "server", "--host", host, "--port", str(port), "--workers", "2"),
        *("--backend-store-uri", database, "--serve-artifacts", "--artifacts-destination", artifacts.as_uri()),
        *("--allowed-hosts", f"{host}:*"),
    )
    variables = {**own_variables(folder), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    child = Child("The MLflow server", words, variables, log=folder / "mlflow.log", folder=folder)
    return child, f"http://{host}:{port}"


@contextmanager
def team_servers(folder: Path, postgres: Postgres, host: str = LOOPBACK) -> Generator[Team]:
    """Both servers for as long as the block lasts, each on a new database."""
    name, credential = secrets.token_hex(4), f"{USER}:{secrets.token_hex(12)}"
    for kind in ("prefect", "mlflow"):
        postgres.make_database(f"{kind}-{name}")
    with ExitStack() as stack:
        database = postgres.address(f"prefect-{name}", "postgresql+asyncpg")
        prefect, api = prefect_child(folder, database, credential, host)
        stack.enter_context(prefect)
        mlflow, tracking = mlflow_child(folder, postgres.address(f"mlflow-{name}"), host)
        stack.enter_context(mlflow)
        waiting = [f"{api}/health", f"{tracking}/health"]
        if not wait_until(lambda: all(map(responds, waiting)), (prefect, mlflow), START_SECONDS):
            raise RuntimeError(f"The servers did not start within {START_SECONDS:g} s; see {folder}.")
        yield Team(api, tracking, credential, (folder / "prefect.log", folder / "mlflow.log"))
