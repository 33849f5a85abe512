"""The table of places where models are served, by the name of the engine. Imports none of them before it is opened."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from flows.settings import Settings

if TYPE_CHECKING:
    from flows.serving.serving import Serving


@asynccontextmanager
async def _here(settings: Settings) -> "AsyncGenerator[Serving]":
    from flows.serving.local.adapter import LocalServing

    yield LocalServing(settings.home)


@asynccontextmanager
async def _in_workspace(settings: Settings) -> "AsyncGenerator[Serving]":
    from flows.serving.azureml.adapter import open_azure_serving

    async with open_azure_serving(settings) as serving:
        yield serving


PLACES: "Mapping[str, Callable[[Settings], AbstractAsyncContextManager[Serving]]]" = {
    "local": _here,
    "azureml": _in_workspace,
}
"""Every place of serving, by the name of the engine that it belongs to."""


def open_serving(engine: str, settings: Settings) -> "AbstractAsyncContextManager[Serving]":
    """The place of serving that belongs to an engine.

    Args:
        engine: The engine's name.
        settings: Where the state is, and which workspace.
    """
    return PLACES[engine](settings)
