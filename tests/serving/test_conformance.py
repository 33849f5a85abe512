"""What every place of serving does, as a rollout asks it: one test a behaviour, run on each place."""

import asyncio
import json
from dataclasses import dataclass, replace

import pytest

from flows.errors import ServingError
from flows.serving.endpoints import ServingState
from flows.serving.serving import Serving
from tests.serving.looks import served, state_of, there, until, version_of
from tests.serving.scripts import ENDPOINT, Definitions, asking

pytestmark = pytest.mark.filterwarnings("ignore")  # of Azure's SDK, when it is imported

NO_SHARES: list[tuple[dict[str, int], dict[str, int]]] = [
    ({"blue": 50}, {}),
    ({"blue": 99, "green": 2}, {}),
    ({"blue": 150, "green": -50}, {}),
    ({"blue": -100}, {}),
    ({"blue": 100, "red": 0}, {}),
    ({"red": 100}, {}),
    ({"../blue": 100}, {}),
    ({"blue": 100}, {"green": 51}),
    ({"blue": 100}, {"green": -1}),
    ({"blue": 100}, {"blue": 10}),
    ({"blue": 100}, {"red": 10}),
    ({}, {"blue": 10, "green": 10}),
]
NO_NAMES = ["../up", "a/b", "with space", "under_score", "ab", "1st-of-all", "ends-", "x" * 33, "", "Ünal", "..."]


@dataclass(frozen=True)
class Served:
    """An endpoint with blue, which has all of the traffic, and green."""

    serving: Serving
    definitions: Definitions


@pytest.fixture
def two_served(serving: Serving, definitions: Definitions) -> Served:
    async def deploy() -> None:
        await served(serving, definitions)
        await serving.deploy(definitions.request("green", 2))

    asyncio.run(deploy())
    return Served(serving, definitions)


