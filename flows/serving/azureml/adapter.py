"""Endpoints of an Azure ML workspace, as a :class:`~flows.serving.serving.Serving`."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.engines.azureml.sdk.retries import persistently
from flows.errors import ServingError, SettingsError, UserError
from flows.serving.azureml import wire
from flows.serving.azureml.changes import LIMIT_SECONDS, Changes
from flows.serving.azureml.quota import check_cores
from flows.serving.endpoints import Answer, DeploymentRequest, Endpoint, ServingState, answer_of
from flows.serving.rules import check_instances, check_name, checked_shares
from flows.settings import Settings
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec, is_endpoint_name

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.workspace import Workspace

NAME_LENGTH = 32
_TAKEN = ("already an endpoint with this name", "unique within a region")


class AzureServing:
    """Managed online endpoints of one workspace; use :func:`open_azure_serving`.

    Two who change the traffic or the tags of one endpoint at the same moment may undo each other's change: Azure ML
    replaces an endpoint as a whole, and knows no condition for that.
    """

    name = "azureml"

    def __init__(self, workspace: "Workspace", limit_seconds: float = LIMIT_SECONDS) -> None:
        """Serve in a workspace; ``limit_seconds`` is how long one change may take."""
        from flows.engines.azureml.sdk.serving.collected import Collected
        from flows.engines.azureml.sdk.serving.resources import EndpointResources
        from flows.engines.azureml.sdk.serving.scoring import Scoring
        from flows.engines.azureml.sdk.serving.uploads import Uploads

        self._workspace = workspace
        self._online = EndpointResources.online(workspace.connection)
        self._uploads = Uploads(workspace.connection)
        self._scoring = Scoring(workspace.connection)
        self._collected = Collected(workspace.connection)
        self._changes = Changes(self._online, limit_seconds)
        self._addresses: dict[str, tuple[str, str]] = {}  # the scoring URI and the way to sign in, by endpoint

    def close(self) -> None:
        """Let the connections to endpoints go."""
        self._scoring.close()

    # What is there

    async def endpoint(self, name: str) -> Endpoint | None:
        """See :meth:`Serving.endpoint`."""
        found = await self._find(name)
        return None if found is None else await self._with_deployments(found)

    async def endpoints(self) -> Sequence[Endpoint]:
        """See :meth:`Serving.endpoints`."""
        found = await persistently(self._online.endpoints)
        return sorted(await asyncio.gather(*map(self._with_deployments, found)), key=lambda endpoint: endpoint.name)

    async def _with_deployments(self, resource: wire.Json) -> Endpoint:
        deployments = await persistently(lambda: self._online.deployments(str(resource["name"])))
        return wire.read_endpoint(resource, deployments)

    async def check_quota(self, spec: OnlineDeploymentSpec, deployments: int) -> None:
        """See :meth:`Serving.check_quota`."""
        from flows.engines.azureml.sdk.quotas import Quotas

        location = await persistently(self._workspace.location)
        await check_cores(Quotas(self._workspace.connection, location), spec, deployments)

    async def model_folder(self, source: str, folder: Path) -> Path:
        """See :meth:`Serving.model_folder`. A version of the workspace is downloaded."""
        named = AssetReference.read(source) if source.startswith("azureml:") else None
        if named is None:
            return Path(source)
        if named.version is None or not named.version.isdecimal():
            raise ServingError(f"{source} names no version of a model. Nothing was deployed.")
        from flows.engines.azureml.sdk.serving.model_files import download_model

        connection, name, version = self._workspace.connection, named.name, int(named.version)
        with _told(f"The model {source}"):
            return await persistently(lambda: download_model(connection, name, version, folder))

    # What is made

    async def create_endpoint(self, spec: EndpointSpec) -> Endpoint:
        """See :meth:`Serving.create_endpoint`."""
        check_name(spec.name, "endpoint")
        body = wire.endpoint_body(spec, await persistently(self._workspace.location))
        try:
            made = await self._changes.make(
                f"The endpoint {spec.name}",
                lambda: self._online.endpoint(spec.name),
                lambda there: True,
                lambda there: self._online.put_endpoint(
                    spec.name, body if there is None else wire.changed_endpoint(there)
                ),
            )
        except UserError as error:
            raise self._not_created(spec, error) from error
        return await self._with_deployments(made)

    def _not_created(self, spec: EndpointSpec, error: UserError) -> ServingError | UserError:
        where = f"{spec.place or spec.source}"
        if not any(words in str(error) for words in _TAKEN):
            return error if isinstance(error, SettingsError) else ServingError(f"{where}: {error} Nothing was made.")
        return ServingError(
            f"{where}: somebody else has an endpoint {spec.name}, and a name is taken once in a region. Nothing was "
            f"made. Take another name, such as {self.free_name(spec.name)}."
        )

    def free_name(self, name: str) -> str:
        """The name with a suffix that is the same for the same workspace, in at most 32 letters."""
        told = self._workspace.connection.workspace_path.lower()
        suffix = hashlib.sha256(told.encode()).hexdigest()[:5]
        return f"{name[: NAME_LENGTH - 1 - len(suffix)].rstrip('-')}-{suffix}"

    async def deploy(self, request: DeploymentRequest) -> None:
        """See :meth:`Serving.deploy`. One that is there without an error, of the same and with its tags, is left."""
        check_name(request.name, "deployment")
        with _told(f"The deployment {request.name} of the endpoint {request.endpoint}"):
            _there(await self._find(request.endpoint), f"The endpoint {request.endpoint}")
            body = await self._deployment_body(request)
        with self._logs_named(request.endpoint, request.name):
            await self._changes.make(
                f"The deployment {request.name} of the endpoint {request.endpoint}",
                lambda: self._online.deployment(request.endpoint, request.name),
                lambda there: wire.is_made_of(there, body),
                lambda there: self._online.put_deployment(request.endpoint, request.name, body),
            )

    async def _deployment_body(self, request: DeploymentRequest) -> dict[str, Any]:
        spec, environment = request.spec, request.spec.environment
        model = await self._uploads.model(request.source, request.model.name, request.model.digest)
        return wire.deployment_body(
            request,
            await persistently(self._workspace.location),
            model=model,
            code=None if spec.code is None else await self._uploads.code(spec.code),
            environment=None if environment is None else await self._uploads.environment(environment),
            collections={
                each.name: await self._collected.asset(request.endpoint, request.name, each)
                for each in (spec.data_collector.collections if spec.data_collector else ())
            },
        )

    @contextmanager
    def _logs_named(self, endpoint: str, deployment: str) -> Generator[None]:
        """Say of a deployment that failed what is left of it, and where its logs are."""
        try:
            with _told(f"The deployment {deployment} of the endpoint {endpoint}"):
                yield
        except ServingError as error:
            of = f"--endpoint-name {endpoint} --name {deployment} {self._workspace.connection.az_flags}"
            raise ServingError(
                f"{error}\nThe traffic is as it was. What was made of it stays, and costs until it is deleted. Its "
                f"logs: az ml online-deployment get-logs {of} (and the same with --container storage-initializer)."
            ) from error

    async def scale(self, endpoint: str, deployment: str, instances: int) -> None:
        """See :meth:`Serving.scale`."""
        what = f"The deployment {deployment} of the endpoint {endpoint}"
        check_instances(what, instances)
        await self._found_deployment(endpoint, deployment)
        with self._logs_named(endpoint, deployment):
            await self._changes.make(
                what,
                lambda: self._online.deployment(endpoint, deployment),
                lambda there: wire.instances(there) == instances,
                lambda there: self._online.put_deployment(
                    endpoint, deployment, wire.scaled_deployment(_made(there, what), instances)
                ),
            )

    # Traffic and tags

    async def set_traffic(
        self, endpoint: str, shares: Mapping[str, int], mirror: Mapping[str, int] | None = None
    ) -> None:
        """See :meth:`Serving.set_traffic`."""
        what = f"The endpoint {endpoint}"
        there = {deployment.name for deployment in (await self._found(endpoint)).deployments}
        traffic, copies = checked_shares(endpoint, shares, mirror or {}, there)
        with _told(what):
            await self._changes.make(
                what,
                lambda: self._online.endpoint(endpoint),
                lambda found: _traffic(found) == (traffic, copies),
                lambda found: self._online.put_endpoint(
                    endpoint, wire.changed_endpoint(_there(found, what), traffic=traffic, mirror=copies)
                ),
            )

    async def tag(self, endpoint: str, tags: Mapping[str, str | None]) -> None:
        """See :meth:`Serving.tag`."""
        what = f"The endpoint {endpoint}"

        def tagged(found: wire.Json) -> dict[str, str]:
            return wire.without_none({**(found.get("tags") or {}), **tags})

        await self._found(endpoint)
        with _told(what):
            await self._changes.make(
                what,
                lambda: self._online.endpoint(endpoint),
                lambda found: (found.get("tags") or {}) == tagged(found),
                lambda found: self._online.put_endpoint(
                    endpoint, wire.changed_endpoint(_there(found, what), tags=tagged(_there(found, what)))
                ),
            )

    # Requests

    async def score(self, endpoint: str, body: bytes, deployment: str | None = None) -> Answer:
        """See :meth:`Serving.score`."""
        address, auth_mode = await self._address(endpoint)
        headers = {} if deployment is None else {"azureml-model-deployment": deployment}
        reply = await self._scoring.post(endpoint, address, auth_mode, body, headers)
        if reply.status in (0, 404):
            self._addresses.pop(endpoint, None)  # it may have been deleted, which the next request then finds out
        return answer_of(reply.status, reply.body, reply.seconds, reply.headers.get)

    async def key(self, endpoint: str) -> str:
        """See :meth:`Serving.key`."""
        _, auth_mode = await self._address(endpoint)
        self._scoring.forget(endpoint)
        with _told(f"The key of the endpoint {endpoint}"):
            return await persistently(lambda: self._scoring.secret(endpoint, auth_mode))

    async def _address(self, endpoint: str) -> tuple[str, str]:
        """The scoring URI and the way to sign in of an endpoint, which never change."""
        known = self._addresses.get(endpoint)
        if known is None:
            found = wire.read_endpoint(await self._resource(endpoint), ())
            if found.scoring_uri is None:
                raise ServingError(f"The endpoint {endpoint} has no address yet: it is {found.state}.")
            known = self._addresses[endpoint] = found.scoring_uri, found.auth_mode
        return known

    async def logs(self, endpoint: str, deployment: str, lines: int = 200) -> Mapping[str, str]:
        """See :meth:`Serving.logs`."""
        from flows.engines.azureml.sdk.serving.resources import LOG_CONTAINERS

        await self._found_deployment(endpoint, deployment)
        with _told(f"The log of the deployment {deployment} of the endpoint {endpoint}"):
            asked = [self._log(endpoint, deployment, container, lines) for container in LOG_CONTAINERS]
            return dict(zip(LOG_CONTAINERS, await asyncio.gather(*asked), strict=True))

    async def collected(self, endpoint: str, folder: Path) -> Path:
        """See :meth:`Serving.collected`. It is downloaded from where Azure ML keeps it, unless a file names a path."""
        with _told(f"What the endpoint {endpoint} was asked"):
            return await persistently(lambda: self._collected.download(endpoint, folder))

    async def _log(self, endpoint: str, deployment: str, container: str, lines: int) -> str:
        return await persistently(lambda: self._online.log(endpoint, deployment, container, lines))

    # What is deleted

    async def delete_deployment(self, endpoint: str, deployment: str) -> None:
        """See :meth:`Serving.delete_deployment`."""
        there = await self.endpoint(endpoint)
        if there is None or there.deployment(deployment) is None:
            return
        what = f"The deployment {deployment} of the endpoint {endpoint}"
        if share := there.traffic.get(deployment, 0) or there.mirror.get(deployment, 0):
            raise ServingError(f"{what} has {share} % of the traffic. It was not deleted. Give it no share first.")
        with _told(what):
            await self._changes.remove(
                what,
                lambda: self._online.deployment(endpoint, deployment),
                lambda: self._online.delete_deployment(endpoint, deployment),
            )

    async def delete_endpoint(self, name: str) -> None:
        """See :meth:`Serving.delete_endpoint`."""
        self._addresses.pop(name, None)
        self._scoring.forget(name)
        if not is_endpoint_name(name):
            return
        with _told(f"The endpoint {name}"):
            await self._changes.remove(
                f"The endpoint {name}",
                lambda: self._online.endpoint(name),
                lambda: self._online.delete_endpoint(name),
            )

    async def _resource(self, endpoint: str) -> dict[str, Any]:
        return _there(await self._find(endpoint), f"The endpoint {endpoint}")

    async def _find(self, endpoint: str) -> dict[str, Any] | None:
        if not is_endpoint_name(endpoint):
            return None  # in the address of a request it might lead to something else
        return await persistently(lambda: self._online.endpoint(endpoint))

    async def _found(self, endpoint: str) -> Endpoint:
        return await self._with_deployments(await self._resource(endpoint))

    async def _found_deployment(self, endpoint: str, deployment: str) -> None:
        found = None
        if is_endpoint_name(endpoint) and is_endpoint_name(deployment):
            found = await persistently(lambda: self._online.deployment(endpoint, deployment))
        _there(found, f"The deployment {deployment} of the endpoint {endpoint}")


@asynccontextmanager
async def open_azure_serving(settings: Settings) -> AsyncGenerator[AzureServing]:
    """The endpoints of the workspace of the settings."""
    from flows.engines.azureml.sdk.workspace import open_workspace

    async with open_workspace(settings) as workspace:
        serving = AzureServing(workspace)
        try:
            yield serving
        finally:
            await asyncio.to_thread(serving.close)


@contextmanager
def _told(what: str) -> Generator[None]:
    """Tell what Azure ML refuses as an error of this endpoint or deployment."""
    try:
        yield
    except SettingsError:
        raise  # of the identity, with a remedy of its own
    except UserError as error:
        raise ServingError(f"{what}: {error}") from error


def _there(found: wire.Json | None, what: str) -> dict[str, Any]:
    if found is None:
        raise ServingError(f"{what} is not there. See what is: tandem endpoints")
    return dict(found)


def _made(found: wire.Json | None, what: str) -> dict[str, Any]:
    """A deployment that was made: of another, Azure ML does not tell all that it was to be."""
    there = _there(found, what)
    if (state := wire.read_state(there)) is not ServingState.SUCCEEDED:
        raise ServingError(f"{what} is {state}, and keeps its number of instances. Deploy it again.")
    return there


def _traffic(found: wire.Json) -> tuple[dict[str, int], dict[str, int]]:
    properties = found["properties"]
    return wire.shares(properties.get("traffic")), wire.shares(properties.get("mirrorTraffic"))
