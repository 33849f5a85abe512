"""What must hold in a job before it runs anywhere. Each rule is one small function that yields faults.

The Azure ML client lets most of these pass, and the service refuses them minutes later.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from flows.errors import Fault
from flows.spec.graph import cycle
from flows.spec.literals import misfit
from flows.spec.model import (
    DataReference,
    InputPort,
    JobKind,
    JobSpec,
    Literal,
    ParentInput,
    Place,
    Step,
    StepOutput,
)
from flows.spec.render import references
from flows.spec.section import a, nearest
from flows.spec.values import input_key, source

Rule: TypeAlias = Callable[[JobSpec], Iterator[Fault]]

# What may be handed to a port, besides data of its own type. A folder port takes anything (a file arrives as its path).
_ACCEPTS = {
    "uri_file": frozenset({"uri_folder"}),
    "mltable": frozenset({"uri_folder"}),
    "mlflow_model": frozenset({"uri_folder", "custom_model"}),
    "custom_model": frozenset({"uri_folder", "uri_file", "mlflow_model", "triton_model"}),
    "triton_model": frozenset({"uri_folder", "custom_model"}),
}


def faults_of(spec: JobSpec) -> Iterator[Fault]:
    """Every fault of a job, rule by rule."""
    for rule in RULES:
        yield from rule(spec)


def known_inputs(spec: JobSpec) -> Iterator[Fault]:
    """A step gives a component no input that it does not declare."""
    for step in spec.steps.values():
        ports = step.component.inputs
        for name in step.inputs:
            if name not in ports:
                message = f"the component {step.component.name} has no input {name}"
                yield Fault(_place(spec, step, name), message, nearest(name, frozenset(ports), "inputs"))


def known_outputs(spec: JobSpec) -> Iterator[Fault]:
    """A step binds no output that its component does not declare, and only to outputs that the job has."""
    for step in spec.steps.values():
        ports = step.component.outputs
        for name, target in step.outputs.items():
            place = spec.place(f"jobs.{step.name}.outputs.{name}")
            if name not in ports:
                message = f"the component {step.component.name} has no output {name}"
                yield Fault(place, message, nearest(name, frozenset(ports), "outputs"))
            if target.name not in spec.outputs:
                message = f"the job has no output {target.name}"
                yield Fault(place, message, nearest(target.name, frozenset(spec.outputs), "outputs of the job"))


def known_bindings(spec: JobSpec) -> Iterator[Fault]:
    """Every binding names an input of the job, or a step and one of its outputs."""
    for step in spec.steps.values():
        for name, binding in step.inputs.items():
            place = _place(spec, step, name)
            if isinstance(binding, ParentInput) and binding.name not in spec.inputs:
                message = f"the job has no input {binding.name}"
                yield Fault(place, message, nearest(binding.name, frozenset(spec.inputs), "inputs of the job"))
            if isinstance(binding, StepOutput) and binding.step not in spec.steps:
                message = f"the job has no step {binding.step}"
                yield Fault(place, message, nearest(binding.step, frozenset(spec.steps), "steps"))
            elif isinstance(binding, StepOutput):
                outputs = spec.steps[binding.step].component.outputs
                if binding.output not in outputs:
                    message = f"the step {binding.step} has no output {binding.output}"
                    yield Fault(place, message, nearest(binding.output, frozenset(outputs), "outputs"))


def required_inputs(spec: JobSpec) -> Iterator[Fault]:
    """Every input of a component that is neither optional nor has a default is bound."""
    for step in spec.steps.values():
        for port in _required(step):
            if port.name not in step.inputs:
                message = f"the required input {port.name} ({port.type}) of {step.component.name} is not given"
                yield Fault(_place(spec, step, port.name), message, f"Add {port.name}: under inputs.")


def fitting_values(spec: JobSpec) -> Iterator[Fault]:
    """Every value, wherever it comes from, is one that the component's input takes."""
    for step in spec.steps.values():
        for name, binding in step.inputs.items():
            port = step.component.inputs.get(name)
            if port is None:
                continue
            key = f"inputs.{binding.name}" if isinstance(binding, ParentInput) else input_key(spec, step, name)
            fault = _misfit(spec, source(spec, binding), port)
            if fault is not None:
                message, remedy = fault
                yield Fault(spec.place(key), f"{message} {_owner(spec, step, name)}", remedy)


def fitting_defaults(spec: JobSpec) -> Iterator[Fault]:
    """A default is one of the values that its own input takes."""
    for step in spec.steps.values():
        for port in step.component.inputs.values():
            reason = None if port.default is None else misfit(port.default, port)
            if reason is not None:
                message = f"the default {port.default} {reason}"
                yield Fault(port.place or _place(spec, step, port.name), message, _choices(port.default or "", port))


