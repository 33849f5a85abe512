"""How every place of serving answers requests: one test a behaviour, run on each place."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from flows.serving.endpoints import ServingState
from flows.serving.serving import Serving
from tests.serving.looks import served, state_of, until, version_of
from tests.serving.scripts import ENDPOINT, Definitions, asking
from tests.waiting import DEADLINE_SECONDS

pytestmark = pytest.mark.filterwarnings("ignore")  # of Azure's SDK, when it is imported


def test_requests_are_divided_by_the_shares(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue", 1))
        await serving.deploy(definitions.request("green", 2))
        await serving.set_traffic(ENDPOINT, {"blue": 60, "green": 40})
        answers = [await serving.score(ENDPOINT, asking()) for _ in range(40)]
        assert {answer.status for answer in answers} == {200}
        counted = Counter(answer.deployment for answer in answers)
        assert 2 <= counted["green"] <= 34 and counted["blue"] + counted["green"] == 40
        await serving.set_traffic(ENDPOINT, {"green": 100})
        endpoint = await serving.endpoint(ENDPOINT)
        assert endpoint is not None and endpoint.traffic.get("blue", 0) == 0 and endpoint.traffic["green"] == 100
        assert [await version_of(serving) for _ in range(5)] == [2] * 5
        await serving.set_traffic(ENDPOINT, {})
        assert (await serving.score(ENDPOINT, asking())).status == 404

    asyncio.run(behaviour())


def test_a_request_without_the_key_of_its_endpoint_is_refused(serving: Serving, definitions: Definitions) -> None:
    async def behaviour() -> None:
        address = (await served(serving, definitions)).scoring_uri
        await serving.create_endpoint(replace(definitions.endpoint, name="doctors"))
        key, other = await serving.key(ENDPOINT), await serving.key("doctors")
        assert key == await serving.key(ENDPOINT) and key != other
        assert address is not None
        async with httpx.AsyncClient(verify=False, timeout=60) as client:
            for headers in ({}, {"Authorization": f"Bearer {other}"}, {"Authorization": key}):
                refused = await client.post(address, content=asking(), headers=headers)
                assert (refused.status_code, "azureml-model-deployment" in refused.headers) == (401, False)
            taken = {"Authorization": f"Bearer {key}"}
            assert (await client.post(address, content=asking(), headers=taken)).status_code == 200

    asyncio.run(behaviour())


def test_answers_have_the_headers_of_azure_ml(serving: Serving, definitions: Definitions, tmp_path: Path) -> None:
    release = tmp_path / "release"

    async def behaviour() -> None:
        address = (await served(serving, definitions, "request_settings: {request_timeout_ms: 500}")).scoring_uri
        assert address is not None
        named = {"Authorization": f"Bearer {await serving.key(ENDPOINT)}", "azureml-model-deployment": "blue"}
        async with httpx.AsyncClient(verify=False, timeout=60, headers=named) as client:

            async def posted(deployment: str = "blue", **asked: object) -> tuple[int, dict[str, str]]:
                headers = {"azureml-model-deployment": deployment, "x-request-id": "r-17"}
                answer = await client.post(address, content=asking(**asked), headers=headers)
                return answer.status_code, {name: answer.headers[name] for name in HEADERS if name in answer.headers}

            by_blue = {"azureml-model-deployment": "blue", "x-request-id": "r-17"}
            assert await posted() == (200, by_blue)
            told = {"ms-azureml-model-error-reason": "model_error"}
            status = "ms-azureml-model-error-statuscode"
            assert await posted(bad=True) == (424, {**by_blue, **told, status: "400"})
            assert await posted(raises=True) == (424, {**by_blue, **told, status: "500"})
            assert await posted(until=str(release)) == (408, by_blue)
            release.touch()
            assert (await posted("green"))[0] == 404
            assert "azureml-model-deployment" not in (await posted("green"))[1]
            await until(posted, lambda answer: answer == (200, by_blue))  # the instance finishes what it has begun

    asyncio.run(behaviour())


HEADERS = (
    "azureml-model-deployment",
    "x-request-id",
    "ms-azureml-model-error-reason",
    "ms-azureml-model-error-statuscode",
)


def test_more_requests_than_twice_what_the_instances_work_at_are_refused_at_once(
    serving: Serving, definitions: Definitions, tmp_path: Path
) -> None:
    release = tmp_path / "release"

    async def behaviour() -> None:
        address = (await served(serving, definitions, "request_settings: {request_timeout_ms: 180000}")).scoring_uri
        assert address is not None
        headers = {"Authorization": f"Bearer {await serving.key(ENDPOINT)}"}
        async with httpx.AsyncClient(verify=False, timeout=DEADLINE_SECONDS) as client:
            held = {
                asyncio.ensure_future(client.post(address, content=asking(until=str(release)), headers=headers))
                for _ in range(5)
            }
            refused = list[httpx.Response]()
            while len(refused) < 3:
                done, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
                refused += [each.result() for each in done]
            assert {answer.status_code for answer in refused} == {429}
            reasons = {answer.headers["ms-azureml-model-error-reason"] for answer in refused}
            assert reasons == {"too_many_pending_request"}
            assert (await serving.score(ENDPOINT, asking())).status == 429
            release.touch()
            assert {(await each).status_code for each in held} == {200}
            await until(lambda: serving.score(ENDPOINT, asking()), lambda answer: answer.status == 200)

    asyncio.run(behaviour())


def test_an_instance_that_ends_while_it_answers_is_told_as_502_and_started_again(
    serving: Serving, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await served(serving, definitions)
        first = json.loads((await serving.score(ENDPOINT, asking())).body)["pid"]
        ended = await serving.score(ENDPOINT, asking(dies=True))
        assert (ended.status, ended.deployment, ended.model_status) == (502, "blue", None)
        again = await until(lambda: serving.score(ENDPOINT, asking()), lambda answer: answer.status == 200)
        assert json.loads(again.body)["pid"] != first
        assert await state_of(serving, "blue") is ServingState.SUCCEEDED

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
