"""The flow ``score-data``: scores a table with the champion, or another version, and writes the scores to a file."""

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run
from prefect.states import Completed

from flows.data.assets import is_path
from flows.data.digests import data_digest
from flows.engines.open_engine import chosen_engine, open_engine
from flows.orchestration.failures import failures_as_states
from flows.orchestration.run_names import BY_HAND
from flows.scoring import progress
from flows.scoring.asked import definitions_of, output_of
from flows.scoring.columns import columns_of_input
from flows.scoring.output import check_form, check_output
from flows.scoring.parameters import ScoreParameters
from flows.scoring.places.place import PLACES, ScoringRequest
from flows.scoring.progress import Progress
from flows.scoring.record import key_of
from flows.scoring.summary import ScoreSummary, labels_table
from flows.scoring.tables import open_tables, portions
from flows.scoring.work import Work, score_once
from flows.serving.local.pages import columns_of
from flows.serving.open_serving import open_serving
from flows.serving.wanted_model import find_version, served_model
from flows.settings import Settings
from flows.training.markdown import plain
from flows.training.parameters import with_parameters

SHOW_SECONDS = 2.0


def _named() -> str:
    given = flow_run.parameters
    data = Path(given["data_asset_name"]).name if is_path(given["data_asset_name"]) else given["data_asset_name"]
    return f"{given['model']} {data}, {deployment.name or BY_HAND}"


@flow(name="score-data", flow_run_name=_named)
@failures_as_states
@with_parameters(ScoreParameters)
async def score_data(parameters: ScoreParameters) -> State[Any]:
    """Give each row of a table the label and the probability that a version of a model finds.

    Ends as `Scored`, or as `Unchanged` if the output was made of the same before; both are completed. The output is
    whole, or as it was. Killed and started again, it starts over; on Azure ML it goes on with the same job.
    """
    settings = Settings.from_environment()
    endpoint, definition = definitions_of(parameters, settings)
    engine_name = chosen_engine(parameters.engine, settings).kind.name
    with tempfile.TemporaryDirectory(prefix="tandem-scoring-") as name:
        folder = Path(name)
        async with open_engine(parameters.engine, settings) as engine, open_serving(engine_name, settings) as serving:
            data = await engine.resolve_data(parameters.data_asset_name)
            version = await find_version(engine.registry, parameters.model)
            model = served_model(version)
            output = output_of(parameters, settings, data, model)
            await asyncio.to_thread(check_output, output, data.path)
            file = await engine.data_file(data, folder / "data")
            tables = await asyncio.to_thread(open_tables, file, data.label)
            signature = columns_of(await serving.model_folder(version.source, folder / "model"))
        columns = columns_of_input(tables[0].names, signature, data.label, model.label)
        check_form(output, tables[0], columns.passed_on)
        request = ScoringRequest(
            data.label,
            partial(portions, tables, data.label),
            columns.features,
            model,
            version.source,
            endpoint,
            definition,
            await asyncio.to_thread(lambda: key_of(data_digest(file), model, definition)),
        )
        get_run_logger().info("%s | to be scored by %s", data.label, model.label)
        async with PLACES[engine_name](settings) as place:
            summary = await score_once(place, Work(request, columns, engine_name, output, settings.home), _Shown())
    await _publish(summary)
    return Completed(name=summary.verdict, message=summary.message, data=summary)


class _Shown:
    """Shows how far it has come: to whoever listens, and every few seconds as an artifact."""

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._next = time.monotonic() + SHOW_SECONDS

    async def __call__(self, now: Progress) -> None:
        progress.tell(now)
        if time.monotonic() < self._next:
            return
        percent, told = 100 * now.share, f"{now.rows:,} rows are scored"
        if self._artifact is None:
            self._artifact = await acreate_progress_artifact(percent, key="scoring", description=told)
        else:
            await aupdate_progress_artifact(self._artifact, percent, description=told)
        self._next = time.monotonic() + SHOW_SECONDS


async def _publish(summary: ScoreSummary) -> None:
    said = plain(summary.message)
    await acreate_table_artifact(labels_table(summary), key="scores", description=said)
    await acreate_markdown_artifact(f"**{summary.verdict}**: {said}", key="scoring-summary", description=said)
