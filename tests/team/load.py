"""Many flow runs at once on one Prefect server: how many failed, and how many requests the server refused as busy.

``python -m tests.team.load --runs 200`` measures a server on PostgreSQL beside one on SQLite.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flows.machine.child import wait_until
from tests.team.postgres import end_blocks_on_sigterm, postgres_server
from tests.team.servers import START_SECONDS, prefect_child, responds

STORES = ("postgresql", "sqlite")
CREDENTIAL = "team:load"
TIMEOUT_SECONDS = 300.0  # nothing that the server answers takes so long unless it hangs


@dataclass(frozen=True, slots=True)
class Load:
    """What came of flow runs at once. ``refused`` counts requests by status of 400 or more, or by what went wrong.

    Nothing is asked twice.
    """

    runs: int
    failed: int
    requests: int
    refused: Mapping[str, int]
    seconds: float

    def __str__(self) -> str:
        refused = ", ".join(f"{count} × {code}" for code, count in self.refused.items()) or "none"
        return (
            f"{self.runs} flow runs at once: {self.failed} failed; of {self.requests:,} requests refused: {refused}; "
            f"{self.seconds:.0f} s"
        )


async def loaded(api: str, credential: str, runs: int) -> Load:
    """Begin and end flow runs at once on a server, by the requests that a worker and a flow's process make."""
    codes = Counter[int]()
    user, _, password = credential.partition(":")
    # A kept connection may be closed by the server in the moment in which it is used again.
    limits = httpx.Limits(max_connections=runs, max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=api, auth=(user, password), timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False
    ) as client:

        async def ask(path: str, **asked: Any) -> dict[str, Any]:
            response = await client.post(path, json=asked)
            codes[response.status_code] += 1
            return response.raise_for_status().json()

        async def run(flow: str, number: int) -> None:
            made = await ask("/flow_runs/", flow_id=flow, name=f"run {number}", state={"type": "SCHEDULED"})
            for kind in ("PENDING", "RUNNING", "COMPLETED"):
                answer = await ask(f"/flow_runs/{made['id']}/set_state", state={"type": kind})
                assert answer["status"] == "ACCEPT", answer

        flow = (await ask("/flows/", name="at-once"))["id"]
        start = time.monotonic()
        ended = await asyncio.gather(*(run(flow, number) for number in range(runs)), return_exceptions=True)
    failed = sum(each is not None for each in ended)
    refused = {str(code): count for code, count in sorted(codes.items()) if code >= 400}
    lost = Counter(type(each).__name__ for each in ended if each and not isinstance(each, httpx.HTTPStatusError))
    refused |= lost
    return Load(runs, failed, codes.total(), refused, round(time.monotonic() - start, 1))


@contextmanager
def _database(store: str, folder: Path) -> Generator[str]:
    if store == "sqlite":
        yield f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
        return
    with postgres_server() as postgres:
        postgres.make_database("prefect")
        yield postgres.address("prefect", "postgresql+asyncpg")


def _measure(store: str, runs: int) -> Load:
    with tempfile.TemporaryDirectory(prefix="tandem-load-") as place, _database(store, Path(place)) as database:
        server, api = prefect_child(Path(place), database, CREDENTIAL)
        with server:
            if not wait_until(lambda: responds(f"{api}/health"), [server], START_SECONDS):
                raise RuntimeError(f"The Prefect server did not start within {START_SECONDS:g} s.")
            return asyncio.run(loaded(api, CREDENTIAL, runs))


def main() -> None:
    """Measure a server on each store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--store", choices=STORES, help="one of them; both if not given")
    given = parser.parse_args()
    end_blocks_on_sigterm()
    for store in [given.store] if given.store else STORES:
        print(f"{store:10}  {_measure(store, given.runs)}", flush=True)


if __name__ == "__main__":
    main()
