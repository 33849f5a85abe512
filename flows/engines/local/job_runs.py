"""MLflow runs of a local job: one for the job, and below it one for every step."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from flows.engines.kind import Where
from flows.engines.plan.steps import JobData
from flows.engines.runs import PipelineRequest
from flows.errors import TandemError
from flows.machine.living import PROCESS, current
from flows.mlflow_store.model_registry import MlflowTracking, RunDataset, RunEnd
from flows.spec.model.job import Literal

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.tracking import WorkspaceTracking

FAILED_SECONDS = 5.0  # a part of the 30 s that Prefect grants between SIGTERM and SIGKILL


class JobRuns:
    """The runs of one job, in the local store, on a server or in a workspace. There are none before :meth:`open`."""

    def __init__(
        self,
        tracking: MlflowTracking,
        request: PipelineRequest,
        workspace: "WorkspaceTracking | None",
        server: str | None = None,
    ) -> None:
        """Make none yet.

        Args:
            tracking: What makes the runs.
            request: The job.
            workspace: Where they are kept, if that is a workspace.
            server: The address of the MLflow server that keeps them, if there is one.
        """
        self._tracking = tracking
        self._request = request
        self._workspace = workspace
        self._server = server
        self.run_id: str | None = None

    @property
    def where(self) -> Where:
        """Where MLflow keeps the runs; a server counts as this machine."""
        return "local" if self._workspace is None else "azureml"

    @property
    def page(self) -> str | None:
        """The page of the job's run in studio or on the MLflow server; None if the local state keeps it."""
        if self.run_id is None:
            return None
        if self._workspace is not None:
            return self._workspace.page(self.run_id)
        return None if self._server is None else f"{self._server}/#/runs/{self.run_id}"

    async def open(self, data: Sequence[JobData] = ()) -> None:
        """Create the job's own run: its params are the literal inputs of the job, its datasets the data it is given."""
        request = self._request
        tags = {**request.tags, "tandem.job": request.job_name, **self._process()}
        self.run_id = await self._tracking.create_run(request.experiment_name, request.job_name, tags=tags)
        inputs = request.spec.inputs.items()
        literals = {name: given.value.text for name, given in inputs if isinstance(given.value, Literal)}
        await self._tracking.log_params(self.run_id, literals)
        await self._tracking.log_datasets(self.run_id, [_dataset(one) for one in data])
        await self._tracking.check_artifacts(self.run_id)  # now, and not when a model has been trained

    async def open_step(self, name: str, parent: str | None = None) -> str | None:
        """Create the run of a step that is about to run, or of a trial, whose ``parent`` is the run of its sweep."""
        return None if self.run_id is None else await self._create(name, {}, parent)

    async def repeat_step(self, name: str, run_id: str | None, parent: str | None = None) -> str | None:
        """Create the run of a step or trial that is reused, with the params and metrics of its earlier run."""
        if self.run_id is None or run_id is None:
            return run_id
        copy = await self._create(name, {"tandem.reused_run": run_id}, parent)
        await self._tracking.copy_run_data(run_id, copy)
        await self._tracking.finish_run(copy, "FINISHED")
        return copy

    async def close(self, run_id: str | None, status: RunEnd) -> None:
        """End a run. Unless it completed, an error of MLflow is ignored: why it did not complete matters more."""
        if run_id is None:
            return
        ending = self._tracking.finish_run(run_id, status)
        if status == "FINISHED":
            await ending
            return
        with suppress(TandemError, TimeoutError):
            await asyncio.wait_for(ending, FAILED_SECONDS)

    def variables(self, run_id: str | None) -> dict[str, str]:
        """What tells MLflow in a step's process where to log."""
        return {
            **({} if self._workspace is None else {"MLFLOW_TRACKING_URI": self._workspace.uri}),
            "MLFLOW_EXPERIMENT_NAME": self._request.experiment_name,
            **({} if run_id is None else {"MLFLOW_RUN_ID": run_id}),
        }

    def _process(self) -> dict[str, str]:
        """The tag by which runs are found if this process is killed, which is first marked as having MLflow runs."""
        entry = current()
        if entry is None or self._workspace is not None:
            return {}
        if not entry.life.mlflow:
            entry.tell(mlflow=True)
        return {PROCESS: entry.life.id}

    async def _create(self, name: str, tags: dict[str, str], parent: str | None = None) -> str:
        tags = {"tandem.job": self._request.job_name, "tandem.step": name, **self._process(), **tags}
        return await self._tracking.create_run(
            self._request.experiment_name, name, parent_run_id=parent or self.run_id, tags=tags
        )


def _dataset(data: JobData) -> RunDataset:
    return RunDataset(data.label, data.sha256, data.path.as_uri(), data.input)
