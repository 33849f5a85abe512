"""All of it onto the server, and off again, in the order in which one thing needs another."""

from collections.abc import Mapping
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore

from deployments.made import Done, Kind, Made
from deployments.notify import put_notify_block
from deployments.server import put_automations, put_deployment, put_work_pool, remove
from deployments.wanted import wanted_deployments, wanted_notifications

_LAST_FIRST: tuple[Kind, ...] = ("automation", "deployment", "pool", "variable", "block")


async def deploy(deployments: Path, notifications: Path, environment: Mapping[str, str]) -> list[Done]:
    """Make what the files want and is not there, change what differs, remove what was made here and is wanted no more.

    Raises:
        SettingsError: A file or a setting is wrong. Nothing was changed.
    """
    wanted = await wanted_deployments(deployments)
    async with get_client() as client:
        made = await Made.read(client)
        block_id, done = await put_notify_block(client, made, environment)
        messages = [] if block_id is None else wanted_notifications(notifications, block_id)
        for pool in sorted({str(deployment.fields["work_pool_name"]) for deployment in wanted}):
            done.append(await put_work_pool(client, made, pool))
        automations: list[AutomationCore] = []
        for deployment in wanted:
            id, put = await put_deployment(client, made, deployment)
            done.append(put)
            automations += deployment.automations(id)
        automations += messages
        done += await put_automations(client, made, automations)
        stale = set(made.of("automation")) - {automation.name for automation in automations}
        done += [await remove(client, made, "automation", name) for name in sorted(stale)]
        stale = set(made.of("deployment")) - {deployment.full_name for deployment in wanted}
        done += [await remove(client, made, "deployment", name) for name in sorted(stale)]
    return done


async def undeploy() -> list[Done]:
    """Remove what was made here, and nothing else. Flow runs that have ended stay to be looked at."""
    async with get_client() as client:
        made = await Made.read(client)
        return [await remove(client, made, kind, name) for kind in _LAST_FIRST for name in made.of(kind)]
