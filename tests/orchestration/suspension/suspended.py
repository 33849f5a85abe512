"""Flow runs that are to be suspended, as the tests start them and look at them."""

from typing import Any

from tests.azure_ml_service.service import Service
from tests.deployments.station import Station
from tests.processes import commands_with
from tests.waiting import until

PIPELINE = "train-pipeline/on-demand"
WATCHER = "watch-jobs/watcher"


def started(station: Station, name: str, **parameters: Any) -> str:
    folder = str(station.home / name)
    return station.start(
        PIPELINE, pipeline=name, model_name=name, evaluation_output=folder, force_rerun=True, **parameters
    )


def job_of(service: Service, name: str) -> dict[str, Any]:
    """The only job of a pipeline of this name."""
    (job,) = (job for job in service.jobs.values() if job["display_name"] == name)
    return job


def suspended(station: Station, run: str) -> None:
    """Wait until a flow run is suspended, and its process gone."""
    until(lambda: station.flow_run(run)["state"]["name"] == "Suspended")
    until(lambda: not commands_with(run))


def task_runs(station: Station, run: str) -> list[dict[str, Any]]:
    """The task runs of a flow run; the server shows one for a moment before it has written down its state."""
    asked = {"flow_runs": {"id": {"any_": [run]}}}
    return [task for task in station.api.post("/task_runs/filter", json=asked).json() if task["state"] is not None]
