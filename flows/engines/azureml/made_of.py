"""Digest of all that a command job is made of; two jobs with the same digest deliver the same model."""

from pathlib import Path

from flows.data.digests import data_digest
from flows.data.snapshot import Snapshot
from flows.engines.plan.environment import environment_part
from flows.engines.plan.fingerprint import canonical_digest, component_part, declared_part, variables_part
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import DataReference, JobKind, JobSpec, Step
from flows.spec.text.locations import is_remote
from flows.spec.values import data_source, literal_text


def what_it_is_made_of(spec: JobSpec) -> str | None:
    """The digest of a command job's command, code, environment, variables, inputs, and what else its file asks for.

    Returns:
        The digest; None if that does not say what the job delivers: for another kind of job, for a component that is
        not deterministic, and for a job whose environment or data is not a fixed version, so that its content may
        change while its name stays.
    """
    if spec.kind is not JobKind.COMMAND:
        return None
    parts = [_part(spec, step) for step in spec.steps.values()]
    return None if None in parts else canonical_digest(parts)


def _part(spec: JobSpec, step: Step) -> list[object] | None:
    component = step.component
    environment = component.environment
    if not component.is_deterministic or (environment and environment.reference and not _fixed(environment.reference)):
        return None
    inputs: dict[str, str | None] = {}
    for name in component.inputs:
        data = data_source(spec, step, name)
        if not isinstance(data, DataReference):
            text = literal_text(spec, step, name)
            inputs[name] = None if text is None else f"={text}"
            continue
        if is_remote(data.path) and not _fixed(data.path):
            return None
        inputs[name] = data.path if is_remote(data.path) else data_digest(Path(data.path))
    code = Snapshot.of(component.code, component.additional_includes).digest()
    return [
        dict(component_part(step)),
        code,
        dict(environment_part(environment)),
        dict(variables_part(step)),
        dict(declared_part({**spec.declared, **step.declared, "instance_count": step.instance_count})),
        inputs,
    ]


def _fixed(reference: str) -> bool:
    """Whether a reference names one version of an asset, whose content never changes."""
    asset = AssetReference.read(reference)
    return asset is not None and asset.version is not None
