"""Router of the local endpoints: one port, with the paths, headers and status codes of Azure ML.

``python -m flows.serving.local.router ROOT DESCRIPTOR PORT``, where the descriptor is that of a socket which listens
already: the supervisor has it too, so that nobody is refused while a router that was killed is started again.

- ``POST /endpoints/NAME/score``: needs the key. The header ``azureml-model-deployment`` names a deployment, else the
  shares choose; ``azureml-model-session`` keeps a session with one deployment.
- ``GET /endpoints/NAME/swagger.json``, ``GET /health``, ``GET /metrics`` and ``GET /``.

What is wanted and what runs is in files (:mod:`flows.serving.local.files`), which are looked at for each request. No
body, and no key, is ever logged.
"""

import asyncio
import hmac
import json
import socket
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.machine.child import end_with_standard_input
from flows.machine.hidden_memory import hide_memory
from flows.machine.own_pages import Message, Receive, Send, listen
from flows.serving.endpoints import ServingState
from flows.serving.local import files, pages
from flows.serving.local.instances import BrokenInstance, Instances, NoInstance, TooManyRequests
from flows.serving.local.metrics import Metrics
from flows.serving.local.shares import Shares, of_session
from flows.spec.text.names import unfit

REASON = "ms-azureml-model-error-reason"  # with the words of the proxy in Azure ML's own containers
MAX_BODY_BYTES = 10 << 20
_JSON, _TEXT, _HTML = "application/json", "text/plain; version=0.0.4; charset=utf-8", "text/html; charset=utf-8"


class ClientGone(Exception):
    """Who asked has closed the connection."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to an HTTP request."""

    status: int
    body: bytes
    type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def refused(status: int, message: str) -> Reply:
    """An answer of the router itself, as Azure ML words its own."""
    return Reply(status, json.dumps({"error": {"message": message}}).encode())


class _Deployment:
    def __init__(self, folder: Path) -> None:
        self.wanted = files.watched_deployment(folder)
        self.status = files.watched_status(folder)
        self.instances = Instances()


class _Endpoint:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored = files.watched_endpoint(folder)
        self.key = files.watched_key(folder)
        self.shares = Shares()
        self.deployments: dict[str, _Deployment] = {}
        self.mirrored = 0

    def deployment(self, name: str) -> _Deployment | None:
        """A deployment that is there."""
        if unfit(name) is not None or name.startswith("."):
            return None
        found = self.deployments.get(name) or _Deployment(self.folder / name)
        if found.wanted.read() is None:
            self.deployments.pop(name, None)
            return None
        self.deployments[name] = found
        return found


