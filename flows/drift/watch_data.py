"""The flow ``watch-data``: compares incoming data with what the champion was trained on, and reports drift."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.data.assets import ResolvedData
from flows.data.digests import data_digest
from flows.drift.feature_rows import FeatureRows, read_features
from flows.drift.incoming import why_not_incoming
from flows.drift.parameters import WatchParameters
from flows.drift.report import publish_drift
from flows.drift.statistics import compare
from flows.drift.summary import Comparison, Side, WatchSummary, train_command
from flows.engines.engine import Engine
from flows.engines.open_engine import open_engine
from flows.errors import DataAssetError
from flows.mlflow_store.model_registry import ModelVersion
from flows.orchestration.failures import failures_as_states
from flows.orchestration.run_names import name_by_data, named_by
from flows.settings import Settings
from flows.tags import DATA, DATA_SHA256
from flows.training.parameters import with_parameters
from flows.training.trainable import why_untrainable


@flow(name="watch-data", flow_run_name=named_by())
@failures_as_states
@with_parameters(WatchParameters)
async def watch_data(parameters: WatchParameters) -> State[Any]:
    """Compare incoming data with what the champion was trained on, and say if a feature has drifted.

    Ends as `NoDrift`, `Drift`, `DriftUntrainable` (such as rows without labels) or `Skipped`, all completed. A version
    of a data asset is compared if it is newer than the champion's data. If asked to, the event of one drift from one
    champion is emitted once.
    """
    settings = Settings.from_environment()
    async with open_engine(parameters.engine, settings) as engine:
        incoming = await engine.resolve_data(parameters.data_asset_name)
        if incoming.path is not None:
            incoming = replace(incoming, sha256=await asyncio.to_thread(data_digest, incoming.path))
        await name_by_data(parameters.data_asset_name, incoming)
        champion = await engine.registry.champion(parameters.model_name)
        if champion is None:
            summary = await _without_champion(parameters.model_name, incoming, settings)
        elif said := why_not_incoming(champion, incoming):
            summary = WatchSummary(champion.name, champion.version, incoming.label, skipped=said)
        else:
            summary = await _compared(engine, champion, incoming, parameters, settings)
            if summary.comparison is not None:
                report, sha256 = summary.comparison.report, incoming.sha256 or ""
                summary = await publish_drift(summary, report, sha256, settings.home / "drift")
    return Completed(name=summary.verdict, message=summary.message, data=summary)


async def _without_champion(model_name: str, incoming: ResolvedData, settings: Settings) -> WatchSummary:
    """There is nothing to compare with; data that is on this machine is looked at before it is said to train on it."""
    said, untrainable = f"{model_name} has no champion that {incoming.label} could be compared with.", ""
    if incoming.path is not None:
        untrainable = await asyncio.to_thread(why_untrainable, incoming.path, settings)
    train = None if untrainable else train_command(model_name, incoming.label)
    return WatchSummary(model_name, None, incoming.label, skipped=said, untrainable=untrainable, next_command=train)


async def _compared(
    engine: Engine, champion: ModelVersion, incoming: ResolvedData, parameters: WatchParameters, settings: Settings
) -> WatchSummary:
    """Compare the rows, unless they are too few; see whether those that have drifted can be trained on."""
    trained_on = await _trained_on(engine, champion)
    summary = WatchSummary(champion.name, champion.version, incoming.label, emits=parameters.emit)
    with tempfile.TemporaryDirectory() as folder:
        before = await _rows(trained_on, await engine.data_file(trained_on, Path(folder) / "trained_on"))
        file = await engine.data_file(incoming, Path(folder) / "incoming")
        after = await _rows(incoming, file)
        left = Side(trained_on.label, before.rows_in_file, before.rows)
        right = Side(incoming.label, after.rows_in_file, after.rows)
        for side in (left, right):
            if side.rows < parameters.min_rows:
                said = f"{side.label} has {side.rows:,} rows, and a comparison needs {parameters.min_rows:,}."
                return replace(summary, skipped=said)
        report = await asyncio.to_thread(compare, before.columns, after.columns, parameters.policy)
        summary = replace(summary, comparison=Comparison(left, right, report))
        if not report.drifted:
            return summary
        if untrainable := await asyncio.to_thread(why_untrainable, file, settings):
            return replace(summary, untrainable=untrainable)
    return replace(summary, next_command=train_command(champion.name, incoming.label))


async def _trained_on(engine: Engine, champion: ModelVersion) -> ResolvedData:
    """The data that the champion was trained on, its digest included where it is known.

    That is all of the data, with the test rows, which were drawn from it at random.
    """
    label, who = champion.tags.get(DATA), f"{champion.name} version {champion.version}"
    if label is None:
        raise DataAssetError(
            f"{who} does not say what it was trained on: it has no tag {DATA}. Nothing was compared. "
            "A version that this project's training has registered does; it trains on its own columns, so it makes no "
            f"other model's version: {train_command(champion.name, 'DATA')}"
        )
    digest = champion.tags.get(DATA_SHA256)
    if digest is not None and (kept := await engine.kept_data(digest)) is not None:
        return ResolvedData(label, "uri_file", kept, sha256=digest)
    try:
        found = await engine.resolve_data(label)
    except DataAssetError as error:
        raise DataAssetError(
            f"What {who} was trained on is not there any more: {error} Nothing was compared."
        ) from None
    return replace(found, sha256=digest)


async def _rows(data: ResolvedData, file: Path) -> FeatureRows:
    """The rows of a file, whose digest is checked where it is known."""

    def read() -> FeatureRows:
        if data.sha256 is not None and data_digest(file) != data.sha256:
            raise DataAssetError(
                f"The content of {data.label} has changed: its digest is {data_digest(file)[:12]}, not "
                f"{data.sha256[:12]}. Nothing was compared. Keep changed data as a new version."
            )
        return read_features(file, data.label)

    return await asyncio.to_thread(read)
