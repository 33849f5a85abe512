"""Endpoints of a workspace in trouble: what fails, hangs, is refused or interrupted, and answers that are lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from flows.errors import ServiceError, ServingError
from flows.serving.endpoints import ServingState
from flows.spec.model.job import Environment
from tests.azure_ml_service.faults import EndpointFault, Fault
from tests.serving.azureml.conftest import OpenServing, Shop

pytestmark = pytest.mark.filterwarnings("ignore")


def puts(shop: Shop, of: str = "") -> int:
    """How many PUTs of the endpoint, or of one of its deployments, have come."""
    return shop.service.count("PUT", f"/onlineEndpoints/{shop.endpoint}{of and f'/deployments/{of}'}$")


def put(shop: Shop, of: str = "") -> str:
    return f"/onlineEndpoints/{shop.endpoint}{of and f'/deployments/{of}'}$"


async def state(serving: Any, shop: Shop, name: str) -> ServingState | None:
    there = await serving.endpoint(shop.endpoint)
    found = there and there.deployment(name)
    return found and found.state


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("fail", "InternalServerError: An injected fault"),
        ("build", "ImageBuildFailure: Image build failed"),
        ("probe", "ResourceNotReady: User container has crashed or terminated: Liveness probe failed"),
        ("quota", "OutOfQuota: Not enough quota"),
    ],
)
def test_deployment_that_fails_is_told_with_its_reason_and_its_logs_and_is_put_again(
    shop: Shop, open_serving: OpenServing, kind: Any, said: str
) -> None:
    async def deploy() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            shop.service.faults.add(EndpointFault(kind, shop.endpoint, "green"))
            with pytest.raises(ServingError, match=f"green of the endpoint {shop.endpoint} is Failed: {said}") as told:
                await serving.deploy(shop.request("green"))
            assert f"get-logs --endpoint-name {shop.endpoint} --name green --resource-group loopback-rg" in str(
                told.value
            )
            assert await state(serving, shop, "green") is ServingState.FAILED
            with pytest.raises(ServingError, match="is Failed, and keeps its number of instances"):
                await serving.scale(shop.endpoint, "green", 2)
            await serving.deploy(shop.request("green"))
            assert await state(serving, shop, "green") is ServingState.SUCCEEDED
            assert puts(shop, "green") == 2

    asyncio.run(deploy())


def test_script_that_ends_at_its_start_fails_the_deployment_with_its_last_words(
    shop: Shop, open_serving: OpenServing
) -> None:
    async def deploy() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            with pytest.raises(ServingError, match=r"(?s)Liveness probe failed.*no such module here"):
                await serving.deploy(shop.request("green", script="raise ImportError('no such module here')"))
            told = await serving.logs(shop.endpoint, "green")
            assert "ImportError: no such module here" in told["inference-server"]

    asyncio.run(deploy())


def test_deployment_that_hangs_is_waited_for_again_and_not_put_again(shop: Shop, open_serving: OpenServing) -> None:
    async def deploy() -> None:
        async with open_serving(limit_seconds=0.3) as serving:
            await serving.create_endpoint(shop.spec())
            shop.service.faults.add(EndpointFault("hang", shop.endpoint, "green"))
            with pytest.raises(ServingError, match=r"green of the endpoint .* is still Updating after 0 s"):
                await serving.deploy(shop.request("green"))
            assert await state(serving, shop, "green") is ServingState.CREATING
        async with open_serving() as serving:
            going_on = asyncio.create_task(serving.deploy(shop.request("green")))
            await asyncio.sleep(0.5)
            assert not going_on.done()
            shop.service.faults.clear()
            await going_on
            assert await state(serving, shop, "green") is ServingState.SUCCEEDED
            assert puts(shop, "green") == 1

    asyncio.run(deploy())


def test_deployment_that_hangs_can_be_deleted(shop: Shop, open_serving: OpenServing) -> None:
    async def delete() -> None:
        async with open_serving(limit_seconds=0.3) as serving:
            await serving.create_endpoint(shop.spec())
            shop.service.faults.add(EndpointFault("hang", shop.endpoint, "green"))
            with pytest.raises(ServingError):
                await serving.deploy(shop.request("green"))
        async with open_serving() as serving:
            await serving.delete_deployment(shop.endpoint, "green")
            assert await state(serving, shop, "green") is None

    asyncio.run(delete())


Step = Callable[[Any, Shop], Awaitable[object]]


async def _traffic(serving: Any, shop: Shop) -> None:
    await serving.set_traffic(shop.endpoint, {"blue": 100})


async def _tag(serving: Any, shop: Shop) -> None:
    await serving.tag(shop.endpoint, {"tandem.lease": "mine"})


async def _endpoint(serving: Any, shop: Shop) -> None:
    await serving.create_endpoint(shop.spec())


async def _deploy(serving: Any, shop: Shop) -> None:
    await serving.deploy(shop.request("green", 2))


async def _scale(serving: Any, shop: Shop) -> None:
    await serving.scale(shop.endpoint, "blue", 2)


# What is done, what of it is put, and whether an endpoint with a deployment is there before.
STEPS = [
    pytest.param(_endpoint, "", False, id="endpoint"),
    pytest.param(_deploy, "green", True, id="deploy"),
    pytest.param(_traffic, "", True, id="traffic"),
    pytest.param(_tag, "", True, id="tag"),
    pytest.param(_scale, "blue", True, id="scale"),
]


async def _prepare(serving: Any, shop: Shop, with_blue: bool) -> None:
    if with_blue:
        await serving.create_endpoint(shop.spec())
        await serving.deploy(shop.request("blue"))
    shop.service.requests.clear()


async def _check(serving: Any, shop: Shop, step: Step) -> None:
    """What a step was to do is done."""
    there = await serving.endpoint(shop.endpoint)
    assert there is not None
    assert there.state is ServingState.SUCCEEDED
    assert all(one.state is ServingState.SUCCEEDED for one in there.deployments)
    if step is _traffic:
        assert there.traffic == {"blue": 100}
    elif step is _tag:
        assert there.tags["tandem.lease"] == "mine"
    elif step is _deploy:
        assert there.deployment("green") is not None
    elif step is _scale:
        assert there.deployments[0].instances == 2


@pytest.mark.parametrize(("step", "of", "with_blue"), STEPS)
def test_change_whose_answer_is_lost_is_not_asked_for_again(
    shop: Shop, open_serving: OpenServing, step: Step, of: str, with_blue: bool
) -> None:
    async def change() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue)
            shop.service.faults.add(Fault("PUT", put(shop, of), "reset", after_work=True))
            await step(serving, shop)
            await _check(serving, shop, step)
            assert puts(shop, of) == 1

    asyncio.run(change())


@pytest.mark.parametrize(("step", "of", "with_blue"), STEPS)
def test_change_that_was_lost_on_the_way_is_asked_for_again(
    shop: Shop, open_serving: OpenServing, step: Step, of: str, with_blue: bool
) -> None:
    async def change() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue)
            shop.service.faults.add(Fault("PUT", put(shop, of), "reset"))
            shop.service.faults.add(Fault("PUT", put(shop, of), code=429, retry_after=0))
            shop.service.faults.add(Fault("PUT", put(shop, of), code=503))
            await step(serving, shop)
            await _check(serving, shop, step)
            assert puts(shop, of) == 4

    asyncio.run(change())


@pytest.mark.parametrize(("step", "of", "with_blue"), STEPS)
def test_interrupted_change_is_waited_for_and_not_asked_for_again(
    shop: Shop, open_serving: OpenServing, step: Step, of: str, with_blue: bool
) -> None:
    async def change() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue)
            shop.service.operations.seconds = 0.5
            first = asyncio.create_task(step(serving, shop))  # type: ignore[arg-type]
            while not puts(shop, of):
                assert not first.done()
                await asyncio.sleep(0.01)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        async with open_serving() as serving:
            await step(serving, shop)
            await _check(serving, shop, step)
            assert puts(shop, of) == 1

    asyncio.run(change())


def test_service_that_does_not_answer_while_a_change_is_waited_for_is_asked_again(
    shop: Shop, open_serving: OpenServing
) -> None:
    async def change() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue=True)
            shop.service.faults.add(Fault("GET", "/mfeOperationsStatus/", "expired", times=1))
            shop.service.faults.add(Fault("GET", "/mfeOperationsStatus/", code=503, retry_after=0.01, times=4))
            shop.service.faults.add(Fault("GET", put(shop), code=500, retry_after=0.01, times=4))
            await _traffic(serving, shop)
            await _check(serving, shop, _traffic)
            assert puts(shop) == 1

    asyncio.run(change())


def test_deployment_that_fails_after_its_answer_was_lost_is_told_and_not_put_again(
    shop: Shop, open_serving: OpenServing
) -> None:
    async def deploy() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            shop.service.faults.add(EndpointFault("build", shop.endpoint, "green"))
            shop.service.faults.add(Fault("PUT", put(shop, "green"), "reset", after_work=True))
            with pytest.raises(ServingError, match="is Failed: ImageBuildFailure"):
                await serving.deploy(shop.request("green"))
            assert puts(shop, "green") == 1

    asyncio.run(deploy())


def test_deployment_made_of_the_same_is_left_and_one_made_of_something_else_replaced(
    shop: Shop, open_serving: OpenServing
) -> None:
    async def deploy() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            await serving.deploy(shop.request("blue"))
            await serving.deploy(shop.request("blue"))
            assert puts(shop, "blue") == 1
            await serving.deploy(shop.request("blue", environment_variables={"SAID": "otherwise"}))
            assert puts(shop, "blue") == 2
            await serving.deploy(shop.request("blue", 2, environment_variables={"SAID": "otherwise"}))
            answer = await serving.score(shop.endpoint, b"{}", "blue")
            assert b'"otherwise"' in answer.body
            assert b'"version": "2"' in answer.body

    asyncio.run(deploy())


def test_endpoint_whose_making_failed_is_put_again(shop: Shop, open_serving: OpenServing) -> None:
    async def create() -> None:
        async with open_serving() as serving:
            shop.service.faults.add(EndpointFault("fail", shop.endpoint, message="No capacity."))
            with pytest.raises(ServingError, match="is Failed: InternalServerError: No capacity"):
                await serving.create_endpoint(shop.spec())
            made = await serving.create_endpoint(shop.spec())
            assert made.state is ServingState.SUCCEEDED

    asyncio.run(create())


def test_name_that_is_taken_in_the_region_is_told_with_one_that_is_free(shop: Shop, open_serving: OpenServing) -> None:
    async def create() -> None:
        async with open_serving() as serving:
            shop.service.faults.add(EndpointFault("taken", shop.endpoint))
            with pytest.raises(ServingError, match="somebody else has an endpoint") as told:
                await serving.create_endpoint(shop.spec())
            free = serving.free_name(shop.endpoint)
            assert f"Take another name, such as {free}." in str(told.value)
            assert free.startswith(f"{shop.endpoint}-")
            assert len(serving.free_name("a" * 32)) == 32
            assert await serving.endpoint(shop.endpoint) is None
            made = await serving.create_endpoint(replace(shop.spec(), name=free))
            assert made.name == free
            await serving.delete_endpoint(free)

    asyncio.run(create())


def test_change_waits_for_one_that_somebody_else_has_begun(shop: Shop, open_serving: OpenServing) -> None:
    async def both() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue=True)
            shop.service.operations.seconds = 0.3
            first = asyncio.create_task(serving.tag(shop.endpoint, {"a": "1"}))
            while not puts(shop):
                assert not first.done()
                await asyncio.sleep(0.01)
            async with open_serving() as other:
                await other.set_traffic(shop.endpoint, {"blue": 100})
            await first
            there = await serving.endpoint(shop.endpoint)
            assert there is not None
            assert (there.traffic, there.tags["a"]) == ({"blue": 100}, "1")

    asyncio.run(both())


def test_deletion_whose_answer_is_lost_is_waited_for(shop: Shop, open_serving: OpenServing) -> None:
    async def delete() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue=True)
            shop.service.faults.add(Fault("DELETE", "/deployments/blue$", "reset", after_work=True))
            await serving.delete_deployment(shop.endpoint, "blue")
            assert await state(serving, shop, "blue") is None
            shop.service.faults.add(Fault("DELETE", put(shop), "reset", after_work=True))
            await serving.delete_endpoint(shop.endpoint)
            assert await serving.endpoint(shop.endpoint) is None

    asyncio.run(delete())


def test_deletion_that_azure_refuses_is_told(shop: Shop, open_serving: OpenServing) -> None:
    async def delete() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue=True)
            shop.service.faults.add(Fault("DELETE", "/deployments/blue$", code=400, error="InUse"))
            with pytest.raises(ServingError, match=r"blue of the endpoint .*An injected fault"):
                await serving.delete_deployment(shop.endpoint, "blue")
            assert await state(serving, shop, "blue") is ServingState.SUCCEEDED

    asyncio.run(delete())


def test_requests_are_sent_once_whatever_is_answered(shop: Shop, open_serving: OpenServing) -> None:
    async def ask() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue=True)
            for code in (424, 429, 500, 502, 503, 504):
                shop.service.faults.add(EndpointFault("answer", shop.endpoint, "blue", code=code))
                answer = await serving.score(shop.endpoint, b"{}", "blue")
                assert (answer.status, answer.deployment) == (code, "blue")
            shop.service.faults.add(EndpointFault("reset", shop.endpoint, "blue"))
            assert (await serving.score(shop.endpoint, b"{}", "blue")).status == 0
            assert shop.service.count("POST", "/score$") == 7

    asyncio.run(ask())


def test_address_of_an_operation_elsewhere_gets_no_token(shop: Shop, open_serving: OpenServing) -> None:
    async def deploy() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            shop.service.faults.add(EndpointFault("build", shop.endpoint, "green"))
            with pytest.raises(ServingError):
                await serving.deploy(shop.request("green"))
            with shop.service.documents.change("onlineDeployments", f"{shop.endpoint}/green") as document:
                document["properties"]["properties"]["AzureAsyncOperationUri"] = "https://x.api.azureml.ms/steal"
            await serving.deploy(shop.request("green"))
            assert shop.service.count("GET", "/steal$") == 0

    asyncio.run(deploy())


def test_key_is_in_no_message_and_no_log(
    shop: Shop, open_serving: OpenServing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def ask() -> str:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue=True)
            key = await serving.key(shop.endpoint)
            shop.service.faults.add(EndpointFault("reset", shop.endpoint, "blue"))
            answer = await serving.score(shop.endpoint, b"{}", "blue")
            assert key.encode() not in answer.body
            assert key not in repr(vars(serving)) + repr(vars(serving._scoring))
            return key

    assert asyncio.run(ask()) not in caplog.text


def test_environment_that_is_not_there_is_told(shop: Shop, open_serving: OpenServing) -> None:
    async def deploy() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            absent = Environment(reference="azureml:no-such-thing@latest")
            with pytest.raises(ServingError, match=r"green of the endpoint .*no-such-thing"):
                await serving.deploy(shop.request("green", environment=absent))
            assert puts(shop, "green") == 0

    asyncio.run(deploy())


def test_outage_is_told_as_one(shop: Shop, open_serving: OpenServing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.serving.azureml.changes.UNREACHABLE_SECONDS", 0.1)
    monkeypatch.setattr("flows.engines.azureml.sdk.retries.TRIES", 2)

    async def change() -> None:
        async with open_serving() as serving:
            await _prepare(serving, shop, with_blue=True)
            shop.service.faults.add(Fault("GET", put(shop), code=500, retry_after=0.01, times=None))
            with pytest.raises(ServiceError, match="500"):
                await serving.set_traffic(shop.endpoint, {"blue": 100})
            assert puts(shop) == 0

    asyncio.run(change())
