"""Deployments that get no requests and still cost: which of them nobody needs any more. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flows.errors import ParameterError
from flows.rollout.policy import RolloutPolicy
from flows.rollout.record import Lease, Retired, Rolling
from flows.serving.endpoints import Deployment, Endpoint


class IdleFate(StrEnum):
    """What may become of a deployment without traffic."""

    GOES = "goes"
    UNKNOWN = "unknown"
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class IdleDeployment:
    """A deployment without traffic, its endpoint, what may become of it, and why."""

    endpoint: Endpoint
    deployment: Deployment
    fate: IdleFate
    reason: str

    def age_seconds(self, now: datetime) -> float | None:
        """Since it was made; None if its place does not tell."""
        created = self.deployment.created
        return None if created is None else max(0.0, (now - created).total_seconds())


def idle_deployments(
    endpoints: Iterable[Endpoint], now: datetime, gone: Callable[[str], bool], owner: str = ""
) -> Sequence[IdleDeployment]:
    """Judge all deployments that have no share of the traffic and get no copies of requests.

    Args:
        endpoints: As their place tells of them now.
        now: With a time zone.
        gone: Whether the owner of a lease is known to be dead.
        owner: Whose lease does not count: that of who asks.
    """
    return [
        IdleDeployment(endpoint, one, *_judged(endpoint, one, now, gone, owner))
        for endpoint in endpoints
        for one in endpoint.deployments
        if not endpoint.gets_requests(one.name)
    ]


def _judged(
    endpoint: Endpoint, one: Deployment, now: datetime, gone: Callable[[str], bool], owner: str
) -> tuple[IdleFate, str]:
    lease, rolling, retired = Lease.of(endpoint.tags), Rolling.of(endpoint.tags), Retired.of(endpoint.tags)
    keep_seconds, at = _keep_seconds(endpoint), now.timestamp()
    if lease is not None and lease.owner != owner and lease.until > at and not gone(lease.owner):
        return IdleFate.STAYS, f"a rollout is going on at its endpoint ({lease.owner})"
    if endpoint.state.changes or one.state.changes:
        return IdleFate.STAYS, "its place is at work on it"
    if rolling is not None and rolling.before.get(one.name):
        return IdleFate.STAYS, "an interrupted rollout would go back to it; `tandem deploy` goes on with that rollout"
    if retired is not None and one.name in retired.colours:
        left = retired.since + (keep_seconds if retired.keep_seconds is None else retired.keep_seconds) - at
        if left > 0:
            return IdleFate.STAYS, "it is kept for a while after a rollout, to take over again"
        return IdleFate.GOES, "the time for which it was kept after a rollout is over"
    if one.model is None:
        return IdleFate.UNKNOWN, "it was not made by a rollout"
    if one.created is None:
        return IdleFate.UNKNOWN, "its place does not tell its age"
    if at - one.created.timestamp() < keep_seconds:
        return IdleFate.STAYS, "it is new"
    if rolling is not None and rolling.colour == one.name:
        return IdleFate.GOES, "its rollout was interrupted; the same command, started again, would make it anew"
    return IdleFate.GOES, "it has no traffic"


def _keep_seconds(endpoint: Endpoint) -> float:
    """For how long a rollout of this endpoint keeps the old deployment, as its definition said when it was made."""
    try:
        return RolloutPolicy.of(endpoint.tags).keep_seconds
    except ParameterError:
        return RolloutPolicy().keep_seconds
