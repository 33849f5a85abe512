"""Check that the quota of cores is enough for a compute target."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flows.cli.doctor.findings import Finding, fail, ok, skip, warn

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.computes import ComputeTarget
    from flows.engines.azureml.sdk.quotas import CoreQuota, VmSize

REMEDY = (
    "Ask for more in studio, under Quota; or take a size of another family",
    "tandem compute create NAME --size SIZE",
)


def quota_finding(target: "ComputeTarget", size: "VmSize | None", quotas: "Iterable[CoreQuota]") -> Finding:
    """Compare the quotas that a cluster's nodes count against with what they need."""
    if target.max_instances is None:
        return skip("quota", f"{target.name} is no cluster")
    if size is None:
        return warn("quota", f"the region does not list the VM size {target.size}", command="az ml compute list-sizes")
    limits = [
        (quota.limit, quota)
        for quota in quotas
        if quota.limit is not None and quota.tier == (target.tier or "dedicated") and _counts(quota, size)
    ]
    if not limits:
        return skip("quota", f"no limit is told for {target.size}, {target.tier}")
    limit, tight = min(limits, key=lambda pair: pair[0] - pair[1].used)
    told = f"{tight.used} of {limit} cores in use ({tight.name})"
    each, most = f"a node of {target.name} takes {size.cores}", limit // size.cores
    if most == 0:
        return fail("quota", f"{told}; {each}, so no job can start", *REMEDY)
    if limit - tight.used < size.cores:
        return warn("quota", f"{told}; {each}, so jobs wait until others end", *REMEDY)
    if most < target.max_instances:
        return warn("quota", f"{told}; {each}, so {most} of its {target.max_instances} at most can run", *REMEDY)
    return ok(
        "quota", f"{told}; all {target.max_instances} nodes of {target.name} take {target.max_instances * size.cores}"
    )


def _counts(quota: "CoreQuota", size: "VmSize") -> bool:
    return quota.family is None or quota.family.lower() == size.family.lower()
