"""What the flow of ``tandem run`` does for a part of a job: finds the earlier job, keeps a record, tells Prefect."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from flows.any_yaml.request import FileParameters, file_job_name
from flows.any_yaml.selection.part import Part, PartAsked, part_of
from flows.any_yaml.selection.submitted import Submitted, read_submitted, write_submitted
from flows.engines.engine import Engine
from flows.engines.plan.definition import definition_digest, definition_parts
from flows.engines.runs import PipelineRequest
from flows.errors import ParameterError
from flows.settings import Settings
from flows.spec.model.job import JobSpec
from flows.spec.text.names import inside
from flows.tags import DEFINITION, INPUTS_FROM, RESUMES

_LOCK = ".resumed"


async def asked_part(
    engine: Engine, whole: JobSpec, parameters: FileParameters, settings: Settings, flow_run_id: str
) -> Part | None:
    """The part of a job that is asked for; None for all of it. A second start reads from the same job as the first.

    Raises:
        ParameterError: See :func:`flows.any_yaml.selection.part.part_of`.
    """
    asked = parameters.part
    if asked.chosen and asked.job is None:
        before = read_submitted(settings, file_job_name(parameters.model_dump(), settings, flow_run_id))
        asked = asked if before is None else replace(asked, job=before.source)
    return await part_of(whole, asked, engine)


def write_down(
    engine: Engine, request: PipelineRequest, whole: JobSpec, parameters: FileParameters, settings: Settings
) -> PipelineRequest:
    """Keep a record of what a job is asked for, and tag the job with the digest of its definition.

    Raises:
        SettingsError: The local state cannot be written.
    """
    definition = definition_parts(whole)
    outputs = None if parameters.output_dir is None else os.path.abspath(parameters.output_dir)
    asked = parameters.model_copy(update={"file": str(whole.source), "output_dir": outputs}).model_dump(mode="json")
    source = request.tags.get(INPUTS_FROM)
    write_submitted(settings, request.job_name, Submitted(engine.name, asked, definition, source))
    return replace(request, tags={**request.tags, DEFINITION: definition_digest(definition)})


@contextmanager
def on_its_own(engine: Engine, request: PipelineRequest, settings: Settings) -> Generator[None]:
    """Let one process at a time go on after a job on this machine: two would write to the same folder.

    Raises:
        ParameterError: Another process does.
    """
    if engine.outlives_process or RESUMES not in request.tags:
        yield
        return
    folder = inside(settings.jobs, request.job_name)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ParameterError(
                f"Another process goes on after the job {request.tags[RESUMES]}, as {request.job_name}. "
                "Nothing was started. Wait until it has ended."
            ) from None
        yield
    finally:
        os.close(lock)


async def tell_prefect(part: Part | None) -> None:
    """Tag the flow run with the steps that it runs, and with the job that these read from or go on after."""
    if part is None:
        return
    told = {f"{name}:{value}" for name, value in part.tags.items()}
    async with get_client() as client:
        await client.update_flow_run(UUID(str(flow_run.id)), tags={*flow_run.tags, *told})


def flow_run_name() -> str:
    """The name of a flow run of ``tandem run``: the file, and which part of it is run."""
    given = flow_run.parameters
    part = PartAsked(given.get("only"), given.get("from_step"), given.get("job"), given.get("resume"))
    return ", ".join(filter(None, (str(given["file"]), str(part))))
