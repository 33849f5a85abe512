"""Endpoints and deployments as Azure Resource Manager writes them, in JSON, to and from values. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from flows.serving.endpoints import Deployment, DeploymentRequest, Endpoint, ServedModel, ServingState
from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec, Probe
from flows.tags import DEFINITION

Json: TypeAlias = Mapping[str, Any]

_AUTH = {"key": "Key", "aml_token": "AMLToken", "aad_token": "AADToken"}
_AUTH_BACK = {wire.lower(): name for name, wire in _AUTH.items()}


def read_endpoint(resource: Json, deployments: Iterable[Json]) -> Endpoint:
    """An endpoint with its deployments."""
    properties: Json = resource["properties"]
    mode = str(properties.get("authMode") or "Key").lower()
    return Endpoint(
        name=str(resource["name"]),
        state=read_state(resource),
        scoring_uri=properties.get("scoringUri"),
        auth_mode=_AUTH_BACK.get(mode, mode),
        traffic=shares(properties.get("traffic")),
        mirror=shares(properties.get("mirrorTraffic")),
        tags=dict(resource.get("tags") or {}),
        deployments=tuple(sorted(map(_read_deployment, deployments), key=lambda deployment: deployment.name)),
    )


def _read_deployment(resource: Json) -> Deployment:
    properties: Json = resource["properties"]
    created = (resource.get("systemData") or {}).get("createdAt")
    return Deployment(
        name=str(resource["name"]),
        state=read_state(resource),
        instances=instances(resource),
        instance_type=str(properties.get("instanceType") or ""),
        created=datetime.fromisoformat(created) if created else None,
        tags=dict(resource.get("tags") or {}),
    )


def read_state(resource: Json) -> ServingState:
    """The state of an endpoint or a deployment. A word that is not known counts as being at work."""
    told = str(resource["properties"].get("provisioningState") or "")
    known = {state.value.lower(): state for state in ServingState}
    return known.get(told.lower(), ServingState.UPDATING)


def made_of(deployment: Json) -> str:
    """The digest of what a deployment was made of; empty for one that something else has made."""
    return str((deployment.get("tags") or {}).get(DEFINITION, ""))


def is_made_of(deployment: Json, body: Json) -> bool:
    """Whether a deployment was made of a body, by its digest, and has the tags of that, with any others."""
    tags: Json = deployment.get("tags") or {}
    return made_of(deployment) == made_of(body) and tags.items() >= body["tags"].items()


def instances(deployment: Json) -> int:
    """How many instances a deployment has."""
    return int((deployment.get("sku") or {}).get("capacity") or 1)


def shares(traffic: Mapping[str, int] | None) -> dict[str, int]:
    """The shares of traffic that are not 0."""
    return {name: int(share) for name, share in (traffic or {}).items() if share}


def endpoint_body(spec: EndpointSpec, location: str) -> dict[str, Any]:
    """A new endpoint. It has no traffic, so it is never put over one that is there."""
    properties = {
        "authMode": _AUTH[spec.auth_mode],
        "description": spec.description or None,
        "properties": {},
        "publicNetworkAccess": spec.public_network_access and spec.public_network_access.capitalize(),
        "traffic": {},
        "mirrorTraffic": {},
    }
    return {
        "location": location,
        "tags": dict(spec.tags),
        "identity": {"type": "SystemAssigned"},
        "properties": without_none(properties),
    }


def changed_endpoint(
    resource: Json,
    *,
    traffic: Mapping[str, int] | None = None,
    mirror: Mapping[str, int] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The body that replaces an endpoint with itself, but for what is given; Azure ML changes one in no other way."""
    before: Json = resource["properties"]
    properties = {
        "authMode": before["authMode"],
        "description": before.get("description"),
        "properties": before.get("properties") or {},
        "publicNetworkAccess": before.get("publicNetworkAccess"),
        "compute": before.get("compute"),
        "traffic": shares(before.get("traffic") if traffic is None else traffic),
        "mirrorTraffic": shares(before.get("mirrorTraffic") if mirror is None else mirror),
    }
    identity: Json = resource.get("identity") or {"type": "SystemAssigned"}
    told = ("type", "userAssignedIdentities")
    return {
        "location": resource["location"],
        "tags": dict((resource.get("tags") or {}) if tags is None else tags),
        "identity": without_none({name: identity.get(name) for name in told}),
        "properties": without_none(properties),
    }


