"""What a step's outcome depends on, small enough to be kept with every run of it. Pure.

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
from flows.spec.model.job import Component, Step

FORMAT = 2  # part of every key: a new format forgets what was run under the old one

PYTHON = "Python"  # among the packages of an interpreter, whose names are in small letters: its own version

Part: TypeAlias = Mapping[str, str]

# What a file may say without making a difference to what a step delivers: how much runs at once, and how it is logged.
_WITHOUT_EFFECT = frozenset({"max_concurrent_trials", "max_concurrency_per_instance", "logging_level"})


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a step depends on.

    Attributes:
        step: Its name, and
        source: the file of its job: where to look first for an earlier run. Neither makes a difference.
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
    """What of a component's YAML, and of the kind of its step, makes a difference. Comments and descriptions do not."""
    component = step.component
    return {
        "name": component.name,
        **({} if component.version is None else {"version": component.version}),
        "command": component.command,
        **dict(_ports(component)),
        **({} if step.kind == "command" else {"type": step.kind}),
        **dict(_flat("sweep", step.sweep)),
        **dict(_flat("parallel", step.parallel)),
        **dict(_flat("distribution", step.distribution)),
    }


def variables_part(step: Step) -> Part:
    """The environment variables that the YAML sets. Their values may be secrets: what is kept is a digest of each."""
    variables = {**step.component.environment_variables, **step.environment_variables}
    return {name: text_digest(value) for name, value in variables.items()}


def interpreter_part(interpreter: Interpreter) -> Part:
    """The version of Python, and that of every distribution that is installed for it."""
    return {PYTHON: interpreter.version, **interpreter.packages}


def _ports(component: Component) -> Iterator[tuple[str, str]]:
    for name, port in component.inputs.items():
        yield f"inputs.{name}.type", port.type
        if port.optional:
            yield f"inputs.{name}.optional", "True"
        if port.default is not None:
            yield f"inputs.{name}.default", port.default
        if port.enum:
            yield f"inputs.{name}.enum", json.dumps(port.enum, ensure_ascii=False)
        if port.minimum is not None:
            yield f"inputs.{name}.min", str(port.minimum)
        if port.maximum is not None:
            yield f"inputs.{name}.max", str(port.maximum)
    for name, port in component.outputs.items():
        yield f"outputs.{name}.type", port.type


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Nested values as dotted keys with text; what is None or empty is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _WITHOUT_EFFECT:
                yield from _flat(f"{key}.{name}", item)
    elif isinstance(value, tuple):
        if value:
            yield key, json.dumps([str(item) for item in value], ensure_ascii=False)
    elif value is not None:
        yield key, str(value)
