"""An MLflow server that fails while a run goes on: nothing is registered twice, and the next start goes on."""

import asyncio
from pathlib import Path

import pytest

from tests.mlflow_store.faults import table
from tests.mlflow_store.servers import MlflowServer


@pytest.mark.slow
@pytest.mark.parametrize("request_", ["model-versions/create", "runs/create", "registered-models/alias"])
def test_model_is_registered_once_whatever_becomes_of_the_answers_to_what_creates(
    tmp_path: Path, request_: str
) -> None:
    with MlflowServer(tmp_path / "server") as server:
        rows = asyncio.run(table(server, tmp_path / "machine", ("500", "cut"), request_))
    assert rows
    for row in rows:
        assert (row.versions, row.champion) == (1, row.champion), row
        assert row.told == "nothing" if row.times == "once" else "does not answer as it should" in row.told, row


@pytest.mark.slow
def test_version_that_a_server_makes_when_nobody_waits_any_more_is_the_one_that_the_next_start_promotes(
    tmp_path: Path,
) -> None:
    with MlflowServer(tmp_path / "server") as server:
        rows = asyncio.run(table(server, tmp_path / "machine", ("late",), "model-versions/create"))
    assert [(row.versions, row.champion is not None) for row in rows] == [(1, True)] * 2
    assert all("no answer in time" in row.told for row in rows)