def deployment_body(
    request: DeploymentRequest,
    location: str,
    *,
    model: str,
    code: str | None,
    environment: str | None,
    collections: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """A deployment.

    Args:
        request: What is asked for.
        location: The region of the workspace.
        model: The id of the model in the workspace.
        code: The id of the code; None for a deployment without code.
        environment: The id of the environment; None for a deployment without code.
        collections: The id of the data asset of each collection that is enabled.
    """
    spec = request.spec
    properties = without_none(
        {
            "endpointComputeType": "Managed",
            "description": spec.description or None,
            "model": model,
            "codeConfiguration": code and {"codeId": code, "scoringScript": spec.scoring_script},
            "environmentId": environment,
            "environmentVariables": _variables(spec, request.model),
            "instanceType": spec.instance_type,
            "appInsightsEnabled": False,
            "requestSettings": {
                "requestTimeout": duration(spec.requests.timeout_seconds),
                "maxConcurrentRequestsPerInstance": spec.requests.concurrent_requests_per_instance,
                "maxQueueWait": duration(spec.requests.queue_wait_seconds),
            },
            "livenessProbe": _probe(spec.liveness),
            "readinessProbe": _probe(spec.readiness),
            "scaleSettings": {"scaleType": "Default"},
            "dataCollector": _collector(spec, collections),
        }
    )
    sku = {"name": "Default", "capacity": spec.instances}
    tags = {**spec.tags, **request.tags, **request.model.tags(), DEFINITION: digest([properties, sku])}
    return {"location": location, "tags": tags, "sku": sku, "properties": properties}


def batch_endpoint_body(spec: BatchEndpointSpec, location: str) -> dict[str, Any]:
    """A batch endpoint, which takes tokens of Microsoft Entra ID only."""
    properties = {"authMode": "AADToken", "description": spec.description or None, "properties": {}}
    return {"location": location, "tags": dict(spec.tags), "properties": without_none(properties)}


def batch_deployment_body(
    spec: BatchDeploymentSpec,
    served: ServedModel,
    location: str,
    *,
    model: str,
    compute: str,
    code: str | None,
    environment: str | None,
) -> dict[str, Any]:
    """A deployment of a batch endpoint; the last four are ids, as for :func:`deployment_body`."""
    named = {"TANDEM_MODEL": served.name, "TANDEM_MODEL_VERSION": str(served.version)}
    properties = without_none(
        {
            "description": spec.description or None,
            "model": {"referenceType": "Id", "assetId": model},
            "codeConfiguration": code and {"codeId": code, "scoringScript": spec.scoring_script},
            "environmentId": environment,
            "environmentVariables": {**spec.environment_variables, **named},
            "compute": compute,
            "resources": {"instanceCount": spec.instances},
            "maxConcurrencyPerInstance": spec.concurrency_per_instance,
            "miniBatchSize": spec.mini_batch_size,
            "errorThreshold": spec.error_threshold,
            "outputAction": "AppendRow",
            "outputFileName": spec.output_file_name,
            "retrySettings": {"maxRetries": spec.max_retries, "timeout": duration(spec.retry_timeout_seconds)},
            "loggingLevel": spec.logging_level.capitalize(),
        }
    )
    tags = {**spec.tags, **served.tags(), DEFINITION: digest(properties)}
    return {"location": location, "tags": tags, "properties": properties}


def scaled_deployment(resource: Json, capacity: int) -> dict[str, Any]:
    """The body that replaces a deployment with itself, with another number of instances."""
    told = ("provisioningState",)
    properties = {key: value for key, value in resource["properties"].items() if key not in told}
    return {
        "location": resource["location"],
        "tags": dict(resource.get("tags") or {}),
        "sku": {"name": "Default", "capacity": capacity},
        "properties": without_none(properties),
    }


def digest(value: object) -> str:
    """The SHA-256 of a value in JSON, in hex, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def duration(seconds: float) -> str:
    """Seconds as ISO 8601 writes them: ``PT2.5S``."""
    return f"PT{seconds:g}S"


def without_none(values: Json) -> dict[str, Any]:
    """The values that are there."""
    return {name: value for name, value in values.items() if value is not None}


def _variables(spec: OnlineDeploymentSpec, model: ServedModel) -> dict[str, str]:
    """The variables of the scoring script: those of the file, and which model it answers with."""
    named = {"TANDEM_MODEL": model.name, "TANDEM_MODEL_VERSION": str(model.version)}
    at_once = spec.requests.concurrent_requests_per_instance
    # Azure's server runs one request at a time unless it is told otherwise: the others would wait, and be refused.
    workers = {"WORKER_COUNT": str(at_once)} if at_once > 1 else {}
    return {**workers, **spec.environment_variables, **named}


def _collector(spec: OnlineDeploymentSpec, collections: Mapping[str, str]) -> dict[str, Any] | None:
    collector = spec.data_collector
    if collector is None:
        return None
    headers = {"captureHeaders": list(collector.capture_headers)} if collector.capture_headers else None
    kept = {
        each.name: without_none(
            {
                "dataCollectionMode": "Enabled",
                "dataId": collections[each.name],
                "samplingRate": collector.sampling_rate,
                "clientId": each.client_id,
            }
        )
        for each in collector.collections
    }
    return without_none(
        {"collections": kept, "rollingRate": collector.rolling_rate.capitalize(), "requestLogging": headers}
    )


def _probe(probe: Probe) -> dict[str, Any]:
    return {
        "initialDelay": duration(probe.initial_delay_seconds),
        "period": duration(probe.period_seconds),
        "timeout": duration(probe.timeout_seconds),
        "successThreshold": probe.successes,
        "failureThreshold": probe.failures,
    }
