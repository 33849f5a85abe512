"""``tandem ui``: the web interfaces of Prefect and MLflow on the local state, until Ctrl+C."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from flows.cli.state.closing import Closing, make_mlflow_store
from flows.cli.state.usable import check_usable
from flows.errors import ParameterError, ServiceError
from flows.machine.child import Child, end_all, wait_until
from flows.machine.folder import make_state_folder
from flows.machine.hidden_memory import hide_memory
from flows.machine.living import Living, enlist, record_process
from flows.machine.locks import held, locked
from flows.mlflow_store import mlflow_server
from flows.mlflow_store.pages import experiments_page
from flows.prefect_api.server import (
    DATABASE,
    SERVED,
    STARTING,
    PrefectApi,
    answers,
    python_path,
    served_addresses,
    server_environment,
)
from flows.settings import Settings

START_SECONDS = 180.0  # the first start makes both databases, which takes a busy machine more than a minute


def show_pages(prefect_port: int, mlflow_port: int) -> int:
    """Start both servers, print their addresses, and wait; when one ends, both do.

    Raises:
        ParameterError: Both are to listen on the same port.
        ServiceError: One of them ended, or did not start in time.
        StateError: The local state cannot be used.
    """
    if prefect_port == mlflow_port:
        raise ParameterError(
            f"Prefect and MLflow cannot both listen on port {mlflow_port}. Nothing was started. Choose another: "
            "tandem ui --mlflow-port PORT."
        )
    hide_memory()
    settings = Settings.from_environment()
    home = settings.prefect_home
    check_usable(settings)
    make_state_folder(settings.home)
    home.mkdir(parents=True, exist_ok=True)
    settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **server_environment(home),
        "PYTHONPATH": python_path(),
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect_port}/api",
        **mlflow_server.VARIABLES,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    commands = {
        "Prefect": [sys.executable, "-P", "-m", "flows.prefect_api.served", str(prefect_port)],
        "MLflow": mlflow_server.server_command(settings, mlflow_port),
    }
    for name, port in (("Prefect", prefect_port), ("MLflow", mlflow_port)):
        _check_free(home, name, port)
    log = settings.home / "ui.log"
    servers: list[Child] = []
    entries = [record_process(settings.home, "tandem ui")]
    served = home / SERVED
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        closing = Closing.begin(settings)
        if not (settings.home / "mlflow.db").exists():
            make_mlflow_store(settings)
        # While they make their databases, or bring them up to date, nobody else does.
        with locked(home / STARTING), held(settings.home / "mlflow.db.lock"):
            _make_database(home, environment, log)
            for name, command in commands.items():
                server, entry = _started(settings.home, name, command, environment, log)
                servers.append(server)
                entries.append(entry)
            _wait_until_ready(environment["PREFECT_API_URL"], mlflow_port, servers, log)
        if closing is not None:
            os.environ.update(PREFECT_API_URL=environment["PREFECT_API_URL"], PREFECT_HOME=str(home))
            closing.finish(PrefectApi(environment["PREFECT_API_URL"], "served"), print)
        addresses = {"url": environment["PREFECT_API_URL"], "mlflow": f"http://127.0.0.1:{mlflow_port}"}
        served.write_text(json.dumps(addresses), encoding="utf-8")
        print(f"  Prefect  http://127.0.0.1:{prefect_port}\n  MLflow   {experiments_page(addresses['mlflow'])}")
        print("\n  Runs that you start now are seen there as they go. Ctrl+C ends both.", flush=True)
        while True:
            for server in servers:
                server.check_running()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return 0
    finally:
        served.unlink(missing_ok=True)
        end_all(servers)
        for entry in entries:
            entry.end()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _started(
    home: Path, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
) -> tuple[Child, Living]:
    """Start a server, which ends with this process, and counts as using the state until it has ended."""
    entry = enlist(home, f"the {name} server of tandem ui")
    server = Child(name, command, environment, log=log, ends_with_us=True, lend=[entry.lend()])
    entry.tell(pid=server.process.pid)
    return server, entry


def _make_database(home: Path, environment: Mapping[str, str], log: Path) -> None:
    """Make Prefect's database whole or not at all. If that fails, the server fails next and says why."""
    if not (home / DATABASE).exists():
        words = [sys.executable, "-P", "-m", "flows.prefect_api.temporary_server", "database"]
        with log.open("ab") as output:
            subprocess.run(words, env=environment, stdout=output, stderr=output, check=False)


def _check_free(home: Path, name: str, port: int) -> None:
    """Check that nobody listens on a port.

    Raises:
        ServiceError: Somebody does; if it is a server of this same state, its addresses are named.
    """
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return
    served = served_addresses(home)
    if port in (urlsplit(address).port for address in served.values()):
        raise ServiceError(
            f"This local state is served already:\n  Prefect  {served['url'].removesuffix('/api')}\n"
            f"  MLflow   {served['mlflow']}\nNothing was started. To serve it anew, end that one first (Ctrl+C)."
        )
    raise ServiceError(
        f"Port {port} is taken, so {name} cannot be served there. Stop what listens on it, or choose another: "
        f"tandem ui --{name.lower()}-port PORT."
    )


def _wait_until_ready(url: str, mlflow_port: int, servers: Sequence[Child], log: Path) -> None:
    waiting = {"Prefect": url, "MLflow": f"http://127.0.0.1:{mlflow_port}"}

    def all_answer() -> bool:
        for name in [name for name, address in waiting.items() if answers(address)]:
            del waiting[name]
        return not waiting

    if not wait_until(all_answer, servers, START_SECONDS):
        raise ServiceError(f"{' and '.join(waiting)} did not start within {START_SECONDS:g} s; see {log}.")
