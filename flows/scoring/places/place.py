"""Places where a table is scored: what is asked of one, and the table of them by the name of the engine."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flows.errors import DataAssetError, RunError
from flows.scoring.tables import Portion
from flows.serving.endpoints import ServedModel
from flows.settings import Settings
from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec

RESULT = ("row", "label", "probability", "column", "reason")  # what is read of a scoring script's answer


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """What is scored, by what.

    Attributes:
        label: What the input is called in messages.
        portions: Reads the rows of the input, from the beginning each time.
        features: The columns that the model takes.
        model: The model.
        source: Where its files are: a folder on this machine, or an ``azureml:`` reference.
        endpoint: Of the batch endpoint.
        deployment: The script and its settings.
        key: Distinguishes what is scored by what from all else: letters and digits.
    """

    label: str
    portions: Callable[[], Iterator[Portion]]
    features: tuple[str, ...]
    model: ServedModel
    source: str
    endpoint: BatchEndpointSpec
    deployment: BatchDeploymentSpec
    key: str


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says of the rows of a portion, in their order.

    Attributes:
        labels: An array of Arrow, of shape (n_rows,).
        probabilities: Of label 1, from 0 to 1; an array of Arrow of shape (n_rows,), null for a model that gives none.
    """

    labels: Any
    probabilities: Any


class ScoringPlace(Protocol):
    """Where a batch deployment runs its scoring script."""

    def scored(self, request: ScoringRequest) -> AsyncGenerator[tuple[Portion, Scores]]:
        """Score an input, portion by portion in order.

        Raises:
            DataAssetError: A row cannot be scored; the text has its file, row and column, and not its value.
            RunError: The scoring script failed.
            ServingError: The model cannot be loaded, or the deployment not be made.
        """
        ...


@asynccontextmanager
async def _here(settings: Settings) -> AsyncGenerator[ScoringPlace]:
    from flows.scoring.places.here import LocalScoring

    with LocalScoring(settings) as place:
        yield place


@asynccontextmanager
async def _in_workspace(settings: Settings) -> AsyncGenerator[ScoringPlace]:
    from flows.scoring.places.in_workspace import open_workspace_scoring

    async with open_workspace_scoring(settings) as place:
        yield place


PLACES: Mapping[str, Callable[[Settings], AbstractAsyncContextManager[ScoringPlace]]] = {
    "local": _here,
    "azureml": _in_workspace,
}
"""Every place, by the name of the engine that it belongs to."""


def bad_row(label: str, portion: Portion, row: int | None, column: str | None, reason: str) -> DataAssetError:
    """That a row of a portion cannot be scored.

    Args:
        label: What the input is called.
        portion: Where it is.
        row: Its number in the portion, from 0; None where the reason is in no single one.
        column: The column; None where the reason is in no single one.
        reason: Why, in words that follow those.
    """
    where = [f"row {portion.first_row + row + 1:,}"] if row is not None else []
    where += [f"column {column}"] if column else []
    file = f"{portion.file.name}: " if label != str(portion.file) else ""
    told = f"{file}{', '.join(where)}{': ' if where else ''}{reason}"
    return DataAssetError(f"The data {label} cannot be scored: {told}. Nothing was written. Correct it, and try again.")


def scores_of(label: str, portion: Portion, result: Any) -> Scores:
    """What a scoring script has made of the rows of a portion.

    Args:
        label: What the input is called.
        portion: The rows that it was given.
        result: Its rows for them, a table of Arrow with the columns ``row``, ``label``, ``probability``, ``column`` and
            ``reason``, in the order of ``row``.

    Raises:
        DataAssetError: It refuses a row.
        RunError: It has not a row for each that it was given.
    """
    import numpy as np
    import pyarrow as pa

    if lacking := [name for name in RESULT if name not in result.column_names]:
        raise RunError(
            f"The scoring script answered without the column {lacking[0]}, unlike serving/score/batch_score.py. "
            "Nothing was written."
        )
    reasons = result.column("reason")
    if reasons.null_count < result.num_rows:
        first: Mapping[str, Any] = result.filter(reasons.is_valid()).slice(0, 1).to_pylist()[0]
        row = None if first["row"] is None else int(first["row"])
        raise bad_row(label, portion, row, first["column"], str(first["reason"]))
    numbers = result.column("row").cast(pa.int64()).to_numpy()
    if not np.array_equal(numbers, np.arange(portion.rows.num_rows)):
        raise RunError(
            f"The scoring script answered {result.num_rows:,} of {portion.rows.num_rows:,} rows of {label}, or in "
            "another order. Nothing was written."
        )
    return Scores(result.column("label"), result.column("probability").cast(pa.float64()))


def features_of(portion: Portion, features: tuple[str, ...], file: Path) -> None:
    """Write the features of a portion as a Parquet file for a scoring script, and nothing else of it.

    Text that stands for an empty cell in a CSV file, such as NA, becomes one.
    """
    import pyarrow as pa
    from pyarrow.compute import if_else, is_in  # pyright: ignore[reportAttributeAccessIssue]
    from pyarrow.csv import ConvertOptions
    from pyarrow.parquet import write_table

    table: Any = portion.rows.select(list(features))
    if not portion.is_typed:
        empty = pa.array(ConvertOptions().null_values, pa.string())
        columns = [if_else(is_in(column, empty), None, column) for column in table.columns]
        table = pa.table(columns, names=list(features))
    write_table(table, file, compression="zstd")
