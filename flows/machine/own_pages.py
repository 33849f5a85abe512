"""Protects local servers from foreign web pages: Host and Origin are checked before the application sees a request.

A web page that is open in a browser may send requests to any port of the machine, and neither Prefect nor MLflow checks
them well enough: posting a form or opening a websocket needs no permission, and with a name that an attacker points to
127.0.0.1 (DNS rebinding) the page can read the answers too. Whoever can use Prefect's API can have a worker run
commands. So every server of ours goes through :func:`listen`, which lets through

- only requests to ``127.0.0.1``, ``localhost`` or ``[::1]`` with the port of the server (the header ``Host``);
- of those, what programs send, which name no origin, and what the server's own pages send (``Origin``);
- of what else a browser sends (``Sec-Fetch-Site``), a link to a page that a person follows, and nothing more.

There is no setting that opens it: a server that others can reach needs authentication, which is another set-up.
"""

import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

NAMES = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT = 80  # a browser leaves it out
_ASKED_BY_OWN_PAGE_OR_PERSON = {"same-origin", "none"}  # none: the address was typed, or is a bookmark
_LINK = {"sec-fetch-mode": ["navigate"], "sec-fetch-dest": ["document"]}  # for a tab, not for a frame or a picture

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def listen(
    application: Any,
    port: int,
    listening: socket.socket | None = None,
    on_started: Callable[[], None] | None = None,
    **options: Any,
) -> None:
    """Serve an ASGI application at a port of this machine, to programs and its own pages, until a signal ends it.

    Args:
        application: The application.
        port: Where it listens, on the loopback interface only.
        listening: A socket that listens there already.
        on_started: What to call once it has started and listens.
        options: Of uvicorn.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if on_started is not None:
                on_started()

    server = Server(uvicorn.Config(OwnPagesOnly(application, port), host=NAMES[0], port=port, **options))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(None if listening is None else [listening])
    if not server.started:
        sys.exit(3)  # as uvicorn's own command does


def refusal(method: str, headers: Iterable[tuple[str, str]], port: int) -> str | None:
    """Why a request is refused, as a sentence for who sent it; None if it is not.

    Args:
        method: GET, POST, …; GET for the handshake of a websocket.
        headers: Names, in lower case, and values.
        port: Where the server listens.
    """
    said: dict[str, list[str]] = {}
    for name, value in headers:
        said.setdefault(name, []).append(value.strip().lower())
    hosts = {f"{name}:{port}" for name in NAMES} | {name for name in NAMES if port == _HTTP_PORT}
    host, origins, sites = said.get("host", []), said.get("origin", []), said.get("sec-fetch-site", [])
    here = f"http://{NAMES[0]}:{port} or http://{NAMES[1]}:{port}"
    if len(host) != 1 or host[0] not in hosts:
        return (
            f"Refused: this server is {here}, and was asked for as {' and '.join(host) or 'nothing'}. "
            "Where its port is forwarded, the number must be the same on both sides."
        )
    if not {f"http://{name}" for name in hosts}.issuperset(origins):
        return (
            f"Refused: a web page of {' and '.join(origins)} has sent this. Only pages of {here} may use this server."
        )
    is_link = method in ("GET", "HEAD") and all(said.get(name) == value for name, value in _LINK.items())
    if not origins and not is_link and not _ASKED_BY_OWN_PAGE_OR_PERSON.issuperset(sites):
        return f"Refused: a web page from elsewhere has sent this. Only pages of {here} may use this server."
    return None


class OwnPagesOnly:
    """An ASGI application that answers refused requests itself, and leaves the others to the application it is for."""

    def __init__(self, application: Application, port: int) -> None:
        self._application = application
        self._port = port

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request or handshake."""
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope.get("headers", ())
        ]
        reason = None if scope["type"] == "lifespan" else refusal(scope.get("method", "GET"), headers, self._port)
        if reason is None:
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close"})  # before it is accepted, which the server tells as 403
        else:
            kind = "websocket.http" if scope["type"] == "websocket" else "http"
            plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
            await send({"type": f"{kind}.response.start", "status": 403, "headers": plain})
            await send({"type": f"{kind}.response.body", "body": f"{reason}\n".encode()})
