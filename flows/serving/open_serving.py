"""The table of places where models are served, by the name of the engine. Imports none of them before it is opened."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from flows.settings import Settings

if TYPE_CHECKING:
    from flows.serving.serving import Serving


@asynccontextmanager
async def open_serving(engine: str, settings: Settings) -> "AsyncGenerator[Serving]":
    """The place of serving that belongs to an engine.

    Args:
        engine: The engine's name: ``local`` or ``azureml``.
        settings: Where the state is, and which workspace.
    """
    if engine == "azureml":
        from flows.serving.azureml.adapter import open_azure_serving

        async with open_azure_serving(settings) as serving:
            yield serving
    else:
        from flows.serving.local.adapter import LocalServing

        yield LocalServing(settings.home)
