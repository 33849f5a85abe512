"""A place that serves, for a module of tests: this machine, and the loopback workspace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azure_ml_service.service import Service
from tests.rollout.places import Commands, Place, ThisMachine, Workspace, register_all


@pytest.fixture(scope="session")
def registered_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local state in which all versions are registered."""
    home = tmp_path_factory.mktemp("registered") / "state"
    register_all(home)
    return home


@pytest.fixture(scope="module", params=["local", "azureml"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prefect_server: str
) -> Iterator[Place]:
    """A place with models and without an endpoint, which the tests of a module share."""
    folder = tmp_path_factory.mktemp(f"rollout-{request.param}")
    found: Place
    if request.param == "local":
        found = ThisMachine(folder, prefect_server, request.getfixturevalue("registered_models"))
    else:
        service: Service = request.getfixturevalue("azure_ml_session")
        service.reset()
        found = Workspace(folder, prefect_server, service)
    yield found
    found.close()


@pytest.fixture(scope="module")
def tandem(place: Place) -> Commands:
    """Commands at the place."""
    return Commands(place)
