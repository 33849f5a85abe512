"""The job flow: one Azure ML command job that trains and evaluates in one go; its model is registered, ungated."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.engines.open_engine import open_engine
from flows.orchestration.artifacts import publish_summary
from flows.orchestration.end_job import end_job
from flows.orchestration.failures import failures_as_states
from flows.orchestration.run_identity import run_identity
from flows.orchestration.run_names import name_by_data, named_by
from flows.orchestration.submission import run_to_end
from flows.settings import Settings
from flows.training.evaluation import read_evaluation
from flows.training.parameters import JobParameters, with_parameters
from flows.training.registration import MODEL_OUTPUT, as_submitted, provenance, register, with_digest
from flows.training.request import job_request, single_job_name
from flows.training.summary import RunSummary


@flow(
    name="train-job",
    flow_run_name=named_by("solver", "reg_rate"),
    on_cancellation=[end_job(single_job_name)],
    on_crashed=[end_job(single_job_name)],
)
@failures_as_states
@with_parameters(JobParameters)
async def train_job(parameters: JobParameters) -> State[Any]:
    """Train one model as a single job, and register it: an experiment, which no gate stops."""
    settings = Settings.from_environment()
    async with (
        open_engine(parameters.engine, settings, parameters.timeouts, parameters.tracking) as engine,
        run_identity(engine, settings, parameters, settings.job_file) as run_id,
    ):
        data = await engine.resolve_data(parameters.data_asset_name)
        await name_by_data(parameters.data_asset_name, data, parameters.solver, parameters.reg_rate)
        request = job_request(parameters, settings, data, flow_run_id=run_id)
        outcome = await run_to_end(engine, request, parameters.max_resubmissions, parameters.suspend)
        data, _ = await as_submitted(engine, outcome, data, None, parameters.model_name)
        folder = Path(parameters.evaluation_output).absolute()
        evaluation = await engine.fetch(outcome, "evaluation", folder / "evaluation")
        if engine.can_fetch(outcome, MODEL_OUTPUT):
            await engine.fetch(outcome, MODEL_OUTPUT, folder / MODEL_OUTPUT)
        report = read_evaluation(evaluation)
        data = await with_digest(engine, outcome, data)
        tags = provenance(outcome, data, report, run_id)
        version = await register(engine, outcome, parameters.model_name, tags)
        summary = RunSummary(parameters.experiment_name, engine.name, data, outcome, report, evaluation, version)
        await publish_summary(summary, engine, parameters.model_name)
    return Completed(name=summary.verdict, message=summary.message, data=summary)
