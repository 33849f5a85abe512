"""The pipeline flow, top to bottom: run the pipeline, read the evaluation, decide at the gate, register or reject."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.artifacts import publish
from flows.engines.open_engine import open_engine
from flows.evaluation import read_evaluation
from flows.flow_errors import failures_as_states
from flows.gate import decide
from flows.parameters import PipelineParameters, taking
from flows.registration import champion_to_beat, provenance, register
from flows.settings import Settings
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
    async with open_engine(parameters.engine, settings, parameters.patience) as engine:
        data = await engine.resolve_data(parameters.data_asset_name)
        champion = await champion_to_beat(engine.registry, parameters.model_name, flow_run.id)
        request = pipeline_request(parameters, settings, data, flow_run_id=flow_run.id, champion=champion)
        outcome = (await engine.wait(await engine.submit(request))).raise_for_status()
        evaluation = await engine.fetch(outcome, "evaluation", Path(parameters.evaluation_output).absolute())
        report = read_evaluation(evaluation)
        decision = decide(report.challenger, report.champion, parameters.gate)
        version = None
        if decision.promoted:
            tags = provenance(outcome, data, report, flow_run.id, decision, champion)
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
