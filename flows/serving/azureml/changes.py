"""Changes of endpoints that take minutes: asked for once, waited for, and looked for before they are asked for again.

Azure ML answers a change at once and works on it for seconds (traffic) to ten minutes (a deployment). It refuses a
second change of the same thing meanwhile. So whatever is wanted, what is there is first waited for. If it is then as it
was asked for, nothing is sent: it was made by an earlier run that was interrupted, or by a request whose answer was
lost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flows.engines.azureml.sdk.retries import CREATE_TRIES, AlreadyThereError, pauses, retry_after
from flows.errors import ServiceError, ServingError
from flows.serving.azureml.wire import read_state
from flows.serving.endpoints import ServingState

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.serving.resources import EndpointResources, Operation

R = TypeVar("R")

Json: TypeAlias = Mapping[str, Any]
Look: TypeAlias = Callable[[], Awaitable[dict[str, Any] | None]]

FIRST_SECONDS = 1.0  # the pause after the first look at a change; it grows
GROWTH = 1.5
LONGEST_SECONDS = 8.0
LIMIT_SECONDS = 3600.0
UNREACHABLE_SECONDS = 180.0  # a service that has not answered for so long is given up


@dataclass(frozen=True, slots=True)
class Settled:
    """What is there once nothing is at work on it; ``error`` says why its last change failed, if that is told."""

    resource: dict[str, Any] | None
    error: str = ""

    @property
    def state(self) -> ServingState | None:
        """Its state; None if it is not there."""
        return None if self.resource is None else read_state(self.resource)


class Changes:
    """Makes and removes endpoints and deployments of one kind. ``limit_seconds`` is how long one change may take."""

    def __init__(self, resources: "EndpointResources", limit_seconds: float = LIMIT_SECONDS) -> None:
        self._resources = resources
        self._limit_seconds = limit_seconds

    async def make(
        self,
        what: str,
        look: Look,
        is_made: Callable[[Json], bool],
        put: Callable[[Json | None], Awaitable[str | None]],
    ) -> dict[str, Any]:
        """Make something be there as it is wanted, and return when it is.

        Args:
            what: What messages call it.
            look: Reads it.
            is_made: Whether what is there, and was made without an error, is what is wanted.
            put: Asks for it, given what is there; returns the address of the operation.

        Raises:
            ServingError: Making it failed, or takes longer than the limit.
            ServiceError: Azure ML does not answer; whether it was asked for is not known.
            UserError: It was refused.
        """
        doubt: ServiceError | AlreadyThereError | None = None
        before: str | None = None
        for pause in pauses(CREATE_TRIES):
            there = await self.settled(what, look)
            if there.resource is not None:
                if there.state is ServingState.SUCCEEDED and is_made(there.resource):
                    return there.resource
                if doubt is not None and there.state is not ServingState.SUCCEEDED and _operation(there) != before:
                    raise _failed(what, there)  # it was taken, though no answer came, and then it failed
            elif isinstance(doubt, AlreadyThereError):
                raise doubt  # and not in this workspace
            before = _operation(there)
            try:
                operation = await put(there.resource)
            except (ServiceError, AlreadyThereError) as error:
                doubt = error
                await asyncio.sleep(max(pause, retry_after(error)))
                continue
            made = await self.settled(what, look, operation)
            if made.resource is None or made.error or made.state is not ServingState.SUCCEEDED:
                raise _failed(what, made)
            return made.resource
        assert doubt is not None
        raise doubt

    async def remove(self, what: str, look: Look, delete: Callable[[], Awaitable[str | None]]) -> None:
        """Delete something, and return when it is gone. What is being made is deleted at once, if Azure ML allows that.

        Raises:
            ServingError: It is still there.
        """
        doubt: ServiceError | AlreadyThereError | None = None
        for pause in pauses(CREATE_TRIES):
            if await self._until_answered(look) is None:
                return
            try:
                operation = await delete()
            except (ServiceError, AlreadyThereError) as error:
                doubt = error
                await asyncio.sleep(max(pause, retry_after(error)))
                await self.settled(what, look)
                continue
            left = await self.settled(what, look, operation)
            if left.resource is None:
                return
            raise ServingError(
                f"{what} could not be deleted: {left.error or left.state}. It is still there, and costs while it is."
            )
        assert doubt is not None
        raise doubt

    async def settled(self, what: str, look: Look, operation: str | None = None) -> Settled:
        """Wait until nothing is at work on something.

        Args:
            what: What messages call it.
            look: Reads it.
            operation: The address of the change that is waited for, which is asked first: right after a change was
                taken, the thing itself may still be told as it was.

        Raises:
            ServingError: It takes longer than the limit.
        """
        end, pause = time.monotonic() + self._limit_seconds, FIRST_SECONDS
        told = None
        while True:
            if operation is not None and (told is None or not told.over):
                told = await self._ask(operation)
                operation = operation if told is not None else None
            if told is None or told.over:
                found = await self._until_answered(look)
                if found is None or not read_state(found).changes:
                    return Settled(found, await self._why(found, told.error if told else ""))
            else:
                found = None
            if time.monotonic() > end:
                state = read_state(found) if found is not None else told.status if told else "Unknown"
                raise ServingError(
                    f"{what} is still {state} after {self._limit_seconds:.0f} s. Azure ML goes on with it, and it "
                    "costs from when it is made. The same command waits for it again."
                )
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_SECONDS)

    async def _ask(self, operation: str) -> "Operation | None":
        return await self._until_answered(lambda: self._resources.operation(operation))

    async def _until_answered(self, call: Callable[[], Awaitable[R]]) -> R:
        end, pause = time.monotonic() + UNREACHABLE_SECONDS, FIRST_SECONDS
        while True:
            try:
                return await call()
            except ServiceError as error:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(max(pause, retry_after(error)))
                pause = min(pause * GROWTH, LONGEST_SECONDS)

    async def _why(self, found: Json | None, told: str) -> str:
        """Why the last change of something that failed did; empty if it did not, or nothing is told."""
        if told or found is None or read_state(found) is ServingState.SUCCEEDED:
            return told
        address = _operation(Settled(dict(found)))
        operation = None if address is None else await self._ask(address)
        return operation.error if operation is not None else ""


def _operation(there: Settled) -> str | None:
    """The address of the last change of something."""
    if there.resource is None:
        return None
    return (there.resource["properties"].get("properties") or {}).get("AzureAsyncOperationUri")


def _failed(what: str, made: Settled) -> ServingError:
    if made.resource is None:
        return ServingError(f"{what} is gone: somebody has deleted it while it was made.")
    return ServingError(f"{what} is {made.state}{f': {made.error}' if made.error else ''}.")
