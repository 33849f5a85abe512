"""Rule for starting an instance again that has ended: when, and when no more. Pure."""

from collections.abc import Sequence

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 30.0
MOST_DEATHS, WINDOW_SECONDS = 5, 300.0
MOST_KILLED_STARTS = 3


def next_start(deaths: Sequence[float], exit_code: int, was_ready: bool, now: float) -> float | None:
    """When to start an instance again, in the seconds of ``now``; None for never: the deployment has failed.

    One that has never been ready and has ended by itself would do so again. One that was killed before it was ready,
    as where memory is short, gets some more tries.

    Args:
        deaths: When it has ended, the last time among them.
        exit_code: Of the last time; negative for a signal.
        was_ready: Whether it has been ready since it was deployed.
        now: The time.
    """
    if not was_ready and (exit_code >= 0 or len(deaths) >= MOST_KILLED_STARTS):
        return None
    recent = sum(now - death < WINDOW_SECONDS for death in deaths)
    if recent >= MOST_DEATHS:
        return None
    return now + min(FIRST_DELAY_SECONDS * 2 ** (recent - 1), LONGEST_DELAY_SECONDS)
