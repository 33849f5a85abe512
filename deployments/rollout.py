"""Deploy everything to a server, or remove it, in the order in which the parts depend on each other."""

from collections.abc import Mapping
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore

from deployments.notify import put_notify_block
from deployments.ours import (
    Done,
    our_automations,
    our_deployments,
    remove_automation,
    remove_deployment,
    remove_limit,
    remove_notify_block,
    remove_work_pools,
)
from deployments.server import put_automations, put_deployment, put_work_pool
from deployments.wanted import wanted_deployments, wanted_notifications


async def deploy(deployments: Path, notifications: Path, environment: Mapping[str, str]) -> list[Done]:
    """Make what is missing, change what differs from the files, and remove what was made here but is wanted no longer.

    Raises:
        SettingsError: A file or a setting is wrong. Nothing was changed.
    """
    wanted = await wanted_deployments(deployments)
    async with get_client() as client:
        block_id, done = await put_notify_block(client, environment)
        messages = [] if block_id is None else wanted_notifications(notifications, block_id)
        for pool in sorted({str(deployment.fields["work_pool_name"]) for deployment in wanted}):
            done.append(await put_work_pool(client, pool))
        automations: list[AutomationCore] = []
        for deployment in wanted:
            id, put = await put_deployment(client, deployment)
            done.append(put)
            automations += deployment.automations(id)
        automations += messages
        done += await put_automations(client, automations)
        names = {automation.name for automation in automations}
        ours = await our_automations(client)
        done += [await remove_automation(client, name, ours[name]) for name in sorted(ours.keys() - names)]
        names = {deployment.full_name for deployment in wanted}
        ours = await our_deployments(client)
        done += [await remove_deployment(client, name, ours[name]) for name in sorted(ours.keys() - names)]
    return done


async def undeploy() -> list[Done]:
    """Remove what was made here, and nothing else. Flow runs that have ended stay to be looked at."""
    async with get_client() as client:
        automations, deployments = await our_automations(client), await our_deployments(client)
        done = [await remove_automation(client, name, automations[name]) for name in sorted(automations)]
        done += [await remove_deployment(client, name, deployments[name]) for name in sorted(deployments)]
        done += await remove_work_pools(client) + await remove_limit(client)
        return [*done, *await remove_notify_block(client)]
