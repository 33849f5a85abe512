"""The pipeline flow, top to bottom: run the pipeline, read the evaluation, decide at the gate, register or reject."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.artifacts import publish
from flows.engines.open_engine import open_engine
from flows.evaluation import read_evaluation
from flows.flow_errors import failures_as_states
from flows.gate import decide
from flows.parameters import PipelineParameters, taking
from flows.registration import (
    as_submitted,
    champion_to_beat,
    provenance,
    register,
    unless_overtaken,
    with_digest,
)
from flows.run_identity import run_identity
from flows.settings import Settings
from flows.submission import run_to_end
from flows.summary import RunSummary
from flows.training import pipeline_request


@flow(name="train-pipeline", flow_run_name="{model_name} {solver} {reg_rate}")
@taking(PipelineParameters)
@failures_as_states
async def train_pipeline(parameters: PipelineParameters) -> State[Any]:
    """Train a challenger, compare it with the champion on the same rows, and register it only if it earned it.

    Ends as `Promoted` or `Rejected`, both completed: a rejection is an outcome, not a failure.
    """
    settings = Settings.from_environment()
    async with (
        open_engine(parameters.engine, settings, parameters.patience) as engine,
        run_identity(engine, settings, parameters, settings.pipeline_file) as run_id,
    ):
        data = await engine.resolve_data(parameters.data_asset_name)
        champion = await champion_to_beat(engine.registry, parameters.model_name, run_id)
        request = pipeline_request(parameters, settings, data, flow_run_id=run_id, champion=champion)
        outcome = await run_to_end(engine, request, parameters.max_resubmissions)
        data, champion = await as_submitted(engine, outcome, data, champion, parameters.model_name)
        evaluation = await engine.fetch(outcome, "evaluation", Path(parameters.evaluation_output).absolute())
        report = read_evaluation(evaluation)
        decision = decide(report.challenger, report.champion, parameters.gate)
        decision = await unless_overtaken(engine, decision, champion, parameters.model_name, run_id)
        version = None
        if decision.promoted:
            data = await with_digest(engine, outcome, data)
            tags = provenance(outcome, data, report, run_id, decision, champion)
            version = await register(engine, outcome, parameters.model_name, tags, alias="champion")
        summary = RunSummary(
            title=parameters.pipeline,
            engine=engine.name,
            data=data,
            outcome=outcome,
            report=report,
            decision=decision,
            champion=champion,
            version=version,
            evaluation=evaluation,
        )
        await publish(summary, engine)
    return Completed(name=summary.verdict, message=" ".join(decision.reasons), data=summary)
