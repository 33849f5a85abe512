"""One team for all tests here: its servers on PostgreSQL, and two hosts that reach them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import own_addresses
from tests.team.hosts import Network, NoHosts, network
from tests.team.office import Office, office
from tests.team.postgres import Postgres, postgres_server
from tests.team.servers import LOOPBACK, Team, team_servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.team)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def permitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network | NoHosts]:
    """Two hosts, or why this machine does not permit them."""
    with ExitStack() as stack:
        try:
            wires = stack.enter_context(network(tmp_path_factory.mktemp("hosts")))
        except NoHosts as error:
            yield error
            return
        own_addresses.add(wires.address)
        yield wires


@pytest.fixture(scope="session")
def wires(permitted: Network | NoHosts) -> Network:
    """Two hosts, and the address at which they reach this machine."""
    if isinstance(permitted, NoHosts):
        pytest.skip(str(permitted))
    return permitted


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, permitted: Network | NoHosts) -> Iterator[Team]:
    """Both servers, at an address that the hosts reach if there are any."""
    address = LOOPBACK if isinstance(permitted, NoHosts) else permitted.address
    with team_servers(tmp_path_factory.mktemp("team"), postgres, address) as team:
        yield team


@pytest.fixture(scope="session")
def people(team: Team) -> Iterator[Office]:
    with office(team) as people:
        yield people
