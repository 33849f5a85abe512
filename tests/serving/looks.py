"""What tests of any place of serving look at, and wait for."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flows.serving.endpoints import Endpoint, ServingState
from flows.serving.serving import Serving
from tests.serving.scripts import ENDPOINT, Definitions, asking
from tests.waiting import DEADLINE_SECONDS

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], object]) -> T:
    """What is seen, once it is as it should be."""
    end = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    while not holds(found := await look()):
        assert asyncio.get_running_loop().time() < end, f"waited in vain, and see {found}"
        await asyncio.sleep(0.05)
    return found


async def there(serving: Serving) -> Endpoint:
    """The endpoint, which is there."""
    found = await serving.endpoint(ENDPOINT)
    assert found is not None
    return found


async def state_of(serving: Serving, deployment: str) -> ServingState | None:
    found = (await there(serving)).deployment(deployment)
    return found and found.state


async def served(serving: Serving, definitions: Definitions, more: str = "") -> Endpoint:
    """An endpoint with blue, which serves version 1 and has all of the traffic."""
    await serving.create_endpoint(definitions.endpoint)
    await serving.deploy(definitions.request("blue", more=more))
    await serving.set_traffic(ENDPOINT, {"blue": 100})
    return await there(serving)


async def version_of(serving: Serving, deployment: str | None = None) -> int:
    answer = await serving.score(ENDPOINT, asking(), deployment)
    assert answer.status == 200, answer
    return json.loads(answer.body)["version"]
