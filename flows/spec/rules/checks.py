"""Rules that a job must keep before it runs anywhere. Each is one small function that yields faults.

The Azure ML client lets most of these pass, and the service refuses them minutes later.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from flows.errors import Fault, Place
from flows.spec.control import body_of, given_by_items, is_within
from flows.spec.graph import cycle
from flows.spec.literals import misfit
from flows.spec.model.control import ParallelFor
from flows.spec.model.job import (
    LITERAL_TYPES,
    DataReference,
    InputBinding,
    InputPort,
    JobKind,
    JobSpec,
    Literal,
    ParentInput,
    Step,
    StepOutput,
)
from flows.spec.render import references
from flows.spec.text.limits import MAX_NAMES
from flows.spec.text.names import shown, unfit
from flows.spec.text.section import nearest
from flows.spec.text.words import a, did_you_mean
from flows.spec.values import input_key, source

Rule: TypeAlias = Callable[[JobSpec], Iterator[Fault]]

# What a port takes besides data of its own type. A folder port takes anything (a file arrives as its path).
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
    """A step gives a component no input that it does not declare. A pipeline component ignores it: a warning."""
    for step in spec.steps.values():
        ports = step.component.inputs
        for name in step.inputs:
            if name not in ports and not step.component.is_open:
                message = f"the component {step.component.name} has no input {name}"
                ignored = step.kind == "pipeline" and not did_you_mean(name, ports, likeness=0.8)
                remedy = "It is ignored." if ignored else nearest(name, frozenset(ports), "inputs")
                yield Fault(_place(spec, step, name), message, remedy, warning=ignored)


def known_outputs(spec: JobSpec) -> Iterator[Fault]:
    """A step binds no output that its component does not declare, and only to outputs that the job has."""
    for step in spec.steps.values():
        ports = step.component.outputs
        for name, target in step.outputs.items():
            place = spec.place(f"jobs.{step.name}.outputs.{name}")
            if name not in ports and not step.component.is_open:
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
                component = spec.steps[binding.step].component
                outputs = component.outputs
                if binding.output not in outputs and not component.is_open:
                    message = f"the step {binding.step} has no output {binding.output}"
                    yield Fault(place, message, nearest(binding.output, frozenset(outputs), "outputs"))


def required_inputs(spec: JobSpec) -> Iterator[Fault]:
    """Every input of a component that is neither optional nor has a default is bound, or given by items of a loop."""
    of_items = given_by_items(spec.steps.values())
    for step in spec.steps.values():
        for port in _required(step):
            given = port.name in step.inputs or port.name in _searched(step) or (step.name, port.name) in of_items
            if not given and step.control is None:
                message = f"the required input {port.name} ({port.type}) of {step.component.name} is not given"
                yield Fault(_place(spec, step, port.name), message, f"Add {port.name}: under inputs.")


def bound_optionals(spec: JobSpec) -> Iterator[Fault]:
    """An optional input of a pipeline component is bound to optional inputs only; the client lets a sweep be."""
    for step in spec.steps.values() if spec.kind is JobKind.PIPELINE else ():
        if step.kind == "sweep" or step.control or step.component.is_open:
            continue
        for name, binding in step.inputs.items():
            port, parent = step.component.inputs.get(name), None
            if isinstance(binding, ParentInput) and binding.name in spec.inputs:
                parent = spec.inputs[binding.name].port
            if port is not None and not port.optional and parent is not None and parent.optional:
                message = f"the optional input {parent.name} is bound to the input {name} of {step.name}, which is not"
                yield Fault(spec.place(f"inputs.{parent.name}"), message, "Make both optional, or neither.")


def fitting_values(spec: JobSpec) -> Iterator[Fault]:
    """Every value, wherever it comes from, is one that the component's input takes."""
    for step in spec.steps.values():
        for name, binding in step.inputs.items():
            port = step.component.inputs.get(name)
            if port is None or _is_default(spec, binding, port):
                continue
            key = f"inputs.{binding.name}" if isinstance(binding, ParentInput) else input_key(spec, step, name)
            fault = _misfit(spec, _given(spec, binding), port)
            if fault is not None:
                message, remedy = fault
                yield Fault(spec.place(key), f"{message} {_owner(spec, step, name)}", remedy)


def fitting_inputs(spec: JobSpec) -> Iterator[Fault]:
    """The value of an input whose type is declared is one that it takes."""
    for name, given in spec.inputs.items():
        port = given.port
        if port.inferred or given.value == Literal(port.default or ""):
            continue
        fault = _misfit(spec, given.value, port)
        if fault is not None and not any(port is step.component.inputs.get(name) for step in spec.steps.values()):
            message, remedy = fault
            yield Fault(spec.place(f"inputs.{name}"), f"{message} the {port.type} input {name}", remedy)


def fitting_defaults(spec: JobSpec) -> Iterator[Fault]:
    """A default is one of the values that its own input takes."""
    declared = [port for step in spec.steps.values() for port in step.component.inputs.values()]
    for port in (*declared, *(given.port for given in spec.inputs.values())):
        reason = None if port.default is None else misfit(port.default, port)
        if reason is not None:
            place = port.place or spec.place(f"inputs.{port.name}")
            yield Fault(place, f"the default {port.default} {reason}", _choices(port.default or "", port))


