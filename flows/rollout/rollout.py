"""Roll a model out: read the endpoint, decide what is next, do it, until the model is served alone or rolled back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from flows.errors import EndpointBusyError, ServiceError, ServingError
from flows.rollout.plan import (
    Action,
    Begin,
    Check,
    CheckMirror,
    Checks,
    CreateEndpoint,
    Delete,
    Deploy,
    Done,
    Hold,
    Keep,
    RestoreShares,
    Retire,
    SetMirror,
    SetShare,
    Smoke,
    Undo,
    WaitForPlace,
    main_deployment,
    next_action,
    serves,
)
from flows.rollout.policy import RolloutPolicy
from flows.rollout.record import LEASE, NO_ROLLING, RETIRED, Lease, Phase, Retired, Rolling
from flows.serving.endpoints import DeploymentRequest, Endpoint, ServedModel, ServingState
from flows.serving.serving import Serving
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec

POLL_SECONDS = 5.0
_CHANGES = (CreateEndpoint, Begin, Deploy, SetMirror, SetShare, Retire, Delete, RestoreShares, Undo)


class Examiner(Protocol):
    """Who tests a deployment. Each answer is what failed, for a person; empty if all is well."""

    async def smoke(self, endpoint: Endpoint, colour: str, policy: RolloutPolicy) -> str:
        """Send known rows, and a bad one, to a deployment that has no share."""
        ...

    async def mirrored(self, endpoint: Endpoint, colour: str, policy: RolloutPolicy) -> str:
        """Look at a deployment that gets copies of requests, and has passed :meth:`smoke` before it did."""
        ...

    async def check(self, endpoint: Endpoint, colour: str, share: int, policy: RolloutPolicy) -> str:
        """Send known rows through the route, and look at errors and times."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be served, and where.

    Attributes:
        endpoint: The definition of the endpoint.
        deployment: The definition of a deployment; its name is chosen here.
        model: The version.
        source: Where its files are, as in :class:`flows.serving.endpoints.DeploymentRequest`.
        owner: Who rolls out, as the lease says; a run that goes on with an interrupted one has the same.
    """

    endpoint: EndpointSpec
    deployment: OnlineDeploymentSpec
    model: ServedModel
    source: str
    owner: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What is told of each round: what is done next, and the endpoint as it was read before."""

    action: Action
    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True)
class Result:
    """How a rollout ended.

    Attributes:
        endpoint: As it is now.
        colour: The deployment with the most traffic; None if there is none.
        changed: Whether anything was done.
        failed: What failed, where it was rolled back; else empty.
        logs: The last lines of the containers of the deployment that was rolled back, by container.
        overtaken: Whether the model was served alone until another rollout began, while the old deployment was kept.
    """

    endpoint: Endpoint
    colour: str | None
    changed: bool
    failed: str = ""
    logs: Mapping[str, str] | None = None
    overtaken: bool = False


