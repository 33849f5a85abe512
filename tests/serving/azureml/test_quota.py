"""The quota of cores, asked before a deployment is made."""

import asyncio
from dataclasses import replace

import pytest

from flows.errors import ServingError
from flows.serving.azureml.quota import cores_needed
from tests.serving.azureml.conftest import OpenServing, Shop

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    ("instances", "cores", "deployments", "needed"),
    [(1, 4, 1, 8), (1, 4, 2, 16), (5, 4, 1, 24), (10, 2, 1, 24), (11, 2, 1, 28)],
)
def test_a_fifth_more_instances_than_run_count_against_the_quota(
    instances: int, cores: int, deployments: int, needed: int
) -> None:
    assert cores_needed(instances, cores, deployments) == needed


def test_deployments_that_fit_pass_and_one_more_core_in_use_is_refused_with_both_numbers(
    shop: Shop, open_serving: OpenServing
) -> None:
    quota = shop.service.computes.quota
    spec = shop.request("blue").spec

    async def ask() -> None:
        async with open_serving() as serving:
            quota["standardDSv2Family", "dedicated"] = (8, 24)  # 16 are left: two deployments of 4 cores need as many
            await serving.check_quota(spec, 2)
            quota["standardDSv2Family", "dedicated"] = (9, 24)
            await serving.check_quota(spec, 1)
            with pytest.raises(ServingError, match=r"2 deployments .* need 16 cores .*15 of 24 are left") as told:
                await serving.check_quota(spec, 2)
            assert "deployment.yml: instance_type" in str(told.value)
            assert "Nothing was made." in str(told.value)

    asyncio.run(ask())


def test_quota_of_the_region_counts_and_that_of_low_priority_does_not(shop: Shop, open_serving: OpenServing) -> None:
    quota = shop.service.computes.quota
    spec = shop.request("blue").spec

    async def ask() -> None:
        async with open_serving() as serving:
            quota["standardDSv2Family", "lowPriority"] = (0, 0)
            await serving.check_quota(spec, 1)
            quota["total", "dedicated"] = (97, 100)
            with pytest.raises(ServingError, match="3 of 100 are left"):
                await serving.check_quota(spec, 1)

    asyncio.run(ask())


def test_size_that_the_region_does_not_have_is_told_with_the_nearest(shop: Shop, open_serving: OpenServing) -> None:
    spec = replace(shop.request("blue").spec, instance_type="Standard_DS33_v2")

    async def ask() -> None:
        async with open_serving() as serving:
            with pytest.raises(ServingError, match=r"no VM size 'Standard_DS33_v2'.*standard_ds3_v2"):
                await serving.check_quota(spec, 1)

    asyncio.run(ask())
