"""Models that are promoted at once: one champion, and each champion was compared with the one before it."""

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from flows.errors import ServiceError
from flows.mlflow_store.model_registry import MlflowTracking, NewRun
from tests.mlflow_store.races import MARGIN, Races
from tests.mlflow_store.servers import MlflowServer
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


# A worker that is killed now and then, before or after a request that changes the registry.
KILLED_AT_TIMES = f"""
import os, random, runpy, signal, mlflow
def deadly(name):
    method = getattr(mlflow.MlflowClient, name)
    def call(*values, **named):
        chance = random.random()
        if chance < 0.04:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = method(*values, **named)
        if chance > 0.96:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    setattr(mlflow.MlflowClient, name, call)
for name in ("create_model_version", "set_registered_model_alias", "set_model_version_tag", "delete_model_version"):
    deadly(name)
runpy.run_path({WORKER!r}, run_name="__main__")
"""


class Racer:
    """A machine of its own that uses the server; its worker may be killed, and is started again."""

    def __init__(self, folder: Path, server: MlflowServer) -> None:
        self.store = Store(folder)
        self.store.environment |= server.environment
        self.kills = 0

    async def race(self, race: Races, label: str) -> None:
        """Challenge until the model is promoted, or is not better than the champion."""
        tries, again = 0, True
        while again:
            tries += 1
            flow_run = f"{label}/{tries}"
            again = await self._challenge(race, label, flow_run)

    async def _challenge(self, race: Races, label: str, flow_run: str) -> bool:
        while True:
            try:
                async with line_to(
                    "-c", KILLED_AT_TIMES, environment=self.store.environment, timeout_seconds=600
                ) as worker:
                    registry = MlflowTracking(worker)
                    run_id = await registry.create_run("races", label)
                    return await race.challenge(registry, label, self.store.model(label, label), run_id, flow_run)
            except ServiceError:
                self.kills += 1


async def race_on_a_server(folder: Path, racers: int, races: int) -> int:
    """Race on machines that share nothing but the server; how many workers were killed."""
    with MlflowServer(folder / "server") as server:
        machines = [Racer(folder / str(number), server) for number in range(racers)]
        chance = random.Random(11)
        reader = Racer(folder / "reader", server)
        for number in range(races):
            race = Races(f"race-{number}")
            labels = [f"{number}-{racer}" for racer in range(racers)]
            race.scores |= {label: 0.8 + chance.randrange(12) * MARGIN / 4 for label in labels}
            await asyncio.gather(*(machine.race(race, label) for machine, label in zip(machines, labels, strict=True)))
            async with line_to(WORKER, environment=reader.store.environment, timeout_seconds=600) as worker:
                champion = await MlflowTracking(worker).champion(race.name)
            race.assert_each_was_better_than_the_one_before_it(champion)
            assert champion is not None
            alias = server.client().get_model_version_by_alias(race.name, "champion")
            assert int(alias.version) == champion.version
        return sum(machine.kills for machine in machines)


@pytest.mark.slow
def test_each_champion_on_a_server_was_compared_with_the_one_before_it_whoever_is_killed(tmp_path: Path) -> None:
    assert asyncio.run(race_on_a_server(tmp_path, racers=3, races=5)) > 0
