"""Jobs for the SDK, made from a spec: its YAML file loaded, its values set. The file stays the only definition."""

from collections.abc import Iterator
from typing import Any

from azure.ai.ml import load_job

from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import DataReference, Environment, InputValue, JobKind, JobSpec, Literal


def as_sdk_job(spec: JobSpec) -> Any:
    """Load the spec's YAML file with what the spec's inputs, compute and environments say in place of its own."""
    # An input that is set on the loaded job is not sent with a command job, and ``azureml:name@latest`` is not found.
    job: Any = load_job(spec.source, params_override=list(_overrides(spec)))
    job.display_name = spec.display_name or job.display_name
    if spec.kind is not JobKind.PIPELINE:
        (step,) = spec.steps.values()
        job.compute = _compute(step.compute)
        if spec.kind is JobKind.COMMAND:
            job.environment = _environment(step.component.environment, job.environment)
        return job
    job.settings.default_compute = _compute(spec.default_compute)
    for name, step in spec.steps.items():
        *outer, own = step.node
        nodes: Any = job.jobs
        for nested in outer:
            nodes[nested].display_name = nested
            nodes = nodes[nested].component.jobs
        node = nodes[own]
        node.display_name = own  # by which the child is known among its siblings
        if name == own:
            node.compute = _compute(step.compute)
        if step.kind == "command" and not isinstance(node.component, str):
            node.component.environment = _environment(step.component.environment, node.component.environment)
    return job


def _overrides(spec: JobSpec) -> Iterator[dict[str, Any]]:
    """The values of the spec's inputs, by where they stand in its file."""
    for name, given in spec.inputs.items():
        if given.value is not None:
            yield {f"inputs.{name}": _value(given.value)}
    for name, step in spec.steps.items():
        if len(step.node) > 1:
            continue  # what its own file says stands in there
        for port, binding in step.inputs.items():
            if isinstance(binding, DataReference | Literal):
                yield {f"jobs.{name}.inputs.{port}": _value(binding)}


def _value(value: InputValue) -> Any:
    return {"type": value.type, "path": value.path} if isinstance(value, DataReference) else value.text


def _compute(name: str | None) -> str | None:
    return name.removeprefix("azureml:") if name else None  # the prefix is YAML's, not the entity's


def _environment(environment: Environment | None, of_file: Any) -> Any:
    """The environment of the workspace that a spec names, or else what the file itself says."""
    named = AssetReference.short((environment and environment.reference) or "")
    # The prefix is YAML's: given to an entity, ``azureml:name@latest`` is the name of an environment.
    return of_file if named is None else str(named)
