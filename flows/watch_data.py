"""The watch flow: does incoming data still look like what the champion was trained on? If not, retraining is due."""

import asyncio
import base64
import hashlib
import re
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import Artifact, acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.data_assets import ResolvedData
from flows.drift import DriftReport, compare
from flows.drift_picture import draw
from flows.drift_summary import Comparison, Side, WatchSummary, as_markdown, measures, reasons, train_command
from flows.engines.digests import data_digest
from flows.engines.engine import Engine
from flows.engines.open_engine import open_engine
from flows.errors import DataAssetError, SettingsError
from flows.events import DRIFT_DETECTED, drift_detected, emit
from flows.feature_rows import FeatureRows, read_features
from flows.flow_errors import failures_as_states
from flows.model_registry import ModelVersion
from flows.parameters import taking
from flows.settings import Settings
from flows.tags import DATA, DATA_SHA256
from flows.watch_parameters import WatchParameters

# Prefect forgets an event after a week, and an artifact never: on the report it is noted that the drift was told.
TOLD = f"Drift; {DRIFT_DETECTED} was emitted"


@flow(name="watch-data", flow_run_name="{model_name} {data_asset_name}")
@failures_as_states
@taking(WatchParameters)
async def watch_data(parameters: WatchParameters) -> State[Any]:
    """Compare incoming data with what the champion was trained on, and tell if a feature has drifted.

    Ends as `NoDrift`, `Drift` or `Skipped`, all completed. The same drift from the same champion is told once.
    """
    settings = Settings.from_environment()
    async with open_engine(parameters.engine, settings) as engine:
        incoming = await engine.resolve_data(parameters.data_asset_name)
        if incoming.path is not None:
            incoming = replace(incoming, sha256=await asyncio.to_thread(data_digest, incoming.path))
        champion = await engine.registry.champion(parameters.model_name)
        summary = WatchSummary(parameters.model_name, champion and champion.version, incoming.label)
        if champion is None:
            said = f"{summary.model_name} has no champion that {summary.incoming} could be compared with."
            summary = replace(summary, skipped=said, next_command=train_command(summary.model_name, incoming.label))
        elif _is_of(champion, incoming):
            said = f"{summary.incoming} is what {summary.model_name} version {champion.version} was trained on."
            summary = replace(summary, skipped=said)
        else:
            summary = await _watched(engine, settings, parameters, champion, incoming, summary)
    return Completed(name=summary.verdict, message=summary.message, data=summary)


async def _watched(
    engine: Engine,
    settings: Settings,
    parameters: WatchParameters,
    champion: ModelVersion,
    incoming: ResolvedData,
    summary: WatchSummary,
) -> WatchSummary:
    """Compare, tell, and publish."""
    reference = await _trained_on(engine, champion)
    with tempfile.TemporaryDirectory() as folder:
        before = await _rows(engine, reference, Path(folder) / "reference")
        after = await _rows(engine, incoming, Path(folder) / "incoming")
    left = Side(reference.label, before.rows_in_file, before.rows)
    right = Side(incoming.label, after.rows_in_file, after.rows)
    for side in (left, right):
        if side.rows < parameters.min_rows:
            said = f"{side.label} has {side.rows:,} rows, and from {parameters.min_rows:,} on they are compared."
            return replace(summary, skipped=said)
    report = await asyncio.to_thread(compare, before.columns, after.columns, parameters.policy)
    png = await asyncio.to_thread(draw, report)
    key = _key(champion, incoming)
    comparison = Comparison(left, right, report, _kept(png, settings.home / "drift" / f"{key}.png"))
    summary = replace(summary, comparison=comparison)
    if report.drifted:
        told = await _told_before(key) or await _tell(champion, reference, incoming, report)
        command = train_command(parameters.model_name, incoming.label)
        summary = replace(summary, told=told, next_command=command)
    picture = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    description = TOLD if summary.told else summary.verdict
    await acreate_markdown_artifact(as_markdown(summary, picture), key=key, description=description)
    return summary


def _is_of(champion: ModelVersion, incoming: ResolvedData) -> bool:
    """Whether the champion was trained on this data: by content where both are known, else by name and version."""
    digest = champion.tags.get(DATA_SHA256)
    if digest and incoming.sha256:
        return digest == incoming.sha256
    return champion.tags.get(DATA) == incoming.label


async def _trained_on(engine: Engine, champion: ModelVersion) -> ResolvedData:
    """The data that the champion was trained on, its digest included where it is known.

    That is the whole of it: the part that it was tested on was drawn from the same at random.
    """
    label, who = champion.tags.get(DATA), f"{champion.name} version {champion.version}"
    if label is None:
        raise DataAssetError(
            f"{who} does not say what it was trained on: it has no tag {DATA}. Nothing was compared. "
            f"Train a champion that does: {train_command(champion.name, 'DATA')}"
        )
    try:
        found = await engine.resolve_data(label)
    except DataAssetError as error:
        raise DataAssetError(
            f"What {who} was trained on is not there any more: {error} Nothing was compared."
        ) from None
    return replace(found, sha256=champion.tags.get(DATA_SHA256))


async def _rows(engine: Engine, data: ResolvedData, folder: Path) -> FeatureRows:
    file = await engine.data_file(data, folder)

    def read() -> FeatureRows:
        if data.sha256 is not None and data_digest(file) != data.sha256:
            raise DataAssetError(
                f"The content of {data.label} is another than before: {data_digest(file)[:12]}, not "
                f"{data.sha256[:12]}. Nothing was compared. Keep data in versions that nobody alters."
            )
        return read_features(file, data.label)

    return await asyncio.to_thread(read)


def _key(champion: ModelVersion, incoming: ResolvedData) -> str:
    """The key of the report: readable, and another one for another champion or other incoming data."""
    identity = (champion.name, str(champion.version), incoming.label, incoming.sha256 or "")
    names = f"{Path(incoming.label).name[:60]} {champion.name[:60]} {champion.version}"
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
    return re.sub("[^a-z0-9]+", "-", f"drift {names.lower()} {digest[:8]}")


def _kept(png: bytes, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    except OSError as error:
        raise SettingsError(
            f"The picture cannot be written: {path}: {error.strerror}. Set TANDEM_HOME to a folder of yours."
        ) from None
    return path


async def _told_before(key: str) -> bool:
    last = await Artifact.aget(key)
    return last is not None and last.description == TOLD


async def _tell(champion: ModelVersion, reference: ResolvedData, incoming: ResolvedData, report: DriftReport) -> bool:
    fact = drift_detected(
        model=champion.name,
        champion_version=champion.version,
        trained_on=reference.label,
        data_asset=incoming.label,
        sha256=incoming.sha256 or "",
        reasons=reasons(report),
        features={feature.feature: measures(feature) for feature in report.drifted},
    )
    more = {"policy": asdict(report.policy), "report": flow_run.ui_url}
    return await emit(replace(fact, payload={**fact.payload, **more}))
