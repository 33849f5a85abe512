"""How a flow ends when something is wrong: with a state and a message, and never with a job left behind."""

import asyncio
import functools
import signal
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Failed

from flows.errors import RunCanceled, TandemError

P = TypeVar("P")


@contextmanager
def canceled_by_sigterm() -> Generator[None]:
    """Let SIGTERM cancel the current task, in which whatever runs is then ended in good order.

    Prefect's own handler raises in whatever code the signal meets; in a task that nobody awaits it would be lost, and
    the flow run go on. What it would have raised is raised in the end.
    """
    task, previous, received = asyncio.current_task(), signal.getsignal(signal.SIGTERM), False
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        nonlocal received
        received = True
        if task is not None:
            task.cancel()

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are for the main thread
        return
    loop.add_signal_handler(signal.SIGTERM, cancel)
    try:
        yield
    except asyncio.CancelledError:
        if received:
            raise TerminationSignal(signal=signal.SIGTERM) from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, previous)


def failures_as_states(function: Callable[[P], Awaitable[State[Any]]]) -> Callable[[P], Awaitable[State[Any]]]:
    """Turn a :class:`TandemError` into the state of the flow run, whose message it becomes."""

    @functools.wraps(function)
    async def guarded(parameters: P) -> State[Any]:
        try:
            with canceled_by_sigterm():
                return await function(parameters)
        except RunCanceled as error:
            return Cancelled(message=str(error))
        except TandemError as error:
            return Failed(message=str(error), name=type(error).__name__)

    return guarded
