"""What a rollout does next, decided by what the endpoint tells now. Pure.

A rollout is a loop: read the endpoint, decide, act. Nothing is remembered between two rounds but what stands at the
endpoint, so a rollout can be killed at any moment and started again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from flows.rollout.policy import RolloutPolicy
from flows.rollout.record import Phase, Retired, Rolling
from flows.serving.endpoints import Deployment, Endpoint, ServedModel, ServingState

COLOURS = ("blue", "green")
MORE_COLOURS = ("teal", "amber", "violet")  # where somebody has given all the others traffic


@dataclass(frozen=True, slots=True)
class CreateEndpoint:
    """There is no endpoint yet."""


@dataclass(frozen=True, slots=True)
class WaitForPlace:
    """The place is at work on the endpoint, or on a deployment of it."""

    what: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Write down what is about to change, before anything does."""

    rolling: Rolling


@dataclass(frozen=True, slots=True)
class Deploy:
    """Create the new deployment, wait for it, or put it again where it failed."""

    colour: str


@dataclass(frozen=True, slots=True)
class Smoke:
    """Test a deployment that has no share yet, by header."""

    colour: str


@dataclass(frozen=True, slots=True)
class SetMirror:
    """Let the new deployment get copies of requests, whose answers nobody waits for; the shares stay as they are."""

    colour: str
    percent: int
    shares: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CheckMirror:
    """Look at how the new deployment fares with copies of requests."""

    colour: str


@dataclass(frozen=True, slots=True)
class SetShare:
    """Give the new deployment a share of the traffic, and no copies any more; the others keep their proportions."""

    colour: str
    shares: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Hold:
    """Leave the share, or before the first the copies, as they are for so many seconds."""

    seconds: float
    share: int
    mirror: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """Check what the route answers at this share."""

    colour: str
    share: int


