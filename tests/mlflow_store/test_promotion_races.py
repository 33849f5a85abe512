"""Models that are promoted at once: one champion, and each champion was compared with the one before it."""

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from flows.mlflow_store.model_registry import MlflowTracking, NewRun
from tests.mlflow_store.races import MARGIN, Races
from tests.mlflow_store.server_races import race_on_a_server
from tests.mlflow_store.stores import WORKER, Store, line_to


async def race_on_this_machine(store: Store, racers: int, races: int) -> None:
    async with contextlib.AsyncExitStack() as lines:
        workers = [line_to(WORKER, environment=store.environment, timeout_seconds=600) for _ in range(racers)]
        registries = [MlflowTracking(await lines.enter_async_context(worker)) for worker in workers]
        chance = random.Random(7)
        for number in range(races):
            race = Races(f"race-{number}")
            runs = await registries[0].create_runs("races", [NewRun(str(racer)) for racer in range(racers)])
            labels = [f"{number}-{racer}" for racer in range(racers)]
            race.scores |= {label: 0.8 + chance.randrange(12) * MARGIN / 4 for label in labels}
            models = [store.model(label, label) for label in labels]
            left = list(range(racers))
            tries = 0
            while left:  # whoever was overtaken is started again
                tries += 1
                again = await asyncio.gather(
                    *(race.challenge(registries[at], labels[at], models[at], runs[at], f"{at}/{tries}") for at in left)
                )
                left = [at for at, must in zip(left, again, strict=True) if must]
            race.assert_each_was_better_than_the_one_before_it(await registries[0].champion(race.name))
            # Whoever was overtaken has registered nothing.
            assert await registries[0].version(race.name, len(race.promoted)) is not None
            assert await registries[0].version(race.name, len(race.promoted) + 1) is None


def test_each_champion_on_this_machine_was_compared_with_the_one_before_it(tmp_path: Path) -> None:
    asyncio.run(race_on_this_machine(Store(tmp_path), racers=3, races=20))


@pytest.mark.slow
def test_each_champion_on_this_machine_was_compared_with_the_one_before_it_in_150_races(tmp_path: Path) -> None:
    asyncio.run(race_on_this_machine(Store(tmp_path), racers=4, races=150))


@pytest.mark.slow
def test_each_champion_on_a_server_was_compared_with_the_one_before_it_whoever_is_killed(tmp_path: Path) -> None:
    figures = asyncio.run(race_on_a_server(tmp_path, racers=3, races=10))
    assert figures.races == 10 and figures.kills > 0
