"""An error that Tandem raises on purpose is a failed state with a message, not a traceback in the log."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from flows.errors import RunCanceled, TandemError

P = TypeVar("P")


def failures_as_states(function: Callable[[P], Awaitable[State[Any]]]) -> Callable[[P], Awaitable[State[Any]]]:
    """Turn a :class:`TandemError` into the state of the flow run, whose message it becomes."""

    @functools.wraps(function)
    async def guarded(parameters: P) -> State[Any]:
        try:
            return await function(parameters)
        except RunCanceled as error:
            return Cancelled(message=str(error))
        except TandemError as error:
            return Failed(message=str(error), name=type(error).__name__)

    return guarded
