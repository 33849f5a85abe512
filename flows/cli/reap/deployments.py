"""Deployments without traffic that nobody needs any more: found, told, and deleted."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flows.cli.reap.orphans import age_as_text
from flows.plain_text.table import aligned
from flows.rollout.cost import cost_a_day, cost_so_far
from flows.rollout.idle.delete import DELETED, GONE, delete_idle
from flows.rollout.idle.fates import IdleDeployment, IdleFate, idle_deployments
from flows.rollout.owner import is_dead
from flows.serving.serving import Serving

OVER = (DELETED, GONE)
Found = Sequence[IdleDeployment]
Outcomes = Mapping[tuple[str, str], str]
"""What became of deployments, by the names of endpoint and deployment."""


async def find_idle(serving: Serving, older_than: float) -> Found:
    """Read all endpoints, and judge their deployments without traffic that are at least so many seconds old."""
    now = datetime.now(UTC)
    found = idle_deployments(await serving.endpoints(), now, is_dead)
    return [each for each in found if (age := each.age_seconds(now)) is None or age >= older_than]


def to_delete(found: Found, unknown_too: bool) -> Found:
    """The deployments that are to be deleted."""
    return [each for each in found if each.fate in _may_go(unknown_too)]


def _may_go(unknown_too: bool) -> Collection[IdleFate]:
    return {IdleFate.GOES, IdleFate.UNKNOWN} if unknown_too else {IdleFate.GOES}


async def delete_all(serving: Serving, chosen: Found, unknown_too: bool) -> Outcomes:
    """Delete deployments, one after the other: the place changes an endpoint once at a time."""
    outcomes: dict[tuple[str, str], str] = {}
    for each in chosen:
        name = (each.endpoint.name, each.deployment.name)
        outcomes[name] = await delete_idle(serving, *name, _may_go(unknown_too))
    return outcomes


def idle_as_text(found: Found, where: str, age: str, now: datetime, *, costs: bool) -> str:
    """The deployments as one table, grouped by what may become of them and why, and what they cost.

    Args:
        found: The deployments.
        where: The place that they are in, such as ``on this machine``.
        age: Which of them were asked for, such as `` that are older than 2h``.
        now: For their ages.
        costs: Whether their place takes money for them.
    """
    if not found:
        return f"There are no deployments without traffic{age} {where}."
    order = list(IdleFate)
    parts = sorted({(order.index(each.fate), each.reason) for each in found})
    grouped = [[each for each in found if (order.index(each.fate), each.reason) == part] for part in parts]
    header = ("endpoint", "deployment", "model", "state", "age", "instances", "instance hours")
    lines = iter(aligned([header, *(_row(each, now, costs) for group in grouped for each in group)], right={6}))
    text = [f"Deployments without traffic{age} {where}:", "", next(lines)]
    for (fate, reason), group in zip(parts, grouped, strict=True):
        text += [f"{order[fate]}: {reason}", *(next(lines) for _ in group)]
    if costs:
        day, so_far = (
            cost_a_day(each.deployment for each in found),
            cost_so_far((each.deployment for each in found), now),
        )
        text += ["", f"Together {day.text} a day, {so_far.text} so far."]
    return "\n".join(text)


def as_data(found: Found, now: datetime, outcomes: Outcomes, *, costs: bool) -> list[dict[str, Any]]:
    """The deployments for machines; ``outcomes`` is what became of those that were to be deleted."""
    return [
        {
            "endpoint": each.endpoint.name,
            "deployment": each.deployment.name,
            "model": each.deployment.model and each.deployment.model.label,
            "state": str(each.deployment.state),
            "age_seconds": each.age_seconds(now),
            "instances": each.deployment.instances,
            "instance_type": each.deployment.instance_type,
            "instance_hours": round(cost_so_far([each.deployment], now).hours, 2),
            "cost_so_far": cost_so_far([each.deployment], now).rounded if costs else {},
            "cost_a_day": cost_a_day([each.deployment]).rounded if costs else {},
            "fate": each.fate.value,
            "reason": each.reason,
            "outcome": outcomes.get((each.endpoint.name, each.deployment.name)),
        }
        for each in found
    ]


def _row(each: IdleDeployment, now: datetime, costs: bool) -> tuple[str, ...]:
    one = each.deployment
    size = f"{one.instances} × {one.instance_type}" if costs else str(one.instances)
    hours = "?" if one.created is None else f"{cost_so_far([one], now).hours:.1f}"
    label = one.model.label if one.model else "unknown"
    return each.endpoint.name, one.name, label, str(one.state), age_as_text(each.age_seconds(now)), size, hours
