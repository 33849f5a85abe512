"""How Prefect shows a step that did not run: as a task run that is over, below the steps that it would have read from.

Left to Prefect, it would be pending for ever, and the graph would draw it as a bar that grows to the present day.
"""

from collections.abc import Iterable
from typing import Any

from prefect import allow_failure
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Pending


def not_run(message: str, upstream: Iterable[State[Any]]) -> State[Any]:
    """The state of a step that did not run: not ready where it lacks an input, else canceled."""
    lacking = not all(state.is_completed() for state in upstream)
    return Cancelled(name="NotReady" if lacking else None, message=message)


def shown_after(upstream: Iterable[State[Any]]) -> list[Any]:
    """What a task waits for to be drawn below steps that are over, even if they did not complete."""
    return [state if state.is_completed() else _edge(state) for state in upstream]


def _edge(state: State[Any]) -> Any:
    """A state of the same task run that Prefect lets a task begin after; of a canceled one it does not."""
    return allow_failure(Pending(name="NotReady", state_details=state.state_details))