class Rollout:
    """One rollout. It keeps in memory only what it has seen of checks, and can be killed at any moment."""

    def __init__(
        self,
        serving: Serving,
        wanted: Wanted,
        policy: RolloutPolicy,
        examiner: Examiner,
        *,
        tell: Callable[[Moment], Awaitable[None]],
        gone: Callable[[str], bool] = lambda _: False,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take what is to be done.

        Args:
            serving: The place.
            wanted: What is to be served.
            policy: The steps and the limits.
            examiner: Who tests the new deployment.
            tell: Called before each action.
            gone: Whether an owner of a lease is known to be dead, so that its lease may be taken over.
            now: The clock, in seconds since 1970.
            sleep: Waits.
        """
        self._serving = serving
        self._wanted = wanted
        self._request_seconds = wanted.deployment.requests.timeout_seconds
        self._policy = replace(policy, keep_seconds=max(policy.keep_seconds, self._request_seconds))
        self._examiner = examiner
        self._tell = tell
        self._gone = gone
        self._now = now
        self._sleep = sleep
        self._checks = Checks()
        self._logs: Mapping[str, str] | None = None
        self._changed = False
        self._leased = False
        self._over: str | None = None  # the deployment with the traffic, once only the old ones are waited for

    async def run(self) -> Result:
        """Go on until the model is served alone, or the shares from before are back.

        Raises:
            EndpointBusyError: Somebody else is rolling out at this endpoint.
            ServingError: The place refused what nothing can undo, or the endpoint was deleted after the rollout.
        """
        while True:
            endpoint = await self._serving.endpoint(self._wanted.endpoint.name)
            if self._over and endpoint is None:
                raise ServingError(
                    f"The endpoint {self._wanted.endpoint.name} was deleted by somebody else, after it served "
                    f"{self._wanted.model.label} alone. See: tandem endpoints"
                )
            if self._over and endpoint is not None and self._overtaken(endpoint, self._over):
                return Result(endpoint, main_deployment(endpoint), self._changed, overtaken=True)
            action = next_action(endpoint, self._wanted.model, self._policy, self._now(), self._checks)
            over = isinstance(action, Done | Keep) or (self._over and not isinstance(action, Delete | WaitForPlace))
            if over and endpoint is not None and (forgotten := self._forgotten(endpoint, action)):
                await self._serving.tag(endpoint.name, dict.fromkeys(forgotten))
                self._leased = False
            if over and endpoint is not None and not isinstance(action, Keep):
                colour = action.colour if isinstance(action, Done) else self._over
                return Result(endpoint, colour, self._changed, self._checks.undone, self._logs)
            if endpoint is not None and not isinstance(action, WaitForPlace | Keep):
                await self._hold_lease(endpoint)
            await self._tell(Moment(action, endpoint))
            self._changed = self._changed or isinstance(action, _CHANGES)
            await self._act(action, endpoint)

    async def _act(self, action: Action, endpoint: Endpoint | None) -> None:
        name = self._wanted.endpoint.name
        match action:
            case CreateEndpoint():
                await self._serving.create_endpoint(self._wanted.endpoint)
            case WaitForPlace():
                await self._sleep(POLL_SECONDS)
            case Begin(rolling):
                retired = None if endpoint is None else Retired.of(endpoint.tags)
                again = retired is not None and rolling.colour in retired.colours
                await self._serving.tag(name, {**rolling.tags(), **({RETIRED: None} if again else {})})
            case Deploy(colour):
                await self._failing(self._deploy(colour))
            case Smoke(colour):
                assert endpoint is not None
                failed = await self._examiner.smoke(endpoint, colour, self._policy)
                self._checks = replace(self._checks, smoked=not failed, failed=failed)
            case SetMirror(colour, percent, shares):
                assert endpoint is not None
                await self._since_now(endpoint)
                await self._serving.set_traffic(name, shares, {colour: percent})
            case CheckMirror(colour):
                assert endpoint is not None
                failed = await self._examiner.mirrored(endpoint, colour, self._policy)
                self._checks = replace(self._checks, mirrored=not failed, failed=failed)
            case SetShare(_, shares):
                assert endpoint is not None
                await self._since_now(endpoint)
                await self._serving.set_traffic(name, shares)
            case Hold(seconds):
                await self._sleep(min(seconds, self._policy.lease_seconds / 3))
            case Check(colour, share):
                assert endpoint is not None
                failed = await self._examiner.check(endpoint, colour, share, self._policy)
                passed = self._checks.passed if failed else share
                self._checks = replace(self._checks, passed=passed, failed=failed)
            case Retire(_, old):
                retired = Retired(old, self._now(), self._policy.keep_seconds).text if old else None
                await self._serving.tag(name, {**NO_ROLLING, RETIRED: retired})
            case Keep(colour, _, seconds):
                self._over = colour
                await self._sleep(min(seconds, 3 * POLL_SECONDS))  # somebody may overtake it meanwhile
            case Delete(colour):
                await self._serving.delete_deployment(name, colour)
            case RestoreShares(rolling, shares):
                assert endpoint is not None
                has_share = endpoint.traffic.get(rolling.colour)
                self._checks = replace(self._checks, failed=self._checks.failed or _broken(endpoint, rolling))
                await self._serving.set_traffic(name, shares)
                await self._serving.tag(name, dict(replace(rolling, phase=Phase.BACK).tags()))
                if has_share:  # before it is deleted, what it was asked until now is answered, or has taken too long
                    await self._sleep(self._request_seconds)
            case Undo(rolling):
                await self._undo(rolling)
            case Done():
                pass

    async def _deploy(self, colour: str) -> None:
        wanted = self._wanted
        request = DeploymentRequest(wanted.endpoint.name, colour, wanted.deployment, wanted.model, wanted.source)
        await self._serving.deploy(request)

    async def _failing(self, deploying: Awaitable[None]) -> None:
        """A deployment that cannot be made fails the rollout, which then goes back."""
        try:
            await deploying
        except ServingError as error:
            self._checks = replace(self._checks, failed=str(error))

    async def _undo(self, rolling: Rolling) -> None:
        name = self._wanted.endpoint.name
        with suppress(ServingError, ServiceError):  # what the logs say is wanted, but not before all else
            self._logs = await self._serving.logs(name, rolling.colour)
        await self._serving.delete_deployment(name, rolling.colour)
        await self._serving.tag(name, NO_ROLLING)
        if rolling.digest == self._wanted.model.digest:
            failed = self._checks.failed or "A check had failed before this rollout was interrupted."
            self._checks = Checks(undone=failed)
        else:
            self._checks = Checks()

    async def _since_now(self, endpoint: Endpoint) -> None:
        rolling = Rolling.of(endpoint.tags)
        assert rolling is not None
        await self._serving.tag(endpoint.name, dict(replace(rolling, since=self._now()).tags()))

    def _overtaken(self, endpoint: Endpoint, colour: str) -> bool:
        """Whether another rollout changes the endpoint, or has changed it, since this one was over."""
        new = endpoint.deployment(colour)
        alone = new is not None and serves(new, self._wanted.model) and endpoint.traffic.get(colour) == 100
        return not alone or Rolling.of(endpoint.tags) is not None

    def _forgotten(self, endpoint: Endpoint, action: Action) -> list[str]:
        """The tags of a rollout that is over: its lease, or that of a dead one, and what it has retired and deleted."""
        lease = Lease.of(endpoint.tags)
        over = lease is not None and (self._has_lease(endpoint) or self._gone(lease.owner))
        if lease is not None and not over:
            return []  # somebody else is at work, whose tags these are
        tidied = isinstance(action, Done) and not action.rolled_back and RETIRED in endpoint.tags
        return [*([LEASE] if over else []), *([RETIRED] if tidied else [])]

    def _has_lease(self, endpoint: Endpoint) -> bool:
        lease = Lease.of(endpoint.tags)
        return lease is not None and lease.owner == self._wanted.owner

    async def _hold_lease(self, endpoint: Endpoint) -> None:
        """Take the lease, or see that it is still ours, and renew it in time.

        Raises:
            EndpointBusyError: Somebody else has it.
        """
        lease, now = Lease.of(endpoint.tags), self._now()
        mine = self._has_lease(endpoint)
        if lease is not None and not mine and lease.until > now and (self._leased or not self._gone(lease.owner)):
            raise EndpointBusyError(
                f"The endpoint {endpoint.name} is being changed by another rollout ({lease.owner}), which has it for "
                f"another {lease.until - now:.0f} s at least. Nothing more was changed. Start this one again after it."
            )
        if not mine or lease is None or lease.until - now < self._policy.lease_seconds / 2:
            taken = Lease(self._wanted.owner, now + self._policy.lease_seconds)
            await self._serving.tag(endpoint.name, {LEASE: taken.text})
        self._leased = True


def _broken(endpoint: Endpoint, rolling: Rolling) -> str:
    """What the place tells of a new deployment that cannot answer any more; empty if it can."""
    new = endpoint.deployment(rolling.colour)
    if new is None:
        return f"{rolling.colour} was deleted by somebody else"
    return "" if new.state is ServingState.SUCCEEDED else f"{rolling.colour} is {new.state}"
