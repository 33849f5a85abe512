"""Polling of a job: how often to look at it, and how long to wait for it. Pure: the time is an argument."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

QUEUED = frozenset({"NotStarted", "Starting", "Provisioning", "Preparing", "Queued", "Paused", "Scheduled", "Unknown"})
RUNNING = frozenset({"Running", "Finalizing", "CancelRequested", "NotResponding"})
TERMINAL = frozenset({"Completed", "Failed", "Canceled"})

FIRST_SECONDS = 2.0
LONGEST_SECONDS = 30.0
SELDOM_SECONDS = 600.0
GROWTH = 1.3


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a job may stay in a kind of state, in seconds; None is for ever."""

    queue_timeout_seconds: float | None = None
    run_timeout_seconds: float | None = None
    not_responding_seconds: float = 600.0
    unreachable_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Overdue:
    """Why waiting for a job is over: in words, and in kind."""

    kind: Literal["queue", "run", "not_responding", "unreachable"]
    reason: str


@dataclass(slots=True)
class Watch:
    """What was seen of a job so far. Times are seconds of one clock that never goes back."""

    timeouts: Timeouts
    seen: object = None
    since: float = 0.0
    status: str = "NotStarted"
    interval: float = FIRST_SECONDS
    queued_seconds: float = 0.0
    running_seconds: float = 0.0
    silent_seconds: float = 0.0
    unreachable_since: float | None = None

    def observe(self, now: float, status: str, seen: object) -> None:
        """Take note of what a look at the job has shown.

        The time since the last look counts for the status that was seen then: queued time is never run time.

        Args:
            now: The time of the look.
            status: The status of the job.
            seen: Everything whose change is a reason to look again soon; compared with that of the last look.
        """
        elapsed = max(0.0, now - self.since) if self.seen is not None else 0.0
        if self.status in QUEUED:
            self.queued_seconds += elapsed
        elif self.status not in TERMINAL:  # a status that is not known here counts too
            self.running_seconds += elapsed
        self.silent_seconds = self.silent_seconds + elapsed if self.status == status == "NotResponding" else 0.0
        if seen != self.seen:
            self.interval = FIRST_SECONDS
        else:
            self.interval = min(self.interval * GROWTH, LONGEST_SECONDS)
        self.seen, self.since, self.status, self.unreachable_since = seen, now, status, None

    def begin(self, queued_seconds: float, running_seconds: float) -> None:
        """Take note of the time before the first look, which counts as if it had been watched."""
        self.queued_seconds += max(0.0, queued_seconds)
        self.running_seconds += max(0.0, running_seconds)

    def missed(self, now: float) -> None:
        """Take note of a look that failed; what was seen before still stands."""
        self.unreachable_since = now if self.unreachable_since is None else self.unreachable_since
        self.interval = min(self.interval * GROWTH, LONGEST_SECONDS)

    def overdue(self, now: float) -> Overdue | None:
        """Why waiting is over; None while it is not."""
        timeouts, queued = self.timeouts, self.queued_seconds
        queue, run = timeouts.queue_timeout_seconds, timeouts.run_timeout_seconds
        if queue is not None and self.status in QUEUED and queued >= queue:
            words = f"it was still {self.status} after {queued:.0f} s (queue_timeout_seconds is {queue:g})"
            return Overdue("queue", words)
        if run is not None and self.running_seconds >= run:
            return Overdue("run", f"it ran for more than {run:g} s (run_timeout_seconds)")
        if self.silent_seconds >= timeouts.not_responding_seconds:
            return Overdue("not_responding", f"it has not responded for {self.silent_seconds:.0f} s")
        if self.unreachable_since is not None and now - self.unreachable_since >= timeouts.unreachable_seconds:
            return Overdue("unreachable", f"the workspace has not answered for {now - self.unreachable_since:.0f} s")
        return None

    def limit_seconds(self) -> float | None:
        """In how many seconds a limit may be reached, so that somebody has to look then; None if there is no limit.

        A job that runs may go back into the queue; to see that, it is not looked at more often than every ten minutes.
        """
        queue, run = self.timeouts.queue_timeout_seconds, self.timeouts.run_timeout_seconds
        seldom = 0.0 if self.status in QUEUED else SELDOM_SECONDS
        left = (
            None if queue is None else max(seldom, queue - self.queued_seconds),
            None if run is None else max(0.0, run - self.running_seconds),
        )
        return min((seconds for seconds in left if seconds is not None), default=None)


def covered_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of these spans of time lasted; each is its begin and its end."""
    covered, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered
