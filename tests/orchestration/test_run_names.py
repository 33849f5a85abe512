"""Names of flow runs tell apart which data they are about and what started them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.data.assets import ResolvedData
from flows.orchestration.run_names import BY_HAND, name_by_data, named_by, run_name
from tests.prefect_client import asking


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (("m", "rows:2", "saga 0.1", "on-drift"), "m rows:2 saga 0.1, on-drift"),
        (("m", "azureml:rows:2", "saga 0.1", BY_HAND), "m rows:2 saga 0.1, by hand"),
        (("m", "/data/of/somebody/rows.csv", "", "scheduled"), "m rows.csv, scheduled"),
    ],
)
def test_name_has_model_data_parameters_and_trigger(given: tuple[str, str, str, str], name: str) -> None:
    assert run_name(*given) == name


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (None, "m rows@latest saga, by hand"),
        (ResolvedData("rows:7", "uri_file", Path("rows.csv"), "rows", "7"), "m rows:7 saga, by hand"),
    ],
)
def test_flow_run_is_named_by_the_version_of_the_data_once_that_is_known(
    prefect_api: str, found: ResolvedData | None, name: str
) -> None:
    @flow(flow_run_name=named_by("solver"))
    async def training(model_name: str, data_asset_name: str, solver: str) -> str:
        from prefect.runtime import flow_run

        if found is not None:
            await name_by_data(data_asset_name, found, solver)
        return flow_run.id

    asked: Mapping[str, Any] = {"model_name": "m", "data_asset_name": "rows@latest", "solver": "saga"}
    run: Any = asyncio.run(training(**asked))  # type: ignore[arg-type]
    with asking(prefect_api) as client:
        assert client.get(f"/flow_runs/{run}").json()["name"] == name
