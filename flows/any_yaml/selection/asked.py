"""Helps the flow of ``tandem run`` with a part of a job: finds the earlier job, keeps a record, tells Prefect."""

import asyncio
import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from flows.any_yaml.request import FileParameters, anywhere, file_job_name
from flows.any_yaml.selection.part import Part, PartAsked, job_named, part_of
from flows.any_yaml.selection.submitted import Submitted, read_submitted, write_submitted
from flows.engines.engine import Engine
from flows.engines.open_engine import ENGINES, open_engine
from flows.engines.plan.definition import definition_digest, definition_parts
from flows.engines.runs import PipelineRequest
from flows.errors import ParameterError
from flows.settings import Settings
from flows.spec.model.job import JobSpec, StepOutput
from flows.spec.text.locations import is_remote
from flows.spec.text.names import inside
from flows.tags import DEFINITION, INPUTS_FROM, RESUMES

_LOCK = ".resumed"


async def asked_part(
    engine: Engine, whole: JobSpec, parameters: FileParameters, settings: Settings, flow_run_id: str
) -> Part | None:
    """The part of a job that is asked for; None for all of it. A second start reads from the same job as the first.

    What a job of another engine has delivered is brought to this machine, into the folder of the new job.

    Raises:
        ParameterError: See :func:`flows.any_yaml.selection.part.part_of`.
        RunError: An output does not come.
        CannotRunHere: It is a model, which cannot be downloaded.
    """
    asked = parameters.part
    if not asked.chosen:
        return await part_of(whole, asked, engine)
    name = file_job_name(parameters.model_dump(), settings, flow_run_id)
    if asked.job is None and (before := read_submitted(settings, name)) is not None:
        asked = replace(asked, job=before.source)
    if asked.job is not None and await job_named(engine, whole, asked.job) is None:
        for other in _other_engines(engine, settings):
            async with open_engine(other, settings) as elsewhere:
                if await job_named(elsewhere, whole, asked.job) is not None:
                    part = await part_of(whole, asked, elsewhere)
                    return part and await _brought(part, elsewhere, whole, inside(settings.jobs, name) / "inputs")
    return await part_of(whole, asked, engine)


def _other_engines(engine: Engine, settings: Settings) -> list[str]:
    usable = (kind for kind in ENGINES.values() if not (kind.needs_workspace and settings.missing_workspace))
    return [kind.name for kind in usable if kind.name != engine.name]


async def _brought(part: Part, elsewhere: Engine, whole: JobSpec, folder: Path) -> Part:
    """The part with what it reads on this machine."""
    assert part.source is not None or not part.delivered
    paths: dict[StepOutput, str] = {}
    for output in part.delivered:
        assert part.source is not None
        made = whole.steps[output.step].component.outputs[output.output]
        place = inside(folder, output.step, output.output)
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)  # of a start that was killed meanwhile
        get_run_logger().info("%s of %s | from the job %s", output.output, output.step, part.source.name)
        paths[output] = str(await elsewhere.bring_output(part.source, output, made.type, place))
    return replace(part, delivered=paths)


async def finished_outputs_here(engine: Engine, part: Part, whole: JobSpec, folder: Path) -> Part:
    """The part with those outputs of the job on this machine that finished steps have delivered; models stay away."""
    if part.source is None:
        return part
    outputs = dict(part.source.outputs)
    for step in (whole.steps[name] for name in part.finished):
        for port, target in step.outputs.items():
            made, type = StepOutput(step.name, port), step.component.outputs[port].type
            if is_remote(outputs.get(made, "")) and not type.endswith("_model"):
                outputs[made] = str(await engine.bring_output(part.source, made, type, inside(folder, target.name)))
    return replace(part, source=replace(part.source, outputs=outputs))


def write_down(
    engine: Engine, request: PipelineRequest, whole: JobSpec, parameters: FileParameters, settings: Settings
) -> PipelineRequest:
    """Keep a record of what a job is asked for, and tag the job with the digest of its definition.

    Raises:
        SettingsError: The local state cannot be written.
    """
    definition = definition_parts(whole)
    asked = anywhere(parameters, whole).model_dump(mode="json")
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
    try:
        part = PartAsked(given.get("only"), given.get("from_step"), given.get("job"), given.get("resume"))
    except ParameterError:
        return str(given["file"])  # the flow itself will say what is wrong
    return ", ".join(filter(None, (str(given["file"]), str(part))))
