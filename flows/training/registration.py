"""Registration of the model of a job, with tags and a description that say where it came from."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from flows.data.assets import ResolvedData
from flows.data.digests import data_digest
from flows.engines.engine import Engine
from flows.engines.runs import PipelineRequest, RunOutcome
from flows.errors import RunError, TandemError
from flows.mlflow_store.model_registry import Candidate, ModelRegistry, ModelVersion, Overtaken
from flows.settings import Settings
from flows.tags import (
    BASIS,
    DATA,
    ENVIRONMENT,
    FLOW_RUN,
    GIT_COMMIT,
    JOB,
    REJECTED_BASIS,
    TRAINED_AT,
    compared_with,
)
from flows.training.basis import nothing_new
from flows.training.evaluation import EvaluationReport
from flows.training.gate import GateDecision, overtaken
from flows.training.moves import held_back, held_back_tag, rolled_back_from
from flows.training.origin import differences, origin_tags
from flows.training.run_account import data_tags, decided, description_of

MODEL_OUTPUT = "model"
DATA_REPORT = "data_report"


async def as_submitted(
    engine: Engine, outcome: RunOutcome, data: ResolvedData, champion: ModelVersion | None, model_name: str
) -> tuple[ResolvedData, ModelVersion | None]:
    """The data and the champion that the job was given.

    Usually those that were found at the start; those in the job's tags, if an earlier try has submitted it with others.
    """
    tags = outcome.tags
    if tags.get(DATA, data.label) != data.label:
        data = await engine.resolve_data(tags[DATA])
    compared, found = compared_with(tags), None if champion is None else champion.version
    if DATA in tags and compared != found:
        champion = None if compared is None else await engine.registry.version(model_name, compared)
    return data, champion


def why_skipped(request: PipelineRequest, champion: ModelVersion | None) -> str:
    """Why training again would change nothing; empty if it may change something, or there is no champion."""
    if champion is None:
        return ""
    basis = request.tags[BASIS]
    same = nothing_new(basis, champion.tags.get(BASIS), champion.tags.get(REJECTED_BASIS))
    return same or held_back(champion, basis)


def basis_of_job(request: PipelineRequest, outcome: RunOutcome) -> str:
    """What a decision on this job rests on; the job may be that of an earlier try, with other data."""
    return outcome.tags.get(BASIS, request.tags[BASIS])


async def champion_to_beat(registry: ModelRegistry, model_name: str, flow_run_id: str) -> ModelVersion | None:
    """The champion; or, where an earlier try of this flow run has made it, the one that it was compared with.

    So a flow run that dies after it has registered its model comes to the same decision when it is tried again.
    """
    champion = await registry.champion(model_name)
    if champion is None or champion.tags.get(FLOW_RUN) != flow_run_id:
        return champion
    before = compared_with(champion.tags)
    return None if before is None else await registry.version(model_name, before)


def with_local_digest(data: ResolvedData) -> ResolvedData:
    """The data with the SHA-256 of its content, if it is on this machine."""
    return data if data.path is None or data.sha256 is not None else replace(data, sha256=data_digest(data.path))


async def with_digest(engine: Engine, outcome: RunOutcome, data: ResolvedData) -> ResolvedData:
    """The data with the SHA-256 of its content: of the file here, else of the asset, else as the job reports it."""
    data = with_local_digest(data)
    if data.sha256 is not None or DATA_REPORT not in outcome.outputs:
        return data
    try:
        with tempfile.TemporaryDirectory() as place:
            found = await engine.fetch(outcome, DATA_REPORT, Path(place) / DATA_REPORT)
            files = [found] if found.is_file() else [file for file in found.rglob("*") if file.is_file()]
            return replace(data, sha256=json.loads(files[0].read_bytes())["source"]["sha256"])
    except (TandemError, OSError, ValueError, KeyError, IndexError, TypeError):
        return data  # the model is registered without this tag


def told_apart(
    decision: GateDecision, outcome: RunOutcome, report: EvaluationReport, champion: ModelVersion | None
) -> GateDecision:
    """The decision, which stays what it is, with what differs in how champion and challenger were trained."""
    known = {} if champion is None else champion.tags
    return replace(decision, differences=tuple(differences(origin_tags(outcome, report), known)))


def provenance(
    outcome: RunOutcome,
    data: ResolvedData,
    report: EvaluationReport,
    flow_run_id: str,
    decision: GateDecision | None = None,
    basis: str = "",
) -> Mapping[str, str]:
    """The tags of a model version: decision, job, flow run, data, environment, origin, commit, metrics, and basis."""
    tags = {
        **decided(decision, report),
        JOB: outcome.job_name,
        FLOW_RUN: flow_run_id,
        **data_tags(data),
        TRAINED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
        ENVIRONMENT: outcome.tags.get(ENVIRONMENT, ""),
        **origin_tags(outcome, report),
        BASIS: basis,
        GIT_COMMIT: git_commit(Settings.from_environment().project),
    }
    metrics = {
        f"tandem.metric.{name}": f"{value:.6f}" for name, value in report.challenger.values.items() if value is not None
    }
    return {name: value for name, value in (tags | metrics).items() if value}


async def register(engine: Engine, outcome: RunOutcome, model_name: str, tags: Mapping[str, str]) -> ModelVersion:
    """Register the job's model, once: the same model under the same name is the same version."""
    return await engine.registry.register(await _candidate(engine, outcome, model_name, tags))


async def promote(
    engine: Engine,
    outcome: RunOutcome,
    model_name: str,
    tags: Mapping[str, str],
    decision: GateDecision,
    champion: ModelVersion | None,
) -> tuple[GateDecision, ModelVersion | None]:
    """Register the job's model as the champion, if the champion is still the one that it was compared with.

    Returns:
        The decision and the version; or the rejection of a model that was overtaken, and None.
    """
    tags = {**tags, **held_back_tag(rolled_back_from(champion))}
    made = await engine.registry.promote(
        await _candidate(engine, outcome, model_name, tags),
        compared_with=None if champion is None else champion.version,
        flow_run_id=tags[FLOW_RUN],
    )
    return (overtaken(decision, made.by), None) if isinstance(made, Overtaken) else (decision, made)


async def _candidate(engine: Engine, outcome: RunOutcome, model_name: str, tags: Mapping[str, str]) -> Candidate:
    model = outcome.outputs.get(MODEL_OUTPUT)
    if model is None:
        raise RunError(f"The job {outcome.job_name} delivered no output {MODEL_OUTPUT!r}; nothing was registered.")
    run_id = outcome.mlflow_run_id or outcome.job_name
    identity = await engine.identity(outcome, MODEL_OUTPUT)
    return Candidate(model_name, model, run_id, identity, tags, description_of(tags))


def git_commit(folder: Path) -> str:
    """The commit of the checkout, marked if files differ from it; empty outside a checkout."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--match="],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