def test_an_endpoint_is_made_once_without_traffic_and_is_listed(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        assert await serving.endpoint(ENDPOINT) is None
        made = await serving.create_endpoint(definitions.endpoint)
        assert (made.name, made.state, made.deployments) == (ENDPOINT, ServingState.SUCCEEDED, ())
        assert sum(made.traffic.values()) == 0 and made.tags["team"] == "clinic"
        await serving.tag(ENDPOINT, {"lease": "until noon"})
        again = await serving.create_endpoint(definitions.endpoint)
        assert again.tags["lease"] == "until noon"
        listed = [each.name for each in await serving.endpoints()]
        assert ENDPOINT in listed and listed == sorted(listed)

    asyncio.run(behaviour())


def test_a_deployment_answers_by_its_name_before_it_has_a_share_and_by_the_shares_after(
    serving: Serving, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue", 3, tags={"made-by": "test"}))
        endpoint = await serving.endpoint(ENDPOINT)
        assert endpoint is not None
        blue = endpoint.deployment("blue")
        assert blue is not None and blue.model is not None and blue.state is ServingState.SUCCEEDED
        assert (blue.model.label, blue.instances, blue.tags["made-by"]) == ("patients-model:3", 1, "test")
        by_name = await serving.score(ENDPOINT, asking(), "blue")
        assert (by_name.status, by_name.deployment, by_name.seconds > 0) == (200, "blue", True)
        assert json.loads(by_name.body)["version"] == 3
        assert (await serving.score(ENDPOINT, asking())).status == 404
        assert (await serving.score(ENDPOINT, asking(), "green")).status == 404
        await serving.set_traffic(ENDPOINT, {"blue": 100})
        by_share = await serving.score(ENDPOINT, asking())
        assert (by_share.status, by_share.deployment) == (200, "blue")

    asyncio.run(behaviour())


def test_shares_that_cannot_be_are_refused_and_leave_the_traffic_as_it_was(two_served: Served) -> None:
    async def behaviour() -> None:
        for shares, mirror in NO_SHARES:
            with pytest.raises(ServingError, match=ENDPOINT):
                await two_served.serving.set_traffic(ENDPOINT, shares, mirror)
            endpoint = await there(two_served.serving)
            assert (endpoint.traffic, endpoint.mirror) == ({"blue": 100}, {})

    asyncio.run(behaviour())


def test_a_mirror_gets_copies_that_nobody_sees_until_it_is_taken_away(two_served: Served) -> None:
    serving = two_served.serving

    async def log() -> str:
        return "\n".join((await serving.logs(ENDPOINT, "green")).values())

    async def behaviour() -> None:
        await serving.set_traffic(ENDPOINT, {"blue": 100, "green": 0}, {"green": 50})
        endpoint = await there(serving)
        assert (endpoint.traffic, endpoint.mirror) == ({"blue": 100}, {"green": 50})
        by_name = [await serving.score(ENDPOINT, asking(says="name"), "blue") for _ in range(20)]
        answers = [await serving.score(ENDPOINT, asking(says="share")) for _ in range(20)]
        assert {(each.status, each.deployment) for each in by_name + answers} == {(200, "blue")}
        seen = await until(log, lambda text: text.count("asked by share") >= 3)
        assert "asked by name" not in seen
        with pytest.raises(ServingError, match="green"):
            await serving.delete_deployment(ENDPOINT, "green")
        await serving.set_traffic(ENDPOINT, {"blue": 100}, {"green": 0})
        assert (await there(serving)).mirror == {}
        await serving.set_traffic(ENDPOINT, {"blue": 100}, {"green": 50})
        await serving.set_traffic(ENDPOINT, {"blue": 100})
        assert (await there(serving)).mirror == {}

    asyncio.run(behaviour())


def test_tags_are_set_and_taken_away_and_the_shares_stay(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue"))
        await serving.set_traffic(ENDPOINT, {"blue": 100})
        await serving.tag(ENDPOINT, {"lease": "a", "shares": "b"})
        await serving.tag(ENDPOINT, {"lease": None, "shares": "c", "absent": None})
        endpoint = await serving.endpoint(ENDPOINT)
        assert endpoint is not None
        assert (endpoint.tags["shares"], "lease" in endpoint.tags, endpoint.tags["team"]) == ("c", False, "clinic")
        assert endpoint.traffic["blue"] == 100

    asyncio.run(behaviour())


def test_a_deployment_that_cannot_start_fails_with_its_log_and_can_be_put_again(
    serving: Serving, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        with pytest.raises(ServingError, match="blue"):
            await serving.deploy(definitions.request("blue", more='environment_variables: {FAILS: "yes"}'))
        endpoint = await serving.endpoint(ENDPOINT)
        assert endpoint is not None
        blue = endpoint.deployment("blue")
        assert blue is not None and blue.state is ServingState.FAILED
        logs = "\n".join((await serving.logs(ENDPOINT, "blue")).values())
        assert "starts with weights 1" in logs and "the weights do not fit" in logs
        await serving.deploy(definitions.request("blue", 2))
        assert await version_of(serving, "blue") == 2

    asyncio.run(behaviour())


def test_a_deployment_put_again_with_another_model_serves_that(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue", 1))
        await serving.set_traffic(ENDPOINT, {"blue": 100})
        await serving.deploy(definitions.request("blue", 2))
        assert await version_of(serving) == 2

    asyncio.run(behaviour())


def test_a_deployment_that_is_asked_for_twice_at_once_is_made_once(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        request = definitions.request("blue")
        await asyncio.gather(*(serving.deploy(request) for _ in range(3)))
        await serving.deploy(request)
        assert (await starts(serving, "blue"), await version_of(serving, "blue")) == (1, 1)

    asyncio.run(behaviour())


def test_a_deployment_whose_asker_has_gone_is_waited_for_and_not_made_again(
    serving: Serving, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        request = definitions.request("blue")
        first = asyncio.create_task(serving.deploy(request))
        await until(lambda: state_of(serving, "blue"), lambda state: state is not None)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await serving.deploy(request)
        assert await state_of(serving, "blue") is ServingState.SUCCEEDED
        assert (await starts(serving, "blue"), await version_of(serving, "blue")) == (1, 1)

    asyncio.run(behaviour())


async def starts(serving: Serving, deployment: str) -> int:
    """How often the script of a deployment was started."""
    return (await serving.logs(ENDPOINT, deployment))["inference-server"].count("starts with")


def test_tags_of_a_deployment_are_those_that_it_was_last_asked_for_with(
    serving: Serving, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        for made_by in ("a", "b"):
            await serving.deploy(definitions.request("blue", tags={"made-by": made_by}))
            blue = (await there(serving)).deployment("blue")
            assert blue is not None and blue.tags["made-by"] == made_by

    asyncio.run(behaviour())


def test_logs_are_told_by_container_as_many_lines_as_are_asked_for(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await served(serving, definitions)
        for number in range(5):
            await serving.score(ENDPOINT, asking(says=f"number {number}"))
        logs = await serving.logs(ENDPOINT, "blue")
        assert "starts with weights 1" in logs["inference-server"] and "asked by number 4" in logs["inference-server"]
        assert set(logs) <= {"inference-server", "storage-initializer"}
        short = (await serving.logs(ENDPOINT, "blue", 2))["inference-server"].splitlines()
        assert len(short) == 2 and "starts with weights 1" not in short

    asyncio.run(behaviour())


def test_a_deployment_is_scaled(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue"))
        for instances in (2, 1):
            await serving.scale(ENDPOINT, "blue", instances)
            endpoint = await serving.endpoint(ENDPOINT)
            assert endpoint is not None
            blue = endpoint.deployment("blue")
            assert blue is not None and (blue.instances, blue.state) == (instances, ServingState.SUCCEEDED)
            assert await version_of(serving, "blue") == 1
        for none in (0, -1):
            with pytest.raises(ServingError, match="blue"):
                await serving.scale(ENDPOINT, "blue", none)
        await serving.scale(ENDPOINT, "blue", 2)
        await serving.deploy(definitions.request("blue"))
        blue = (await there(serving)).deployment("blue")
        assert blue is not None and blue.instances == 2  # what is made of the same is left as it is

    asyncio.run(behaviour())


def test_quota_is_asked_for_and_nothing_is_made(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await serving.check_quota(definitions.deployment(), 2)
        assert await serving.endpoint(ENDPOINT) is None

    asyncio.run(behaviour())


def test_a_deployment_with_a_share_is_not_deleted_and_one_without_is(
    serving: Serving, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue", 1))
        await serving.deploy(definitions.request("green", 2))
        await serving.set_traffic(ENDPOINT, {"blue": 100})
        with pytest.raises(ServingError, match="blue"):
            await serving.delete_deployment(ENDPOINT, "blue")
        await serving.delete_deployment(ENDPOINT, "green")
        await serving.delete_deployment(ENDPOINT, "green")
        endpoint = await serving.endpoint(ENDPOINT)
        assert endpoint is not None and [each.name for each in endpoint.deployments] == ["blue"]
        assert await version_of(serving) == 1
        await serving.delete_endpoint(ENDPOINT)
        await serving.delete_endpoint(ENDPOINT)
        assert await serving.endpoint(ENDPOINT) is None

    asyncio.run(behaviour())


def test_an_endpoint_is_deleted_with_its_deployments_and_can_be_made_anew(two_served: Served) -> None:
    serving, definitions = two_served.serving, two_served.definitions

    async def behaviour() -> None:
        address, key = (await there(serving)).scoring_uri, await serving.key(ENDPOINT)
        await asyncio.gather(*(serving.delete_endpoint(ENDPOINT) for _ in range(2)))
        assert await serving.endpoint(ENDPOINT) is None
        await serving.delete_deployment(ENDPOINT, "blue")
        await serving.delete_endpoint(ENDPOINT)
        again = await served(serving, definitions)
        assert ([each.name for each in again.deployments], again.tags) == (["blue"], {"team": "clinic"})
        assert again.scoring_uri == address and await serving.key(ENDPOINT) != key
        assert await version_of(serving) == 1

    asyncio.run(behaviour())


def test_what_cannot_be_a_name_is_refused_and_never_there(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        for name in NO_NAMES:
            with pytest.raises(ServingError, match="cannot be the name of an endpoint"):
                await serving.create_endpoint(replace(definitions.endpoint, name=name))
            with pytest.raises(ServingError, match="cannot be the name of a deployment"):
                await serving.deploy(definitions.request(name))
            assert await serving.endpoint(name) is None
            questions = [
                serving.key(name),
                serving.score(name, asking()),
                serving.tag(name, {"a": "b"}),
                serving.set_traffic(name, {}),
                serving.logs(ENDPOINT, name),
                serving.scale(ENDPOINT, name, 2),
                serving.set_traffic(ENDPOINT, {name: 100}),
            ]
            for question in questions:
                with pytest.raises(ServingError):
                    await question
            await serving.delete_endpoint(name)
            await serving.delete_deployment(ENDPOINT, name)
        assert (await there(serving)).deployments == ()

    asyncio.run(behaviour())


def test_what_is_not_there_is_named(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        for question in (
            serving.score(ENDPOINT, asking()),
            serving.set_traffic(ENDPOINT, {}),
            serving.tag(ENDPOINT, {"a": "b"}),
            serving.key(ENDPOINT),
            serving.deploy(definitions.request("blue")),
        ):
            with pytest.raises(ServingError, match=ENDPOINT):
                await question
        await serving.create_endpoint(definitions.endpoint)
        for question in (serving.logs(ENDPOINT, "blue"), serving.scale(ENDPOINT, "blue", 2)):
            with pytest.raises(ServingError, match="blue"):
                await question

    asyncio.run(behaviour())
