"""Deployed runs on two hosts that share nothing but the servers of the team; their code is cloned."""

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.team.hosts import Network
from tests.team.office import Office, at_work
from tests.team.postgres import Postgres
from tests.team.races import Race, raced
from tests.team.servers import Team
from tests.waiting import until

MODEL = "diabetes-team"
PREFECTS = re.compile("prefect-workspace-.*|tmp.*prefect")  # its folders for a flow run that goes on
BETTER = {"reg_rate": 0.1, "gate_min_improvement": 0.0}


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory, team: Team, wires: Network, people: Office) -> Iterator[Office]:
    """Deployed, with a worker on each host."""
    with at_work(tmp_path_factory.mktemp("work"), team, wires.hosts, wires.address):
        yield people


@pytest.fixture(scope="module")
def first(working: Office) -> Race:
    """Two hosts that trained the same model at once, and there was none before."""
    return raced(working, MODEL)


def test_two_hosts_that_train_the_same_model_at_once_make_one_champion(first: Race) -> None:
    assert first.faults() == []


def test_each_host_ran_one_of_the_two_with_the_code_that_it_cloned(
    first: Race, working: Office, wires: Network
) -> None:
    folders = [path.name for host in wires.hosts for path in (host.folder / "state" / "runs").iterdir()]
    assert sorted(folders) == sorted(run["id"] for run in first.runs)
    assert all(len(list((host.folder / "state" / "runs").iterdir())) == 1 for host in wires.hosts)
    for run in first.runs:
        assert "git_clone" in working.log_of(run["id"])


def test_champion_of_one_host_is_compared_by_both_and_replaced_by_one(
    first: Race, working: Office, wires: Network
) -> None:
    better = raced(working, MODEL, **BETTER)
    assert better.states == ["Promoted", "Rejected"]
    assert list(better.versions) == [first.champion, better.champion]
    (promoted,) = (run["state"]["message"] for run in better.runs if run["state"]["name"] == "Promoted")
    assert "than the champion's 0.8229" in promoted


def test_no_credential_is_in_what_servers_hosts_and_flow_runs_have_written(
    first: Race, working: Office, wires: Network, team: Team, postgres: Postgres
) -> None:
    # While a flow run's process lives, Prefect keeps its variables in a folder that only its user can read.
    until(lambda: not [left for host in wires.hosts for left in host.folder.iterdir() if PREFECTS.fullmatch(left.name)])
    password = team.credential.partition(":")[2]
    secrets = (password, postgres.password, base64.b64encode(team.credential.encode()).decode())
    walks = [walk for host in wires.hosts for walk in os.walk(host.folder)]
    found = (Path(folder, name) for folder, _, names in walks for name in names)
    written = [*team.logs, *(path for path in found if path.is_file())]
    assert len(written) > 10
    for path in written:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets), path
    for run in first.runs:
        assert not any(secret in working.log_of(run["id"]) for secret in secrets)