@dataclass(frozen=True, slots=True)
class Retire:
    """The new deployment has all the traffic and was checked: the rollout is over; the old ones are kept a while."""

    colour: str
    old: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """The model is served alone; wait for the end of the time in which old deployments are kept."""

    colour: str
    old: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a deployment that has no share."""

    colour: str


@dataclass(frozen=True, slots=True)
class RestoreShares:
    """Set the shares from before, and write down that the rollout goes back."""

    rolling: Rolling
    shares: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Undo:
    """The shares are back: keep the logs of the new deployment, delete it, and forget the rollout."""

    rolling: Rolling


@dataclass(frozen=True, slots=True)
class Done:
    """The model is served, alone. ``rolled_back``: it is not, for a check has failed, and the old shares are back."""

    colour: str | None
    rolled_back: bool = False


Action: TypeAlias = (
    CreateEndpoint
    | WaitForPlace
    | Begin
    | Deploy
    | Smoke
    | SetMirror
    | CheckMirror
    | SetShare
    | Hold
    | Check
    | Retire
    | Keep
    | Delete
    | RestoreShares
    | Undo
    | Done
)


@dataclass(frozen=True, slots=True)
class Checks:
    """What this process has seen of the new deployment since it began, or since the share was set last.

    Attributes:
        smoked: Whether it passed the smoke test.
        mirrored: Whether it passed the check with copies of requests.
        passed: The share at which the route was checked and passed; 0 for none.
        failed: What failed, for a person; empty if nothing has.
        undone: What had failed of a rollout that is undone by now; empty if none was.
    """

    smoked: bool = False
    mirrored: bool = False
    passed: int = 0
    failed: str = ""
    undone: str = ""


def next_action(
    endpoint: Endpoint | None, wanted: ServedModel, policy: RolloutPolicy, now: float, checks: Checks
) -> Action:
    """Decide what to do next.

    Args:
        endpoint: As its place tells of it now; None if there is none.
        wanted: The model that is to be served.
        policy: The steps and the limits.
        now: In seconds since 1970.
        checks: What this process has seen.
    """
    if endpoint is None:
        return CreateEndpoint()
    if endpoint.state.changes:
        return WaitForPlace(f"the endpoint {endpoint.name} is {endpoint.state}")
    rolling = Rolling.of(endpoint.tags)
    if rolling is not None:
        return _go_on(endpoint, rolling, wanted, policy, now, checks)
    if checks.undone:
        return Done(main_deployment(endpoint), rolled_back=True)
    return _begin(endpoint, wanted, policy, now)


def _begin(endpoint: Endpoint, wanted: ServedModel, policy: RolloutPolicy, now: float) -> Action:
    """No rollout has begun: tidy up after the last one if the model has all the traffic, else begin.

    A deployment of the model that is there already, such as one that is kept after it was retired, is used again.
    """
    usable = [one for one in endpoint.deployments if serves(one, wanted) and not _broken(one)]
    there = max(usable, key=lambda one: endpoint.traffic.get(one.name, 0), default=None)
    if there is not None and endpoint.traffic.get(there.name) == 100 and not there.state.changes:
        return _tidy(endpoint, there, policy, now)
    colour = _absent(endpoint) if there is None else there.name
    if colour is None:
        idle = next((one for one in endpoint.deployments if not endpoint.gets_requests(one.name)), None)
        if idle is not None:
            return _without(idle)
        colour = _absent(endpoint, MORE_COLOURS) or f"{COLOURS[0]}-{len(endpoint.deployments)}"
    before = scaled({name: share for name, share in endpoint.traffic.items() if share and name != colour})
    return Begin(Rolling(colour, wanted.digest, Phase.FORWARD, now, before))


def _tidy(endpoint: Endpoint, current: Deployment, policy: RolloutPolicy, now: float) -> Action:
    """The model is served: delete what was retired, when its time is over."""
    retired = Retired.of(endpoint.tags)
    if retired is None:
        return Done(current.name)
    old = [
        one
        for one in endpoint.deployments
        if one.name in retired.colours and one.name != current.name and not endpoint.gets_requests(one.name)
    ]
    if not old:
        return Done(current.name)
    left = retired.since + policy.keep_seconds - now
    return Keep(current.name, tuple(one.name for one in old), left) if left > 0 else _without(old[0])


def _go_on(
    endpoint: Endpoint, rolling: Rolling, wanted: ServedModel, policy: RolloutPolicy, now: float, checks: Checks
) -> Action:
    """A rollout has begun: here, or in a process that was killed."""
    new = endpoint.deployment(rolling.colour)
    share, before = endpoint.traffic.get(rolling.colour, 0), _restored(endpoint, rolling)
    if rolling.phase is Phase.BACK:
        return Undo(rolling) if _as_before(endpoint, rolling) else RestoreShares(rolling, before)
    if checks.failed or rolling.digest != wanted.digest or (new is not None and not serves(new, wanted)):
        return RestoreShares(rolling, before)
    if new is None or _broken(new):
        asked = endpoint.gets_requests(rolling.colour)
        return RestoreShares(rolling, before) if asked else Deploy(rolling.colour)
    if new.state.changes:
        return Deploy(rolling.colour)
    if not share:
        if not checks.smoked:
            return Smoke(rolling.colour)
        if policy.mirror_percent and before and not checks.mirrored:
            return _mirror(endpoint, rolling, policy, now)
        return SetShare(rolling.colour, shares_with(rolling.colour, policy.steps[0] if before else 100, before))
    if checks.passed != share:
        left = rolling.since + policy.pause_seconds - now
        return Hold(left, share) if left > 0 else Check(rolling.colour, share)
    if share < 100:
        following = next(step for step in policy.steps if step > share)
        return SetShare(rolling.colour, shares_with(rolling.colour, following, before))
    return Retire(rolling.colour, tuple(sorted(before)))


def _mirror(endpoint: Endpoint, rolling: Rolling, policy: RolloutPolicy, now: float) -> Action:
    """Give it copies of requests for as long as a share is held, and look at it. The first share ends the copies."""
    if endpoint.mirror.get(rolling.colour) != policy.mirror_percent:
        shares = {name: share for name, share in endpoint.traffic.items() if share}
        return SetMirror(rolling.colour, policy.mirror_percent, shares)
    left = rolling.since + policy.pause_seconds - now
    return Hold(left, 0, policy.mirror_percent) if left > 0 else CheckMirror(rolling.colour)


def shares_with(colour: str, share: int, before: Mapping[str, int]) -> Mapping[str, int]:
    """The shares of all when one gets ``share`` percent: the others keep their proportions. They sum to 100."""
    if share == 100 or not before:
        return {colour: 100}
    return {**scaled(before, 100 - share), colour: share}


def scaled(shares: Mapping[str, int], total: int = 100) -> Mapping[str, int]:
    """Shares in the same proportions that sum to ``total`` whole percent, by the greatest remainder; none stay none."""
    sum_before = sum(shares.values())
    if not sum_before:
        return {}
    parts = {name: total * share // sum_before for name, share in shares.items()}
    by_rest = sorted(shares, key=lambda name: (-(total * shares[name] % sum_before), name))
    for name in by_rest[: total - sum(parts.values())]:
        parts[name] += 1
    return {name: part for name, part in parts.items() if part}


def main_deployment(endpoint: Endpoint) -> str | None:
    """The deployment with the greatest share; None if there is no traffic."""
    shares = {name: share for name, share in endpoint.traffic.items() if share}
    return max(sorted(shares), key=lambda name: shares[name], default=None)


def serves(deployment: Deployment, wanted: ServedModel) -> bool:
    """Whether a deployment serves the content of the model, and keeps what it is asked as it is to be kept."""
    model = deployment.model
    return model is not None and replace(model, version=wanted.version) == wanted


def _broken(deployment: Deployment) -> bool:
    return deployment.state in {ServingState.FAILED, ServingState.CANCELED}


def _absent(endpoint: Endpoint, colours: Sequence[str] = COLOURS) -> str | None:
    """The first of some colours that no deployment has; None if all are there."""
    there = {one.name for one in endpoint.deployments}
    return next((colour for colour in colours if colour not in there), None)


def _without(old: Deployment) -> Action:
    return WaitForPlace(f"the deployment {old.name} is {old.state}") if old.state.changes else Delete(old.name)


def _restored(endpoint: Endpoint, rolling: Rolling) -> Mapping[str, int]:
    """The shares from before, of those that are still there."""
    return scaled({name: share for name, share in rolling.before.items() if endpoint.deployment(name) is not None})


def _as_before(endpoint: Endpoint, rolling: Rolling) -> bool:
    """Whether the shares from before are set, and the new deployment gets no copies."""
    if endpoint.mirror.get(rolling.colour):
        return False
    return {name: share for name, share in endpoint.traffic.items() if share} == dict(_restored(endpoint, rolling))
