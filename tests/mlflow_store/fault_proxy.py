"""A proxy in front of a real MLflow server that refuses, hangs, fails or cuts chosen requests, or asks who it is."""

import base64
import contextlib
import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

Kind = Literal["refuse", "hang", "500", "403", "cut", "late"]
KINDS: Sequence[Kind] = ("refuse", "hang", "500", "cut", "late")
LATE_SECONDS = 3.0


@dataclass
class RequestFault:
    """What happens to the next requests whose method and path match.

    ``refuse`` and ``500`` keep a request from the server; ``hang`` does too, and never answers; ``cut`` lets the server
    do it, and loses the answer; ``late`` does too, after :data:`LATE_SECONDS`, when the client has given up.
    """

    kind: Kind
    method: str
    path: str
    times: int

    def hits(self, method: str, path: str) -> bool:
        if self.times <= 0 or method != self.method or not re.search(self.path, path):
            return False
        self.times -= 1
        return True


class FaultProxy(ThreadingHTTPServer):
    """Listens on loopback; records what was asked."""

    daemon_threads = True

    def __init__(self, target: str, sign_in: str = "") -> None:
        """``sign_in`` is the ``NAME:PASSWORD`` that every request must have."""
        self.target = target
        self.authorization = f"Basic {base64.b64encode(sign_in.encode()).decode()}" if sign_in else None
        self.fault: RequestFault | None = None
        self.asked: list[tuple[str, str]] = []
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), _Request)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy  # pyright: ignore[reportIncompatibleVariableOverride]

    def _serve(self) -> None:
        proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        proxy.asked.append((self.command, path))
        fault = proxy.fault
        kind: str | None = fault.kind if fault is not None and fault.hits(self.command, path) else None
        if kind == "refuse":
            self._cut()
            return
        if kind == "late":
            time.sleep(LATE_SECONDS)
        if kind == "hang":
            proxy.released.wait(60)
            self._cut()
            return
        if proxy.authorization not in (None, self.headers.get("Authorization")):
            kind = "401"
        if kind is not None and kind.isdigit():
            self._answer(int(kind), b"out of order", "text/plain")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        asked = urllib.request.Request(f"{proxy.target}{self.path}", body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                status, said, type_ = answer.status, answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            with error:
                status, said, type_ = error.code, error.read(), error.headers.get("Content-Type", "")
        if kind in ("cut", "late"):
            self._cut()
        else:
            self._answer(status, said, type_)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _answer(self, status: int, said: bytes, type_: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def _cut(self) -> None:
        """End the connection with a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
