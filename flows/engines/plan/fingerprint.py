"""Fingerprint of a step: what its outcome depends on, small enough to be kept with every run of it. Pure.

Each part is a mapping of text: the files of the code, the lines of the environment, the packages of the interpreter and
so on. A fingerprint holds the digest of each part; the parts themselves, which many steps share, are kept once.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from flows.data.digests import text_digest
from flows.engines.plan.interpreter import Interpreter
from flows.spec.model.job import Component, InputPort, OutputPort, Step
from flows.spec.model.parallel import Parallel
from flows.spec.model.sweep import Sampling, Sweep

FORMAT = 2  # part of every key: a new format forgets what was run under the old one

PYTHON = "Python"  # among the packages of an interpreter, whose names are in small letters: its own version

Part: TypeAlias = Mapping[str, str]

# The fields that are left out of the part of the component, each with the reason. Every other field makes a difference:
# a field that is added to one of these classes changes the keys of the steps that use it, unless it is listed here.
EXCLUDED: Mapping[type, Mapping[str, str]] = {
    Step: {
        "name": "the same work under another name delivers the same",
        "component": "its own fields are listed beside those of the step",
        "inputs": "what they receive is in the fingerprint's inputs",
        "outputs": "where outputs are delivered does not change what is in them",
        "environment_variables": "part of its own: variables",
        "compute": "this machine has one compute",
        "timeout_seconds": "a step that was in time delivers the same within another limit",
        "place": "where the file says it",
        "control": "a choice or a loop runs nothing itself",
        "when": "when a step runs does not change what it delivers",
        "refusal": "a step that is refused never runs",
        "instance_count": "how much runs at once",
        "declared": "describes the step, or asks for what only Azure ML has",
    },
    Component: {
        "source": "where the file lies",
        "display_name": "describes the component",
        "code": "part of its own: code",
        "additional_includes": "part of its own: code",
        "environment": "part of its own: environment",
        "environment_variables": "part of its own: variables",
        "is_deterministic": "where it is false, nothing is reused under any key",
    },
    InputPort: {
        "name": "stands in the key of the port",
        "description": "describes the input",
        "inferred": "how the type became known",
        "place": "where the file says it",
    },
    OutputPort: {
        "name": "stands in the key of the port",
        "path": "where the output is copied to once it is there",
        "mode": "how Azure ML mounts it",
        "asset_name": "what it is registered as once it is there",
        "asset_version": "what it is registered as once it is there",
        "place": "where the file says it",
    },
    Sweep: {"max_concurrent_trials": "how much runs at once"},
    Sampling: {"logbase": "only sobol uses it, and the values are drawn at random"},
    Parallel: {"max_concurrency_per_instance": "how much runs at once", "logging_level": "how it is logged"},
}
# Keys by which a file describes a job or step, rather than asks for something.
DESCRIPTIONS = frozenset({"comment", "description", "display_name", "experiment_name", "properties", "tags"})
# What a field is called in the YAML, where that is another name. A person reads it in the reason why a step runs.
_YAML_NAMES = {"kind": "type", "minimum": "min", "maximum": "max"}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a step depends on.

    Attributes:
        step: Its name.
        source: The file of its job. A step is compared with runs of the same name and file; neither is in the key.
        parts: The digest of each part: component, code, environment, interpreter, variables.
        inputs: What each input receives: ``=`` and its text for a literal, the digest of its content for data, None for
            an optional one without a value.
    """

    step: str
    source: str
    parts: Mapping[str, str]
    inputs: Mapping[str, str | None]

    @property
    def key(self) -> str:
        """The content key: equal for two steps that deliver the same."""
        return canonical_digest([FORMAT, dict(self.parts), dict(self.inputs)])


def canonical_digest(value: Any) -> str:
    """The SHA-256 of a value as canonical JSON."""
    return text_digest(json.dumps(value, sort_keys=True, separators=(",", ":")))


def component_part(step: Step) -> Part:
    """All fields of a step and its component but those in :data:`EXCLUDED`, as dotted keys in the words of the YAML."""
    part = {**dict(_flat("", step.component)), **dict(_flat("", step))}
    # The kind that a step has where the file says none; results from before there were other kinds are found by this.
    return {key: text for key, text in part.items() if (key, text) != ("type", "command")}


def declared_part(declared: Mapping[str, Any]) -> Part:
    """What a file asks of Azure ML alone for a job or step, as dotted keys; what only describes it is left out."""
    return dict(_flat("", {key: value for key, value in declared.items() if key not in DESCRIPTIONS}))


def variables_part(step: Step) -> Part:
    """The environment variables that the YAML sets. Their values may be secrets: what is kept is a digest of each."""
    variables = {**step.component.environment_variables, **step.environment_variables}
    return {name: text_digest(value) for name, value in variables.items()}


def interpreter_part(interpreter: Interpreter) -> Part:
    """The version of Python, and that of every distribution that is installed for it."""
    return {PYTHON: interpreter.version, **interpreter.packages}


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Nested values as dotted keys with text; what is None, False or an empty list is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        excluded = {name for kind in type(value).__mro__ for name in EXCLUDED.get(kind, ())}
        names = [field.name for field in dataclasses.fields(value) if field.name not in excluded]
        value = {_YAML_NAMES.get(name, name): getattr(value, name) for name in names}
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{key}.{name}" if key else name, item)
    elif isinstance(value, tuple):
        if value:
            yield key, json.dumps([str(item) for item in value], ensure_ascii=False)
    elif value is not None and value is not False:
        yield key, str(value)
