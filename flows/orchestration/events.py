"""Events that are emitted to Prefect: name, resource and payload of each. An event is emitted once for a fact.

========================  =============================  ==============================================================
event                     resource                       payload
========================  =============================  ==============================================================
tandem.model.promoted     tandem.model.NAME              model, version, champion_version, verdict, reasons, data_asset,
tandem.model.rejected                                    metrics, champion_metrics, table, job, studio_url, differences
tandem.drift.detected     tandem.model.NAME              model, champion_version, trained_on, reasons, data_asset,
tandem.drift.untrainable                                 features; untrainable: why the data cannot be trained on
tandem.run.skipped        tandem.model.NAME              model, champion_version, reasons, data_asset
tandem.model.deployed     tandem.model.NAME              model, version, endpoint, verdict, message
tandem.rollout.undone     tandem.model.NAME              model, version, endpoint, verdict, message
tandem.data.registered    tandem.data-asset.NAME         data_asset (``name:version``), sha256, file
========================  =============================  ==============================================================

``champion_version``, ``champion_metrics`` and ``studio_url`` are None where there is none; ``studio_url`` is the page
of the job, in studio or on an MLflow server; ``reasons`` are sentences for a person; ``differences`` say in what the
champion was trained otherwise; ``table`` is the metrics beside the champion's as lines of text. Where an event comes
from a flow run, that is among its related resources, as is the deployment, and every tag.

The id of an event is derived from the fact. Prefect keeps one event of an id, and drops a repetition within five
minutes; a later repetition would start automations again. So it is looked up before it is emitted: a retry, a second
start and a resumed run emit nothing twice. What Prefect has deleted (after a week, by default) is emitted again.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from flows.data.assets import ResolvedData
from flows.serving.endpoints import ServedModel
from flows.training.summary import RunSummary, SkippedRun, metrics_as_text

PROMOTED = "tandem.model.promoted"
REJECTED = "tandem.model.rejected"
DATA_REGISTERED = "tandem.data.registered"
DRIFT_DETECTED = "tandem.drift.detected"
DRIFT_UNTRAINABLE = "tandem.drift.untrainable"
MODEL_DEPLOYED = "tandem.model.deployed"
ROLLOUT_UNDONE = "tandem.rollout.undone"
RUN_SKIPPED = "tandem.run.skipped"

_NAMESPACE = UUID("b5a0b1c8-6f0e-5a53-9e0c-6a4f4b9d7a10")
_logger = logging.getLogger("prefect.tandem")  # below Prefect's own, so that its handlers and levels apply


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened. ``identity`` distinguishes it from others of its kind about the same resource."""

    event: str
    resource_id: str
    identity: tuple[str, ...]
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id(self) -> UUID:
        """The id of the event: the same for the same fact, wherever and however often it is told."""
        return uuid5(_NAMESPACE, json.dumps([self.event, self.resource_id, *self.identity]))


def promotion_decided(summary: RunSummary, model_name: str, basis: str) -> Fact:
    """The gate has decided: the challenger was promoted, or rejected.

    Two rejections are the same fact if they rest on the same, against the same champion and for the same reasons,
    whichever jobs they came from.

    Args:
        summary: The run.
        model_name: The name of the model.
        basis: What the decision rests on: data, code, parameters and environment.

    Raises:
        ValueError: It was the run of a job, which has no gate.
    """
    decision, report, version = summary.decision, summary.report, summary.version
    if decision is None:
        raise ValueError("a job has no gate that could have decided")
    payload = {
        "model": model_name,
        "version": None if version is None else version.version,
        "champion_version": None if summary.champion is None else summary.champion.version,
        "verdict": summary.verdict,
        "reasons": list(decision.reasons),
        "differences": list(decision.differences),
        "data_asset": summary.data.label,
        "metrics": dict(report.challenger.values),
        "champion_metrics": None if report.champion is None else dict(report.champion.values),
        "table": metrics_as_text(report),
        "job": summary.outcome.job_name,
        "studio_url": summary.outcome.url,
    }
    resource = f"tandem.model.{model_name}"
    if decision.promoted:
        return Fact(PROMOTED, resource, (summary.outcome.job_name,), payload)
    return Fact(REJECTED, resource, (str(payload["champion_version"]), basis, *decision.reasons), payload)


