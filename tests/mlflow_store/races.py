"""Promotions of one model name through several registries, and what must hold of them."""

from dataclasses import dataclass, field
from typing import Any

from flows.mlflow_store.model_registry import Candidate, ModelRegistry, ModelVersion, Overtaken
from flows.training.gate import GatePolicy, decide
from tests.training.scores import auc

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
            Candidate(self.name, model, run, {"model": model}, {"label": label}),
            compared_with=before,
            flow_run_id=flow_run,
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
