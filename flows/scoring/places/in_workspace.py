"""Scoring in an Azure ML workspace: files of features are uploaded, one job of a batch endpoint scores them."""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RunError
from flows.scoring.places.place import RESULT, Scores, ScoringRequest, features_of, scores_of
from flows.scoring.tables import Portion
from flows.serving.azureml.batch import BatchRequest, BatchScores, score_batch
from flows.settings import Settings

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.workspace import Workspace

# What the scoring script returns, which Azure ML writes without a header.
COLUMNS = ("file", "row", "label", "probability", "model", "version", "column", "reason")


class WorkspaceScoring:
    """A :class:`~flows.scoring.places.place.ScoringPlace` in a workspace; use :func:`open_workspace_scoring`.

    Only the features are uploaded. The job is named after what it scores: started again, this waits for the same job,
    or takes what it has left. One that has failed or was canceled is followed by another.
    """

    def __init__(self, workspace: "Workspace", say: Callable[[str], object]) -> None:
        self._workspace = workspace
        self._say = say

    async def scored(self, request: ScoringRequest) -> AsyncGenerator[tuple[Portion, Scores]]:
        """See :meth:`ScoringPlace.scored`. The input is read twice: to upload it, and to put the scores to its rows."""
        with tempfile.TemporaryDirectory(prefix="tandem-scoring-") as name:
            answers = await self.answered(request, Path(name))
            reading = request.portions()
            while answers is not None and (portion := await asyncio.to_thread(next, reading, None)) is not None:
                yield portion, await asyncio.to_thread(answers.scores, portion)

    async def answered(self, request: ScoringRequest, folder: Path) -> "Answers | None":
        """Have a job score an input; None if that has no rows.

        Args:
            request: What is scored, by what.
            folder: An empty folder, which is needed as long as the answers are.

        Raises:
            RunError: The job failed, or has answered something else.
            ServingError: The endpoint or the deployment cannot be made.
        """
        parts = folder / "parts"
        parts.mkdir()
        if not await asyncio.to_thread(_write_parts, request, parts):
            return None
        batch = BatchRequest(
            endpoint=request.endpoint,
            deployment=request.deployment,
            model=request.model,
            source=request.source,
            data=str(parts),
            is_folder=True,
            rows=None,
            job_name=f"score-{request.key[:24]}",
            again=True,
        )
        done = await score_batch(self._workspace, batch, folder / "predictions.csv", self._say)
        return await asyncio.to_thread(Answers.read, done, request, folder)


@asynccontextmanager
async def open_workspace_scoring(settings: Settings) -> AsyncGenerator[WorkspaceScoring]:
    """Score in the workspace of the settings, and say in the log of the flow run what happens.

    Raises:
        SettingsError: The workspace cannot be used.
    """
    from prefect import get_run_logger

    from flows.engines.azureml.sdk.workspace import open_workspace

    async with open_workspace(settings) as workspace:
        yield WorkspaceScoring(workspace, get_run_logger().info)


def part_name(number: int) -> str:
    """The name of the file that has the features of a portion."""
    return f"part-{number:06}.parquet"


def _write_parts(request: ScoringRequest, folder: Path) -> int:
    """Write the features of each portion as a file; returns how many there are."""
    count = 0
    for portion in request.portions():
        if portion.rows.num_rows:
            features_of(portion, request.features, folder / part_name(portion.number))
            count += 1
    return count


@dataclass(slots=True)
class Answers:
    """What a job has answered, in small files of Arrow by the part that they are about."""

    job: BatchScores
    label: str
    label_type: Any
    files: dict[str, list[Path]] = field(default_factory=lambda: defaultdict[str, list[Path]](list))

    @classmethod
    def read(cls, job: BatchScores, request: ScoringRequest, folder: Path) -> "Answers":
        """Divide the predictions of a job, whose rows are in any order.

        Raises:
            RunError: They are not what the script of this project returns, or are of another version of the model.
        """
        import pyarrow as pa
        from pyarrow.compute import equal  # pyright: ignore[reportAttributeAccessIssue]
        from pyarrow.feather import write_feather

        made, types, number = cls(job, request.label, pa.string()), [pa.int64(), pa.float64()], 0
        for batch in _predictions(job):
            versions: Any = batch.column("version").unique().to_pylist()
            if versions != [str(request.model.version)]:
                raise RunError(
                    f"The job {job.job_name} has scored with version {versions[0]} of the model, not with "
                    f"{request.model.version}: somebody has replaced the deployment meanwhile. Nothing was written. "
                    "Try again."
                )
            types = [each for each in types if _can_be(batch.column("label"), each)]
            for name in batch.column("file").unique().to_pylist():
                file = folder / f"answers-{number:06}.arrow"
                chosen: Any = batch.filter(equal(batch.column("file"), name)).select(list(RESULT))
                write_feather(chosen, str(file), compression="uncompressed")
                made.files[name].append(file)
                number += 1
        made.label_type = types[0] if types else pa.string()
        return made

    def scores(self, portion: Portion) -> Scores:
        """The scores of a portion.

        Raises:
            DataAssetError: A row of it cannot be scored.
            RunError: Scores are missing.
        """
        import pyarrow as pa
        from pyarrow.feather import read_table

        files = self.files.get(part_name(portion.number), [])
        if not files:
            where = f"those from row {portion.first_row + 1:,} of {portion.file.name}"
            raise RunError(
                f"The job {self.job.job_name} has left no scores of {portion.rows.num_rows:,} rows, {where}. Nothing "
                f"was written. Its log says why: {self.job.url}"
            )
        result: Any = pa.concat_tables([read_table(str(file), memory_map=False) for file in files])
        result = result.set_column(0, "row", result.column("row").cast(pa.int64())).sort_by("row")
        result = result.set_column(1, "label", result.column("label").cast(self.label_type))
        return scores_of(self.label, portion, result)


def _predictions(job: BatchScores) -> Any:
    """The rows that a job has written, a table of Arrow at a time; all cells are text, and null where empty.

    Raises:
        RunError: They are not what the script of this project returns.
    """
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    try:
        with job.file.open("rb") as stream:
            batches: Any = pa_csv.open_csv(
                stream,
                pa_csv.ReadOptions(column_names=list(COLUMNS), block_size=4 << 20),
                pa_csv.ParseOptions(newlines_in_values=True),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=True, null_values=[""]
                ),
            )
            for batch in batches:
                yield pa.Table.from_batches([batch])
    except pa.ArrowException:
        raise RunError(
            f"The job {job.job_name} has written something else than serving/score/batch_score.py returns. Nothing was "
            "written here."
        ) from None


def _can_be(column: Any, kind: Any) -> bool:
    import pyarrow as pa

    try:
        column.cast(kind)
    except pa.ArrowException:
        return False
    return True
