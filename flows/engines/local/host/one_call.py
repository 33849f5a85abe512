"""One call of MLflow outside of a run, in a worker process of its own (some 3 s)."""

import json
import sys
from typing import Any

from flows.engines.local.host.processes import WORKER_SCRIPT, step_environment, worker_environment
from flows.machine.child import Child
from flows.mlflow_store.model_registry import result_of
from flows.settings import Settings


def start_worker(settings: Settings, uri: str | None = None) -> Child:
    """Start a worker where runs are kept, or on the store ``uri``, which it makes; it ends when its input does."""
    settings.home.mkdir(parents=True, exist_ok=True)  # for its log
    variables = worker_environment(settings, step_environment(settings))
    other = {} if uri is None else {"MLFLOW_TRACKING_URI": uri, "MLFLOW_REGISTRY_URI": uri}  # whatever is set
    return Child(
        "The MLflow worker",
        [sys.executable, WORKER_SCRIPT],
        {**variables, **other},
        log=settings.home / "mlflow-worker.log",
        streams=True,
    )


def ask_mlflow(settings: Settings, call: str, **args: object) -> Any:
    """Make one call of :class:`flows.mlflow_store.mlflow_worker.Tracking`, and return its answer.

    Raises:
        ServiceError: The store or its server does not answer.
        RunError: MLflow cannot do it as asked.
    """
    with start_worker(settings) as worker:
        said, _ = worker.process.communicate(json.dumps({"id": 1, "call": call, "args": args}) + "\n")
    return result_of(call, json.loads(said) if said else None)
