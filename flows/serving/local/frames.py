"""Messages between the router and an instance: a header and a body over a Unix socket.

A frame is the lengths of both, four bytes each (big-endian), then the header as JSON, then the body. A request has the
header ``{}``; an answer has ``{"status": 200, "type": "application/json"}``. On one connection, one follows the other.
The instance begins each connection with :data:`HELLO`: one without it lies with a process that has ended or is ending.
HTTP would cost more than scoring a row does, and the only two programs that speak this are ours.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

_LENGTHS = struct.Struct(">II")
HELLO = b"\x01"
MAX_BYTES = 64 << 20  # of a body; an answer of more than this is taken for a broken connection


def frame(header: Mapping[str, Any], body: bytes) -> bytes:
    """A message as it is sent."""
    head = json.dumps(header).encode()
    return _LENGTHS.pack(len(head), len(body)) + head + body


async def read_frame(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    """Receive a message.

    Raises:
        EOFError: The connection has ended.
        ValueError: It is no message.
    """
    head, body = _lengths(await reader.readexactly(_LENGTHS.size))
    header = json.loads(await reader.readexactly(head))
    return header, await reader.readexactly(body)


def receive_frame(connection: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """Receive a message; None where the connection has ended between two.

    Raises:
        OSError: The connection broke.
        ValueError: It is no message.
    """
    lengths = _exactly(connection, _LENGTHS.size)
    if lengths is None:
        return None
    head, body = _lengths(lengths)
    header, content = _exactly(connection, head), _exactly(connection, body)
    if header is None or content is None:
        raise ConnectionError("the connection ended within a message")
    return json.loads(header), content


def _lengths(content: bytes) -> tuple[int, int]:
    head, body = _LENGTHS.unpack(content)
    if head > MAX_BYTES or body > MAX_BYTES:
        raise ValueError("too long for a message")
    return head, body


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
