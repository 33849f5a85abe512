"""MLflow tracking server of a local run, for steps that bring an MLflow of their own.

Another version of MLflow may not know the schema of the local database. Over HTTP, as on Azure ML, it can log too.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path

from flows.engines.local.host.client import Command, StepHost
from flows.engines.local.step_python import mentions
from flows.engines.plan.interpreter import Interpreter
from flows.errors import ServiceError
from flows.mlflow_store import mlflow_server
from flows.prefect_api.server import answers, free_port, past_proxies, python_path
from flows.settings import OWN_TRACKING, Settings

START_SECONDS = 60.0
POLL_SECONDS = 0.1
_MLFLOW = re.compile(r"\bmlflow", re.IGNORECASE)
_PACKAGES = ("mlflow", "mlflow-skinny")


def brings_its_own_mlflow(
    command: str, code: Path, installs: bool, interpreter: Interpreter, ours: Interpreter
) -> bool:
    """Whether a step logs to MLflow, and may do so with another version than ours.

    Args:
        command: Its command.
        code: The folder of its code.
        installs: Whether it installs packages.
        interpreter: What runs it.
        ours: What the store is of.
    """
    other = any(
        interpreter.packages.get(name, ours.packages.get(name)) != ours.packages.get(name) for name in _PACKAGES
    )
    return (installs or other) and mentions(_MLFLOW, command, code)


def tracking_variables(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What tells a step's MLflow to log to the server, past any proxy of its environment."""
    own = dict.fromkeys(("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", OWN_TRACKING), url)
    return {**own, **past_proxies(environment, ("127.0.0.1",))}


async def serve_tracking(host: StepHost, settings: Settings, environment: Mapping[str, str]) -> str:
    """Start the server among the processes of a host, which ends it, and return its address once it answers.

    Raises:
        ServiceError: It does not start.
    """
    port = free_port()
    log = settings.home / "mlflow-server.log"
    words = list(mlflow_server.server_command(settings, port))
    own = {**environment, **mlflow_server.VARIABLES, "PYTHONPATH": python_path()}
    process = await host.run(Command(text=words, folder=settings.home, environment=own, log=log))
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + START_SECONDS
    while not await asyncio.to_thread(answers, url):
        if process.ended.done() or time.monotonic() > end:
            raise ServiceError(f"MLflow's tracking server, which a step's own MLflow needs, did not start; see {log}.")
        await asyncio.sleep(POLL_SECONDS)
    return url
