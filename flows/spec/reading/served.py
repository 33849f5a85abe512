"""Tells endpoints and deployments, online and batch, from other YAML files, and examines them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows.errors import Fault
from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec, PipelineDeploymentSpec
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec
from flows.spec.reading import batch, endpoints
from flows.spec.text.faults import findings, ordered
from flows.spec.text.section import Section
from flows.spec.text.yaml_lines import load_yaml

ServedSpec = EndpointSpec | OnlineDeploymentSpec | BatchEndpointSpec | BatchDeploymentSpec | PipelineDeploymentSpec

_SCHEMA = re.compile(r"(?P<kind>online|batch)(?P<what>endpoint|deployment)(\.schema)?\.json", re.IGNORECASE)
_OTHER = frozenset({"jobs", "command", "trial", "task"})
_DEPLOYMENT_ONLY = frozenset({"endpoint_name", "code_configuration", "instance_type", "instance_count"})
_ENDPOINT_ONLY = frozenset({"auth_mode", "traffic", "mirror_traffic", "public_network_access", "defaults"})
_BATCH_ONLY = frozenset({"compute", "settings", "component", "job_definition", *batch.SETTINGS})
_READERS: dict[str, Callable[[Section], ServedSpec | None]] = {
    "online endpoint": endpoints.endpoint_of,
    "online deployment": endpoints.deployment_of,
    "batch endpoint": batch.endpoint_of,
    "batch deployment": batch.deployment_of,
}


@dataclass(frozen=True, slots=True)
class ServedExamination:
    """What reading a file found: the endpoint or deployment, where it could be read, and what is wrong or doubtful."""

    spec: ServedSpec | None
    findings: tuple[Fault, ...]
    what: str


def examine_served(path: Path) -> ServedExamination | None:
    """Read an endpoint or a deployment and return what is wrong with it; None where the file is something else."""
    spec: ServedSpec | None = None
    with findings(path) as noted:
        node = load_yaml(path, noted)
        what = None if node is None else _what(Section(node, noted))
        if node is None or what is None:
            return None
        spec = _READERS[what](Section(node, noted))
    return ServedExamination(spec, tuple(ordered(noted)), what)


def _what(section: Section) -> str | None:
    schema, there = section.entries.get("$schema"), section.entries.keys()
    named = _SCHEMA.search(schema.value) if schema is not None and isinstance(schema.value, str) else None
    if named is not None:
        return f"{named['kind']} {named['what']}".lower()
    if schema is not None or _OTHER & there:
        return None
    if "endpoint_name" in there:
        return "batch deployment" if _BATCH_ONLY & there else "online deployment"
    if "component" in there:
        return None
    if _DEPLOYMENT_ONLY & there:
        return "online deployment"
    if _ENDPOINT_ONLY & there:
        return "batch endpoint" if "defaults" in there else "online endpoint"
    return None
