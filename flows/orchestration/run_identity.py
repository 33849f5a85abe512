"""The id of a run, from which the name of its job is derived; retries and second starts have the same id."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import deployment, flow_run
from pydantic import BaseModel

from flows.engines.engine import Engine
from flows.engines.plan.definition import definition_digest, definition_parts
from flows.orchestration.journal import resumable_run
from flows.settings import Settings
from flows.spec.reading.reader import read_job
from flows.tags import goes_on_with


@asynccontextmanager
async def run_identity(engine: Engine, settings: Settings, parameters: BaseModel, file: Path) -> AsyncGenerator[str]:
    """The id that the run goes by: that of the flow run, which all its retries share.

    A flow run without a deployment is not retried by Prefect, but by a person who starts the same command again. If the
    earlier start was interrupted, the new one takes over its id. So it goes on with a job that outlived its process,
    and it recognises a model that the earlier start had promoted.
    """
    own = str(flow_run.id)
    if deployment.id is not None:
        yield own
        return
    asked = parameters.model_dump(mode="json")
    definition = definition_digest(definition_parts(read_job(file)))
    wanted = (engine.name, file.name, definition, asked, dict(settings.workspace))
    with resumable_run(settings.begun_runs, wanted, own) as identity:
        if identity.resumed:
            get_run_logger().warning("going on with a run that was interrupted (%s)", identity.id)
            await _tell_prefect(identity.id)
        yield identity.id


async def _tell_prefect(run_id: str) -> None:
    """Tag the flow run, so that `tandem reap` on another machine sees that somebody waits for the job."""
    async with get_client() as client:
        await client.update_flow_run(UUID(str(flow_run.id)), tags={*flow_run.tags, goes_on_with(run_id)})
