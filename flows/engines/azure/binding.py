"""A spec as the SDK's own job: its YAML file loaded, its values set. The file stays the only definition."""

from typing import Any

from azure.ai.ml import Input, load_job

from flows.spec.model import DataReference, InputValue, JobKind, JobSpec, Literal


def bound_job(spec: JobSpec) -> Any:
    """Load the spec's YAML file and set in it what the spec's inputs, compute and environments say."""
    job: Any = load_job(spec.source)
    job.display_name = spec.display_name or job.display_name
    for name, given in spec.inputs.items():
        if given.value is not None:
            setattr(job.inputs, name, _value(given.value))
    if spec.kind is JobKind.COMMAND:
        (step,) = spec.steps.values()
        job.compute = _compute(step.compute)
        job.environment = _environment(step.component.environment, job.environment)
        return job
    job.settings.default_compute = _compute(spec.default_compute)
    for name, step in spec.steps.items():
        node = job.jobs[name]
        node.compute = _compute(step.compute)
        node.display_name = name  # by which the child is known among its siblings
        node.component.environment = _environment(step.component.environment, node.component.environment)
        for port, binding in step.inputs.items():
            if isinstance(binding, DataReference | Literal):
                setattr(node.inputs, port, _value(binding))
    return job


def _value(value: InputValue) -> Any:
    return Input(type=value.type, path=value.path) if isinstance(value, DataReference) else value.text


def _compute(name: str | None) -> str | None:
    return name.removeprefix("azureml:") if name else None  # the prefix is YAML's, not the entity's


def _environment(environment: Any, default: Any) -> Any:
    return default if environment is None or environment.reference is None else environment.reference
