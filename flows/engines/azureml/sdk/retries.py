"""Retries of calls to Azure ML: what is repeated, how often and after which pauses, and what is never repeated blindly.

A call is repeated at three levels, each for what the one below cannot know:

- A request: azure-core repeats it up to three times within some 5 seconds, or after the seconds of ``Retry-After``, if
  the connection fails or the answer is one of :data:`TRANSIENT`. It takes every PUT for one that may be repeated.
  :class:`CreateOnce` excepts those that create a job or a model version, or change an endpoint: they may have taken
  effect though no answer came.
- A call of the SDK, which is many requests: :meth:`Connection.call` makes it once more, with a new token, if the token
  was refused.
- What the caller wants: :func:`persistently` repeats what may be repeated freely. :func:`create_once` repeats what
  creates something, but looks for it first.

Only a :class:`ServiceError` is transient: the service did not answer, or cannot do it now. Whoever has a deadline of
its own (to wait for a job, to cancel one) asks again until then, and needs none of this.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from azure.core.pipeline.policies import SansIOHTTPPolicy

from flows.errors import ServiceError, UserError

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest

R = TypeVar("R")

TRIES = 5
CREATE_TRIES = 8  # more, since azure-core does not repeat these requests itself
TRIES_FOR_A_PERSON = 2  # who can type the command again
FIRST_SECONDS = 1.0  # the pause after the first try; each next one is twice as long, up to the longest
LONGEST_SECONDS = 8.0
JITTER = 0.2  # so that those whom one outage has stopped do not all come back at once
LONGEST_RETRY_AFTER_SECONDS = 60.0
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_CREATES = re.compile(
    r"/(jobs/[^/?]+|models/[^/?]+/versions/[^/?]+|(online|batch)Endpoints/[^/?]+(/deployments/[^/?]+)?)(\?|$)"
)


class AlreadyThereError(UserError):
    """Something of this name is there already."""


class CreateOnce(SansIOHTTPPolicy[Any, Any]):
    """Keeps azure-core from repeating a PUT that creates a job or a model version, or that changes an endpoint."""

    def on_request(self, request: "PipelineRequest[Any]") -> None:
        """Set an option of one request, before azure-core's own retry policy reads it."""
        if request.http_request.method == "PUT" and _CREATES.search(request.http_request.url):
            # Not `retry_connect` alone: azure-core takes a TLS connection that was cut while the answer was awaited for
            # one over which nothing was sent.
            request.context.options["retry_total"] = 0


def pauses(tries: int | None = None) -> Iterator[float]:
    """The pauses after each of so many tries, in seconds: 1, 2, 4, 8, 8, … with a jitter of 20 %."""
    for number in range(TRIES if tries is None else tries):
        yield min(FIRST_SECONDS * 2**number, LONGEST_SECONDS) * random.uniform(1 - JITTER, 1 + JITTER)


async def persistently(call: Callable[[], Awaitable[R]], tries: int | None = None) -> R:
    """Make a call that may be repeated freely, through passing trouble.

    Args:
        call: What is to be done.
        tries: How often at most; :data:`TRIES` if None.

    Raises:
        ServiceError: The trouble does not pass.
    """
    *between, _ = pauses(tries)
    for pause in between:
        try:
            return await call()
        except ServiceError:
            await asyncio.sleep(pause)
    return await call()


async def create_once(
    create: Callable[[], Awaitable[R]],
    find: Callable[[], Awaitable[R | None]],
    on_doubt: Callable[[Exception], object] = lambda error: None,
) -> R:
    """Create something that may have been created though no answer came, and that must not be created twice.

    After a failure that leaves this open there is a pause, in which a request that is still on its way may arrive. Then
    it is looked for, and created in the next try only if it is not there.

    Args:
        create: Creates it. The caller has looked for it before.
        find: Looks for it; None if it is not there.
        on_doubt: Is told of each failure that is followed by another try.

    Raises:
        ServiceError: The trouble does not pass; whether it was created is not known.
        AlreadyThereError: The name is taken by something else.
    """
    doubt: ServiceError | AlreadyThereError | None = None
    for pause in pauses(CREATE_TRIES):
        if doubt is not None:
            on_doubt(doubt)
        try:
            return await create()
        except (ServiceError, AlreadyThereError) as error:
            doubt = error
        await asyncio.sleep(max(pause, retry_after(doubt)))  # which azure-core observes only where it repeats
        if (found := await persistently(find)) is not None:
            return found
    assert doubt is not None
    raise doubt


def retry_after(error: BaseException | None) -> float:
    """After how many seconds the service wants to be asked again, at most 60; 0 if it does not say so."""
    while error is not None:
        text = str(getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", ""))
        if text.isdecimal():
            return min(float(text), LONGEST_RETRY_AFTER_SECONDS)
        error = error.__cause__
    return 0.0
