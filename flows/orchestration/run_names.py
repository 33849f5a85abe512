"""Names of flow runs that tell them apart: the model, the version of the data, the parameters, and what started it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import deployment, flow_run

from flows.data.assets import ResolvedData, is_path

BY_HAND = "by hand"


def run_name(model: str, data: str, details: str, trigger: str) -> str:
    """The name of a flow run, such as ``diabetes-predict diabetes-diagnostics:2 liblinear 0.01, on-new-data``.

    Args:
        model: The name of the registered model.
        data: What it is trained on, or compared with: of a file, only its own name is shown.
        details: The parameters that differ most between runs; empty where there are none.
        trigger: The name of the deployment, or :data:`BY_HAND`.
    """
    shown = Path(data).name if is_path(data) else data.removeprefix("azureml:")
    return f"{' '.join(filter(None, (model, shown, details)))}, {trigger}"


def named_by(*parameters: str) -> Callable[[], str]:
    """What names flow runs as they begin, by the data that they were asked for and by these parameters."""

    def name() -> str:
        given = flow_run.parameters
        return _name(given["data_asset_name"], *(str(given[each]) for each in parameters))

    return name


async def name_by_data(asked: str, data: ResolvedData, *details: object) -> None:
    """Name the current flow run by the version of the data that was found, unless it was asked for by that version."""
    if asked != data.label:
        name = await asyncio.to_thread(_name, data.label, *map(str, details))
        async with get_client() as client:
            await client.update_flow_run(UUID(str(flow_run.id)), name=name)


def _name(data: str, *details: str) -> str:
    given = flow_run.parameters
    return run_name(given["model_name"], data, " ".join(details), deployment.name or BY_HAND)