def declared_references(spec: JobSpec) -> Iterator[Fault]:
    """A command refers only to inputs and outputs that the component declares."""
    for step in spec.steps.values():
        ports = {"inputs": step.component.inputs, "outputs": step.component.outputs}
        for kind, name, _ in references(step.component.command):
            if name not in ports[kind]:
                message = f"the command uses ${{{{{kind}.{name}}}}}, which is not declared"
                yield Fault(_command_place(spec, step), message, nearest(name, frozenset(ports[kind]), kind))


def guarded_optionals(spec: JobSpec) -> Iterator[Fault]:
    """A command uses an optional input without a default only inside of ``$[[ … ]]``."""
    for step in spec.steps.values():
        for kind, name, guarded in references(step.component.command):
            port = step.component.inputs.get(name) if kind == "inputs" else None
            if port is not None and port.optional and port.default is None and not guarded:
                message = f"the command uses the optional input {name} outside of $[[ ]]"
                yield Fault(_command_place(spec, step), message, f"Write $[[--{name} ${{{{inputs.{name}}}}}]].")


def no_cycles(spec: JobSpec) -> Iterator[Fault]:
    """No step reads what it, or a step after it, delivers."""
    own = [step for step in spec.steps.values() if step.name in step.upstream]
    for step in own:
        name = next(name for name, binding in step.inputs.items() if _reads(binding, step.name))
        yield Fault(_place(spec, step, name), f"the step {step.name} reads its own output")
    ring = () if own else cycle(spec)
    if ring:
        place = spec.place(f"jobs.{ring[0]}")
        yield Fault(place, f"the steps run in a circle: {' → '.join(ring)}", "Remove one of these bindings.")


RULES: tuple[Rule, ...] = (
    known_inputs,
    known_outputs,
    known_bindings,
    required_inputs,
    fitting_values,
    fitting_defaults,
    declared_references,
    guarded_optionals,
    no_cycles,
)


def values_given(spec: JobSpec) -> Iterator[Fault]:
    """Every input of the job that a step requires has a value. A file may leave that to whoever runs it."""
    for step in spec.steps.values():
        for port in _required(step):
            binding = step.inputs.get(port.name)
            parent = spec.inputs.get(binding.name) if isinstance(binding, ParentInput) else None
            if parent is not None and parent.value is None:
                message = f"the input has no value, and {_owner(spec, step, port.name)} requires one"
                yield Fault(spec.place(f"inputs.{parent.port.name}"), message, f"Give it {a(port.type)}.")


def _required(step: Step) -> Iterator[InputPort]:
    return (port for port in step.component.inputs.values() if not port.optional and port.default is None)


def _misfit(spec: JobSpec, value: object, port: InputPort) -> tuple[str, str] | None:
    """Why a value does not fit a port (to be followed by whose it is), and the remedy; None where it fits."""
    match value:
        case Literal(text) if port.is_literal:
            reason = misfit(text, port)
            return None if reason is None else (f"{text} {reason} for", _choices(text, port))
        case Literal(text):
            return f"the literal {text} is given to", f"Write {{type: {port.type}, path: {text}}}."
        case DataReference(kind) if not _accepts(port.type, kind):
            return f"{kind} data is given to", _wanted(port)
        case StepOutput(name, output) if name in spec.steps and output in spec.steps[name].component.outputs:
            kind = spec.steps[name].component.outputs[output].type
            if not _accepts(port.type, kind):
                return f"the {kind} {name}.{output} is given to", _wanted(port)
        case _:
            pass
    return None


def _accepts(port_type: str, kind: str) -> bool:
    if port_type in ("uri_folder", "path") or kind in (port_type, "path"):
        return True
    return kind in _ACCEPTS.get(port_type, frozenset[str]())


def _owner(spec: JobSpec, step: Step, name: str) -> str:
    port = step.component.inputs[name]
    return f"the {port.type} input {name}" + ("" if spec.kind is JobKind.COMMAND else f" of {step.name}")


def _wanted(port: InputPort) -> str:
    return f"It takes {a(port.type)}."


def _choices(text: str, port: InputPort) -> str:
    if port.enum:
        return nearest(text, frozenset(port.enum), "choices")
    bounds = [
        f" from {port.minimum:g}" if port.minimum is not None else "",
        f" to {port.maximum:g}" if port.maximum is not None else "",
    ]
    return f"Give {a(port.type)}{''.join(bounds)}."


def _reads(binding: object, step: str) -> bool:
    return isinstance(binding, StepOutput) and binding.step == step


def _place(spec: JobSpec, step: Step, name: str) -> Place:
    return spec.place(input_key(spec, step, name))


def _command_place(spec: JobSpec, step: Step) -> Place:
    return spec.place("command" if spec.kind is JobKind.COMMAND else f"jobs.{step.name}.command")
