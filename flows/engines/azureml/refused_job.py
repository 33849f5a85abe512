"""Refusal of a job by Azure ML, told at the places in the YAML that name what it is about. Pure."""

from collections.abc import Iterator

from flows.engines.azureml.error_answers import Resource, Told
from flows.errors import Fault, Place, SpecError, UserError
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import DataReference, JobSpec, Step


def refusal_of(spec: JobSpec, job_name: str, about: Resource | None, told: Told) -> UserError:
    """The error for a job that was refused.

    Args:
        spec: The job.
        job_name: The name that it was submitted under.
        about: What the refusal is about, if that is known.
        told: What a person is told of it.
    """
    places = () if about is None else tuple(dict.fromkeys(_places(spec, about)))
    what = f"{told.what} The job {job_name} was not submitted."
    if places:
        return SpecError([Fault(place, what, told.remedy) for place in places])
    return UserError(str(Told(f"Azure ML refused the job: {what}", told.remedy)))


def _places(spec: JobSpec, about: Resource) -> Iterator[Place]:
    """Where the files of a job name something."""
    match about.kind:
        case "components":
            for step in spec.steps.values():
                if _is(step.component.reference, about):
                    yield spec.place(f"jobs.{step.name}.component")
        case "environments":
            for step in spec.steps.values():
                environment = step.component.environment
                if environment is not None and _is(environment.reference, about):
                    yield _place_of_environment(spec, step)
        case "computes":
            if _is(spec.default_compute, about):
                yield spec.place("settings.default_compute")
            for step in spec.steps.values():
                if step.compute != spec.default_compute and _is(step.compute, about):
                    yield spec.place(_key(spec, step, "compute"))
        case "data" | "models" | "datastores":
            yield from (spec.place(key) for key, path in _data(spec) if _names(path, about))
        case _:
            return


def _data(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """The data that a job names, by the key at which it does."""
    for name, given in spec.inputs.items():
        if isinstance(given.value, DataReference):
            yield f"inputs.{name}", given.value.path
    for step in spec.steps.values():
        for port, binding in step.inputs.items():
            if isinstance(binding, DataReference):
                yield _key(spec, step, f"inputs.{port}"), binding.path


def _key(spec: JobSpec, step: Step, key: str) -> str:
    """A key of a step, in the file of a job: that of a job which is no pipeline is its only step."""
    return f"jobs.{step.name}.{key}" if f"jobs.{step.node[0]}" in spec.places else key


def _place_of_environment(spec: JobSpec, step: Step) -> Place:
    """Where a step names its environment: itself, or the file of its component."""
    key = _key(spec, step, "environment")
    here = key in spec.places or step.component.source == spec.source
    return spec.place(key) if here else Place(step.component.source, None, "environment")


def _names(path: str, about: Resource) -> bool:
    return f"/datastores/{about.name}/" in path if about.kind == "datastores" else _is(path, about)


def _is(reference: str | None, about: Resource) -> bool:
    """Whether a reference names this: in any version, if the version is not told."""
    named = AssetReference.read(reference or "")
    return named is not None and named.name == about.name and about.version in (None, named.version)
