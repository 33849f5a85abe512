"""A rollout as it is seen in Prefect: a task run for each action, and a table of who has which share."""

from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import acreate_table_artifact

from flows.rollout.plan import Hold, Keep, WaitForPlace
from flows.rollout.rollout import Moment
from flows.rollout.summary import deployments_table, told
from flows.serving.endpoints import Endpoint, ServedModel
from flows.training.markdown import plain

TABLE = "endpoint-shares"


class Shown:
    """Shows each action of a rollout: as a line of the log, and what it changes as the next version of a table."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._line = ""
        self._rows: list[dict[str, Any]] = []

    async def __call__(self, moment: Moment) -> None:
        """Show one round of the rollout; see :class:`flows.rollout.rollout.Moment`."""
        line = told(moment.action, self._model)
        waits = isinstance(moment.action, Hold | Keep | WaitForPlace)
        if not waits or type(moment.action).__name__ != self._line:
            get_run_logger().info(line)
        self._line = type(moment.action).__name__
        if not waits:
            await _step.with_options(task_run_name=line[:100])(line)
        if moment.endpoint is not None:
            await self.table(moment.endpoint, line)

    async def table(self, endpoint: Endpoint, line: str) -> None:
        """Show who has which share, and what is done next, unless nothing has changed."""
        rows = deployments_table(endpoint)
        if rows and rows != self._rows:
            self._rows = rows
            said = plain(f"Endpoint {endpoint.name}, which gets {self._model.label}: {line}")
            await acreate_table_artifact(rows, key=TABLE, description=said)


@task(name="rollout")
async def _step(line: str) -> str:
    """One action of a rollout, as it begins, for the graph of the flow run."""
    return line
