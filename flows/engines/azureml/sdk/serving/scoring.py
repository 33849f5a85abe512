"""Rows sent to the address of an endpoint: a POST of our own, once, with a key or token that stays in this module.

The SDK's ``invoke`` is not used. It keeps the name of a deployment that was once asked for, and sends it with every
later request of the process, also to other endpoints; it repeats requests; and it gives up the status of an answer that
is not JSON.
"""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest, HttpResponse

from flows.engines.azureml.sdk.connection import Connection
from flows.engines.azureml.sdk.serving.resources import EndpointResources

ML_SCOPE = "https://ml.azure.com/.default"
THREADS = 8
CONNECT_SECONDS = 10.0
READ_SECONDS = 200.0  # an endpoint answers within 180 s, or says 408
EARLY_SECONDS = 300.0  # a token is replaced so long before it ends


@dataclass(frozen=True, slots=True)
class Reply:
    """What an address answered; the status is 0 where the connection broke, and the body says why then."""

    status: int
    body: bytes
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class _Secret:
    """A key or token, and until when it is good, in seconds since 1970."""

    value: str = field(repr=False)
    until: float


class Scoring:
    """Sends rows. What an endpoint takes as a proof of identity is asked for once, and again if it is refused."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._online = EndpointResources.online(connection)
        self._secrets: dict[str, _Secret] = {}
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="azure-ml-scoring")
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient("https://", policies=[])

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    async def secret(self, endpoint: str, auth_mode: str) -> str:
        """The key or token of an online endpoint, whose ``auth_mode`` is ``key``, ``aml_token`` or ``aad_token``."""
        known = self._secrets.get(endpoint)
        if known is None or known.until < time.time() + EARLY_SECONDS:
            known = self._secrets[endpoint] = await self._ask(endpoint, auth_mode)
        return known.value

    def forget(self, endpoint: str) -> None:
        """Ask for the key or token of an endpoint anew the next time."""
        self._secrets.pop(endpoint, None)

    async def post(self, endpoint: str, address: str, auth_mode: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send rows once; once more only with a new key, where the old one was refused and so no model was asked."""
        secret = await self.secret(endpoint, auth_mode)
        reply = await self._send("POST", address, secret, body, headers)
        if reply.status == 401:
            self.forget(endpoint)
            renewed = await self.secret(endpoint, auth_mode)
            if renewed != secret:
                reply = await self._send("POST", address, renewed, body, headers)
        return reply

    async def get(self, address: str) -> Reply:
        """Read something from a service of the workspace that takes the tokens of ``aad_token``."""
        return await self._send("GET", address, await self.secret("", "aad_token"), b"", {})

    async def _ask(self, endpoint: str, auth_mode: str) -> _Secret:
        match auth_mode:
            case "key":
                return _Secret(await self._online.key(endpoint), float("inf"))
            case "aml_token":
                return _Secret(*await self._online.token(endpoint))
            case _:
                token = await self._connection.call(lambda client: self._connection.credential.get_token(ML_SCOPE))
                return _Secret(token.token, float(token.expires_on))

    async def _send(self, method: str, address: str, secret: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        own = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json", "Accept": "application/json"}
        request = HttpRequest(method, address, headers={**own, **headers}, content=body or None)

        def send() -> Reply:
            began = time.perf_counter()
            try:
                answer = self._client.send_request(
                    request, connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS
                )
                content = answer.read()
            except AzureError as error:
                return Reply(0, str(error).encode(), time.perf_counter() - began)
            return Reply(answer.status_code, content, time.perf_counter() - began, answer.headers)

        return await asyncio.get_running_loop().run_in_executor(self._threads, send)