def declared_references(spec: JobSpec) -> Iterator[Fault]:
    """A command, or the arguments of a parallel step, refer only to inputs and outputs that the component declares."""
    for step in spec.steps.values():
        ports = {"inputs": step.component.inputs, "outputs": step.component.outputs}
        what = "program_arguments use" if step.parallel else "the command uses"
        for kind, name, _ in references(_text(step)):
            if name not in ports[kind]:
                message = f"{what} ${{{{{kind}.{name}}}}}, which is not declared"
                yield Fault(_command_place(spec, step), message, nearest(name, frozenset(ports[kind]), kind))


def guarded_optionals(spec: JobSpec) -> Iterator[Fault]:
    """A command uses an optional input without a default only inside of ``$[[ … ]]``."""
    for step in spec.steps.values():
        what = "program_arguments use" if step.parallel else "the command uses"
        for kind, name, guarded in references(_text(step)):
            port = step.component.inputs.get(name) if kind == "inputs" else None
            if port is not None and port.optional and port.default is None and not guarded:
                message = f"{what} the optional input {name} outside of $[[ ]]"
                yield Fault(_command_place(spec, step), message, f"Write $[[--{name} ${{{{inputs.{name}}}}}]].")


def fitting_search_spaces(spec: JobSpec) -> Iterator[Fault]:
    """A sweep varies inputs of its trial, over values that they take."""
    for step in spec.steps.values():
        for name, parameter in {} if step.sweep is None else step.sweep.search_space.items():
            place = spec.place(f"{_prefix(spec, step)}search_space.{name}")
            port = step.component.inputs.get(name)
            if port is None:
                if not step.component.is_open:
                    message = f"the trial {step.component.name} has no input {name}"
                    yield Fault(place, message, nearest(name, frozenset(step.component.inputs), "inputs"))
            elif not port.is_literal:
                yield Fault(place, f"the {port.type} input {name} of the trial cannot be searched", "Search a literal.")
            else:
                for value in parameter.values:
                    if (reason := misfit(value, port)) is not None:
                        yield Fault(place, f"{value} {reason} for {_owner(spec, step, name)}", _choices(value, port))


def fitting_mini_batches(spec: JobSpec) -> Iterator[Fault]:
    """A parallel step cuts one of its data inputs, and appends to one of its outputs."""
    for step in spec.steps.values():
        parallel, ports = step.parallel, step.component.inputs
        if parallel is None:
            continue
        place = spec.place(f"{_prefix(spec, step)}input_data")
        if parallel.input_data and parallel.input_data not in ports:
            message = f"input_data names the input {parallel.input_data}, which is not declared"
            yield Fault(place, message, nearest(parallel.input_data, frozenset(ports), "inputs"))
        elif parallel.input_data and ports[parallel.input_data].is_literal:
            kind = ports[parallel.input_data].type
            yield Fault(place, f"input_data names the {kind} {parallel.input_data}", "Name an input that is data.")
        outputs = frozenset(step.component.outputs)
        if parallel.append_row_to is not None and parallel.append_row_to not in outputs:
            message = f"append_row_to names the output {parallel.append_row_to}, which is not declared"
            yield Fault(_command_place(spec, step), message, nearest(parallel.append_row_to, outputs, "outputs"))


def collected_outputs(spec: JobSpec) -> Iterator[Fault]:
    """What a loop over items repeats is read through the loop alone, which collects what it delivers."""
    for step in spec.steps.values():
        for name, binding in step.inputs.items():
            read = spec.steps.get(binding.step) if isinstance(binding, StepOutput) else None
            loop = None if read is None or read.when.loop is None else spec.steps[read.when.loop]
            body = None if loop is None else body_of(loop)
            if body is None or loop is None or is_within(step.name, body.name):
                continue
            if isinstance(loop.control, ParallelFor) and isinstance(binding, StepOutput):
                message = f"{binding.step} runs once for each item of {loop.name}, and has no output of its own"
                remedy = f"Read what the loop collects: ${{{{parent.jobs.{loop.name}.outputs.{binding.output}}}}}."
                yield Fault(_place(spec, step, name), message, remedy)


def no_cycles(spec: JobSpec) -> Iterator[Fault]:
    """No step reads what it, or a step after it, delivers."""
    own = [step for step in spec.steps.values() if step.name in step.reads]
    for step in own:
        name = next(name for name, binding in step.inputs.items() if _reads(binding, step.name))
        yield Fault(_place(spec, step, name), f"the step {step.name} reads its own output")
    ring = () if own else cycle(spec)
    if ring:
        place = spec.place(f"jobs.{ring[0]}")
        way = ring if len(ring) <= MAX_NAMES else (*ring[:MAX_NAMES], "…")
        yield Fault(place, f"the steps run in a circle: {' → '.join(way)}", "Remove one of these bindings.")


