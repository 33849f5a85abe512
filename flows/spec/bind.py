"""New values for a job's inputs, compute or environment. They are checked like those of a file."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from flows.errors import Fault, ParameterError, Place
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import DataReference, Environment, InputPort, InputValue, JobInput, JobSpec, Literal, Step
from flows.spec.rules.checks import faults_of, values_given
from flows.spec.text.locations import is_remote, local
from flows.spec.text.section import nearest
from flows.spec.text.words import a


def bind(spec: JobSpec, values: Mapping[str, object]) -> JobSpec:
    """Give inputs new values.

    Args:
        spec: The job.
        values: By name (``reg_rate`` or ``inputs.reg_rate``) for an input of the job, and by dotted key
            (``jobs.evaluate.inputs.champion``) for that of a step. A literal is a bool, number or text; data is a
            DataReference, a Path or text (a relative path starts where this process runs); None takes the value away.

    Returns:
        The job with these values.

    Raises:
        ParameterError: A name is unknown, a value does not fit, or an input that a step requires has none; one line
            for each.
    """
    faults: list[Fault] = []
    for key, value in values.items():
        spec = _with_value(spec, key, value, faults)
    _raise([*faults, *faults_of(spec), *values_given(spec)])
    return spec


def trial(step: Step, values: Mapping[str, str]) -> Step:
    """One trial of a sweep: the step as a plain command, with these values (as text) for its hyperparameters."""
    assert step.sweep is not None
    drawn = {name: Literal(values[name]) for name in step.sweep.search_space}
    limit = step.sweep.trial_timeout_seconds
    return replace(
        step, kind="command", sweep=None, inputs=MappingProxyType({**step.inputs, **drawn}), timeout_seconds=limit
    )


def with_compute(spec: JobSpec, name: str) -> JobSpec:
    """The job with every step on one compute of the workspace."""
    compute = f"azureml:{name.removeprefix('azureml:')}"
    steps = {key: replace(step, compute=compute) for key, step in spec.steps.items()}
    return replace(spec, default_compute=compute, steps=MappingProxyType(steps))


def with_environment(spec: JobSpec, name: str) -> JobSpec:
    """The job with one environment (the newest version, unless ``name:version`` says which) wherever a component names
    one of the workspace."""
    bare = name.removeprefix("azureml:")
    wanted = AssetReference.short(name)
    latest = "@latest" if wanted is not None and wanted.version is None and wanted.label is None else ""
    environment = Environment(reference=f"azureml:{bare}{latest}")

    def moved(step: Step) -> Step:
        return replace(step, component=replace(step.component, environment=environment)) if _by_name(step) else step

    return replace(spec, steps=MappingProxyType({key: moved(step) for key, step in spec.steps.items()}))


def _by_name(step: Step) -> bool:
    reference = None if step.component.environment is None else step.component.environment.reference
    return reference is not None and reference.startswith("azureml:") and AssetReference.short(reference) is not None


def _with_value(spec: JobSpec, key: str, value: object, faults: list[Fault]) -> JobSpec:
    name = key if key in spec.inputs else key.removeprefix("inputs.")
    if name in spec.inputs:
        port = spec.inputs[name].port
        given = JobInput(port, _in_mode(spec.inputs[name].value, _value(f"inputs.{name}", port, value, faults)))
        return replace(spec, inputs=MappingProxyType({**spec.inputs, name: given}))
    for step in spec.steps.values():
        name = key.removeprefix(f"jobs.{step.name}.inputs.")
        if name != key and name in step.component.inputs:
            given = _value(key, step.component.inputs[name], value, faults)
            return _with_step_value(spec, step, name, _in_mode(step.inputs.get(name), given))
    known = frozenset(_keys(spec)) if key.startswith("jobs.") else frozenset(spec.inputs)
    place = Place(spec.source, 1, key)
    faults.append(Fault(place, f"the job has no input {key}", nearest(key, known, "inputs")))
    return spec


def _with_step_value(spec: JobSpec, step: Step, name: str, value: InputValue | None) -> JobSpec:
    inputs = {key: binding for key, binding in step.inputs.items() if key != name}
    bound = replace(step, inputs=MappingProxyType(inputs if value is None else {**inputs, name: value}))
    return replace(spec, steps=MappingProxyType({**spec.steps, step.name: bound}))


def _keys(spec: JobSpec) -> Iterator[str]:
    for step in spec.steps.values():
        yield from (f"jobs.{step.name}.inputs.{name}" for name in step.component.inputs)


def _value(key: str, port: InputPort, value: object, faults: list[Fault]) -> InputValue | None:
    match value:
        case None:
            return None
        case DataReference():
            return value
        case Path():
            return DataReference(_data_type(port), os.path.abspath(value))
        case str() if not port.is_literal:
            return DataReference(port.type, value if is_remote(value) else str(local(value, Path.cwd())))
        case bool() | int() | float() | str():
            return Literal(str(value))
        case _:
            kind = type(value).__name__
            faults.append(Fault(Place(Path(), 1, key), f"{a(kind)} is no value"))
            return None


def _in_mode(before: object, given: InputValue | None) -> InputValue | None:
    """Data that says no mode of its own is handed over as what it takes the place of."""
    if isinstance(before, DataReference) and isinstance(given, DataReference) and given.mode is None:
        return replace(given, mode=before.mode)
    return given


def _data_type(port: InputPort) -> str:
    return "uri_file" if port.is_literal else port.type


def _raise(faults: list[Fault]) -> None:
    # A person who sets a parameter looks for its name, not for a line of the YAML.
    lines = [
        f"{fault.place.key.removeprefix('inputs.')}: {fault.message}. {fault.remedy}".rstrip()
        for fault in dict.fromkeys(faults)
        if not fault.warning
    ]
    if lines:
        raise ParameterError("\n".join(lines))
