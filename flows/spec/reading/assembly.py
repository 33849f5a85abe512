"""Puts together what was read of a file into one frozen job."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from flows.errors import Place
from flows.spec.model.job import JobInput, JobKind, JobSpec, OutputPort, ParentInput, ParentOutput, Step
from flows.spec.reading.nested import Graph
from flows.spec.reading.work.component import DECLARED, Work
from flows.spec.text import keys
from flows.spec.text.locations import local
from flows.spec.text.names import file_name
from flows.spec.text.places import places_within
from flows.spec.text.section import Section

_KINDS = {"command": JobKind.COMMAND, "sweep": JobKind.SWEEP, "parallel": JobKind.PARALLEL}


def one_step_job(
    section: Section, work: Work, inputs: Mapping[str, JobInput], is_component: bool
) -> tuple[JobSpec, Graph]:
    """A job of one step, whose inputs and outputs are those of the job, with its graph.

    Args:
        section: The file's mapping.
        work: What the step runs.
        inputs: The inputs of the job, among those of the component.
        is_component: Whether the file declares a component.
    """
    name = section.text("name") or file_name(section.file.stem, "job")
    component = work.component
    step = work.step(
        name,
        section.node.place,
        inputs={port: ParentInput(port) for port in component.inputs if port in inputs},
        outputs={port: ParentOutput(port) for port in component.outputs},
        compute=section.text("compute"),
    )
    kind = _KINDS.get(work.kind, JobKind.OTHER)
    graph = Graph({name: step}, places_within(section.node))
    spec = job_spec(section, kind, graph.steps, inputs, component.outputs, graph.places)
    return replace(spec, is_component=is_component), graph


def job_spec(
    section: Section,
    kind: JobKind,
    steps: Mapping[str, Step],
    inputs: Mapping[str, JobInput],
    outputs: Mapping[str, OutputPort],
    places: Mapping[str, Place],
) -> JobSpec:
    """A job of these steps, with all that its file says of the whole.

    Args:
        section: The file's mapping.
        kind: The kind of the job.
        steps: Its steps.
        inputs: Its inputs.
        outputs: Its outputs.
        places: Where keys stand that are not in the file itself.
    """
    settings = section.section("settings")
    _named(settings, "default_datastore")  # nothing reads it, but a wrong one is a fault
    declared = section.plain(DECLARED - {"display_name", "description", "tags"})
    if others := {key: node.plain() for key, node in settings.entries.items() if key not in keys.SETTINGS}:
        declared["settings"] = others
    return JobSpec(
        kind=kind,
        source=local(section.file.name, section.folder),
        name=section.text("name") or file_name(section.file.stem, "job"),
        steps=MappingProxyType(dict(steps)),
        inputs=MappingProxyType(dict(inputs)),
        outputs=MappingProxyType(dict(outputs)),
        display_name=section.text("display_name"),
        experiment_name=section.text("experiment_name"),
        description=section.text("description") or "",
        tags=MappingProxyType(texts(section.section("tags"))),
        default_compute=_named(settings, "default_compute") or section.text("compute"),
        continue_on_step_failure=settings.flag("continue_on_step_failure", True),
        force_rerun=settings.flag("force_rerun", False),
        declared=MappingProxyType(declared),
        type=section.text("type"),
        places=MappingProxyType({**places_within(section.node), **places}),
    )


def _named(settings: Section, key: str) -> str | None:
    """A compute or datastore of the workspace, by its reference."""
    name = settings.text(key)
    noun = key.removeprefix("default_")
    if (
        name is not None
        and not name.startswith("azureml:")
        and "${{" not in name
        and (noun, name) != ("compute", "serverless")
    ):
        or_serverless = ", or serverless" if noun == "compute" else ""
        settings.fault(key, f"{name} is not a {noun}", f"Write azureml:{name}{or_serverless}.")
    return name


def texts(section: Section) -> dict[str, str]:
    """A mapping of texts, such as tags; what has no value is empty."""
    return {key: "" if node.value is None else section.text(key) or "" for key, node in section.entries.items()}
