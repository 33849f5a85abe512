"""Models that are promoted at once: one champion, and each champion was compared with the one before it."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.mlflow_store.model_registry import MlflowTracking, ModelRegistry, ModelVersion, NewRun, Overtaken
from flows.training.gate import GatePolicy, decide
from tests.mlflow_store.test_model_registry import WORKER, Store, line_to
from tests.training.test_gate import auc

MARGIN = GatePolicy().min_improvement


@dataclass
class Races:
    """Models of one name that are promoted through several registries, and what whoever promoted them was told."""

    name: str
    scores: dict[str, float] = field(default_factory=dict[str, float])
    compared: dict[str, ModelVersion | None] = field(default_factory=dict[str, Any])
    promoted: dict[int, tuple[str, int | None]] = field(default_factory=dict[int, Any])

    async def challenge(self, registry: ModelRegistry, label: str, model: str, run: str, flow_run: str = "") -> bool:
        """One run, from its first look at the champion to the end; whether it was overtaken, and should be made again.

        A flow run that was killed, and goes on, has its job compared with the champion that it was given before.
        """
        flow_run = flow_run or run
        if flow_run not in self.compared:
            self.compared[flow_run] = await registry.champion(self.name)
        champion = self.compared[flow_run]
        best = None if champion is None else auc(self.scores[champion.tags["label"]])
        if not decide(auc(self.scores[label]), best, GatePolicy()).promoted:
            return False
        before = None if champion is None else champion.version
        made = await registry.promote(
            self.name,
            model,
            run_id=run,
            idempotency_tags={"model": model},
            compared_with=before,
            flow_run_id=flow_run,
            tags={"label": label},
        )
        if isinstance(made, Overtaken):
            assert made.by != before
            return True
        self.promoted[made.version] = label, before
        return False

    def assert_each_was_better_than_the_one_before_it(self, champion: ModelVersion | None) -> None:
        assert champion is not None
        line: list[int] = []
        version: int | None = champion.version
        while version is not None:
            line.append(version)
            label, before = self.promoted[version]
            if before is not None:
                assert self.scores[label] >= self.scores[self.promoted[before][0]] + MARGIN - 1e-9
            version = before
        assert sorted(line) == sorted(self.promoted), "someone was told that it was promoted, and was not"


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
