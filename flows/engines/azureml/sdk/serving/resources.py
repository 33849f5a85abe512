"""Endpoints and deployments of a workspace: each method is one request, with JSON as Azure ML writes it.

The clients are those that the SDK has generated from the definition of Azure's API, with the api-versions that the SDK
itself uses. The SDK's own methods for changes are not used:

- ``begin_create_or_update`` of a new entity takes all traffic from an endpoint that is there;
- it asks for the whole workspace first, which imports MLflow: seconds, and 100 MiB;
- its pollers keep a thread each, look once in 30 s, and are lost with the process.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest

from flows.engines.azureml.sdk.connection import Connection

Json: TypeAlias = dict[str, Any]

OPERATION = "AzureAsyncOperationUri"  # where Azure ML keeps the address of the last change, in the properties
LOG_CONTAINERS = {"inference-server": "InferenceServer", "storage-initializer": "StorageInitializer"}


@dataclass(frozen=True, slots=True)
class Operation:
    """How far a change has come.

    Attributes:
        status: Azure's own word, such as ``Updating``.
        error: ``code: message`` of a change that failed; empty otherwise.
    """

    status: str
    error: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status in ("Succeeded", "Failed", "Canceled")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of endpoints: where in the SDK's client its generated operations are."""

    endpoints: Callable[[Any], Any]
    deployments: Callable[[Any], Any]


_ONLINE = _Kind(
    lambda client: client.online_endpoints._online_operation,
    lambda client: client.online_deployments._online_deployment,
)
_BATCH = _Kind(
    lambda client: client.batch_endpoints._batch_operation,
    lambda client: client.batch_deployments._batch_deployment,
)


class EndpointResources:
    """Endpoints of one kind, and their deployments.

    What is changed is not waited for: a change answers with the address of its operation, if it has one. No change is
    repeated here: where its answer is lost it raises `ServiceError`, and the caller looks.
    """

    def __init__(self, connection: Connection, kind: _Kind) -> None:
        self._connection = connection
        self._kind = kind

    @classmethod
    def online(cls, connection: Connection) -> "EndpointResources":
        """Those that answer requests."""
        return cls(connection, _ONLINE)

    @classmethod
    def batch(cls, connection: Connection) -> "EndpointResources":
        """Those that run jobs."""
        return cls(connection, _BATCH)

    async def endpoints(self) -> list[Json]:
        """All of them."""
        return await self._connection.call(
            lambda client: [found.as_dict() for found in self._kind.endpoints(client).list(*_workspace(client))]
        )

    async def endpoint(self, name: str) -> Json | None:
        """An endpoint; None if there is none of that name."""
        return await self._connection.look(
            lambda client: self._kind.endpoints(client).get(*_workspace(client), name).as_dict()
        )

    async def deployments(self, endpoint: str) -> list[Json]:
        """The deployments of an endpoint; none if there is no such endpoint."""
        found = await self._connection.look(
            lambda client: [
                found.as_dict() for found in self._kind.deployments(client).list(*_workspace(client), endpoint)
            ]
        )
        return found or []

    async def deployment(self, endpoint: str, name: str) -> Json | None:
        """A deployment; None if there is none of that name, or no such endpoint."""
        return await self._connection.look(
            lambda client: self._kind.deployments(client).get(*_workspace(client), endpoint, name).as_dict()
        )

    async def put_endpoint(self, name: str, body: Mapping[str, Any]) -> str | None:
        """Create or replace an endpoint, its traffic included."""
        return await self._change(lambda client: self._kind.endpoints(client).begin_create_or_update, (name,), body)

    async def put_deployment(self, endpoint: str, name: str, body: Mapping[str, Any]) -> str | None:
        """Create or replace a deployment."""
        names = (endpoint, name)
        return await self._change(lambda client: self._kind.deployments(client).begin_create_or_update, names, body)

    async def delete_endpoint(self, name: str) -> str | None:
        """Delete an endpoint with its deployments; nothing if it is not there."""
        return await self._change(lambda client: self._kind.endpoints(client).begin_delete, (name,))

    async def delete_deployment(self, endpoint: str, name: str) -> str | None:
        """Delete a deployment; nothing if it is not there."""
        return await self._change(lambda client: self._kind.deployments(client).begin_delete, (endpoint, name))

    async def operation(self, address: str) -> Operation | None:
        """How far a change has come; None where that is not told any more, or the address is not Azure's."""

        def look(client: Any) -> Operation | None:
            operations = self._kind.endpoints(client)
            if urlsplit(address)[:2] != urlsplit(operations._config.base_url)[:2]:
                return (
                    None  # anyone who may change an endpoint may write another address there, and our token goes along
                )
            answer = operations._client.send_request(HttpRequest("GET", address))
            if answer.status_code == 404:
                return None
            if answer.status_code >= 400:
                raise HttpResponseError(response=answer)
            told: Json = answer.json()
            error: Json = told.get("error") or {}
            return Operation(str(told.get("status")), f"{error['code']}: {error['message']}" if error else "")

        return await self._connection.call(look)

    async def key(self, endpoint: str) -> str:
        """The primary key of an online endpoint that takes keys."""
        found = await self._connection.call(
            lambda client: self._kind.endpoints(client).list_keys(*_workspace(client), endpoint)
        )
        return str(found.primary_key)

    async def token(self, endpoint: str) -> tuple[str, float]:
        """A token of an online endpoint that takes those of Azure ML, and when it ends, in seconds since 1970."""
        found = await self._connection.call(
            lambda client: self._kind.endpoints(client).get_token(*_workspace(client), endpoint)
        )
        return str(found.access_token), float(found.expiry_time_utc or 0)

    async def log(self, endpoint: str, deployment: str, container: str, lines: int) -> str:
        """The last lines of a container of an online deployment; ``container`` is one of :data:`LOG_CONTAINERS`."""
        body = {"containerType": LOG_CONTAINERS[container], "tail": lines}
        found = await self._connection.call(
            lambda client: self._kind.deployments(client).get_logs(*_workspace(client), endpoint, deployment, body)
        )
        return str(found.content or "")

    async def _change(
        self, method: Callable[[Any], Any], names: tuple[str, ...], body: Mapping[str, Any] | None = None
    ) -> str | None:
        def send(client: Any) -> str | None:
            bodies = () if body is None else (dict(body),)
            poller = method(client)(*_workspace(client), *names, *bodies, polling=False, cls=_operation_of)
            return poller.result()

        return await self._connection.call(send, again=False)


def _operation_of(response: Any, resource: Any, headers: Any) -> str | None:
    return response.http_response.headers.get("Azure-AsyncOperation")


def _workspace(client: Any) -> tuple[str, str]:
    return client.resource_group_name, client.workspace_name
