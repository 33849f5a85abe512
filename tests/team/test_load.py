"""Many flow runs at once on a Prefect server whose database is PostgreSQL."""

import asyncio

from tests.team.load import loaded
from tests.team.servers import Team


def test_two_hundred_flow_runs_at_once_complete_and_no_request_is_refused(team: Team) -> None:
    load = asyncio.run(loaded(team.prefect, team.credential, 200))
    assert (load.failed, load.refused) == (0, {}), str(load)
    assert load.requests == 1 + 200 * 4
