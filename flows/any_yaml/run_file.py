"""The flow behind ``tandem run``: any Azure ML job or pipeline YAML that the engine can run."""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.any_yaml.outcome import FileOutcome
from flows.any_yaml.outputs import deliver, lay_out, register_outputs
from flows.any_yaml.request import FileParameters, file_job_name, file_request, output_folders, whole_job
from flows.any_yaml.selection.asked import (
    asked_part,
    finished_outputs_here,
    flow_run_name,
    on_its_own,
    tell_prefect,
    write_down,
)
from flows.engines.engine import Engine
from flows.engines.open_engine import open_engine
from flows.engines.plan.interpreter import python_named
from flows.engines.runs import PipelineRequest, RunOutcome
from flows.errors import StepFailed
from flows.orchestration.end_job import end_job
from flows.orchestration.failures import failures_as_states
from flows.orchestration.run_identity import run_identity
from flows.orchestration.submission import run_to_end
from flows.settings import Settings
from flows.training.parameters import with_parameters


@flow(
    name="run-file",
    flow_run_name=flow_run_name,
    on_cancellation=[end_job(file_job_name)],
    on_crashed=[end_job(file_job_name)],
)
@failures_as_states
@with_parameters(FileParameters)
async def run_file(parameters: FileParameters) -> State[Any]:
    """Run a job, pipeline or component YAML, and put its outputs into a folder, also those of a job that failed."""
    settings = Settings.from_environment()
    folder = None if parameters.output_dir is None else Path(parameters.output_dir).absolute()
    python = None if parameters.python is None else python_named(parameters.python)
    async with (
        open_engine(parameters.engine, settings, tracking=parameters.tracking, python=python) as engine,
        run_identity(engine, settings, parameters, Path(parameters.file).absolute()) as run_id,
    ):
        whole = await asyncio.to_thread(whole_job, parameters)
        part = await asked_part(engine, whole, parameters, settings, run_id)
        request = await asyncio.to_thread(file_request, parameters, settings, flow_run_id=run_id, part=part)
        with on_its_own(engine, request, settings):
            request = await asyncio.to_thread(write_down, engine, request, whole, parameters, settings)
            await tell_prefect(part)
            ended = await _outcome_of(engine, request, {} if part is None else part.tags)
        job = ended if part is None else part.completed(ended, whole)
        folders = output_folders(parameters, settings)
        # Steps that run elsewhere have no outputs on this machine: then there is nothing to copy or to register.
        copied = await asyncio.to_thread(deliver, job, whole, folders)
        registered = await asyncio.to_thread(register_outputs, job, whole, settings)
        if folder is None:
            job = replace(job, outputs={**job.outputs, **copied})
        else:
            with tempfile.TemporaryDirectory() as place:
                brought = await engine.bring(ended, Path(place))
                if part is not None:
                    finished = await finished_outputs_here(engine, part, whole, Path(place) / "finished")
                    brought = finished.completed(brought, whole)
                job = await asyncio.to_thread(lay_out, brought, folder, folders, registered)
    outcome = FileOutcome(job, registered)
    try:
        job.raise_for_status()
    except StepFailed as error:
        return Failed(message=str(error), name=type(error).__name__, data=outcome)
    reused = f", {len(job.reused)} of {len(job.steps)} steps reused" if job.reused else ""
    return Completed(message=f"{job.job_name}{reused}", data=outcome)


async def _outcome_of(engine: Engine, request: PipelineRequest, labels: Mapping[str, str]) -> RunOutcome:
    """How the job ended, also if a step has failed: what it has left is worth having."""
    try:
        return await run_to_end(engine, request, labels=labels)
    except StepFailed as error:
        if not isinstance(error.outcome, RunOutcome):
            raise
        return error.outcome
