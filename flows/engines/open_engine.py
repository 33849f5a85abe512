"""Which engine a run takes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from flows.engines.choice import chosen_engine
from flows.engines.engine import Engine
from flows.settings import Settings


@asynccontextmanager
async def open_engine(name: Literal["auto", "local", "azureml"], settings: Settings) -> AsyncGenerator[Engine]:
    """An engine for one flow run. When it is left, nothing that it started runs unwatched.

    Raises:
        SettingsError: The engine cannot be used here.
    """
    chosen_engine(name, settings)
    from flows.engines.local import open_local_engine

    async with open_local_engine(settings) as engine:
        yield engine
