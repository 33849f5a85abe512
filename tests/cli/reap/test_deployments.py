"""`tandem reap` and deployments without traffic: on this machine, and in the loopback workspace."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import main
from flows.engines.azureml.sdk import retries
from flows.rollout.cost import PRICE
from flows.rollout.idle.delete import delete_idle
from flows.rollout.idle.fates import IdleFate
from flows.rollout.record import LEASE, RETIRED, Lease
from flows.serving.local.adapter import LocalServing
from flows.serving.local.lifetime import end_supervisor
from flows.serving.serving import Serving
from flows.settings import Settings
from tests.serving.azureml.conftest import OpenServing, Shop, open_serving, shop
from tests.serving.conftest import service
from tests.serving.scripts import ENDPOINT, Definitions

__all__ = ["open_serving", "service", "shop"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

LONG_AGO = "1700000000"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """The endpoints of a local state: blue with the traffic, green and teal without; green's time is over."""
    home = tmp_path / "home"
    monkeypatch.setenv("TANDEM_HOME", str(home))
    serving, definitions = LocalServing(home), Definitions(tmp_path / "serving")

    async def deploy() -> None:
        await serving.create_endpoint(definitions.endpoint)
        for name, version in (("blue", 2), ("green", 1), ("teal", 3)):
            await serving.deploy(definitions.request(name, version))
        await serving.set_traffic(ENDPOINT, {"blue": 100})
        await serving.tag(ENDPOINT, {RETIRED: f"green {LONG_AGO}"})

    asyncio.run(deploy())
    yield serving
    asyncio.run(serving.delete_endpoint(ENDPOINT))
    end_supervisor(home)


def there(serving: Serving, name: str = ENDPOINT) -> list[str]:
    endpoint = asyncio.run(serving.endpoint(name))
    assert endpoint is not None
    return [one.name for one in endpoint.deployments]


def found(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, dict[str, Any]]:
    """What `tandem reap --json` tells of each deployment."""
    capsys.readouterr()
    assert main(["reap", "--json", *flags]) == 0
    return {one["deployment"]: one for one in json.loads(capsys.readouterr().out)["deployments"]}


def test_deployments_of_this_machine_are_listed_and_only_those_that_nobody_needs_are_deleted(
    here: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reap"]) == 0
    out = capsys.readouterr().out
    assert "goes: the time for which it was kept after a rollout is over\n  patients  green" in out
    assert "stays: it is new\n  patients  teal" in out and "blue" not in out
    assert out.rstrip().endswith("1 deployment may go; nothing was ended. To end: tandem reap --yes")
    assert there(here) == ["blue", "green", "teal"]

    told = found(capsys, "--yes")
    assert {name: (one["fate"], one["outcome"]) for name, one in told.items()} == {
        "green": ("goes", "deleted"),
        "teal": ("stays", None),
    }
    assert there(here) == ["blue", "teal"]
    endpoint = asyncio.run(here.endpoint(ENDPOINT))
    assert endpoint is not None and LEASE not in endpoint.tags
    assert "green" not in found(capsys, "--yes")


def test_younger_deployments_are_left_out(here: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(capsys, "--yes", "--older-than", "1h") == {}
    assert there(here) == ["blue", "green", "teal"]


def test_deployment_at_an_endpoint_that_a_rollout_changes_by_now_is_not_deleted(here: Serving) -> None:
    lease = Lease("another-host:1:2", time.time() + 300).text
    asyncio.run(here.tag(ENDPOINT, {LEASE: lease}))
    outcome = asyncio.run(delete_idle(here, ENDPOINT, "green", {IdleFate.GOES}))
    assert outcome == "a rollout is going on at its endpoint (another-host:1:2)"
    endpoint = asyncio.run(here.endpoint(ENDPOINT))
    assert endpoint is not None and endpoint.tags[LEASE] == lease
    assert there(here) == ["blue", "green", "teal"]


def test_deployment_that_has_a_share_by_now_is_not_deleted(here: Serving) -> None:
    asyncio.run(here.set_traffic(ENDPOINT, {"green": 100}))
    assert asyncio.run(delete_idle(here, ENDPOINT, "green", {IdleFate.GOES})) == "it gets requests by now"


def test_deployments_of_a_workspace_are_told_with_what_they_cost_and_deleted(
    shop: Shop, open_serving: OpenServing, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_SECONDS", 0.01)

    async def with_serving(work: Callable[[Any], Awaitable[Any]]) -> Any:
        async with open_serving() as serving:
            return await work(serving)

    async def deploy(serving: Any) -> None:
        for left in await serving.endpoints():  # by other tests, in the same workspace
            await serving.delete_endpoint(left.name)
        await serving.create_endpoint(shop.spec())
        await serving.deploy(shop.request("blue", 2))
        await serving.deploy(shop.request("green", 1, tags={PRICE: "0.5 EUR"}))
        await serving.set_traffic(shop.endpoint, {"blue": 100})
        await serving.tag(shop.endpoint, {RETIRED: f"green {LONG_AGO}"})

    async def names(serving: Any) -> list[str]:
        return [one.name for one in (await serving.endpoint(shop.endpoint)).deployments]

    asyncio.run(with_serving(deploy))
    assert main(["reap"]) == 0
    out = capsys.readouterr().out
    workspace = Settings.from_environment().workspace["AZUREML_ARM_WORKSPACE_NAME"]
    assert f"Deployments without traffic in the workspace {workspace}:" in out
    assert "1 × Standard_DS3_v2" in out and "Together 24 instance hours (12.00 EUR) a day" in out
    told = found(capsys, "--yes")["green"]
    assert (told["outcome"], told["cost_a_day"]) == ("deleted", {"EUR": 12.0})
    assert asyncio.run(with_serving(names)) == ["blue"]
