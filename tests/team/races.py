"""Two hosts that train the same model at once: who is promoted, and what both servers hold afterwards.

``python -m tests.team.races --runs 50`` starts both servers on PostgreSQL and two hosts with a worker each.
"""

import argparse
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.team.hosts import network
from tests.team.office import Office, at_work, office
from tests.team.postgres import end_blocks_on_sigterm, postgres_server
from tests.team.servers import team_servers


@dataclass(frozen=True, slots=True)
class Race:
    """Two flow runs that were started at once, and what the registry has."""

    model: str
    runs: Sequence[Mapping[str, Any]]
    champion: int
    versions: Sequence[int]
    seconds: float

    @property
    def states(self) -> list[str]:
        """The names of the final states."""
        return sorted(run["state"]["name"] for run in self.runs)

    @property
    def at_once(self) -> bool:
        """Whether each began before the other had ended."""
        one, other = self.runs
        return one["start_time"] < other["end_time"] and other["start_time"] < one["end_time"]

    def faults(self) -> list[str]:
        """What does not hold: one champion, one version, and one of the two was told so."""
        found: list[str] = []
        if self.states != ["Promoted", "Rejected"]:
            found.append(f"the runs ended as {' and '.join(self.states)}: {[each['state'] for each in self.runs]}")
        if list(self.versions) != [self.champion]:
            found.append(f"the versions are {list(self.versions)}, and the champion is {self.champion}")
        if not self.at_once:
            found.append("the runs were not at once")
        return found

    def __str__(self) -> str:
        said = "; ".join(self.faults()) or "one champion"
        return (
            f"{self.model}: {' and '.join(self.states)}, versions {list(self.versions)}; {said}; {self.seconds:.0f} s"
        )


def raced(people: Office, model: str, **parameters: Any) -> Race:
    """Let two hosts train the same model at once."""
    start = time.monotonic()
    asked = {"model_name": model, **parameters}
    ids = [people.start(**asked) for _ in range(2)]
    runs = [people.ended(id) for id in ids]
    versions = sorted(int(each["version"]) for each in people.versions(model))
    champion = int(people.champion(model)["version"]) if versions else 0
    return Race(model, runs, champion, versions, time.monotonic() - start)


@contextmanager
def _two_hosts(folder: Path) -> Generator[Office]:
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        wires = stack.enter_context(network(folder))
        team = stack.enter_context(team_servers(folder, postgres, wires.address))
        stack.enter_context(at_work(folder, team, wires.hosts, wires.address))
        yield stack.enter_context(office(team))


def main() -> None:
    """Race so often; the exit code is 1 if something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    given = parser.parse_args()
    end_blocks_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="tandem-races-") as place, _two_hosts(Path(place)) as people:
        races = []
        for number in range(1, given.runs + 1):
            races.append(raced(people, f"race-{number}"))
            print(races[-1], flush=True)
    bad = [race for race in races if race.faults()]
    print(f"{len(races)} races: {len(races) - len(bad)} with one champion, {len(bad)} without.")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
