"""Which engine a run takes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from flows.engines.choice import Where, chosen_engine
from flows.engines.engine import Engine
from flows.engines.polling import Timeouts
from flows.settings import Settings


@asynccontextmanager
async def open_engine(
    name: Literal["auto", "local", "azureml"],
    settings: Settings,
    timeouts: Timeouts | None = None,
    tracking: Where = "local",
    python: Path | None = None,
) -> AsyncGenerator[Engine]:
    """An engine for one flow run. When it is left, nothing that it started runs unwatched.

    ``python`` is the interpreter of the steps of the local engine, where it is not that of this process.

    Raises:
        SettingsError: The engine cannot be used here.
    """
    # Each brings much to import: only the one that is used pays.
    choice = chosen_engine(name, settings, tracking)
    if choice.name == "azureml":
        from flows.engines.azureml.engine import open_azure_ml_engine

        async with open_azure_ml_engine(settings, timeouts or Timeouts()) as engine:
            yield engine
    else:
        from flows.engines.local.engine import open_local_engine

        async with open_local_engine(settings, choice.tracking, python) as engine:
            yield engine
