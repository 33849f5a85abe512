"""An endpoint in memory, for the rules of a rollout: it has the states of the real ones, and can fail or die at a call.

The two real places are proved elsewhere, by the conformance suite of serving.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flows.errors import ServingError
from flows.serving.endpoints import Answer, Deployment, DeploymentRequest, Endpoint, ServingState
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec


class Killed(BaseException):
    """The process of the rollout is dead."""


class PlaceInMemory:
    """A :class:`flows.serving.serving.Serving` of one endpoint.

    Attributes:
        dies_at: The number of the changing call at which the process dies; before its work, or after it.
        refuses: Names of deployments that cannot be made.
    """

    name = "memory"

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        self.there = endpoint
        self.calls: list[str] = []
        self.dies_at: int | None = None
        self.dies_after_work = False
        self.refuses: set[str] = set()
        self.answering: dict[str, int] = {}
        self.broken_promises: list[str] = []

    async def endpoint(self, name: str) -> Endpoint | None:
        return self.there

    async def endpoints(self) -> Sequence[Endpoint]:
        return [] if self.there is None else [self.there]

    async def check_quota(self, spec: OnlineDeploymentSpec, deployments: int) -> None:
        return None

    async def model_folder(self, source: str, folder: Path) -> Path:
        return Path(source)

    async def collected(self, endpoint: str, folder: Path) -> Path:
        return folder

    async def create_endpoint(self, spec: EndpointSpec) -> Endpoint:
        if self.there is not None:
            self.broken_promises.append("an endpoint was put over a living one")
        before = self._called("create endpoint")
        self.there = Endpoint(spec.name, ServingState.SUCCEEDED, "http://127.0.0.1/score")
        self._done(before)
        return self.there

    async def deploy(self, request: DeploymentRequest) -> None:
        there = self._there()
        before = self._called(f"deploy {request.name}")
        if there.traffic.get(request.name):
            self.broken_promises.append(f"{request.name} was put while it had a share")
        state = ServingState.FAILED if request.name in self.refuses else ServingState.SUCCEEDED
        new = Deployment(request.name, state, tags=request.model.tags())
        self._set(deployments=(*(one for one in there.deployments if one.name != new.name), new))
        self._done(before)
        if state is ServingState.FAILED:
            raise ServingError(f"The deployment {request.name} does not become ready.")

    async def score(self, endpoint: str, body: bytes, deployment: str | None = None) -> Answer:
        return Answer(200, b"", 0.01, deployment)

    async def set_traffic(
        self, endpoint: str, shares: Mapping[str, int], mirror: Mapping[str, int] | None = None
    ) -> None:
        there = self._there()
        before = self._called(f"set traffic {dict(shares)}" + (f" and copies {dict(mirror)}" if mirror else ""))
        if sum(shares.values()) not in {0, 100}:
            self.broken_promises.append(f"the shares {dict(shares)} sum to {sum(shares.values())}")
        copies = {name: share for name, share in (mirror or {}).items() if share}
        if len(copies) > 1 or any(share > 50 or shares.get(name) for name, share in copies.items()):
            self.broken_promises.append(f"the copies {copies} are not taken beside the shares {dict(shares)}")
        for name, share in (*shares.items(), *copies.items()):
            one = there.deployment(name)
            if share and (one is None or one.state is not ServingState.SUCCEEDED):
                self.broken_promises.append(f"{name} got a share, and cannot answer")
        self._set(traffic=dict(shares), mirror=copies)
        self._done(before)

    async def tag(self, endpoint: str, tags: Mapping[str, str | None]) -> None:
        there = self._there()
        before = self._called(f"tag {sorted(tags)}")
        new = {**there.tags, **tags}
        self._set(tags={name: value for name, value in new.items() if value is not None})
        if any(len(value) > 256 for value in self._there().tags.values()):
            self.broken_promises.append("a tag has more than 256 characters")
        self._done(before)

    async def logs(self, endpoint: str, deployment: str, lines: int = 200) -> Mapping[str, str]:
        return {"inference-server": f"the log of {deployment}"}

    async def scale(self, endpoint: str, deployment: str, instances: int) -> None:
        return None

    async def delete_deployment(self, endpoint: str, deployment: str) -> None:
        there = self._there()
        before = self._called(f"delete {deployment}")
        if there.gets_requests(deployment):
            self.broken_promises.append(f"{deployment} was deleted while it had a share")
        self._set(deployments=tuple(one for one in there.deployments if one.name != deployment))
        self._done(before)

    async def delete_endpoint(self, name: str) -> None:
        self.there = None

    async def key(self, endpoint: str) -> str:
        return "key"

    def _there(self) -> Endpoint:
        if self.there is None:
            raise ServingError("There is no endpoint.")
        return self.there

    def _set(self, **changes: object) -> None:
        self.there = replace(self._there(), **changes)  # pyright: ignore[reportArgumentType]

    def _called(self, call: str) -> bool:
        """Note a call; whether the process dies after its work."""
        dies = len(self.calls) == self.dies_at
        self.calls.append(call)
        if dies and not self.dies_after_work:
            raise Killed(call)
        return dies

    def _done(self, dies: bool) -> None:
        if dies:
            raise Killed(self.calls[-1])
