"""Connections of the router to the instances of one deployment, and the limit on requests at once.

A request that could not be sent, since its instance has ended, goes to another one. One that was sent is never sent
again.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flows.serving.local.frames import HELLO, frame, read_frame


class NoInstance(Exception):
    """No instance of the deployment is ready."""


class TooManyRequests(Exception):
    """The deployment has twice as many requests as it can work at."""


class BrokenInstance(Exception):
    """The connection to the instance broke before its answer came."""


@dataclass(eq=False)
class _Slot:
    """One request at a time of an instance, over a connection that is kept."""

    socket: str
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        if self.reader is None or self.writer is None or self.reader.at_eof():
            self.close()
            reader, writer = await asyncio.open_unix_connection(self.socket)
            try:
                await reader.readexactly(len(HELLO))
            except (EOFError, ConnectionResetError) as error:
                writer.close()
                raise ConnectionRefusedError("the instance has ended before it took the connection") from error
            except BaseException:
                writer.close()
                raise
            self.reader, self.writer = reader, writer

    async def exchange(self, body: bytes) -> tuple[dict[str, Any], bytes]:
        assert self.reader is not None and self.writer is not None
        self.writer.write(frame({}, body))
        await self.writer.drain()
        return await read_frame(self.reader)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class Instances:
    """The instances of a deployment that are ready.

    Azure ML rejects what is more than twice that which the instances can work at; the half of it waits.
    """

    def __init__(self) -> None:
        self._told: frozenset[str] = frozenset()
        self._sockets: frozenset[str] = frozenset()  # of those that were told, where somebody listens
        self._concurrency = 1
        self._free: deque[_Slot] = deque()
        self._waiting: deque[asyncio.Future[_Slot]] = deque()
        self._tasks: set[asyncio.Task[tuple[dict[str, Any], bytes]]] = set()
        self.in_flight = 0

    def update(self, sockets: Sequence[str], concurrency: int) -> None:
        """Take over which instances are ready, and how many requests each works at, at once."""
        wanted = frozenset(sockets)
        if wanted == self._told and concurrency == self._concurrency:
            return
        self._told, wanted = wanted, wanted - (self._told - self._sockets)
        added = wanted - self._sockets
        if concurrency != self._concurrency:
            for slot in self._free:
                slot.close()
            self._free.clear()
            added = wanted
        self._sockets, self._concurrency = wanted, concurrency
        for slot in [slot for slot in self._free if slot.socket not in wanted]:
            slot.close()
            self._free.remove(slot)
        for socket in sorted(added):
            for _ in range(concurrency):
                self._hand_on(_Slot(socket))

    async def ask(self, body: bytes, timeout_seconds: float, instances: int) -> tuple[dict[str, Any], bytes]:
        """Send a request to an instance, once, and return the header and the body of its answer.

        Args:
            body: Of the request.
            timeout_seconds: For waiting and answering together.
            instances: How many the deployment is to have, ready or not.

        Raises:
            TooManyRequests: There are too many requests.
            NoInstance: No instance is ready.
            TimeoutError: It took too long. The instance goes on with it, and takes no other one until it is done.
            BrokenInstance: The instance ended, or cannot be connected with.
        """
        if self.in_flight >= 2 * self._concurrency * instances:
            raise TooManyRequests
        if not self._sockets:
            raise NoInstance
        self.in_flight += 1
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(timeout_seconds):
                slot = await self._connected()
        except BaseException:
            self.in_flight -= 1
            raise
        task = asyncio.create_task(self._exchange(slot, body))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        left = timeout_seconds - (asyncio.get_running_loop().time() - began)
        return await asyncio.wait_for(asyncio.shield(task), max(left, 0.001))

    async def _exchange(self, slot: _Slot, body: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            return await slot.exchange(body)
        except (OSError, EOFError, ValueError) as error:
            slot.close()
            raise BrokenInstance from error
        finally:
            self.in_flight -= 1
            if slot.socket in self._sockets:
                self._hand_on(slot)
            else:
                slot.close()

    def _done(self, task: asyncio.Task[tuple[dict[str, Any], bytes]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone, and nobody else takes it

    async def _connected(self) -> _Slot:
        """A slot that is free, and connected."""
        while self._sockets:
            slot = await self._acquired()
            try:
                await slot.connect()
            except (FileNotFoundError, ConnectionRefusedError):
                slot.close()
                self._ended(slot.socket)
            except BaseException as error:
                self._hand_on(slot)
                if isinstance(error, OSError):  # such as too many open files: the instance may well be there
                    raise BrokenInstance from error
                raise
            else:
                return slot
        raise NoInstance

    async def _acquired(self) -> _Slot:
        if self._free:
            return self._free.pop()
        waiting: asyncio.Future[_Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._hand_on(waiting.result())  # it came in the same moment
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiting)

    def _ended(self, socket: str) -> None:
        """Take over that nobody listens at a socket any more, before the supervisor tells it. It never comes back."""
        self._sockets -= {socket}
        for slot in [slot for slot in self._free if slot.socket == socket]:
            slot.close()
            self._free.remove(slot)
        while not self._sockets and self._waiting:
            if not (waiting := self._waiting.popleft()).done():
                waiting.set_exception(NoInstance())

    def _hand_on(self, slot: _Slot) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(slot)
                return
        self._free.append(slot)
