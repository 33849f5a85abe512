"""Registering a job's model, with all that says where it came from."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from flows.data_assets import ResolvedData
from flows.engines.engine import Engine
from flows.engines.snapshot import data_digest
from flows.errors import RunError
from flows.evaluation import EvaluationReport
from flows.gate import GateDecision
from flows.model_registry import ModelRegistry, ModelVersion
from flows.runs import RunOutcome
from flows.settings import PROJECT

MODEL_OUTPUT = "model"
FLOW_RUN = "tandem.flow_run"
COMPARED_WITH = "tandem.compared_with"


async def champion_to_beat(registry: ModelRegistry, model_name: str, flow_run_id: str) -> ModelVersion | None:
    """The champion; or, where an earlier try of this flow run has made it, the one that it was compared with.

    So a flow run that dies after it has registered its model comes to the same decision when it is tried again.
    """
    champion = await registry.champion(model_name)
    if champion is None or champion.tags.get(FLOW_RUN) != flow_run_id:
        return champion
    before = champion.tags.get(COMPARED_WITH)
    return None if before is None else await registry.version(model_name, int(before))


def provenance(
    outcome: RunOutcome,
    data: ResolvedData,
    report: EvaluationReport,
    flow_run_id: str,
    decision: GateDecision | None = None,
    champion: ModelVersion | None = None,
) -> Mapping[str, str]:
    """The tags of a model version: job, flow run, data, commit, metrics; the gate's decision, and against whom."""
    tags = {
        "tandem.job": outcome.job_name,
        FLOW_RUN: flow_run_id,
        "tandem.data": data.label,
        "tandem.data_sha256": data.sha256 or ("" if data.path is None else data_digest(data.path)),
        "tandem.git_commit": git_commit(PROJECT),
        "tandem.decision": "" if decision is None else "; ".join(decision.reasons),
        COMPARED_WITH: "" if champion is None else str(champion.version),
    }
    metrics = {
        f"tandem.metric.{name}": f"{value:.6f}" for name, value in report.challenger.values.items() if value is not None
    }
    return {name: value for name, value in (tags | metrics).items() if value}


async def register(
    engine: Engine, outcome: RunOutcome, model_name: str, tags: Mapping[str, str], alias: str | None
) -> ModelVersion:
    """Register the job's model, once: the same model under the same name is the same version."""
    model = outcome.outputs.get(MODEL_OUTPUT)
    if model is None:
        raise RunError(f"The job {outcome.job_name} delivered no output {MODEL_OUTPUT!r}; nothing was registered.")
    return await engine.registry.register(
        model_name,
        model,
        run_id=outcome.mlflow_run_id or outcome.job_name,
        idempotency_tags=await engine.identity(outcome, MODEL_OUTPUT),
        tags=tags,
        alias=alias,
    )


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
