"""Which jobs a watcher asks for at each look, and what follows from their statuses. Pure: the time is an argument.

The number of calls to Azure ML at one look is limited, however many flow runs wait. A few jobs are asked for one by
one. Many are looked up in the list of jobs, newest first, with one call for a page. Jobs that are not on its first
pages are asked for in turn, beginning with those that were not seen for longest.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from flows.engines.polling import TERMINAL

LOOK_SECONDS = 20.0
CALLS_A_LOOK = 20
PAGES_A_LOOK = 12  # the rest is for jobs that are not among the newest
STATUS_GONE = "Gone"  # there is no such job any more
NEEDS_A_PROCESS = TERMINAL | {STATUS_GONE, "NotResponding"}


class Action(Enum):
    """What is to be done about a flow run, or its job."""

    RESUME = "resume"  # the job is over, or the flow run has to look at it
    CANCEL = "cancel"  # nobody waits for the job any more
    FORGET = "forget"  # there is nothing left to do


@dataclass(frozen=True, slots=True)
class Wait:
    """A flow run and the job that it was suspended for.

    ``abandoned``: the flow run is over, so that nobody waits for the job. ``wake_at``: when the flow run is to look at
    the job whatever its status, in seconds since 1970.
    """

    flow_run_id: str
    job_name: str
    abandoned: bool = False
    wake_at: float | None = None


@dataclass(slots=True)
class WatchPlan:
    """Which jobs each look asks for. It remembers when each job was last seen."""

    seen_at: dict[str, float] = field(default_factory=dict[str, float])

    def pages(self, wanted: Collection[str]) -> int:
        """How many pages of the list of jobs to read at most; 0 if asking for each job takes no more calls."""
        return 0 if len(wanted) <= CALLS_A_LOOK else PAGES_A_LOOK

    def one_by_one(self, unseen: Collection[str], calls_made: int) -> Sequence[str]:
        """Which jobs to ask for one by one, of those that the list has not shown."""
        longest_ago = sorted(unseen, key=lambda name: self.seen_at.get(name, float("-inf")))
        return longest_ago[: max(0, CALLS_A_LOOK - calls_made)]

    def saw(self, names: Collection[str], wanted: Collection[str], now: float) -> None:
        """Take note of what a look has shown, and forget what is not wanted any more."""
        self.seen_at = {name: at for name, at in self.seen_at.items() if name in wanted}
        self.seen_at |= {name: now for name in names if name in wanted}


def actions(waits: Sequence[Wait], statuses: Mapping[str, str], now: float) -> list[tuple[Wait, Action]]:
    """What follows from what a look has shown. ``now`` is in seconds since 1970; a job without a status was not seen.

    Of many jobs to cancel, those that are left out are still to be canceled at the next look.
    """
    found: list[tuple[Wait, Action]] = []
    cancels = 0
    for wait in waits:
        action = _action(wait, statuses.get(wait.job_name), now)
        cancels += action is Action.CANCEL
        if action is not None and (action is not Action.CANCEL or cancels <= CALLS_A_LOOK):
            found.append((wait, action))
    return found


def _action(wait: Wait, status: str | None, now: float) -> Action | None:
    if wait.abandoned:
        if status in TERMINAL or status == STATUS_GONE:
            return Action.FORGET
        return None if status in (None, "CancelRequested") else Action.CANCEL
    due = wait.wake_at is not None and wait.wake_at <= now
    return Action.RESUME if due or status in NEEDS_A_PROCESS else None
