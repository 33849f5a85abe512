"""CONNECT proxy that ends the TLS of every host itself; plain HTTP for what is only on loopback."""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from tests.azure_ml_service.messages import Answer, Request

Respond: TypeAlias = Callable[[Request], Answer | None]


class Proxy(ThreadingHTTPServer):
    """Listens on loopback. ``respond`` answers a request; None stands for a connection that is cut."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, tls: ssl.SSLContext, respond: Respond) -> None:
        self.tls = tls
        self.respond = respond
        super().__init__(("127.0.0.1", port), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error: the client has gone. Any other error was answered with a 500 before."""


class _Connection(BaseHTTPRequestHandler):
    """One connection of a client, which after CONNECT is one to the host that it named."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300.0
    host = ""

    @property
    def proxy(self) -> Proxy:
        """The server that took this connection."""
        assert isinstance(self.server, Proxy)
        return self.server

    def do_CONNECT(self) -> None:
        """Answer that the tunnel is made, and serve the requests that come through it."""
        self.host = self.path.rpartition(":")[0]
        self.send_response(200, "Connection established")
        self.end_headers()
        try:
            self.connection = self.proxy.tls.wrap_socket(self.connection, server_side=True)
        except (OSError, ssl.SSLError):
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def _serve(self) -> None:
        body = self._body()
        if body is None:  # the client died while it sent the request, which nobody serves then
            self.close_connection = True
            return
        host = self.host or self.headers.get("Host", "")
        answer = self.proxy.respond(Request.read(self.command, host, self.path, dict(self.headers.items()), body))
        if answer is None:
            self._cut()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _body(self) -> bytes | None:
        """The whole body of the request; None if the connection ends before it does."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            return body if len(body) == length else None
        chunks: list[bytes] = []
        while line := self.rfile.readline():
            if not (size := int(line.partition(b";")[0], 16)):
                break
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        else:
            return None
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _cut(self) -> None:
        """End the connection with a reset rather than in good order."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            descriptor = self.connection.detach()
            socket.close(descriptor)

    def finish(self) -> None:
        """Close; what the client no longer reads is lost."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()
        if isinstance(self.connection, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing; the service records the requests."""
