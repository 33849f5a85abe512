"""The digest of all that a command job is made of: two jobs of one digest deliver the same model."""

from pathlib import Path

from flows.data.digests import data_digest
from flows.data.snapshot import Snapshot
from flows.engines.plan.environment import environment_part
from flows.engines.plan.fingerprint import canonical_digest, component_part, variables_part
from flows.spec.model.job import DataReference, JobKind, JobSpec, Step
from flows.spec.text.locations import is_remote
from flows.spec.values import data_source, literal_text


def what_it_is_made_of(spec: JobSpec) -> str | None:
    """The digest of a command job's command, code, environment, variables and inputs.

    None if that does not say what it delivers: for another kind of job, for a component that is not deterministic, and
    for a job that names an environment or data whose content may change under the name.
    """
    if spec.kind is not JobKind.COMMAND:
        return None
    parts = [_part(spec, step) for step in spec.steps.values()]
    return None if None in parts else canonical_digest(parts)


def _part(spec: JobSpec, step: Step) -> list[object] | None:
    component = step.component
    environment = component.environment
    if not component.is_deterministic or (environment and (environment.reference or "").endswith("@latest")):
        return None
    inputs: dict[str, str | None] = {}
    for name in component.inputs:
        data = data_source(spec, step, name)
        if not isinstance(data, DataReference):
            text = literal_text(spec, step, name)
            inputs[name] = None if text is None else f"={text}"
            continue
        path = data.path
        is_asset = path.startswith("azureml:") and not path.startswith("azureml:/")
        if path.endswith("@latest") or (is_remote(path) and not is_asset):
            return None
        inputs[name] = path if is_asset else data_digest(Path(path))
    code = Snapshot.of(component.code, component.additional_includes).digest()
    return [
        dict(component_part(step)),
        code,
        dict(environment_part(environment)),
        dict(variables_part(step)),
        inputs,
    ]
