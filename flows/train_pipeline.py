"""The pipeline flow, top to bottom: run the pipeline, read the evaluation, decide at the gate, register or reject."""

import asyncio
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.engines.open_engine import open_engine
from flows.orchestration.artifacts import publish_summary
from flows.orchestration.end_job import end_job
from flows.orchestration.events import emit, promotion_decided, run_skipped
from flows.orchestration.failures import failures_as_states
from flows.orchestration.run_identity import run_identity
from flows.orchestration.run_names import name_by_data, named_by
from flows.orchestration.submission import run_to_end
from flows.orchestration.suspension.suspend import suspended_before
from flows.orchestration.under_way import trained_elsewhere, trains
from flows.settings import Settings
from flows.tags import BASIS, REJECTED_BASIS, TRAINS
from flows.training.evaluation import read_evaluation
from flows.training.gate import decide, kept_back
from flows.training.moves import held_back
from flows.training.parameters import PipelineParameters, with_parameters
from flows.training.registration import (
    as_submitted,
    basis_of_job,
    champion_to_beat,
    promote,
    provenance,
    told_apart,
    why_skipped,
    with_digest,
    with_local_digest,
)
from flows.training.request import pipeline_job_name, pipeline_request
from flows.training.summary import RunSummary, SkippedRun


@flow(
    name="train-pipeline",
    flow_run_name=named_by("solver", "reg_rate"),
    on_cancellation=[end_job(pipeline_job_name)],
    on_crashed=[end_job(pipeline_job_name)],
)
@failures_as_states
@with_parameters(PipelineParameters)
async def train_pipeline(parameters: PipelineParameters) -> State[Any]:
    """Train a challenger, compare it with the champion on the same rows, and register it only if it earned it.

    Ends as `Promoted` or `Rejected`, both completed: a rejection is an outcome, not a failure. Where nothing changed
    since the champion was decided on, or another flow run trains on the same, it may end as `Skipped` instead.
    """
    settings = Settings.from_environment()
    async with (
        open_engine(parameters.engine, settings, parameters.timeouts, parameters.tracking) as engine,
        run_identity(engine, settings, parameters, settings.pipeline_file) as run_id,
    ):
        data = with_local_digest(await engine.resolve_data(parameters.data_asset_name))
        champion, _ = await asyncio.gather(
            champion_to_beat(engine.registry, parameters.model_name, run_id),
            name_by_data(parameters.data_asset_name, data, parameters.solver, parameters.reg_rate),
        )
        request = pipeline_request(parameters, settings, data, flow_run_id=run_id, champion=champion)
        asked_before = await suspended_before() is not None
        wanted, reason = trains(parameters.model_name, request.tags[BASIS]), ""
        if parameters.skip_if_unchanged and not asked_before:
            reason = why_skipped(request, champion) or await trained_elsewhere(wanted)
        if reason:
            skipped = SkippedRun(parameters.pipeline, engine.name, data, reason, champion)
            await emit(run_skipped(run_id, parameters.model_name, skipped))
            return Completed(name=skipped.verdict, message=skipped.reason, data=skipped)
        retries, suspend = parameters.max_resubmissions, parameters.suspend
        outcome = await run_to_end(engine, request, retries, suspend, {TRAINS: wanted})
        data, champion = await as_submitted(engine, outcome, data, champion, parameters.model_name)
        evaluation = await engine.fetch(outcome, "evaluation", Path(parameters.evaluation_output).absolute())
        report = read_evaluation(evaluation)
        basis, version = basis_of_job(request, outcome), None
        decision = decide(report.challenger, report.champion, parameters.gate)
        decision = kept_back(decision, held_back(champion, basis))
        decision = told_apart(decision, outcome, report, champion)
        if decision.promoted:
            data = await with_digest(engine, outcome, data)
            await engine.keep_data(data)
            tags = provenance(outcome, data, report, run_id, decision, basis)
            decision, version = await promote(engine, outcome, parameters.model_name, tags, decision, champion)
        title, name = parameters.pipeline, engine.name
        summary = RunSummary(title, name, data, outcome, report, evaluation, version, decision, champion)
        await publish_summary(summary, engine, parameters.model_name)
        await emit(promotion_decided(summary, parameters.model_name, basis))
        if champion is not None and not decision.promoted and decision.overtaken_by is None:
            # Last of all, since a scheduled run that dies and is tried again is skipped once this is written.
            await engine.registry.tag(parameters.model_name, champion.version, REJECTED_BASIS, basis)
    return Completed(name=summary.verdict, message=summary.message, data=summary)
