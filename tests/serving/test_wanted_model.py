"""What is said where a model that was asked for is not there."""

import asyncio
from typing import Any

import pytest

from flows.errors import DataAssetError
from flows.serving.wanted_model import find_version


class Empty:
    """A registry that has nothing."""

    async def champion(self, model_name: str) -> None:
        return None

    async def version(self, model_name: str, version: int) -> None:
        return None


@pytest.mark.parametrize(("name", "trains"), [("diabetes-predict", True), ("churn", False)])
def test_training_is_the_remedy_for_the_model_of_this_project_only(name: str, trains: bool) -> None:
    registry: Any = Empty()
    with pytest.raises(DataAssetError) as caught:
        asyncio.run(find_version(registry, name))
    said = str(caught.value)
    assert ("make train" in said) is trains
    assert f"tandem promote {name}:VERSION --reason TEXT" in said
