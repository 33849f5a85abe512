"""A real MLflow server of a team on this machine, with its artifacts served or not."""

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import httpx

from flows.machine.child import Child
from flows.prefect_api.server import free_port


class MlflowServer:
    """A server on a folder; as a context manager, it ends with the block. It may be started again on the same port."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        serves_artifacts: bool = True,
        port: int = 0,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self._variables = variables
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        served = ("--artifacts-destination", f"{folder}/served")
        kept = ("--no-serve-artifacts", "--default-artifact-root", f"{folder}/kept-by-the-server")
        self._words: Sequence[str] = (
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1"),
            *(served if serves_artifacts else kept),
            *options,
        )
        self._child: Child | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """What a person sets to use it."""
        return {"MLFLOW_TRACKING_URI": self.url}

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **self._variables}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
        self._child = Child(
            "The MLflow server", self._words, environment | own, log=self.folder / "server.log", own_session=True
        )
        end = time.monotonic() + 120
        while not self._answers():
            self._child.check_running()
            assert time.monotonic() < end, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def stop(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def kill(self) -> None:
        """End all its processes without notice, as a machine that loses its power does."""
        assert self._child is not None
        os.killpg(self._child.process.pid, signal.SIGKILL)
        self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self) -> Any:
        """MLflow's own client, in this process."""
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.url, registry_uri=self.url)


ADMINISTRATOR = ("administrator", "of-this-test-only")


def server_with_accounts(folder: Path) -> MlflowServer:
    """A server that asks who is there by MLflow's own basic-auth app. Everybody may read, and change what is theirs."""
    folder.mkdir(parents=True)
    name, password = ADMINISTRATOR
    file = folder / "basic_auth.ini"
    file.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/accounts.db\n"
        f"admin_username = {name}\nadmin_password = {password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )
    variables = {"MLFLOW_AUTH_CONFIG_PATH": str(file), "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-this-test-only"}
    return MlflowServer(folder, "--app-name", "basic-auth", variables=variables)


def make_account(server: MlflowServer, name: str, password: str) -> None:
    """Let the administrator make an account, as `AuthServiceClient` does."""
    asked = {"username": name, "password": password}
    path = f"{server.url}/api/2.0/mlflow/users/create"
    httpx.post(path, json=asked, auth=ADMINISTRATOR, trust_env=False, timeout=60).raise_for_status()
