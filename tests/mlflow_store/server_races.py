"""Races of processes that share an MLflow server and are killed: ``python -m tests.mlflow_store.server_races``.

In each race, several machines train models of one name at once and promote them. Some are killed at random; whoever is
killed or overtaken starts again. Afterwards there must be one champion, with the alias at it, and each champion must
have been better than the one before it. ``--races 50 --racers 3`` are the default.
"""

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from flows.errors import ServiceError
from flows.mlflow_store.model_registry import MlflowTracking
from tests.mlflow_store.mortal_workers import MortalWorkers
from tests.mlflow_store.races import MARGIN, Races
from tests.mlflow_store.servers import MlflowServer
from tests.mlflow_store.stores import Store


@dataclass
class Figures:
    """What came of all races."""

    races: int = 0
    kills: int = 0
    promotions: int = 0
    overtaken: int = 0


class Racer:
    """A machine of its own that uses the server; its worker may be killed, and is started again."""

    def __init__(self, folder: Path, server: MlflowServer, workers: MortalWorkers, figures: Figures) -> None:
        self.store = Store(folder)
        self.store.environment |= server.environment
        self._workers = workers
        self._figures = figures

    async def race(self, race: Races, label: str) -> None:
        """Challenge until the model is promoted, or is not better than the champion."""
        tries = 1
        while await self._challenge(race, label, f"{label}/{tries}"):
            tries += 1
            self._figures.overtaken += 1

    async def _challenge(self, race: Races, label: str, flow_run: str) -> bool:
        while True:
            try:
                async with self._workers.line(self.store.environment) as worker:
                    registry = MlflowTracking(worker)
                    run_id = await registry.create_run("races", label)
                    return await race.challenge(registry, label, self.store.model(label, label), run_id, flow_run)
            except ServiceError as error:
                assert "ended before it answered" in str(error), error
                self._figures.kills += 1


async def race_on_a_server(folder: Path, racers: int, races: int, seed: int = 11) -> Figures:
    """Race on machines that share nothing but the server.

    Raises:
        AssertionError: There is not one champion with the alias at it, or it was not better than the one before it.
    """
    figures, chance = Figures(), random.Random(seed)
    with MlflowServer(folder / "server") as server, MortalWorkers(folder / "workers.log") as workers:
        machines = [Racer(folder / str(number), server, workers, figures) for number in range(racers)]
        reader, client = {**Store(folder / "reader").environment, **server.environment}, server.client()
        for number in range(races):
            race = Races(f"race-{number}")
            labels = [f"{number}-{racer}" for racer in range(racers)]
            race.scores |= {label: 0.8 + chance.randrange(12) * MARGIN / 4 for label in labels}
            await asyncio.gather(*(machine.race(race, label) for machine, label in zip(machines, labels, strict=True)))
            async with workers.line(reader, mortal=False) as worker:
                champion = await MlflowTracking(worker).champion(race.name)
            race.assert_each_was_better_than_the_one_before_it(champion)
            assert champion is not None
            assert int(client.get_model_version_by_alias(race.name, "champion").version) == champion.version
            figures.races += 1
            figures.promotions += len(race.promoted)
    return figures


def main() -> int:
    """Race, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--racers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=11)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="races-") as folder:
        figures = asyncio.run(race_on_a_server(Path(folder), asked.racers, asked.races, asked.seed))
    print(f"{figures}, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
