"""Follow a growing log file, line by line.

The lines go to Prefect's log and to the terminal. The log file keeps every byte; the lines differ from it in this:

- Bytes that are not UTF-8 are shown as ``�``, and a NUL, which a database refuses, as ``␀``.
- A line that was overwritten with carriage returns, such as a progress bar, is shown as it was last.
- A line of more than :data:`LONGEST_LINE` characters is cut, and the number of further bytes is added.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.1
LONGEST_LINE = 10_000
_CHUNK_BYTES = 1 << 18
_LAST_LINES, _LAST_BYTES = 20, 1 << 20


async def follow(log: Path, ended: "asyncio.Future[Any]", write: Callable[[str], None]) -> None:
    """Pass the lines of a growing log on as they come, until ``ended`` is done and all is read."""
    lines = Lines()
    with log.open("rb") as stream:
        while True:
            over = ended.done()
            while chunk := stream.read(_CHUNK_BYTES):
                for line in lines.of(chunk):
                    write(line)
                await asyncio.sleep(0)  # lets other tasks run
            if over:
                break
            await asyncio.wait((ended,), timeout=POLL_SECONDS)
    for line in lines.rest():
        write(line)


def last_lines(log: Path) -> list[str]:
    """The last lines of a log, of whatever size."""
    lines = Lines()
    with log.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LAST_BYTES))
        return [*lines.of(stream.read()), *lines.rest()][-_LAST_LINES:]


class Lines:
    """Splits bytes that come in pieces into lines, and keeps no more of a line in memory than will be shown."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropped = 0  # bytes

    def of(self, chunk: bytes) -> Iterator[str]:
        """The lines that end in this piece."""
        first, *others = chunk.split(b"\n")
        self._add(first)
        for part in others:
            yield self._taken()
            self._add(part)

    def rest(self) -> list[str]:
        """The line that has no end, if there is one."""
        return [self._taken()] if self._rest else []

    def _add(self, part: bytes) -> None:
        line = self._rest + part
        if b"\r" in line[:-1]:
            start = line.rstrip(b"\r").rfind(b"\r") + 1
            if start:
                line, self._dropped = line[start:], 0
        kept = 4 * LONGEST_LINE  # a character has at most four bytes
        self._dropped += len(line[kept:])
        self._rest = line[:kept]

    def _taken(self) -> str:
        text = self._rest.decode(errors="replace").rstrip("\r").replace("\0", "␀")
        more = len(text[LONGEST_LINE:].encode()) + self._dropped
        self._rest, self._dropped = b"", 0
        return f"{text[:LONGEST_LINE]} … ({more:,} bytes more, see the log file)" if more else text
