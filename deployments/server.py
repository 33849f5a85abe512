"""Change on the server only what differs from what is wanted.

What an operator has switched off (a schedule, an automation, a deployment) stays off, what they have switched on stays
on, and what others have added stays.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    VariableCreate,
    VariableUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import SCHEDULE_TYPES, IntervalSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from deployments.ours import POOL, Done, Verb, all_automations
from deployments.wanted import WantedDeployment, WantedSchedule

_POOL = f"{POOL} Made by `make deploy`, removed by `make undeploy`."


async def put_work_pool(client: PrefectClient, name: str) -> Done:
    """Make a work pool of this name unless there is one, of whichever type."""
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        pool = await client.create_work_pool(WorkPoolCreate(name=name, type="process", description=_POOL))
        return Done("made", "pool", name, f"type {pool.type}")
    return Done("there", "pool", name, f"type {pool.type}")


async def put_variable(client: PrefectClient, name: str, value: str, tags: Sequence[str]) -> Done:
    """See that a variable has this value and these tags."""
    found = await client.read_variable_by_name(name)
    if found is None:
        await client.create_variable(VariableCreate(name=name, value=value, tags=list(tags)))
        return Done("made", "variable", name, value)
    if (found.value, found.tags) == (value, list(tags)):
        return Done("there", "variable", name, value)
    await client.update_variable(VariableUpdate(name=name, value=value, tags=list(tags)))
    return Done("changed", "variable", name, value)


async def put_deployment(client: PrefectClient, wanted: WantedDeployment) -> tuple[UUID, Done]:
    """See that there is this deployment, with its schedules; return its id too."""
    try:
        found = await client.read_deployment_by_name(wanted.full_name)
    except ObjectNotFound:
        id = await client.create_deployment(
            flow_id=await client.create_flow_from_name(wanted.flow),
            name=wanted.name,
            schedules=[_new(slug, schedule) for slug, schedule in wanted.schedules.items()],
            **wanted.fields,
        )
        return id, Done("made", "deployment", wanted.full_name)
    else:
        fields = {name: value for name, value in wanted.fields.items() if _has(found, name) != value}
        if fields:
            await client.update_deployment(found.id, DeploymentUpdate(**fields))
        changes = sorted([*fields, *await _put_schedules(client, found, wanted.schedules)])
        verb: Verb = "changed" if changes else "there"
        return found.id, Done(verb, "deployment", wanted.full_name, ", ".join(changes))


async def put_automations(client: PrefectClient, wanted: Sequence[AutomationCore]) -> list[Done]:
    """See that there are these automations. An automation is known by its name."""
    there = {automation.name: automation for automation in await all_automations(client)}
    done: list[Done] = []
    for automation in wanted:
        old = there.get(automation.name)
        if old is None:
            await client.create_automation(automation)
            done.append(Done("made", "automation", automation.name, _off(automation)))
            continue
        # The server neither shows the owner of an automation nor lets it be changed.
        new = _core({**automation.model_dump(exclude={"owner_resource"}), "enabled": old.enabled})
        same = _core(old.model_dump()) == new
        if not same:
            await client.update_automation(old.id, new)
        done.append(Done("there" if same else "changed", "automation", automation.name, _off(new)))
    return done


def _off(automation: AutomationCore) -> str:
    return "" if automation.enabled else "off"


def _core(values: Mapping[str, Any]) -> AutomationCore:
    return AutomationCore.model_validate(values)


def _has(found: DeploymentResponse, name: str) -> Any:
    """What the server has for a field, in the form in which it is wanted."""
    match name:
        case "concurrency_limit":
            return found.global_concurrency_limit and found.global_concurrency_limit.limit
        case "concurrency_options":
            return found.concurrency_options and found.concurrency_options.model_dump(mode="json", exclude_none=True)
        case _:
            return getattr(found, name)


async def _put_schedules(
    client: PrefectClient, found: DeploymentResponse, wanted: Mapping[str, WantedSchedule]
) -> Iterable[str]:
    """Make or change the schedules that are wanted; return which."""
    there = {schedule.slug: schedule for schedule in found.schedules}
    changed: list[str] = []
    for slug, schedule in wanted.items():
        old = there.get(slug)
        if old is None:
            await client.create_deployment_schedules(found.id, [_new(slug, schedule)])
        elif not _same(old, schedule):
            await client.update_deployment_schedule(
                found.id, old.id, schedule=schedule.schedule, parameters=dict(schedule.parameters)
            )
        else:
            continue
        changed.append(f"schedule {slug}")
    return changed


def _new(slug: str, wanted: WantedSchedule) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        schedule=wanted.schedule, parameters=dict(wanted.parameters), slug=slug, active=wanted.active
    )


def _same(old: DeploymentSchedule, wanted: WantedSchedule) -> bool:
    return (_when(old.schedule), old.parameters) == (_when(wanted.schedule), wanted.parameters)


def _when(schedule: SCHEDULE_TYPES) -> dict[str, Any]:
    """A schedule to compare; an interval is counted from when it was made, unless the file says so."""
    return schedule.model_dump(mode="json", exclude={"anchor_date"} if isinstance(schedule, IntervalSchedule) else None)
