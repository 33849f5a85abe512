"""The Azure ML engine's entry in the table of engines."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.engines.kind import EngineKind, LastingJobs, Where
from flows.settings import Settings

if TYPE_CHECKING:
    from flows.data.assets import ResolvedData
    from flows.engines.engine import Engine
    from flows.engines.polling import Timeouts


class AzureMlKind(EngineKind):
    """Runs jobs in an Azure ML workspace, where they go on whatever becomes of the process that submitted them."""

    name = "azureml"
    title = "Azure ML"
    needs_workspace = True

    def open(
        self, settings: Settings, timeouts: "Timeouts", tracking: Where, python: Path | None
    ) -> "AbstractAsyncContextManager[Engine]":
        """See :meth:`EngineKind.open`."""
        from flows.engines.azureml.engine import open_azure_ml_engine

        return open_azure_ml_engine(settings, timeouts)

    async def register_data(self, settings: Settings, path: Path, name: str) -> "tuple[ResolvedData, bool]":
        """See :meth:`EngineKind.register_data`. The file is uploaded to the workspace."""
        from flows.data.assets import ResolvedData
        from flows.data.digests import data_digest
        from flows.engines.azureml.sdk.retries import TRIES_FOR_A_PERSON, persistently
        from flows.engines.azureml.sdk.workspace import open_workspace

        sha256 = data_digest(path)
        async with open_workspace(settings) as workspace:
            found, created = await persistently(
                lambda: workspace.assets.register_data(path, name, sha256), TRIES_FOR_A_PERSON
            )
        return ResolvedData(f"{name}:{found.version}", found.type, None, name, found.version, sha256), created

    @asynccontextmanager
    async def open_jobs(self, settings: Settings) -> AsyncGenerator[LastingJobs]:
        """See :meth:`EngineKind.open_jobs`: the jobs of the workspace."""
        from flows.engines.azureml.sdk.workspace import open_workspace

        async with open_workspace(settings) as workspace:
            yield workspace.jobs

    async def end_jobs(
        self, settings: Settings, job_name: Callable[[], str | None], flow_run_id: str, say: Callable[[str], object]
    ) -> None:
        """See :meth:`EngineKind.end_jobs`."""
        from flows.engines.azureml.sdk.workspace import open_workspace
        from flows.engines.azureml.stopping import end_jobs

        name = job_name()
        async with open_workspace(settings) as workspace:
            await end_jobs(workspace.jobs, name, flow_run_id, say)
