"""Whom a challenger is compared with, also when a flow run is tried again after it has registered its model."""

import asyncio
from collections.abc import Mapping

import pytest

from flows.mlflow_store.model_registry import Candidate, ModelVersion, Overtaken
from flows.training.registration import champion_to_beat


class Versions:
    """A registry of versions that are given, the last being the champion."""

    def __init__(self, *versions: ModelVersion) -> None:
        self.versions = versions

    async def champion(self, model_name: str) -> ModelVersion | None:
        return self.versions[-1] if self.versions else None

    async def version(self, model_name: str, version: int) -> ModelVersion | None:
        return next((one for one in self.versions if one.version == version), None)

    async def register(self, candidate: Candidate) -> ModelVersion:
        raise AssertionError

    async def promote(
        self, candidate: Candidate, *, compared_with: int | None, flow_run_id: str
    ) -> ModelVersion | Overtaken:
        raise AssertionError

    async def move(
        self, model_name: str, version: int, *, champion: int | None, new: Mapping[str, str], old: Mapping[str, str]
    ) -> ModelVersion | Overtaken:
        raise AssertionError

    async def tag(self, model_name: str, version: int, name: str, value: str) -> None:
        raise AssertionError


def version(number: int, **tags: str) -> ModelVersion:
    named = {f"tandem.{name}": value for name, value in tags.items()}
    return ModelVersion("m", number, False, None, "/m", tags=named)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ((), None),
        ((version(1, flow_run="old"),), 1),
        ((version(1, flow_run="now", compared_with="none"),), None),
        ((version(1, flow_run="old"), version(2, flow_run="now", compared_with="1")), 1),
    ],
    ids=["no champion", "champion of another flow run", "ours, the first", "ours, after another"],
)
def test_second_try_of_a_flow_run_meets_the_champion_that_its_first_try_met(
    versions: tuple[ModelVersion, ...], expected: int | None
) -> None:
    met = asyncio.run(champion_to_beat(Versions(*versions), "m", "now"))
    assert (None if met is None else met.version) == expected