def rollout_ended(model: ServedModel, endpoint: str, verdict: str, message: str, at: str) -> Fact:
    """A model has all the traffic of an endpoint; or its rollout was undone because a check has failed.

    Args:
        model: What was to be served.
        endpoint: The name of the endpoint.
        verdict: ``Deployed`` or ``RolledBack``.
        message: One sentence for a person.
        at: What distinguishes two rollouts of one model: the id of the flow run.
    """
    event = MODEL_DEPLOYED if verdict == "Deployed" else ROLLOUT_UNDONE
    payload = {
        "model": model.name,
        "version": model.version,
        "endpoint": endpoint,
        "verdict": verdict,
        "message": message,
    }
    return Fact(event, f"tandem.model.{model.name}", (endpoint, str(model.version), at), payload)


def data_registered(data: ResolvedData, sha256: str) -> Fact:
    """A data asset has a new version, with this content.

    Raises:
        ValueError: The data is no asset.
    """
    if data.name is None:
        raise ValueError(f"{data.label} is no data asset")
    file = None if data.path is None else data.path.name
    payload = {"data_asset": data.label, "sha256": sha256, "file": file}
    return Fact(DATA_REGISTERED, f"tandem.data-asset.{data.name}", (data.label, sha256), payload)


def drift_detected(
    model: str,
    champion_version: int,
    *,
    trained_on: str,
    data_asset: str,
    sha256: str,
    reasons: Sequence[str],
    features: Mapping[str, Mapping[str, float]],
    untrainable: str = "",
) -> Fact:
    """Incoming data is of another kind than what the champion was trained on.

    That is the event ``tandem.drift.detected``, by which a training may be started; or, for data that no training can
    succeed on, ``tandem.drift.untrainable``, which starts none.

    Args:
        model: The name of the model.
        champion_version: The version of the champion.
        trained_on: The champion's training data, ``name:version`` or a path.
        data_asset: The incoming data, the same way: what it would be trained on again.
        sha256: The digest of the incoming data's content.
        reasons: Sentences for a person: which feature, by how much.
        features: The measures of each feature, by name.
        untrainable: Why the incoming data cannot be trained on, such as rows without labels; empty if it can.
    """
    payload = {
        "model": model,
        "champion_version": champion_version,
        "trained_on": trained_on,
        "reasons": list(reasons),
        "data_asset": data_asset,
        "features": {name: dict(measures) for name, measures in features.items()},
        "untrainable": untrainable,
    }
    event = DRIFT_UNTRAINABLE if untrainable else DRIFT_DETECTED
    return Fact(event, f"tandem.model.{model}", (str(champion_version), data_asset, sha256), payload)


def run_skipped(flow_run_id: str, model: str, skipped: SkippedRun) -> Fact:
    """A run has ended without training, since nothing that matters has changed."""
    payload = {
        "model": model,
        "champion_version": None if skipped.champion is None else skipped.champion.version,
        "reasons": [skipped.reason],
        "data_asset": skipped.data.label,
    }
    return Fact(RUN_SKIPPED, f"tandem.model.{model}", (flow_run_id,), payload)


async def emit(fact: Fact) -> bool:
    """Emit the event of a fact. Never raises. Returns False if Prefect has it already, or was not reached."""
    from httpx import HTTPError
    from prefect.client.orchestration import get_client

    try:
        async with get_client() as client:
            asked = {"filter": {"id": {"id": [str(fact.id)]}}, "limit": 1}
            answer = await client.request("POST", "/events/filter", json=asked)
            answer.raise_for_status()
            if answer.json()["events"]:
                return False
            sent = await client.request("POST", "/events", json=[_as_event(fact)])
            sent.raise_for_status()
    except HTTPError as error:
        _logger.warning("the event %s could not be emitted, so nobody is told: %s", fact.event, error)
        return False
    return True


def _as_event(fact: Fact) -> dict[str, Any]:
    return {
        "id": str(fact.id),
        "event": fact.event,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {
            "prefect.resource.id": fact.resource_id,
            "prefect.resource.name": fact.resource_id.partition(".")[2].partition(".")[2],
        },
        "related": _related(),
        "payload": dict(fact.payload),
    }


def _related() -> list[dict[str, str]]:
    """The current flow run, its deployment and its tags, which automations look for; nothing outside of a flow."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None:
        return []
    related = [_resource("flow-run", str(run.id), run.name)]
    if run.deployment_id is not None:
        related.append(_resource("deployment", str(run.deployment_id)))
    return related + [_resource("tag", tag) for tag in sorted(run.tags)]


def _resource(role: str, id: str, name: str | None = None) -> dict[str, str]:
    named = {} if name is None else {"prefect.resource.name": name}
    return {"prefect.resource.id": f"prefect.{role}.{id}", "prefect.resource.role": role, **named}
