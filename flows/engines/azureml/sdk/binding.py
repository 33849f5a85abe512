"""Jobs for the SDK, made from a spec: its YAML file loaded, its values set. The file stays the only definition."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from azure.ai.ml import load_job
from azure.ai.ml._schema.core.fields import NestedField
from azure.ai.ml._schema.pipeline.condition_node import ConditionNodeSchema
from azure.ai.ml._schema.pipeline.control_flow_job import DoWhileSchema, ParallelForSchema
from azure.ai.ml._schema.pipeline.pipeline_component import (
    PipelineComponentSchema,
    RestPipelineComponentSchema,
    _AnonymousPipelineComponentSchema,  # pyright: ignore[reportPrivateUsage]
)
from azure.ai.ml._schema.pipeline.pipeline_job import PipelineJobSchema
from marshmallow import INCLUDE

from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import DataReference, Environment, InputValue, JobKind, JobSpec, Literal
from flows.spec.reading.reader import examine

_CONTROL_FLOW = {"if_else": ConditionNodeSchema, "do_while": DoWhileSchema, "parallel_for": ParallelForSchema}
_PIPELINES = (
    PipelineJobSchema,
    PipelineComponentSchema,
    RestPipelineComponentSchema,
    _AnonymousPipelineComponentSchema,
)


def as_sdk_job(spec: JobSpec) -> Any:
    """Load the spec's YAML file with what the spec's inputs, compute and environments say in place of its own.

    What the spec says as the file does is left to the client, so that it is sent as the client sends it.
    """
    of_file = examine(spec.source).spec
    if any(step.control for step in spec.steps.values()):
        know_control_flow()
    # An input that is set on the loaded job is not sent with a command job, and ``azureml:name@latest`` is not found.
    job: Any = load_job(spec.source, params_override=list(_overrides(spec, of_file)))
    job.display_name = spec.display_name or job.display_name
    if spec.left_out:
        _leave_out(job, spec)
    if spec.kind is not JobKind.PIPELINE:
        (step,) = spec.steps.values()
        job.compute = _compute(step.compute)
        if spec.kind is JobKind.COMMAND:
            job.environment = _environment(step.component.environment, job.environment)
        return job
    if of_file is None or of_file.default_compute != spec.default_compute:
        job.settings.default_compute = _compute(spec.default_compute)
    for name, step in spec.steps.items():
        if step.control:
            continue  # it has neither a compute nor an environment
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


def _leave_out(job: Any, spec: JobSpec) -> None:
    """Take out of a pipeline the nodes that are not to be run, and its inputs and outputs that only these have."""
    for nodes, kept in (
        (job.jobs, job.jobs.keys() - spec.left_out),
        (job.inputs, spec.inputs.keys()),
        (job.outputs, spec.outputs.keys()),
    ):
        for name in nodes.keys() - kept:
            del nodes[name]


@cache
def know_control_flow() -> None:
    """Let the client read choices and loops from YAML.

    It has all that is needed, but reads them only if ``AZURE_ML_CLI_PRIVATE_FEATURES_ENABLED`` was set when it was
    imported. That variable would change much else of what is sent.
    """
    fields = {id(field): field for schema in _PIPELINES if (field := _jobs_field(schema))}
    for field in fields.values():
        for kind, schema in _CONTROL_FLOW.items():
            if kind not in field.allowed_types:
                nested: Any = NestedField(schema, unknown=INCLUDE)
                field._type_sensitive_fields_dict[kind] = [nested]
                field._union_fields.append(nested)  # last: none of their keys is required


def _jobs_field(schema: Any) -> Any:
    return schema._declared_fields["jobs"].value_field


def _overrides(spec: JobSpec, of_file: JobSpec | None) -> Iterator[dict[str, Any]]:
    """The values of the spec's inputs that are not those of its file, by where they stand in there."""
    for name, given in spec.inputs.items():
        written = of_file.inputs.get(name) if of_file else None
        if given.value is not None and (written is None or written.value != given.value):
            yield {f"inputs.{_key(name)}": _value(given.value)}
    for name, step in spec.steps.items():
        if len(step.node) > 1 or step.control:
            continue  # what its own file says stands in there, and what a choice or a loop is given
        written = of_file.steps.get(name) if of_file else None
        for port, binding in step.inputs.items():
            if isinstance(binding, DataReference | Literal) and (
                written is None or written.inputs.get(port) != binding
            ):
                yield {f"jobs.{name}.inputs.{_key(port)}": _value(binding)}


def _key(name: str) -> str:
    """The name of an input as one key in a path of keys: that of an input of a group has dots."""
    return name.replace(".", "\\.")


def _value(value: InputValue) -> Any:
    if isinstance(value, Literal):
        return value.text
    mode = {} if value.mode is None else {"mode": value.mode}
    return {"type": value.type, "path": value.path, **mode}


def _compute(name: str | None) -> str | None:
    return name.removeprefix("azureml:") if name else None  # the prefix is YAML's, not the entity's


def _environment(environment: Environment | None, of_file: Any) -> Any:
    """The environment of the workspace that a spec names, or else what the file itself says."""
    named = AssetReference.short((environment and environment.reference) or "")
    # The prefix is YAML's: given to an entity, ``azureml:name@latest`` is the name of an environment.
    return of_file if named is None else str(named)
