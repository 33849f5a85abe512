"""What every place of serving does, as a rollout asks it: one test a behaviour, run on each place."""

import asyncio
import json
from collections import Counter

import httpx
import pytest

from flows.errors import ServingError
from flows.serving.endpoints import ServingState
from flows.serving.serving import Serving
from tests.serving.scripts import ENDPOINT, Definitions, asking


async def version_of(serving: Serving, deployment: str | None = None) -> int:
    answer = await serving.score(ENDPOINT, asking(), deployment)
    assert answer.status == 200, answer
    return json.loads(answer.body)["version"]


def test_an_endpoint_is_made_once_without_traffic_and_is_listed(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        assert await serving.endpoint(ENDPOINT) is None
        made = await serving.create_endpoint(definitions.endpoint)
        assert (made.name, made.state, made.deployments) == (ENDPOINT, ServingState.SUCCEEDED, ())
        assert sum(made.traffic.values()) == 0 and made.tags["team"] == "clinic"
        await serving.tag(ENDPOINT, {"lease": "until noon"})
        again = await serving.create_endpoint(definitions.endpoint)
        assert again.tags["lease"] == "until noon"
        assert [each.name for each in await serving.endpoints()] == [ENDPOINT]

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


def test_requests_are_divided_by_the_shares(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue", 1))
        await serving.deploy(definitions.request("green", 2))
        await serving.set_traffic(ENDPOINT, {"blue": 90, "green": 10})
        answers = [await serving.score(ENDPOINT, asking()) for _ in range(200)]
        assert {answer.status for answer in answers} == {200}
        counted = Counter(answer.deployment for answer in answers)
        assert 5 <= counted["green"] <= 45 and counted["blue"] + counted["green"] == 200
        await serving.set_traffic(ENDPOINT, {"green": 100})
        endpoint = await serving.endpoint(ENDPOINT)
        assert endpoint is not None and endpoint.traffic.get("blue", 0) == 0 and endpoint.traffic["green"] == 100
        assert [await version_of(serving) for _ in range(5)] == [2] * 5
        for wrong in ({"blue": 50}, {"blue": 100, "red": 0}):
            with pytest.raises(ServingError):
                await serving.set_traffic(ENDPOINT, wrong)
        assert await version_of(serving) == 2

    asyncio.run(behaviour())


def test_a_request_without_the_key_is_refused(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        endpoint = await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue"))
        await serving.set_traffic(ENDPOINT, {"blue": 100})
        assert endpoint.scoring_uri is not None
        key = await serving.key(ENDPOINT)
        async with httpx.AsyncClient(verify=False) as client:
            for headers in ({}, {"Authorization": "Bearer of-another"}, {"Authorization": key}):
                refused = await client.post(endpoint.scoring_uri, content=asking(), headers=headers)
                assert refused.status_code == 401
            taken = {"Authorization": f"Bearer {key}"}
            assert (await client.post(endpoint.scoring_uri, content=asking(), headers=taken)).status_code == 200

    asyncio.run(behaviour())


def test_what_the_script_refuses_is_told_with_its_own_status_and_body(
    serving: Serving, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue"))
        refused = await serving.score(ENDPOINT, asking(bad=True), "blue")
        assert (refused.status, refused.model_status, refused.deployment) == (424, 400, "blue")
        assert json.loads(refused.body)["error"]["column"] == "Age"
        failed = await serving.score(ENDPOINT, asking(raises=True), "blue")
        assert (failed.status, failed.model_status) == (424, 500)
        assert await version_of(serving, "blue") == 1

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
