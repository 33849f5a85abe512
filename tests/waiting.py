"""Wait until a condition holds."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = 240.0  # nothing that a test waits for takes so long unless it hangs


def until(holds: Callable[[], T], seconds: float = DEADLINE_SECONDS, pause: float = 0.1) -> T:
    """What the condition comes to, once it holds.

    Raises:
        AssertionError: It does not within so many seconds.
    """
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)
    return found