def names_of_folders(spec: JobSpec) -> Iterator[Fault]:
    """Every step has a name that its folder can have: it is the ``name`` of a job that is no pipeline."""
    for name in spec.steps:
        if (reason := unfit(name)) is not None:
            place = spec.place(f"jobs.{name}" if spec.kind is JobKind.PIPELINE else "name")
            yield Fault(place, f"the name {shown(name)!r} {reason}", "Use letters, digits, - and _.")


def first_and_last(spec: JobSpec) -> Iterator[Fault]:
    """What ``settings`` runs before or after all other steps is a step of its own, and not all that there is."""
    settings: Mapping[str, object] = spec.declared.get("settings") or {}
    named = {key: settings[key] for key in ("on_init", "on_finalize") if settings.get(key) is not None}
    if not named or spec.nested:  # checked before the steps of nested pipelines took the place of these
        return
    if len(named) > len(set(named.values())):
        message = f"on_init and on_finalize are both {named['on_init']}"
        yield Fault(spec.place("settings.on_finalize"), message, "Name two steps.")
    if not spec.steps.keys() - set(named.values()):
        yield Fault(spec.place("settings"), "no step runs between on_init and on_finalize", "Add one under jobs.")
    ties = {
        (name, binding.step)
        for name, step in spec.steps.items()
        for binding in step.inputs.values()
        if isinstance(binding, StepOutput) and not step.control
    }
    for key, name in named.items():
        place = spec.place(f"settings.{key}")
        if name not in spec.steps:
            remedy = nearest(str(name), frozenset(spec.steps), "steps")
            yield Fault(place, f"the job has no step {shown(str(name))}", remedy)
        elif spec.steps[str(name)].control:
            yield Fault(place, f"{name} is a choice or a loop", "Name a step that runs something.")
        elif tied := sorted(({*tie} - {name}).pop() for tie in ties if name in tie and len({*tie}) > 1):
            message = f"{name} is bound to {', '.join(dict.fromkeys(tied))}"
            yield Fault(
                place, message, "What runs first or last takes nothing from other steps, and gives them nothing."
            )


RULES: tuple[Rule, ...] = (
    names_of_folders,
    known_inputs,
    known_outputs,
    known_bindings,
    required_inputs,
    bound_optionals,
    fitting_values,
    fitting_inputs,
    fitting_defaults,
    declared_references,
    guarded_optionals,
    fitting_search_spaces,
    fitting_mini_batches,
    collected_outputs,
    no_cycles,
    first_and_last,
)


def values_given(spec: JobSpec) -> Iterator[Fault]:
    """Every input of the job that a step requires has a value. A file may leave values open until it is run."""
    for step in spec.steps.values():
        for port in _required(step):
            binding = step.inputs.get(port.name)
            parent = spec.inputs.get(binding.name) if isinstance(binding, ParentInput) else None
            if parent is None or parent.value is not None:
                continue
            # What a registered component requires is not known here; the pipeline says what may be left out.
            if not (step.component.is_open and parent.port.optional):
                message = f"the input has no value, and {_owner(spec, step, port.name)} requires one"
                yield Fault(spec.place(f"inputs.{parent.port.name}"), message, f"Give it {a(port.type)}.")


def _required(step: Step) -> Iterator[InputPort]:
    return (port for port in step.component.inputs.values() if not port.optional and port.default is None)


def _searched(step: Step) -> Mapping[str, object]:
    return {} if step.sweep is None else step.sweep.search_space


def _is_default(spec: JobSpec, binding: object, port: InputPort) -> bool:
    """Whether a value is the component's own default, by way of an input of the job that the component is read as."""
    given = spec.inputs.get(binding.name) if isinstance(binding, ParentInput) else None
    return given is not None and given.port is port and given.value == Literal(port.default or "")


def _given(spec: JobSpec, binding: InputBinding) -> object:
    """What an input is given; where the job leaves its own input open, that input's port."""
    given = spec.inputs.get(binding.name) if isinstance(binding, ParentInput) else None
    return given.port if given is not None and given.value is None else source(spec, binding)


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
        case InputPort(name, kind) if not _accepts(port.type, kind) and not (port.is_literal and value.is_literal):
            return f"the {kind} input {name} of the job is given to", _wanted(port)
        case _:
            pass
    return None


def _accepts(port_type: str, kind: str) -> bool:
    if port_type in LITERAL_TYPES or kind in LITERAL_TYPES:
        return port_type == kind
    if port_type in ("uri_folder", "path") or kind in (port_type, "path"):
        return True
    return kind in _ACCEPTS.get(port_type, frozenset[str]())


def _owner(spec: JobSpec, step: Step, name: str) -> str:
    port = step.component.inputs[name]
    return f"the {port.type} input {name}" + ("" if spec.kind is not JobKind.PIPELINE else f" of {step.name}")


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
    key = "command" if step.parallel is None else "task"
    return spec.place(f"{_prefix(spec, step)}{key}")


def _text(step: Step) -> str:
    return step.component.command if step.parallel is None else step.parallel.program_arguments


def _prefix(spec: JobSpec, step: Step) -> str:
    return f"jobs.{step.name}." if spec.kind is JobKind.PIPELINE else ""
