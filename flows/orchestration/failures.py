"""Errors of a flow as states of its flow run, with a message; retries only where a retry may help.

Prefect would retry every flow run that fails. So a flow has no retries of its own. Where an error may go away by
itself, the flow run is given one more retry, and the error is raised to Prefect.
"""

import asyncio
import functools
import math
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Failed
from prefect.utilities import engine as prefect_engine
from rich.console import Console

from flows.errors import RunCanceled, ServiceError, SettingsError, TandemError
from flows.machine.faults import cause_of, state_error
from flows.orchestration.flow_runs import written_down
from flows.settings import Settings

P = ParamSpec("P")

RETRY_DELAYS = "TANDEM_RETRY_DELAYS_SECONDS"
_JITTER = 0.2  # so that runs which one outage stopped are not all retried at the same time

_NAME = "_prefect_sigterm_handler"
_PREFECTS_HANDLER = getattr(prefect_engine, _NAME)


@contextmanager
def canceled_by_sigterm() -> Generator[None]:
    """Let SIGTERM cancel the current task, so that all that runs in it is cleaned up.

    Prefect's own handler raises in the code that runs when the signal arrives. In a task that nobody awaits, that
    exception would be lost and the flow run would go on. What Prefect would have raised is raised at the end.

    A runner that cancels a flow run tells the flow first. Prefect takes that into account only while the handler is its
    own; otherwise the flow run would end as crashed. So this handler is registered as Prefect's own.

    After a flow that is no subflow has completed, the signal is ignored until Prefect has written down its state
    and puts back what was there before: Prefect's handler would break that request, and the process is ending anyway.
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
    setattr(prefect_engine, _NAME, signal.getsignal(signal.SIGTERM))
    try:
        yield
    except asyncio.CancelledError:
        if received:
            raise TerminationSignal(signal=signal.SIGTERM) from None
        raise
    else:
        if previous is _PREFECTS_HANDLER and flow_run.parent_flow_run_id is None:
            previous = signal.SIG_IGN
    finally:
        setattr(prefect_engine, _NAME, _PREFECTS_HANDLER)
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def survive_closed_output() -> Generator[None]:
    """Let a deployed flow run go on when its output is closed, for example because its worker was killed.

    Otherwise the library that prints Prefect's log would end the process at the next line.
    """
    if deployment.id is None:
        yield  # a command that a person pipes into `head` is to end
        return
    previous, Console.on_broken_pipe = Console.on_broken_pipe, _be_quiet
    try:
        yield
    finally:
        Console.on_broken_pipe = previous


def _be_quiet(self: Console) -> None:
    self.quiet = True


def failures_as_states(function: Callable[P, Awaitable[State[Any]]]) -> Callable[P, Awaitable[State[Any]]]:
    """Turn a :class:`TandemError` into the state of the flow run, whose message it becomes.

    A :class:`ServiceError` is left to Prefect to retry, as often and as late as ``TANDEM_RETRY_DELAYS_SECONDS`` says;
    without it, as for a command that a person waits for, it ends the flow run too.
    """
    retries = Counter[str]()

    @functools.wraps(function)
    async def guarded(*values: P.args, **named: P.kwargs) -> State[Any]:
        delays: tuple[float, ...] = ()
        try:
            delays = retry_delays(os.environ)
            with canceled_by_sigterm(), survive_closed_output(), written_down():
                return await function(*values, **named)
        except RunCanceled as error:
            return Cancelled(message=str(error))
        except ServiceError as error:
            if await _left_to_prefect(delays, retries):
                raise
            return Failed(message=str(error), name=type(error).__name__)
        except TandemError as error:
            return Failed(message=str(error), name=type(error).__name__)
        except Exception as error:
            if cause_of(error) is None:
                raise
            told = state_error(error, Settings.from_environment().home)
            return Failed(message=str(told), name=type(told).__name__)

    return guarded


def retry_delays(environment: Mapping[str, str]) -> tuple[float, ...]:
    """How long to wait before each retry, in seconds; no retries if the variable is not set.

    Raises:
        SettingsError: It is set to something else than numbers.
    """
    text = environment.get(RETRY_DELAYS, "")
    try:
        delays = tuple(float(word) for word in text.split())
        if all(0 <= delay < math.inf for delay in delays):
            return delays
    except ValueError:
        pass
    raise SettingsError(f"{RETRY_DELAYS} is {text!r}. Write seconds, separated by spaces, such as '30 120 600'.")


async def _left_to_prefect(delays: Sequence[float], retries: Counter[str]) -> bool:
    """Let Prefect run the current flow run again when it fails now, unless it has done so often enough."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or retries[str(run.id)] >= len(delays):
        return False
    seconds = delays[retries[str(run.id)]] * random.uniform(1 - _JITTER, 1 + _JITTER)
    retries[str(run.id)] += 1
    said = f"retry {retries[str(run.id)]} of at most {len(delays)}"
    get_run_logger().warning("a service failed; %s, in %.0f s", said, seconds)
    policy = run.empirical_policy
    policy.retries, policy.retry_delay = run.run_count, round(seconds)
    async with get_client() as client:
        await client.update_flow_run(run.id, empirical_policy=policy)
    return True
