"""Places of serving, each as a context that deletes what was deployed in it."""

import asyncio
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.serving.local.adapter import LocalServing
from flows.serving.local.lifetime import end_supervisor
from flows.serving.serving import Serving
from flows.settings import Settings
from tests.azure_ml_service.service import Service
from tests.serving.scripts import Definitions


@contextmanager
def local_place(folder: Path) -> Generator[LocalServing]:
    """The endpoints of a local state of its own."""
    home = folder / "home"
    serving = LocalServing(home)
    try:
        yield serving
    finally:
        asyncio.run(_delete_all_but(serving, frozenset()))
        end_supervisor(home)


@contextmanager
def azure_place(service: Service) -> Generator[Serving]:
    """The endpoints of the loopback workspace, where those of other tests stay; this process is pointed at it."""
    from flows.serving.azureml.adapter import open_azure_serving

    with quick_to_look(), asyncio.Runner() as runner:
        opened = open_azure_serving(Settings.from_environment(service.environment))
        serving = runner.run(opened.__aenter__())
        others = frozenset(endpoint.name for endpoint in runner.run(serving.endpoints()))
        try:
            yield serving
        finally:
            runner.run(_delete_all_but(serving, others))
            runner.run(opened.__aexit__(None, None, None))


@contextmanager
def quick_to_look() -> Generator[None]:
    """Let Azure ML be asked again at once, since the loopback service is done at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.engines.azureml.sdk.retries.FIRST_SECONDS", 0.01)
        patch.setattr("flows.serving.azureml.changes.FIRST_SECONDS", 0.02)
        patch.setattr("flows.serving.azureml.changes.LONGEST_SECONDS", 0.1)
        yield


@pytest.fixture
def service(azure_environment: Service, azure_client_allowed: None) -> Iterator[Service]:
    """The loopback service, with this process pointed at it."""
    with quick_to_look():
        yield azure_environment


@pytest.fixture
def local_serving(tmp_path: Path) -> Iterator[Serving]:
    with local_place(tmp_path) as place:
        yield place


@pytest.fixture
def azure_serving(service: Service) -> Iterator[Serving]:
    with azure_place(service) as place:
        yield place


# The fixture of each place, by name. An adapter that is added here has to do all that test_conformance*.py ask.
PLACES: Mapping[str, str] = {"local": "local_serving", "azureml": "azure_serving"}


@pytest.fixture(params=sorted(PLACES))
def serving(request: pytest.FixtureRequest) -> Serving:
    return request.getfixturevalue(PLACES[request.param])


@pytest.fixture
def definitions(tmp_path: Path) -> Definitions:
    return Definitions(tmp_path / "serving")


async def _delete_all_but(serving: Serving, others: frozenset[str]) -> None:
    for endpoint in await serving.endpoints():
        if endpoint.name not in others:
            await serving.delete_endpoint(endpoint.name)
