"""Endpoints, deployments and answers: what a place of serving is asked for, and what it tells.

A deployment says by its tags which model it serves. Its name (its colour) says nothing about that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from flows.spec.model.endpoint import OnlineDeploymentSpec
from flows.tags import COLLECTS, MODEL, MODEL_DIGEST, MODEL_VERSION

_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_SHARES: Mapping[str, int] = MappingProxyType({})


class ServingState(StrEnum):
    """The state of an endpoint or a deployment, in Azure ML's words."""

    CREATING = "Creating"
    UPDATING = "Updating"
    SCALING = "Scaling"
    DELETING = "Deleting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"

    @property
    def changes(self) -> bool:
        """Whether the place is still at work on it: it is waited for, and cannot be changed."""
        return self in {self.CREATING, self.UPDATING, self.SCALING, self.DELETING}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version of a registered model, as the tags of a deployment name it.

    Attributes:
        name: Of the registered model.
        version: From 1.
        digest: The SHA-256 of its files, in hex; the same for the same content, whatever version it has.
        collects: The digest of the definition's data collector; empty where what is asked is not kept.
    """

    name: str
    version: int
    digest: str
    collects: str = ""

    @property
    def label(self) -> str:
        """For a person: ``diabetes-predict:4``."""
        return f"{self.name}:{self.version}"

    def tags(self) -> dict[str, str]:
        """The tags of a deployment that serves it."""
        tags = {MODEL: self.name, MODEL_VERSION: str(self.version), MODEL_DIGEST: self.digest}
        return {**tags, COLLECTS: self.collects} if self.collects else tags

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "ServedModel | None":
        """Read the tags of a deployment; None where they do not name a version."""
        name, version = tags.get(MODEL, ""), tags.get(MODEL_VERSION, "")
        if not name or not version.isdecimal():
            return None
        return cls(name, int(version), tags.get(MODEL_DIGEST, ""), tags.get(COLLECTS, ""))


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment of an endpoint, as its place tells of it. It costs while it exists, with or without traffic."""

    name: str
    state: ServingState
    instances: int = 1
    instance_type: str = ""
    created: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    @property
    def model(self) -> ServedModel | None:
        """Which model it serves; None for a deployment that something else has made."""
        return ServedModel.of(self.tags)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint with its deployments, as its place tells of it.

    Attributes:
        name: Unique in its place.
        state: Of the endpoint itself.
        scoring_uri: Where rows are sent; None while it is created.
        auth_mode: ``key``, ``aml_token`` or ``aad_token``.
        traffic: The share of each deployment in percent; those without a share may be absent. They sum to 0 or 100.
        mirror: The share of the requests that a deployment gets a copy of, in percent.
        tags: Of the endpoint: the lease of a rollout, and the shares from before it.
        deployments: All of them, whatever their state and share.
    """

    name: str
    state: ServingState
    scoring_uri: str | None = None
    auth_mode: str = "key"
    traffic: Mapping[str, int] = field(default_factory=lambda: _NO_SHARES)
    mirror: Mapping[str, int] = field(default_factory=lambda: _NO_SHARES)
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    deployments: tuple[Deployment, ...] = ()

    def deployment(self, name: str) -> Deployment | None:
        """Find a deployment by its name; None if there is none."""
        return next((found for found in self.deployments if found.name == name), None)

    def gets_requests(self, name: str) -> bool:
        """Whether a deployment has a share of the traffic, or gets copies of requests: it cannot be deleted then."""
        return bool(self.traffic.get(name) or self.mirror.get(name))


@dataclass(frozen=True, slots=True)
class DeploymentRequest:
    """What is asked of :meth:`flows.serving.serving.Serving.deploy`.

    Attributes:
        endpoint: The name of the endpoint, which has to be there.
        name: Of the deployment: a colour.
        spec: The definition, from YAML; its own ``name``, ``endpoint_name`` and ``model`` are not used.
        model: What it serves, which becomes tags of the deployment.
        source: Where the files of the model are: a folder on this machine, or an ``azureml:`` reference.
        tags: Further tags.
    """

    endpoint: str
    name: str
    spec: OnlineDeploymentSpec
    model: ServedModel
    source: str
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered, whatever the status.

    Attributes:
        status: Of HTTP; 0 where the connection broke before an answer came.
        body: As it came.
        seconds: From the request to the last byte of the answer.
        deployment: Which deployment answered, as the header ``azureml-model-deployment`` says; None if it does not.
        model_status: What the scoring script answered, where the endpoint turned that into 424, as the header
            ``ms-azureml-model-error-statuscode`` says; 400 for a row that cannot be scored.
    """

    status: int
    body: bytes
    seconds: float
    deployment: str | None = None
    model_status: int | None = None


def answer_of(status: int, body: bytes, seconds: float, header: Callable[[str], str | None]) -> Answer:
    """An answer that came, with what its headers tell; ``header`` finds one by its name, in any case of letters."""
    model_status = header("ms-azureml-model-error-statuscode") or ""
    return Answer(
        status,
        body,
        seconds,
        header("azureml-model-deployment"),
        int(model_status) if model_status.isdecimal() else None,
    )
