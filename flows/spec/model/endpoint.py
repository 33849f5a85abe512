"""Endpoints and deployments as frozen values: what ``az ml online-endpoint`` and ``az ml batch-endpoint`` take.

Times are in seconds here, whatever the unit of the key in YAML.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from flows.errors import Place
from flows.spec.model.job import Environment

MAX_MIRROR_PERCENT = 50
NAME_RULE = "3 to 32 letters, digits and hyphens, beginning with a letter and not ending with a hyphen"
WHOLE_BODIES = frozenset({"request", "response"})
"""Collections of the data collector that Azure ML fills by itself, with whole bodies."""
_NAME = re.compile(r"(?=.{3,32}\Z)[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")


def is_endpoint_name(name: str) -> bool:
    """Whether Azure ML takes it for the name of an endpoint or of a deployment: see :data:`NAME_RULE`."""
    return _NAME.fullmatch(name) is not None


def _empty() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """A managed online endpoint.

    Attributes:
        name: 3 to 32 letters, digits and hyphens, beginning with a letter.
        source: The YAML file.
        auth_mode: ``key``, ``aml_token`` or ``aad_token``.
        tags: As in YAML.
        description: As in YAML.
        public_network_access: ``enabled`` or ``disabled``; None where the file does not say.
        place: Where the name is written.
    """

    name: str
    source: Path
    auth_mode: str = "key"
    tags: Mapping[str, str] = field(default_factory=_empty)
    description: str = ""
    public_network_access: str | None = None
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """Limits of one request: see Azure ML's ``request_settings``."""

    timeout_seconds: float = 5.0
    concurrent_requests_per_instance: int = 1
    queue_wait_seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class Probe:
    """When a deployment counts as alive, or ready."""

    initial_delay_seconds: float = 10.0
    period_seconds: float = 10.0
    timeout_seconds: float = 2.0
    successes: int = 1
    failures: int = 30


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection of the data collector that is enabled.

    Attributes:
        name: In small letters: ``model_inputs``.
        data_name: Of the data asset that Azure ML registers it as; None for Azure ML's own name.
        data_version: Of that data asset.
        data_path: Where on a datastore it is kept; None for Azure ML's own place.
        client_id: Of the identity that writes it; None for that of the endpoint.
    """

    name: str
    data_name: str | None = None
    data_version: str = "1"
    data_path: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class DataCollector:
    """What is kept of the requests: see Azure ML's ``data_collector``.

    Attributes:
        collections: Those that are enabled; a script collects what it calls by these names.
        sampling_rate: The share of the requests that is kept, from 0 to 1.
        rolling_rate: ``minute``, ``hour`` or ``day``: how often another folder is begun.
        capture_headers: The headers that are kept with whole requests, which is the collection ``request``.
    """

    collections: tuple[Collection, ...]
    sampling_rate: float = 1.0
    rolling_rate: str = "hour"
    capture_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnlineDeploymentSpec:
    """A managed online deployment.

    Attributes:
        name: As in YAML; a rollout gives it the absent colour instead.
        endpoint_name: As in YAML.
        source: The YAML file.
        model: ``azureml:name:version``, ``azureml:name@label`` or an absolute path; None where the file names none.
        code: The folder of the scoring script; None for a deployment without code.
        scoring_script: Relative to ``code``.
        environment: Of the script; None for a deployment without code.
        environment_variables: Of the script.
        instance_type: The size of the machine, such as ``Standard_DS3_v2``.
        instances: From 1.
        requests: Limits of one request.
        liveness: When it counts as alive.
        readiness: When it counts as ready.
        data_collector: What is kept of the requests; None where nothing is.
        tags: As in YAML.
        description: As in YAML.
        place: Where it begins in the file.
    """

    name: str
    endpoint_name: str
    source: Path
    model: str | None = None
    code: Path | None = None
    scoring_script: str | None = None
    environment: Environment | None = None
    environment_variables: Mapping[str, str] = field(default_factory=_empty)
    instance_type: str = ""
    instances: int = 1
    requests: RequestSettings = RequestSettings()
    liveness: Probe = Probe()
    readiness: Probe = Probe()
    data_collector: DataCollector | None = None
    tags: Mapping[str, str] = field(default_factory=_empty)
    description: str = ""
    place: Place | None = field(default=None, compare=False)
