"""Warnings about a job: what is valid, but probably not meant. Each rule is one function that yields warnings."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from flows.errors import Fault, Place
from flows.spec.model.job import DataReference, JobKind, JobSpec, ParentInput, StepOutput
from flows.spec.text.locations import exists, is_remote

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_ARGUMENT = re.compile(r"\s*(--?[a-zA-Z][\w-]*)")
_GOES_ON = ("\\", "|", "&", "(", "{")  # the ends of a line whose command goes on in the next

# The kinds of step that run on a compute. A Spark step may name its resources instead.
_ON_COMPUTE = frozenset({"command", "parallel", "sweep", "automl", "data_transfer"})

Rule: TypeAlias = Callable[[JobSpec], Iterator[Fault]]


def warnings_of(spec: JobSpec) -> Iterator[Fault]:
    """Every warning of a job, rule by rule."""
    for rule in RULES:
        yield from rule(spec)


def unread_outputs(spec: JobSpec) -> Iterator[Fault]:
    """Every output of a step that others read from is read by a step.

    Left out are outputs of a last step, since the pipeline is run for them, and outputs that are stored or registered.
    """
    read = {
        binding for step in spec.steps.values() for binding in step.inputs.values() if isinstance(binding, StepOutput)
    }
    inner = {binding.step for binding in read}
    for step in spec.steps.values():
        if step.name not in inner or step.component.is_open or step.control or step.when.loop:
            continue
        for name, port in step.component.outputs.items():
            kept = name in step.outputs or port.path is not None or port.asset_name is not None
            if not kept and StepOutput(step.name, name) not in read:
                message = f"nobody reads the output {name} of {step.name}"
                yield _warning(spec.place(f"jobs.{step.name}.outputs.{name}"), message, "Bind it, or remove it.")


def undelivered_outputs(spec: JobSpec) -> Iterator[Fault]:
    """An output of the job comes from one of its steps."""
    delivered = {target.name for step in spec.steps.values() for target in step.outputs.values()}
    for name in spec.outputs:
        if name not in delivered:
            remedy = f"Bind an output of a step to ${{{{parent.outputs.{name}}}}}."
            yield _warning(spec.place(f"outputs.{name}"), f"no step delivers the output {name}", remedy)


def missing_data(spec: JobSpec) -> Iterator[Fault]:
    """Local data is where the file says."""
    given = {f"inputs.{name}": job_input.value for name, job_input in spec.inputs.items()}
    for step in spec.steps.values():
        given |= {f"jobs.{step.name}.inputs.{name}": value for name, value in step.inputs.items()}
    for key, value in given.items():
        if isinstance(value, DataReference) and not is_remote(value.path) and not exists(Path(value.path)):
            yield _warning(spec.place(key), f"there is no file or folder {value.path}", "It is needed to run the job.")


def open_inputs(spec: JobSpec) -> Iterator[Fault]:
    """A job that is no component gives every input a value."""
    if spec.is_component:
        return
    used = {b.name for step in spec.steps.values() for b in step.inputs.values() if isinstance(b, ParentInput)}
    for name, given in spec.inputs.items():
        if given.value is None and not given.port.optional and name in used:
            place = spec.place(f"inputs.{name}")
            yield _warning(
                place, f"the input {name} has no value", f"Give it one when you run the job: --set inputs.{name}=…."
            )


def needed_by_azure_ml(spec: JobSpec) -> Iterator[Fault]:
    """What only Azure ML needs of a job: noted as warnings here, and a fault where the job is to run there."""
    for rule in (_typed, _kind_of_job, _imports, _computes):
        yield from rule(spec)


def refused_by_azure_ml(spec: JobSpec) -> Iterator[Fault]:
    """What the service refuses though its client sends it: the version of an output of a command job by itself.

    The version of the API by which the client sends command jobs does not know it (HTTP 400, recorded in March 2026);
    that for pipelines does.
    """
    if spec.kind is not JobKind.COMMAND or spec.is_component:
        return
    for step in spec.steps.values():
        for name, port in step.component.outputs.items():
            if port.asset_version is not None:
                message = f"the output {name} has a version, and Azure ML refuses that for a command job by itself"
                remedy = "Leave version out, then it is the next one; or make the job a step of a pipeline."
                yield _warning(spec.place(f"outputs.{name}.version"), message, remedy)


def only_for_azure_ml(spec: JobSpec) -> Iterator[Fault]:
    """What is in the way on Azure ML alone: noted as warnings here, and a fault where the job is to run there."""
    yield from needed_by_azure_ml(spec)
    yield from refused_by_azure_ml(spec)


def cut_commands(spec: JobSpec) -> Iterator[Fault]:
    """No line of a command begins with an argument: a shell takes each line for a command of its own.

    A text that YAML folds keeps the line breaks before and after lines that are indented further.
    """
    for step in spec.steps.values():
        cut = _cut(step.component.command)
        if cut is not None:
            number, argument = cut
            message = f"line {number} of the command begins with {argument}, and the shell takes a line for a command"
            key = f"jobs.{step.name}.command" if spec.kind is JobKind.PIPELINE else "command"
            yield _warning(spec.place(key), message, "Indent the lines of >- alike, or end the line before with \\.")


def component_name(spec: JobSpec) -> Iterator[Fault]:
    """A component of its own is registered under its name; one that a pipeline names by path needs none."""
    if not spec.is_component:
        return
    if "name" not in spec.places:
        message = "a component of its own needs a name"
        yield _warning(spec.place("name"), message, "Add name:, or run it as a step of a pipeline.")
    elif not _NAME.fullmatch(spec.name):
        message = f"a component cannot be registered as {spec.name}"
        yield _warning(spec.place("name"), message, "Use small letters, digits and underscores.")


RULES: tuple[Rule, ...] = (
    unread_outputs,
    undelivered_outputs,
    missing_data,
    open_inputs,
    only_for_azure_ml,
    cut_commands,
    component_name,
)


def _typed(spec: JobSpec) -> Iterator[Fault]:
    """What is no command says its type, in small letters."""
    if spec.kind in (JobKind.PIPELINE, JobKind.SWEEP) and "type" not in spec.places:
        message = "there is no type, and Azure ML takes the file for a command job"
        yield _warning(spec.place("type"), message, f"Add type: {spec.kind}.")
    elif not spec.is_component and spec.type is not None and spec.type != spec.type.lower():
        message = f"{spec.type} has capital letters, and Azure ML knows no such type of job"
        yield _warning(spec.place("type"), message, f"Write type: {spec.type.lower()}.")


def _kind_of_job(spec: JobSpec) -> Iterator[Fault]:
    """A job by itself is no parallel one, and only a pipeline may be all in a component."""
    kind = (spec.type or spec.kind).lower()
    if spec.is_component or kind == JobKind.PIPELINE:
        return
    if spec.kind is JobKind.PARALLEL:
        yield _warning(spec.place("type"), "Azure ML has no job of type parallel", "Make it a step of a pipeline.")
    elif "component" in spec.places:
        message = f"Azure ML has no {kind} job of a component"
        yield _warning(spec.place("component"), message, "Make it a step of a pipeline.")


def _imports(spec: JobSpec) -> Iterator[Fault]:
    """No job or step imports data: the client sends none, unless it is registered and in a nested pipeline."""
    if spec.kind is not JobKind.PIPELINE and spec.is_component:
        return
    for name, step in spec.steps.items():
        is_inner = spec.is_component or len(step.node) > 1
        if step.kind == "import" and not (is_inner and step.component.reference is not None):
            key = f"jobs.{name}.type" if spec.kind is JobKind.PIPELINE else "type"
            message = f"{name} is of type import, which the Azure ML client does not send"
            yield _warning(spec.place(key), message, "Import the data as a data asset, and give that to the steps.")


def _computes(spec: JobSpec) -> Iterator[Fault]:
    """Every step of a pipeline has a compute, even where serverless would do."""
    if spec.kind is not JobKind.PIPELINE or spec.is_component or spec.default_compute is not None:
        return
    without = [name for name, step in spec.steps.items() if step.compute is None and step.kind in _ON_COMPUTE]
    if without:
        message = f"no compute is set for {', '.join(without)}"
        yield _warning(
            spec.place("settings.default_compute"), message, "Add default_compute: serverless under settings."
        )


def _cut(command: str) -> tuple[int, str] | None:
    """The first line (from 1) that is an argument rather than a command, and the argument."""
    lines = command.splitlines()
    for number, (before, line) in enumerate(itertools.pairwise(lines), 2):
        if "<<" in before or any(before.count(quote) % 2 for quote in "'\"`"):
            return None  # the lines to come may be text
        argument = _ARGUMENT.match(line)
        if argument is not None and before.strip() and not before.rstrip().endswith(_GOES_ON):
            return number, argument[1]
    return None


def _warning(place: Place, message: str, remedy: str) -> Fault:
    return Fault(place, message, remedy, warning=True)