class Router:
    """The ASGI application."""

    def __init__(self, root: Path, port: int) -> None:
        self._root = root
        self._port = port
        self._endpoints: dict[str, _Endpoint] = {}
        self._metrics = Metrics()
        self._copies: set[asyncio.Task[object]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reply = await self._answer(scope["method"], scope["path"], headers, receive)
        given = headers.get("x-request-id", "")
        identity = given if given.isprintable() and 0 < len(given) <= 200 else uuid.uuid4().hex
        said = {"content-type": reply.type, "x-request-id": identity, "x-content-type-options": "nosniff"}
        listed = [(name.encode(), value.encode("latin-1")) for name, value in {**said, **reply.headers}.items()]
        listed.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": listed})
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, method: str, path: str, headers: Mapping[str, str], receive: Receive) -> Reply:
        match path.split("/")[1:], method:
            case ["endpoints", name, "score"], "POST":
                return await self._timed(name, headers, receive)
            case ["endpoints", name, "swagger.json"], "GET":
                return self._openapi(name)
            case ["health"], "GET":
                return Reply(200, b'{"status": "ok"}')
            case ["metrics"], "GET":
                return Reply(200, self._metrics.text(self._in_flight()).encode(), _TEXT)
            case [""], "GET":
                return Reply(200, self._overview().encode(), _HTML)
            case ["endpoints", _, "score" | "swagger.json"] | ["health"] | ["metrics"] | [""], _:
                return refused(405, f"{method} is not for this path.")
            case _:
                return refused(404, "There is nothing at this path. Requests go to /endpoints/NAME/score.")

    async def _timed(self, name: str, headers: Mapping[str, str], receive: Receive) -> Reply:
        began = time.perf_counter()
        endpoint = self._endpoint(name)
        stored = None if endpoint is None else endpoint.stored.read()
        if endpoint is None or stored is None:
            return refused(404, "There is no endpoint of this name.")
        reply, deployment = await self._score(endpoint, stored, headers, receive)
        self._metrics.observe(name, deployment, reply.status, time.perf_counter() - began)
        return reply

    async def _score(
        self, endpoint: _Endpoint, stored: files.StoredEndpoint, headers: Mapping[str, str], receive: Receive
    ) -> tuple[Reply, str]:
        """Answer a request of an endpoint; the deployment is empty where none was chosen."""
        key = endpoint.key.read()
        if not key or not hmac.compare_digest(headers.get("authorization", "").encode(), b"Bearer " + key):
            reply = refused(401, "Send the key of the endpoint: Authorization: Bearer KEY.")
            return Reply(401, reply.body, headers={"www-authenticate": "Bearer"}), ""
        try:
            body = await _body(headers, receive)
        except ClientGone:
            return refused(400, "The request ended before all of it had come."), ""
        if body is None:
            return refused(413, f"A request has {MAX_BODY_BYTES >> 20} MiB at most."), ""
        named, session = headers.get("azureml-model-deployment"), headers.get("azureml-model-session")
        chosen = named or (of_session(session, stored.traffic) if session else endpoint.shares.choose(stored.traffic))
        if chosen is None:
            return refused(404, "No deployment of the endpoint has a share of the traffic."), ""
        deployment = endpoint.deployment(chosen)
        if deployment is None:
            return refused(404, "There is no deployment of this name."), ""
        if named is None:
            self._mirror(endpoint, stored.mirror, body)
        reply = await _asked(deployment, body)
        told = {"azureml-model-deployment": chosen, **reply.headers}
        if session and session.isprintable() and session.isascii():
            told["azureml-model-session"] = session
        return Reply(reply.status, reply.body, reply.type, told), chosen

    def _mirror(self, endpoint: _Endpoint, mirror: Mapping[str, int], body: bytes) -> None:
        """Send a copy of some requests to another deployment, whose answer nobody waits for."""
        for name, share in mirror.items():
            endpoint.mirrored += share
            deployment = endpoint.deployment(name) if endpoint.mirrored >= 100 else None
            endpoint.mirrored %= 100
            if deployment is not None:
                copy = asyncio.create_task(_asked(deployment, body))
                self._copies.add(copy)
                copy.add_done_callback(self._copies.discard)

    def _endpoint(self, name: str) -> _Endpoint | None:
        found = self._endpoints.get(name)
        if found is None:
            if unfit(name) is not None or name.startswith("."):
                return None
            found = _Endpoint(self._root / name)
        if found.stored.read() is None:
            self._endpoints.pop(name, None)
            return None
        self._endpoints[name] = found
        return found

    def _openapi(self, name: str) -> Reply:
        endpoint = self._endpoint(name)
        stored = None if endpoint is None else endpoint.stored.read()
        if endpoint is None or stored is None:
            return refused(404, "There is no endpoint of this name.")
        columns = next(
            (
                found
                for wanted, _ in files.deployments_of(endpoint.folder)
                if (found := pages.columns_of(endpoint.folder / wanted.name / wanted.generation / wanted.model_folder))
            ),
            [],
        )
        return Reply(200, json.dumps(pages.openapi(stored, columns)).encode())

    def _overview(self) -> str:
        folders = files.folders_with(self._root, files.ENDPOINT)
        found = [(files.read_endpoint_file(folder), folder) for folder in folders]
        listed = [
            (stored, [(wanted.name, str(status.state)) for wanted, status in files.deployments_of(folder)])
            for stored, folder in found
            if stored is not None
        ]
        return pages.overview(listed, self._port)

    def _in_flight(self) -> dict[tuple[str, str], int]:
        return {
            (name, deployment): each.instances.in_flight
            for name, endpoint in self._endpoints.items()
            for deployment, each in endpoint.deployments.items()
        }


async def _asked(deployment: _Deployment, body: bytes) -> Reply:
    """What a deployment answers."""
    wanted, status = deployment.wanted.read(), deployment.status.read()
    if wanted is None:
        return refused(404, "There is no deployment of this name.")
    told = files.status_of(wanted, status)
    deployment.instances.update(told.sockets, wanted.concurrency)
    try:
        header, content = await deployment.instances.ask(body, wanted.timeout_seconds, wanted.instances)
    except TooManyRequests:
        reply = refused(429, "The deployment has too many requests. Send this one again later.")
        return Reply(429, reply.body, headers={REASON: "too_many_pending_request"})
    except NoInstance:
        state = "has failed" if told.state is ServingState.FAILED else "has no instance that is ready"
        return refused(503, f"The deployment {state}.")
    except TimeoutError:
        return refused(408, f"The deployment did not answer within {wanted.timeout_seconds:g} s.")
    except BrokenInstance:
        return refused(502, "The instance of the deployment ended before it answered.")
    answered = int(header["status"])
    if answered == 200:
        return Reply(200, content, str(header["type"]))
    told_headers = {"ms-azureml-model-error-statuscode": str(answered), REASON: "model_error"}
    return Reply(424, content, str(header["type"]), told_headers)


async def _body(headers: Mapping[str, str], receive: Receive) -> bytes | None:
    """The body of a request; None if it is, or says that it is, longer than may be. The rest of it is not waited for.

    Raises:
        ClientGone: The connection has ended before the body did.
    """
    said = headers.get("content-length", "")
    if said.isdecimal() and int(said) > MAX_BODY_BYTES:
        return None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def main(root: Path, descriptor: int, port: int) -> None:
    """Answer until a signal, or the end of the supervisor, ends this; requests that have begun are finished."""
    hide_memory()
    end_with_standard_input()
    listening = socket.socket(fileno=descriptor)
    listen(Router(root, port), port, listening, log_level="warning", access_log=False, timeout_graceful_shutdown=200)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
