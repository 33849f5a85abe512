"""Delete a deployment without traffic, at an endpoint that no rollout changes meanwhile."""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime

from flows.errors import ServiceError, ServingError
from flows.rollout.idle.fates import IdleFate, idle_deployments
from flows.rollout.owner import is_dead, this_owner
from flows.rollout.record import LEASE, Lease
from flows.serving.serving import Serving

DELETED, GONE = "deleted", "gone"
LEASE_SECONDS = 600.0  # as long as a deletion may take


async def delete_idle(
    serving: Serving,
    endpoint: str,
    deployment: str,
    fates: Collection[IdleFate],
    gone: Callable[[str], bool] = is_dead,
) -> str:
    """Delete a deployment if it still may go. The lease keeps rollouts away from the endpoint meanwhile.

    Args:
        serving: Where it is.
        endpoint: The name of its endpoint.
        deployment: Its name.
        fates: Which deployments may go.
        gone: Whether the owner of a lease is known to be dead.

    Returns:
        What became of it: ``deleted``, ``gone``, or why it stays.
    """
    owner = this_owner()

    async def stays() -> str:
        there = await serving.endpoint(endpoint)
        if there is None or there.deployment(deployment) is None:
            return GONE
        idle = idle_deployments([there], datetime.now(UTC), gone, owner)
        found = next((each for each in idle if each.deployment.name == deployment), None)
        if found is None:
            return "it gets requests by now"
        return "" if found.fate in fates else found.reason

    try:
        if why := await stays():
            return why
        await serving.tag(endpoint, {LEASE: Lease(owner, time.time() + LEASE_SECONDS).text})
        try:
            if why := await stays():  # what somebody has done before the lease was ours
                return why
            await serving.delete_deployment(endpoint, deployment)
        finally:
            with suppress(ServingError, ServiceError):  # it runs out by itself
                await _give_back(serving, endpoint, owner)
    except (ServingError, ServiceError) as error:
        return str(error)
    return DELETED


async def _give_back(serving: Serving, endpoint: str, owner: str) -> None:
    there = await serving.endpoint(endpoint)
    lease = None if there is None else Lease.of(there.tags)
    if lease is not None and lease.owner == owner:
        await serving.tag(endpoint, {LEASE: None})
