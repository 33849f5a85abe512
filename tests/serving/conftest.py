"""Places of serving, each as a context that ends all that was deployed."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from flows.serving.local.adapter import LocalServing
from flows.serving.local.lifetime import end_supervisor
from flows.serving.serving import Serving
from tests.serving.scripts import Definitions


@contextmanager
def local_place(folder: Path) -> Generator[Serving]:
    """The endpoints of a local state of its own, which are deleted at the end."""
    home = folder / "home"
    serving = LocalServing(home)
    try:
        yield serving
    finally:
        asyncio.run(_delete_all(serving))
        end_supervisor(home)


# By name. An adapter that is added here has to do all that test_conformance.py asks.
PLACES: Mapping[str, Callable[[Path], AbstractContextManager[Serving]]] = {"local": local_place}


@pytest.fixture(params=sorted(PLACES))
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serving]:
    with PLACES[request.param](tmp_path) as place:
        yield place


@pytest.fixture
def definitions(tmp_path: Path) -> Definitions:
    return Definitions(tmp_path / "serving")


async def _delete_all(serving: Serving) -> None:
    for endpoint in await serving.endpoints():
        await serving.delete_endpoint(endpoint.name)
