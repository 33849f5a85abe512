"""The step host that the tests of this folder share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.engines.local.host.client import StepHost
from tests.engines.conftest import Await
from tests.engines.local.host.hosts import Host, opened


@pytest.fixture(scope="package")
def warm(run: Await, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepHost]:
    """A host that has imported NumPy and multiprocessing, for all tests that do it no harm."""
    context = opened(tmp_path_factory.mktemp("warm"), ["numpy", "joblib"])
    yield run(context.__aenter__()).host
    run(context.__aexit__(None, None, None))


@pytest.fixture
def host(warm: StepHost, tmp_path: Path) -> Host:
    (tmp_path / "code").mkdir(exist_ok=True)
    return Host(warm, tmp_path / "code")
