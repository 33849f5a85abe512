"""Publication of a drift report: a picture in the local state, an artifact in Prefect, an event if there is drift."""

import asyncio
import base64
import hashlib
import re
from dataclasses import asdict, replace
from pathlib import Path

from prefect.artifacts import Artifact, acreate_markdown_artifact
from prefect.runtime import flow_run

from flows.drift.picture import draw
from flows.drift.statistics import DriftReport
from flows.drift.summary import WatchSummary, measures, reasons, watch_summary_as_markdown
from flows.errors import SettingsError
from flows.orchestration.events import drift_detected, emit


async def publish_drift(summary: WatchSummary, report: DriftReport, sha256: str, pictures: Path) -> WatchSummary:
    """Publish the flow run's report and, if asked to, emit the event of a drift, once for a champion and incoming data.

    No artifact is created if it would equal the last one on the same champion and data: a schedule looks at the same
    data again and again, and a picture takes a hundred kilobytes.

    Args:
        summary: What was compared.
        report: The result.
        sha256: The digest of the incoming data; empty where it is not known.
        pictures: Folder for the picture.

    Returns:
        The summary, with its picture and whether the event was emitted.
    """
    key = report_key(summary, sha256)
    png = await asyncio.to_thread(draw, report)
    summary = replace(summary, picture=_write_picture(png, pictures / f"{key}.png"))
    last = await Artifact.aget(key)
    published = "" if last is None else last.description or ""
    # Prefect deletes an event after a week, an artifact never. So the artifact's description says that it was emitted.
    emitted = f"; {summary.event} was emitted"
    if report.drifted:
        told = published.endswith(emitted) or (summary.emits and await _emit_drift(summary, report, sha256))
        summary = replace(summary, told=told)
    policy = report.policy
    description = f"{summary.verdict} by a PSI of {policy.psi_threshold:g} and a p of {policy.significance:g}"
    description += emitted if summary.told else ""
    if description != published:
        address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        await acreate_markdown_artifact(watch_summary_as_markdown(summary, address), key=key, description=description)
    return summary


def report_key(summary: WatchSummary, sha256: str) -> str:
    """The key of the artifact: readable, and different for each champion and each incoming data."""
    identity = (summary.model_name, str(summary.champion_version), summary.incoming, sha256)
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:8]
    names = f"{Path(summary.incoming).name[:60]} {summary.model_name[:60]} {summary.champion_version}"
    return re.sub("[^a-z0-9]+", "-", f"drift {names} {digest}".lower())


def _write_picture(png: bytes, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    except OSError as error:
        raise SettingsError(
            f"The picture cannot be written: {path}: {error.strerror}. Set TANDEM_HOME to a folder of yours."
        ) from None
    return path


async def _emit_drift(summary: WatchSummary, report: DriftReport, sha256: str) -> bool:
    assert summary.comparison is not None and summary.champion_version is not None
    fact = drift_detected(
        model=summary.model_name,
        champion_version=summary.champion_version,
        trained_on=summary.comparison.reference.label,
        data_asset=summary.incoming,
        sha256=sha256,
        reasons=reasons(report),
        features={feature.feature: measures(feature) for feature in report.drifted},
        untrainable=summary.untrainable,
    )
    more = {"policy": asdict(report.policy), "report": flow_run.ui_url}
    return await emit(replace(fact, payload={**fact.payload, **more}))
