"""What is looked at of a deployment that gets copies of requests, on the endpoints of this machine."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from flows.rollout.checks.examine import EndpointExaminer, exceptions_in
from flows.rollout.checks.known_rows import KnownRows
from flows.rollout.plan import CheckMirror
from flows.rollout.policy import RolloutPolicy
from flows.rollout.rollout import Moment, Result, Rollout, Wanted
from flows.serving.endpoints import DeploymentRequest, Endpoint
from flows.serving.serving import Serving
from flows.spec.model.endpoint import EndpointSpec
from tests.serving.azureml.conftest import OpenServing, Shop, open_serving, shop
from tests.serving.conftest import local_place, service
from tests.serving.scripts import ENDPOINT, Definitions, asking
from tests.waiting import until

__all__ = ["open_serving", "service", "shop"]  # fixtures

POLICY = RolloutPolicy(mirror_percent=50, requests=5)
LOG = """\
listening
2026-11-29 10:00:00 E Encountered Exception: Traceback (most recent call last):
  File "score.py", line 3, in run
    raise ValueError(row)

sklearn.exceptions.NotFittedError: Age 51 of patient 1234
ready
Traceback (most recent call last):
  File "score.py", line 4, in run
KeyError: 'Age'
"""


def test_exceptions_of_a_log_are_counted_by_their_kind_without_what_they_say() -> None:
    logs = {"inference-server": LOG, "storage-initializer": "done"}
    assert exceptions_in(logs) == {"sklearn.exceptions.NotFittedError": 1, "KeyError": 1}


def test_deployment_fails_with_copies_of_requests_if_its_log_has_exceptions_since_the_smoke_test(
    tmp_path: Path,
) -> None:
    definitions = Definitions(tmp_path / "serving")

    async def deployed(serving: Serving) -> Endpoint:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue", 1))
        await serving.deploy(definitions.request("green", 2))
        await serving.score(ENDPOINT, asking(raises=True), "green")  # before the smoke test: it does not count
        await serving.set_traffic(ENDPOINT, {"blue": 100}, {"green": POLICY.mirror_percent})
        endpoint = await serving.endpoint(ENDPOINT)
        assert endpoint is not None
        return endpoint

    with local_place(tmp_path) as serving:
        endpoint, examiner = asyncio.run(deployed(serving)), EndpointExaminer(serving, KnownRows())
        assert asyncio.run(examiner.smoke(endpoint, "green", POLICY)) == ""
        assert asyncio.run(examiner.mirrored(endpoint, "green", POLICY)) == ""
        for _ in range(2):  # of which one is copied
            assert asyncio.run(serving.score(ENDPOINT, asking(raises=True))).deployment == "blue"
        failed = until(lambda: asyncio.run(examiner.mirrored(endpoint, "green", POLICY)))
        assert failed == "green with copies of requests: its log has 1 exception (KeyError)"


NO_JSON = b"{"  # by which both scripts fail


async def roll_out_with_copies(serving: Serving, old: DeploymentRequest, new: DeploymentRequest) -> Result:
    """Roll out while requests come by which any model fails, and copies of which the new one gets."""
    await serving.deploy(old)
    await serving.set_traffic(old.endpoint, {old.name: 100})

    async def ask(moment: Moment) -> None:
        if isinstance(moment.action, CheckMirror):
            assert moment.endpoint is not None and moment.endpoint.mirror == {"green": 50}
            for _ in range(200):  # until a copy has failed
                assert (await serving.score(old.endpoint, NO_JSON)).deployment == old.name
                if exceptions_in(await serving.logs(old.endpoint, "green")):
                    return

    endpoint = EndpointSpec(old.endpoint, Path("endpoint.yml"))
    wanted = Wanted(endpoint, new.spec, new.model, new.source, "me")
    policy = RolloutPolicy(pause_seconds=0, mirror_percent=50)
    return await Rollout(serving, wanted, policy, EndpointExaminer(serving, KnownRows()), tell=ask).run()


def check_rolled_back(result: Result) -> None:
    assert (
        result.failed.startswith("green with copies of requests: its log has ") and "JSONDecodeError" in result.failed
    )
    assert ([one.name for one in result.endpoint.deployments], result.endpoint.mirror) == (["blue"], {})
    assert {name: share for name, share in result.endpoint.traffic.items() if share} == {"blue": 100}
    assert result.logs and "JSONDecodeError" in "".join(result.logs.values())


def test_rollout_on_this_machine_is_undone_before_the_first_share_if_copies_of_requests_fail(tmp_path: Path) -> None:
    definitions = Definitions(tmp_path / "serving")
    old, new = definitions.request("blue", 1), definitions.request("green", 2)

    async def behaviour(serving: Serving) -> Result:
        await serving.create_endpoint(definitions.endpoint)
        return await roll_out_with_copies(serving, old, new)

    with local_place(tmp_path) as serving:
        check_rolled_back(asyncio.run(behaviour(serving)))


@pytest.mark.filterwarnings("ignore")  # of the SDK, which has many
def test_rollout_in_a_workspace_is_undone_before_the_first_share_if_copies_of_requests_fail(
    shop: Shop, open_serving: OpenServing
) -> None:
    old, new = shop.request("blue", 1), shop.request("green", 2)
    new = replace(new, model=replace(new.model, digest="f" * 64))

    async def behaviour() -> Result:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            return await roll_out_with_copies(serving, old, new)

    check_rolled_back(asyncio.run(behaviour()))
