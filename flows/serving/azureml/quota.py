"""Check of the quota of cores before deployments are made."""

import difflib
import math
from typing import TYPE_CHECKING

from flows.engines.azureml.sdk.retries import TRIES_FOR_A_PERSON, persistently
from flows.errors import ServingError
from flows.spec.model.endpoint import OnlineDeploymentSpec

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.quotas import Quotas

RESERVED = 1.2  # of the instances, which Azure ML sets aside for its own upgrades, and does not bill


def cores_needed(instances: int, cores: int, deployments: int) -> int:
    """How many cores count against the quota: ``ceil(1.2 × instances) × cores`` for each deployment."""
    return deployments * math.ceil(round(RESERVED * instances, 6)) * cores


async def check_cores(quotas: "Quotas", spec: OnlineDeploymentSpec, deployments: int) -> None:
    """Ask whether so many deployments fit into what is left of the quotas.

    Raises:
        ServingError: They do not, or the region does not have the VM size.
    """
    sizes = await persistently(quotas.sizes, TRIES_FOR_A_PERSON)
    size = sizes.get(spec.instance_type.lower())
    where = f"{spec.source}: instance_type"
    if size is None:
        near = difflib.get_close_matches(spec.instance_type.lower(), sizes, n=1)
        remedy = f"Did you mean {near[0]}?" if near else "See what it has: az ml compute list-sizes"
        raise ServingError(f"{where}: the region has no VM size {spec.instance_type!r}. Nothing was made. {remedy}")
    need = cores_needed(spec.instances, size.cores, deployments)
    for quota in await persistently(quotas.cores, TRIES_FOR_A_PERSON):
        counts = quota.tier == "dedicated" and (quota.family is None or quota.family.lower() == size.family.lower())
        if not counts or quota.limit is None or quota.limit - quota.used >= need:
            continue
        several = f"{deployments} deployments" if deployments > 1 else "a deployment"
        raise ServingError(
            f"{where}: {several} of {spec.instances} × {spec.instance_type} need {need} cores (a fifth more instances "
            f"than run, {size.cores} cores each), and {max(0, quota.limit - quota.used)} of {quota.limit} are left "
            f"({quota.name}). Nothing was made. Ask for more in studio, under Quota, or take a smaller size or one of "
            "another family."
        )
