"""Fixtures for tests that need an Azure ML workspace."""

from collections.abc import Iterator

import pytest

from tests.azure_ml_service.service import Service


@pytest.fixture(scope="session")
def azure_ml_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the session: starting one, and warming its libraries, takes seconds."""
    service = Service(tmp_path_factory.mktemp("azure-ml")).start()
    yield service
    service.stop()


@pytest.fixture
def azure_ml(azure_ml_session: Service) -> Iterator[Service]:
    """The service, without faults and with empty records. Jobs and assets of other tests are still there."""
    azure_ml_session.reset()
    yield azure_ml_session
    azure_ml_session.reset()


@pytest.fixture
def azure_environment(azure_ml: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The service, with this process pointed at it."""
    for name, value in azure_ml.environment.items():
        monkeypatch.setenv(name, value)
    return azure_ml
