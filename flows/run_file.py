"""The flow behind ``tandem run``: any Azure ML job or pipeline YAML that the engine can run."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.engines.open_engine import open_engine
from flows.file_request import FileParameters, file_request
from flows.flow_errors import failures_as_states
from flows.parameters import taking
from flows.run_identity import run_identity
from flows.settings import Settings
from flows.submission import run_to_end


@flow(name="run-file", flow_run_name="{file}")
@taking(FileParameters)
@failures_as_states
async def run_file(parameters: FileParameters) -> State[Any]:
    """Run a job or pipeline YAML, and put its outputs into a folder."""
    settings = Settings.from_environment()
    async with (
        open_engine(parameters.engine, settings) as engine,
        run_identity(engine, settings, parameters, Path(parameters.file).absolute()) as run_id,
    ):
        request = file_request(parameters, settings, flow_run_id=run_id)
        outcome = await run_to_end(engine, request)
        if parameters.output_dir is not None:
            for name in outcome.outputs.keys() - outcome.remote_only:
                await engine.fetch(outcome, name, Path(parameters.output_dir) / "outputs" / name)
    reused = f", {len(outcome.reused)} of {len(outcome.steps)} steps reused" if outcome.reused else ""
    return Completed(message=f"{outcome.job_name}{reused}", data=outcome)
