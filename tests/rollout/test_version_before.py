"""The version that another has replaced, and what a person is told to type where there is none."""

import asyncio

import pytest

from flows.errors import DataAssetError
from flows.mlflow_store.model_registry import ModelVersion
from flows.rollout.champion import version_before


class Registry:
    """Has one version of a model."""

    async def version(self, name: str, version: int) -> ModelVersion | None:
        return ModelVersion(name, version, False, None, "/m") if version == 2 else None


def version(number: int, before: int | None = None) -> ModelVersion:
    return ModelVersion("m", number, False, None, "/m", tags={"tandem.compared_with": str(before)} if before else {})


def test_version_that_was_replaced_is_found() -> None:
    found = asyncio.run(version_before(Registry(), version(3, before=2), "tandem deploy {}"))  # pyright: ignore[reportArgumentType]
    assert found.version == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [(version(1), "m:1 has replaced no other"), (version(9, before=8), "m:9 has replaced version 8, which is gone")],
)
@pytest.mark.parametrize("command", ["tandem promote {} --reason TEXT", "tandem deploy {} --endpoint shop"])
def test_where_there_is_none_the_command_that_does_what_was_asked_for_is_told(
    asked: ModelVersion, said: str, command: str
) -> None:
    with pytest.raises(DataAssetError) as refused:
        asyncio.run(version_before(Registry(), asked, command))  # pyright: ignore[reportArgumentType]
    told = f"{said}. Nothing was changed. Name a version: {command.format('m:VERSION')}"
    assert str(refused.value) == told
