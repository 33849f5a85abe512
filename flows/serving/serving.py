"""Serving protocol: what a rollout asks of the place where a model answers requests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from flows.serving.endpoints import Answer, DeploymentRequest, Endpoint
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec


class Serving(Protocol):
    """Endpoints and their deployments. What is there is read from the place each time, and never remembered.

    Every method that changes something returns when the change is done, and raises where it failed. Asked again after
    an interruption it leads to the same state. Where not said otherwise, an endpoint or a deployment that is not there
    raises `ServingError`.
    """

    @property
    def name(self) -> str:
        """The name that a person chooses it by: that of the engine."""
        ...

    async def endpoint(self, name: str) -> Endpoint | None:
        """Read an endpoint and its deployments; None if there is none of that name."""
        ...

    async def endpoints(self) -> Sequence[Endpoint]:
        """Read all endpoints, by name."""
        ...

    async def check_quota(self, spec: OnlineDeploymentSpec, deployments: int) -> None:
        """Ask whether so many deployments of a definition can exist at once, before any is made.

        Raises:
            ServingError: There are fewer cores left than they need, with both numbers.
        """
        ...

    async def model_folder(self, source: str, folder: Path) -> Path:
        """Bring the files of a model to this machine: where they are, or downloaded into ``folder``.

        Args:
            source: Where the model is, as in :class:`flows.serving.endpoints.DeploymentRequest`.
            folder: An empty folder.

        Raises:
            ServingError: They cannot be had.
        """
        ...

    async def create_endpoint(self, spec: EndpointSpec) -> Endpoint:
        """Create an endpoint without traffic. One that is there is returned as it is.

        Raises:
            ServingError: The name is taken by somebody else, or the creation failed.
        """
        ...

    async def deploy(self, request: DeploymentRequest) -> None:
        """Create or replace a deployment, without changing the traffic, and wait until it can answer.

        One in `Creating` with the same model is waited for, one in `Failed` is put again.

        Raises:
            ServingError: It cannot answer: what failed, and where the logs are.
        """
        ...

    async def score(self, endpoint: str, body: bytes, deployment: str | None = None) -> Answer:
        """Send one request: to the deployment that is named, whatever its share, or else by the shares.

        It is sent once. An answer of any status, and a broken connection, is an :class:`Answer`.
        """
        ...

    async def set_traffic(
        self, endpoint: str, shares: Mapping[str, int], mirror: Mapping[str, int] | None = None
    ) -> None:
        """Set the shares of all deployments at once, in percent; who is not named gets none. They sum to 0 or 100.

        Args:
            endpoint: The name of the endpoint.
            shares: By deployment.
            mirror: The share of requests that a deployment gets a copy of; none if it is left out.
        """
        ...

    async def tag(self, endpoint: str, tags: Mapping[str, str | None]) -> None:
        """Set tags of an endpoint, or take away those that are None. Other tags and the shares stay."""
        ...

    async def logs(self, endpoint: str, deployment: str, lines: int = 200) -> Mapping[str, str]:
        """The last lines that each container of a deployment has written, by the container's name."""
        ...

    async def collected(self, endpoint: str, folder: Path) -> Path:
        """Bring what the data collector has kept of an endpoint's requests to this machine; of much, the newest.

        Args:
            endpoint: The endpoint, whose deployments may be gone.
            folder: An empty folder.

        Returns:
            A folder with a folder for each deployment, as :mod:`flows.serving.samples` reads it; it may not be there.
        """
        ...

    async def scale(self, endpoint: str, deployment: str, instances: int) -> None:
        """Change the number of instances, from 1."""
        ...

    async def delete_deployment(self, endpoint: str, deployment: str) -> None:
        """Delete a deployment that has no share of the traffic. One that is not there is fine.

        Raises:
            ServingError: It has a share.
        """
        ...

    async def delete_endpoint(self, name: str) -> None:
        """Delete an endpoint with its deployments. One that is not there is fine."""
        ...

    async def key(self, endpoint: str) -> str:
        """The key, or a token, that a request is sent with. It is never logged or stored."""
        ...
