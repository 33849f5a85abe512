"""What a rollout writes down at its endpoint, as tags: whose turn it is, what it does, and what it has retired.

A rollout that was killed is gone on with by what is written here, and by what the endpoint itself tells. Times are in
seconds since 1970. A tag of Azure has room for 256 characters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

LEASE = "tandem.rollout_lease"
ROLLING = "tandem.rolling"
BEFORE = "tandem.shares_before"
RETIRED = "tandem.retired"


class Phase(StrEnum):
    """How far a rollout has come with its new deployment."""

    FORWARD = "forward"
    """It is created, tested, and gets its shares."""
    BACK = "back"
    """A check has failed: the shares from before are back or are being set back, and it is deleted."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may change an endpoint, until when."""

    owner: str
    until: float

    @property
    def text(self) -> str:
        """As it stands in the tag."""
        return f"{self.owner} {self.until:.0f}"

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Lease | None":
        """Read it; None where there is none, or nothing that can be read."""
        owner, _, until = tags.get(LEASE, "").rpartition(" ")
        return cls(owner, float(until)) if owner and until.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Rolling:
    """A rollout that has begun.

    Attributes:
        colour: The name of the new deployment.
        digest: Of the model that it serves.
        phase: Forward or back.
        since: When the share that it has now was set.
        before: The shares from before its first change, which it goes back to.
    """

    colour: str
    digest: str
    phase: Phase
    since: float
    before: Mapping[str, int]

    def tags(self) -> dict[str, str]:
        """As it is written down."""
        shares = " ".join(f"{name}={share}" for name, share in sorted(self.before.items()) if share)
        return {ROLLING: f"{self.colour} {self.digest} {self.phase} {self.since:.0f}", BEFORE: shares or "none"}

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Rolling | None":
        """Read it; None where no rollout has begun."""
        parts = tags.get(ROLLING, "").split()
        if len(parts) != 4 or parts[2] not in set(Phase) or not parts[3].isdecimal():
            return None
        before: dict[str, int] = {}
        for pair in tags.get(BEFORE, "").split():
            name, _, share = pair.partition("=")
            if share.isdecimal():
                before[name] = int(share)
        return cls(parts[0], parts[1], Phase(parts[2]), float(parts[3]), MappingProxyType(before))


@dataclass(frozen=True, slots=True)
class Retired:
    """Deployments that had the traffic before, and are kept for a while, to take over again.

    Attributes:
        colours: Their names.
        since: When they were retired.
        keep_seconds: For how long the rollout that retired them keeps them; None where that is not written down.
    """

    colours: tuple[str, ...]
    since: float
    keep_seconds: float | None = None

    @property
    def text(self) -> str:
        """As it stands in the tag."""
        kept = "" if self.keep_seconds is None else f" {self.keep_seconds:.0f}"
        return f"{','.join(self.colours)} {self.since:.0f}{kept}"

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Retired | None":
        """Read it; None where nothing was retired."""
        colours, *times = tags.get(RETIRED, "").split(" ")
        if not colours or len(times) not in {1, 2} or not all(time.isdecimal() for time in times):
            return None
        return cls(tuple(colours.split(",")), *map(float, times))


NO_ROLLING: Mapping[str, str | None] = MappingProxyType({ROLLING: None, BEFORE: None})
