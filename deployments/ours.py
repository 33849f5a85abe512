"""Recognise and remove what `make deploy` has made on a server.

There is no list of it. Each object is recognised by a mark of its own, so `make undeploy` works from any machine:

- a deployment: the tag ``tandem`` and an entrypoint in ``flows``;
- an automation: the tag, and a name that begins with ``tandem: `` (those of a deployment's triggers go with it too);
- a work pool, which takes no tags: its description;
- the variable that names the block for messages: its name and the tag;
- the concurrency limit by which a flow run sees what others train: its name;
- that block, which takes neither tags nor a description: a second tag of the variable, if `make deploy` made the block.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.sorting import DeploymentSort
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound

from flows.orchestration.under_way import LIMIT
from flows.prefect_api.messages import NOTIFY, OURS

TAG = "tandem"
ENTRYPOINT = "flows."
POOL = "Runs Tandem."
MADE_BLOCK = "tandem-made-block"
PAGE = 200

Kind = Literal["pool", "variable", "block", "deployment", "automation", "limit"]
Verb = Literal["there", "made", "changed", "removed", "gone"]


@dataclass(frozen=True, slots=True)
class Done:
    """What was done with one object: it was ``there`` as wanted, or was ``made``, ``changed`` or ``removed``; or it was
    ``gone`` before it could be removed."""

    verb: Verb
    kind: Kind
    name: str
    detail: str = ""


async def our_automations(client: PrefectClient) -> Mapping[str, UUID]:
    """The ids of the automations that were made here, by name."""
    found = await all_automations(client)
    return {each.name: each.id for each in found if TAG in each.tags and each.name.startswith(OURS)}


async def all_automations(client: PrefectClient) -> list[Automation]:
    """Every automation of the server."""
    found: list[Automation] = []
    while len(page := await client.read_automations(limit=PAGE, offset=len(found))) == PAGE:
        found += page
    return found + page


async def our_deployments(client: PrefectClient) -> Mapping[str, UUID]:
    """The ids of the deployments that were made here, by ``flow/name``."""
    tagged: Any = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found: dict[str, UUID] = {}
    offset = 0
    while True:
        page = await client.read_deployments(
            deployment_filter=tagged, limit=PAGE, sort=DeploymentSort.NAME_ASC, offset=offset
        )
        for each in page:
            if (each.entrypoint or "").startswith(ENTRYPOINT):
                flow = await client.read_flow(each.flow_id)
                found[f"{flow.name}/{each.name}"] = each.id
        if len(page) < PAGE:
            return found
        offset += PAGE


async def remove_automation(client: PrefectClient, name: str, id: UUID) -> Done:
    """Remove an automation."""
    return await _removed("automation", name, client.delete_automation(id))


async def remove_deployment(client: PrefectClient, name: str, id: UUID) -> Done:
    """Remove a deployment; its flow runs stay to be looked at."""
    return await _removed("deployment", name, client.delete_deployment(id))


async def remove_work_pools(client: PrefectClient) -> list[Done]:
    """Remove the work pools that were made here."""
    pools = await client.read_work_pools(limit=PAGE)
    ours = [pool.name for pool in pools if (pool.description or "").startswith(POOL)]
    return [await _removed("pool", name, client.delete_work_pool(name)) for name in sorted(ours)]


async def remove_limit(client: PrefectClient) -> list[Done]:
    """Remove the concurrency limit that flow runs have made, if any has."""
    try:
        await client.read_global_concurrency_limit_by_name(LIMIT)
    except ObjectNotFound:
        return []
    return [await _removed("limit", LIMIT, client.delete_global_concurrency_limit_by_name(LIMIT))]


async def remove_notify_block(client: PrefectClient) -> list[Done]:
    """Remove the block for messages if it was made here, then the variable that names it."""
    variable = await client.read_variable_by_name(NOTIFY)
    if variable is None or TAG not in variable.tags:
        return []
    done: list[Done] = []
    if MADE_BLOCK in variable.tags:
        done.append(await _removed("block", str(variable.value), _delete_block(client, str(variable.value))))
    return [*done, await _removed("variable", NOTIFY, client.delete_variable_by_name(NOTIFY))]


async def _delete_block(client: PrefectClient, name: str) -> None:
    slug, _, document = name.partition("/")
    block = await client.read_block_document_by_name(document, slug, include_secrets=False)
    await client.delete_block_document(block.id)


async def _removed(kind: Kind, name: str, deletion: Awaitable[object]) -> Done:
    try:
        await deletion
    except ObjectNotFound:
        return Done("gone", kind, name)
    return Done("removed", kind, name)
