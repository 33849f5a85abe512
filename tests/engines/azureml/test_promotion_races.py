"""Models that are promoted at once in a workspace, which has no lock: one champion, whatever the order of the requests.

The service is a workspace in memory here, in which chance says whose request comes next, who is killed, and who stands
still for long: so many thousand orders are seen. With the real SDK, and fewer of them: `test_azure_model_registry.py`.
"""

import asyncio
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.mlflow_store.races import Races

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.models import RemoteModel

pytestmark = pytest.mark.filterwarnings("ignore")

NAME = "m"


@dataclass
class Turns:
    """Lets one request through at a time, in an order that is drawn."""

    chance: random.Random
    waiting: list[asyncio.Future[None]] = field(default_factory=list[Any])

    async def mine(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn

    async def run(self, tasks: Mapping[str, "asyncio.Task[Any]"], kills: int) -> None:
        """Until all are over; so many of them are killed before a request of theirs is answered, or after."""
        while any(not task.done() for task in tasks.values()):
            await asyncio.sleep(0)
            if not self.waiting:
                continue
            alive = [task for task in tasks.values() if not task.done()]
            if kills and alive and self.chance.random() < 0.1:
                self.chance.choice(alive).cancel()
                kills -= 1
                continue
            # Some stand still while many others are served.
            at = 0 if self.chance.random() < 0.3 else self.chance.randrange(len(self.waiting))
            turn = self.waiting.pop(-1 - at if self.chance.random() < 0.3 else at)
            if not turn.done():
                turn.set_result(None)


@dataclass
class Workspace:
    """The versions of one model, as a workspace keeps them. Tags are changed in two requests, as in the SDK."""

    turns: Turns
    kept: dict[int, "RemoteModel"] = field(default_factory=dict[int, Any])
    archived: frozenset[int] = frozenset()

    async def versions(self, name: str) -> "tuple[RemoteModel, ...]":
        await self.turns.mine()
        found = tuple(self.kept[number] for number in sorted(self.kept))
        await self.turns.mine()  # the answer is on its way
        return found

    async def numbers(self, name: str) -> frozenset[int]:
        await self.turns.mine()
        return frozenset(self.kept) | self.archived

    async def create(
        self, name: str, version: int, path: str, tags: Mapping[str, str], description: str = ""
    ) -> "RemoteModel":
        from flows.engines.azureml.sdk.models import RemoteModel
        from flows.engines.azureml.sdk.retries import AlreadyThereError

        await self.turns.mine()
        if version in self.archived or (version in self.kept and self.kept[version].path != path):
            raise AlreadyThereError("taken")
        made = self.kept[version] = RemoteModel(name, version, path, None, dict(tags))
        await self.turns.mine()
        return made

    async def tag(self, name: str, version: int, tags: Mapping[str, str | None]) -> None:
        await self.turns.mine()
        read = self.kept[version]
        await self.turns.mine()
        changed = {**read.tags, **tags}
        self.kept[version] = replace(read, tags={name: text for name, text in changed.items() if text is not None})


async def one_order(seed: int) -> None:
    from flows.engines.azureml.registry import AzureModelRegistry

    chance = random.Random(seed)
    turns = Turns(chance)
    workspace = Workspace(turns, archived=frozenset(chance.sample(range(1, 6), chance.randrange(3))))
    registry: Any = AzureModelRegistry(SimpleNamespace(models=workspace))  # type: ignore[arg-type]
    race = Races(NAME)
    labels = [f"run-{number}" for number in range(chance.randrange(2, 6))]
    race.scores |= {label: 0.8 + chance.randrange(12) / 4000 for label in labels}

    async def run(label: str, flow_run: str) -> bool:
        again = await race.challenge(registry, label, flow_run, flow_run)
        if not again and chance.random() < 0.3:  # as a run that was rejected does
            champion = await registry.champion(NAME)
            if champion is not None:
                await registry.tag(NAME, champion.version, "tandem.rejected_basis", label)
        return again

    kills, numbers = chance.randrange(4), itertools.count(1)
    left = {label: f"{label}/0" for label in labels}
    while left:
        tasks = {label: asyncio.create_task(run(label, left[label])) for label in left}
        await turns.run(tasks, kills)
        killed = {label: left[label] for label, task in tasks.items() if task.cancelled()}
        overtaken = [label for label, task in tasks.items() if not task.cancelled() and task.result()]
        left = {**killed, **{label: f"{label}/{next(numbers)}" for label in overtaken}}
        kills = max(0, kills - 1)
    last = asyncio.create_task(registry.champion(NAME))
    await turns.run({"": last}, 0)
    race.assert_each_was_better_than_the_one_before_it(last.result())


def test_each_champion_of_a_workspace_was_compared_with_the_one_before_it_in_any_order_of_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.engines.azureml.sdk.retries.FIRST_SECONDS", 0.0)
    for seed in range(300):
        try:
            asyncio.run(one_order(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
