"""Endpoints of a workspace: made, rolled to, asked, read and deleted, through the real SDK."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from flows.errors import ServingError
from flows.serving.endpoints import ServingState
from flows.spec.model.endpoint import RequestSettings
from flows.spec.model.job import Environment
from tests.azure_ml_service.online_scoring import Scored
from tests.serving.azureml.conftest import OpenServing, Shop
from tests.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore")


def test_endpoint_is_made_rolled_to_scored_and_deleted(shop: Shop, open_serving: OpenServing) -> None:
    async def life() -> None:
        async with open_serving() as serving:
            assert await serving.endpoint(shop.endpoint) is None
            made = await serving.create_endpoint(shop.spec())
            assert (made.state, made.traffic, made.deployments) == (ServingState.SUCCEEDED, {}, ())
            assert made.tags == {"team": "blue"}
            assert made.scoring_uri == f"https://{shop.endpoint}.westeurope.inference.ml.azure.com/score"
            unrouted = await serving.score(shop.endpoint, b"{}")
            assert unrouted.status == 404

            await serving.deploy(shop.request("blue"))
            answer = await serving.score(shop.endpoint, b"{}", "blue")
            told = json.loads(answer.body)
            assert (answer.status, answer.deployment, told["version"], told["said"]) == (200, "blue", "1", "so")
            assert told["model"] == "flavors: {}  # 1\n"
            await serving.set_traffic(shop.endpoint, {"blue": 100})
            await serving.deploy(shop.request("green", 2))
            there = await serving.endpoint(shop.endpoint)
            assert there is not None
            assert there.traffic == {"blue": 100}
            assert [(one.name, one.state) for one in there.deployments] == [
                ("blue", ServingState.SUCCEEDED),
                ("green", ServingState.SUCCEEDED),
            ]
            assert [one.model.version for one in there.deployments if one.model] == [1, 2]
            assert there.deployments[0].instance_type == "Standard_DS3_v2"

            await serving.set_traffic(shop.endpoint, {"blue": 50, "green": 50})
            seen = {(await serving.score(shop.endpoint, b"{}")).deployment for _ in range(40)}
            assert seen == {"blue", "green"}
            with pytest.raises(ServingError, match=r"blue of the endpoint .* has 50 % of the traffic"):
                await serving.delete_deployment(shop.endpoint, "blue")
            await serving.set_traffic(shop.endpoint, {"green": 100})
            await serving.delete_deployment(shop.endpoint, "blue")
            await serving.delete_deployment(shop.endpoint, "blue")
            there = await serving.endpoint(shop.endpoint)
            assert there is not None
            assert (there.traffic, [one.name for one in there.deployments]) == ({"green": 100}, ["green"])
            assert shop.endpoint in [one.name for one in await serving.endpoints()]

            await serving.delete_endpoint(shop.endpoint)
            await serving.delete_endpoint(shop.endpoint)
            assert await serving.endpoint(shop.endpoint) is None

    asyncio.run(life())
    assert shop.service.violations == []


def test_endpoint_that_is_there_keeps_its_traffic_when_it_is_created_again(
    shop: Shop, open_serving: OpenServing
) -> None:
    async def twice() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue"))
            await serving.set_traffic(shop.endpoint, {"blue": 100})
            puts = shop.service.count("PUT", f"/onlineEndpoints/{shop.endpoint}$")
            again = await serving.create_endpoint(shop.spec())
            assert again.traffic == {"blue": 100}
            assert shop.service.count("PUT", f"/onlineEndpoints/{shop.endpoint}$") == puts

    asyncio.run(twice())


def test_tags_change_and_leave_the_traffic_and_each_other(shop: Shop, open_serving: OpenServing) -> None:
    async def tag() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue"))
            await serving.set_traffic(shop.endpoint, {"blue": 100})
            await serving.tag(shop.endpoint, {"tandem.lease": "mine", "other": "x"})
            await serving.tag(shop.endpoint, {"other": None, "more": "y"})
            there = await serving.endpoint(shop.endpoint)
            assert there is not None
            assert there.tags == {"team": "blue", "tandem.lease": "mine", "more": "y"}
            assert there.traffic == {"blue": 100}

    asyncio.run(tag())


def test_requests_are_mirrored_and_copies_do_not_answer(shop: Shop, open_serving: OpenServing) -> None:
    async def mirror() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue"))
            await serving.deploy(shop.request("green", 2))
            await serving.set_traffic(shop.endpoint, {"blue": 100}, {"green": 50})
            there = await serving.endpoint(shop.endpoint)
            assert there is not None
            assert (there.traffic, there.mirror) == ({"blue": 100}, {"green": 50})
            answers = [await serving.score(shop.endpoint, b"{}") for _ in range(20)]
            assert {answer.deployment for answer in answers} == {"blue"}
            with pytest.raises(ServingError, match=r"green of the endpoint .* has 50 % of the traffic"):
                await serving.delete_deployment(shop.endpoint, "green")
            until(lambda: Scored(shop.endpoint, "green", 200, mirrored=True) in shop.service.scoring.scored)
            await serving.set_traffic(shop.endpoint, {"blue": 100})
            there = await serving.endpoint(shop.endpoint)
            assert there is not None
            assert there.mirror == {}

    asyncio.run(mirror())


def test_answers_that_are_no_success_keep_their_status(shop: Shop, open_serving: OpenServing) -> None:
    async def ask() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue", requests=RequestSettings(timeout_seconds=0.5)))
            bad = await serving.score(shop.endpoint, b'{"bad": 1}', "blue")
            assert (bad.status, json.loads(bad.body)) == (424, {"error": "row 0"})
            slow = await serving.score(shop.endpoint, b'{"sleep": 2}', "blue")
            assert slow.status == 408
            unknown = await serving.score(shop.endpoint, b"{}", "green")
            assert unknown.status == 404
            dead = await serving.score(shop.endpoint, b'{"die": 1}', "blue")
            assert dead.status == 502
            while (await serving.score(shop.endpoint, b"{}", "blue")).status != 200:  # the container starts anew
                await asyncio.sleep(0.05)

    asyncio.run(ask())


def test_requests_beyond_twice_the_concurrency_are_refused(shop: Shop, open_serving: OpenServing) -> None:
    async def crowd() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue"))
            asked = [serving.score(shop.endpoint, b'{"sleep": 1}', "blue") for _ in range(4)]
            statuses = sorted(answer.status for answer in await asyncio.gather(*asked))
            assert statuses[:2] == [200, 200]
            assert 429 in statuses

    asyncio.run(crowd())


def test_logs_of_both_containers_are_told(shop: Shop, open_serving: OpenServing) -> None:
    async def logs() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue"))
            told = await serving.logs(shop.endpoint, "blue")
            assert set(told) == {"inference-server", "storage-initializer"}
            assert f"init of model-{shop.endpoint}" in told["inference-server"]
            assert "Downloading the model" in told["storage-initializer"]
            with pytest.raises(ServingError, match=r"green of the endpoint .* is not there"):
                await serving.logs(shop.endpoint, "green")

    asyncio.run(logs())


def test_number_of_instances_changes_and_the_deployment_goes_on(shop: Shop, open_serving: OpenServing) -> None:
    async def scale() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue"))
            await serving.scale(shop.endpoint, "blue", 3)
            there = await serving.endpoint(shop.endpoint)
            assert there is not None
            assert there.deployments[0].instances == 3
            assert (await serving.score(shop.endpoint, b"{}", "blue")).status == 200
            with pytest.raises(ServingError, match="the least is 1"):
                await serving.scale(shop.endpoint, "blue", 0)

    asyncio.run(scale())
    assert shop.service.violations == []


@pytest.mark.parametrize("auth_mode", ["aml_token", "aad_token"])
def test_endpoint_is_asked_with_a_token(shop: Shop, open_serving: OpenServing, auth_mode: str) -> None:
    async def ask() -> None:
        async with open_serving() as serving:
            made = await serving.create_endpoint(replace(shop.spec(), auth_mode=auth_mode))
            assert made.auth_mode == auth_mode
            await serving.deploy(shop.request("blue"))
            assert (await serving.score(shop.endpoint, b"{}", "blue")).status == 200
            assert (await serving.key(shop.endpoint)).count(".") == 2

    asyncio.run(ask())
    assert shop.service.violations == []


def test_key_that_was_replaced_is_asked_for_anew(shop: Shop, open_serving: OpenServing) -> None:
    async def ask() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue"))
            before = await serving.key(shop.endpoint)
            shop.service.documents.put("online-keys", shop.endpoint, {"primaryKey": "new", "secondaryKey": "other"})
            assert (await serving.score(shop.endpoint, b"{}", "blue")).status == 200
            assert (before != "new", await serving.key(shop.endpoint)) == (True, "new")
            keys = shop.service.count("POST", f"/onlineEndpoints/{shop.endpoint}/listKeys")
            assert keys == 3  # whenever a person asks, and where the old one was refused, but not with every request

    asyncio.run(ask())


def test_what_is_asked_of_an_endpoint_that_is_not_there_is_told(shop: Shop, open_serving: OpenServing) -> None:
    async def ask() -> None:
        async with open_serving() as serving:
            absent = f"The endpoint {shop.endpoint} is not there"
            with pytest.raises(ServingError, match=absent):
                await serving.score(shop.endpoint, b"{}")
            with pytest.raises(ServingError, match=absent):
                await serving.set_traffic(shop.endpoint, {"blue": 100})
            with pytest.raises(ServingError, match=absent):
                await serving.tag(shop.endpoint, {"a": "b"})
            with pytest.raises(ServingError, match=absent):
                await serving.deploy(shop.request("blue"))
            await serving.create_endpoint(shop.spec())
            with pytest.raises(ServingError, match="has no deployment blue"):
                await serving.set_traffic(shop.endpoint, {"blue": 100})

    asyncio.run(ask())


def test_environment_of_an_image_and_a_conda_file_is_sent_with_its_content(
    shop: Shop, open_serving: OpenServing
) -> None:
    conda = "name: own\ndependencies:\n  - python=3.11\n"
    request = shop.request("blue", environment=Environment(image="ubuntu:22.04", conda=conda))

    async def deployed() -> int:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(request)
            return (await serving.score(shop.endpoint, b"{}", "blue")).status

    assert asyncio.run(deployed()) == 200
    sent = [one.body for one in shop.service.requests if "/environments/" in one.path and one.body]
    assert [yaml.safe_load(body["properties"]["condaFile"]) for body in sent] == [yaml.safe_load(conda)]


def test_files_of_a_model_of_the_workspace_are_brought_here(
    shop: Shop, open_serving: OpenServing, tmp_path: Path
) -> None:
    source = shop.model(3)

    async def brought() -> Path:
        async with open_serving() as serving:
            return await serving.model_folder(source, tmp_path / "here")

    assert (asyncio.run(brought()) / "MLmodel").read_text() == "flavors: {}  # 3\n"


@pytest.mark.parametrize("source", ["azureml:none:1", "azureml:none@latest"])
def test_files_of_a_model_that_is_not_there_are_told(
    shop: Shop, open_serving: OpenServing, tmp_path: Path, source: str
) -> None:
    async def brought() -> None:
        async with open_serving() as serving:
            await serving.model_folder(source, tmp_path / "here")

    with pytest.raises(ServingError, match="none"):
        asyncio.run(brought())
