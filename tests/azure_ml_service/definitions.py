"""What a submitted command job or a pipeline's node comes to: command, code, environment, inputs and outputs."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.azure_ml_service.arm import Arm
from tests.azure_ml_service.messages import Json, Refused

_LITERALS = {"string", "number", "integer", "boolean", "literal"}
_BINDING = re.compile(r"\$\{\{\s*parent\.(inputs|outputs|jobs)\.([\w-]+)(?:\.outputs\.([\w-]+))?\s*\}\}")


@dataclass(frozen=True, slots=True)
class Value:
    """What an input receives: text, or data by its address."""

    text: str
    is_data: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """A process to run. ``inputs`` has None for an optional input without a value; ``outputs`` has their types."""

    command: str
    code: str | None
    environment: str
    inputs: Mapping[str, Value | None]
    outputs: Mapping[str, Json]
    variables: Mapping[str, str]
    deterministic: bool
    timeout_seconds: float | None = None

    @property
    def key(self) -> str:
        """The same for two definitions, one of which can stand for the other."""
        inputs = {name: value and [value.text, value.is_data] for name, value in self.inputs.items()}
        whole = [self.command, self.code, self.environment, inputs, dict(self.outputs), dict(self.variables)]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def upstream(node: Json) -> dict[str, str]:
    """The inputs of a node that read what another delivers, and that other node."""
    found: dict[str, str] = {}
    for name, given in (node.get("inputs") or {}).items():
        match = _BINDING.fullmatch(str(given.get("value", "")))
        if match and match[1] == "jobs":
            found[name] = match[2]
    return found


def bound_output(output: Json) -> str | None:
    """The pipeline's output that a node's output is delivered as."""
    match = _BINDING.fullmatch(str(output.get("value", "")))
    return match[2] if match and match[1] == "outputs" else None


def data_uri(arm: Arm, uri: str) -> str:
    """The address that data has which is named by asset id, by name, by job output or by address."""
    if match := re.search(r"/(data|models)/([^/]+)/versions/([^/]+)$", uri):
        properties = arm.version(match[1], match[2], match[3])["properties"]
        return properties["dataUri" if match[1] == "data" else "modelUri"]
    if match := re.fullmatch(r"azureml://jobs/([^/]+)/outputs/([^/]+)/?", uri):
        return arm.job_output(match[1], match[2])
    if match := re.fullmatch(r"azureml:([^:/]+):([^:/]+)", uri):
        return arm.version("data", match[1], match[2])["properties"]["dataUri"]
    return arm.long_uri(uri)


def of_command_job(arm: Arm, submitted: Json) -> Definition:
    """The definition of a standalone command job."""
    return Definition(
        command=submitted["command"],
        code=submitted.get("codeId"),
        environment=submitted.get("environmentId") or "",
        inputs={name: _given(arm, value) for name, value in (submitted.get("inputs") or {}).items()},
        outputs={
            name: {"type": value["jobOutputType"], "path": value.get("uri")}
            for name, value in (submitted.get("outputs") or {}).items()
        },
        variables=submitted.get("environmentVariables") or {},
        deterministic=False,
        timeout_seconds=_timeout(submitted),
    )


def of_node(arm: Arm, node: Json, parent: Json, delivered: Mapping[str, Mapping[str, Json]]) -> Definition:
    """The definition of a pipeline's node.

    Args:
        arm: Where the assets are.
        node: The node as submitted.
        parent: What was submitted for the pipeline.
        delivered: The outputs of the nodes that have completed.
    """
    spec: Json = arm.by_id("components", node["componentId"])["properties"]["componentSpec"]
    inputs: dict[str, Value | None] = {}
    for name, port in (spec.get("inputs") or {}).items():
        given = (node.get("inputs") or {}).get(name)
        if given is None:
            default = port.get("default")
            inputs[name] = None if default is None else Value(str(default))
        else:
            inputs[name] = _bound(arm, given, parent, delivered)
    outputs: dict[str, Json] = {}
    for name, port in (spec.get("outputs") or {}).items():
        given = (node.get("outputs") or {}).get(name) or {}
        above = (parent.get("outputs") or {}).get(bound_output(given) or "") or {}
        outputs[name] = {"type": port["type"], "path": given.get("uri") or above.get("uri")}
    return Definition(
        command=spec["command"],
        code=(spec.get("code") or "").removeprefix("azureml:") or None,
        environment=str(spec.get("environment")),
        inputs=inputs,
        outputs=outputs,
        variables={**(spec.get("environment_variables") or {}), **(node.get("environment_variables") or {})},
        deterministic=str(spec.get("is_deterministic", True)).lower() != "false",
        timeout_seconds=_timeout(node),
    )


def of_nested(arm: Arm, node: Json, parent: Json, delivered: Mapping[str, Mapping[str, Json]]) -> Json:
    """A pipeline that is a node of another, as if it had been submitted by itself with the values that it gets.

    Its settings are those of the pipeline around it.
    """
    spec: Json = arm.by_id("components", node["componentId"])["properties"]["componentSpec"]
    inputs: dict[str, Json] = {}
    for name, port in (spec.get("inputs") or {}).items():
        given = (node.get("inputs") or {}).get(name)
        default = port.get("default")
        value = _bound(arm, given, parent, delivered) if given else None if default is None else Value(str(default))
        if value is not None and value.is_data:
            inputs[name] = {"jobInputType": port["type"], "uri": value.text}
        elif value is not None:
            inputs[name] = {"jobInputType": "literal", "value": value.text}
    outputs: dict[str, Json] = {}
    for name, port in (spec.get("outputs") or {}).items():
        given = (node.get("outputs") or {}).get(name) or {}
        above = (parent.get("outputs") or {}).get(bound_output(given) or "") or {}
        outputs[name] = {"jobOutputType": port["type"], "uri": given.get("uri") or above.get("uri")}
    around = {key: parent.get(key) for key in ("settings", "computeId")}
    return {**around, "jobType": "Pipeline", "jobs": spec["jobs"], "inputs": inputs, "outputs": outputs}


def with_nodes(arm: Arm, submitted: Json) -> Json:
    """What was submitted for a pipeline, with the nodes of the component where it names one instead of nodes."""
    if submitted.get("jobs") or not submitted.get("componentId"):
        return submitted
    found = of_nested(arm, submitted, {}, {})
    return {**submitted, "jobs": found["jobs"], "inputs": {**found["inputs"], **(submitted.get("inputs") or {})}}


def _timeout(definition: Json) -> float | None:
    """How long a job may run, from its limits (``PT5M``)."""
    match = re.fullmatch(
        r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", (definition.get("limits") or {}).get("timeout") or ""
    )
    if match is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _bound(arm: Arm, given: Json, parent: Json, delivered: Mapping[str, Mapping[str, Json]]) -> Value | None:
    match = _BINDING.fullmatch(str(given.get("value", "")))
    if match is None:
        return _given(arm, given)
    if match[1] == "inputs":
        above = (parent.get("inputs") or {}).get(match[2])
        return None if above is None else _given(arm, above)
    output = delivered.get(match[2], {}).get(match[3])
    if output is not None and output["type"] in _LITERALS:
        return Value(arm.path_of(output["uri"]).read_text(encoding="utf-8").strip())
    return None if output is None else Value(arm.long_uri(output["uri"]), is_data=True)


def _given(arm: Arm, given: Json) -> Value:
    kind = given.get("jobInputType") or given.get("job_input_type") or "literal"
    if kind in _LITERALS:
        return Value(str(given["value"]))
    return Value(data_uri(arm, given["uri"]), is_data=True)


def local_path(arm: Arm, uri: str) -> Path:
    """The path that a process gets for data.

    Raises:
        Refused: Nothing is there.
    """
    path = arm.path_of(uri)
    if not path.exists():
        raise Refused(404, "UserError", f"DataAccessError(NotFound): there is nothing at {uri}")
    return path
