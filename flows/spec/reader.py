"""Azure ML jobs and components, from YAML. Every fault of a file is found before any is raised."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from flows.errors import Fault
from flows.spec import keys
from flows.spec.checks import faults_of
from flows.spec.component import command_from, component_from, timeout
from flows.spec.faults import raise_faults, without_echoes
from flows.spec.locations import local
from flows.spec.model import Component, JobInput, JobKind, JobSpec, OutputPort, ParentInput, ParentOutput, Place, Step
from flows.spec.pipeline import steps_from
from flows.spec.ports import job_inputs, job_outputs
from flows.spec.section import Section
from flows.spec.yaml_lines import Node, load


def read_job(path: Path) -> JobSpec:
    """Read a command job, a pipeline job or a command component, with every file that it names.

    Raises:
        SpecError: Something is wrong. The error carries every fault, in the order of the file.
    """
    faults: list[Fault] = []
    node = load(path, faults)
    spec = None if node is None else _job(Section(node, faults))
    raise_faults([*faults, *without_echoes(faults_of(spec) if spec else (), faults)])
    assert spec is not None  # load and _job note a fault for every None
    return spec


def read_component(path: Path) -> Component:
    """Read a command component.

    Raises:
        SpecError: Something is wrong. The error carries every fault, in the order of the file.
    """
    faults: list[Fault] = []
    node = load(path, faults)
    section = None if node is None else Section(node, faults)
    component = None if section is None else component_from(section, path.stem)
    spec = None if section is None or component is None else _one_step(section, component, {})
    raise_faults([*faults, *without_echoes(faults_of(spec) if spec else (), faults)])
    assert component is not None  # load and component_from note a fault for every None
    return component


def _job(section: Section) -> JobSpec | None:
    kind = section.text("type")
    match kind.lower() if kind else None:
        case "pipeline":
            return _pipeline(section)
        case None if "jobs" in section or ("component" in section and "command" not in section):
            return _pipeline(section)
        case "command":
            return _command(section)
        case None if "command" in section:
            return _command(section)
        case None:
            section.fault("", "the file is neither a job nor a component", "Add type: pipeline or type: command.")
        case _:
            section.fault("type", f"a job of type {kind} is not supported", "Tandem runs command and pipeline jobs.")
    return None


def _command(section: Section) -> JobSpec | None:
    if _declares_component(section):
        component = component_from(section, section.file.stem)
        return None if component is None else _one_step(section, component, {})
    section.refuse_unknown(keys.COMMAND_JOB, "a command job")
    inputs = job_inputs(section.section("inputs"))
    outputs = job_outputs(section.section("outputs"))
    ports = {name: given.port for name, given in inputs.items()}
    return _one_step(section, command_from(section, section.file.stem, ports, outputs), inputs)


def _one_step(section: Section, component: Component, inputs: dict[str, JobInput]) -> JobSpec:
    name = section.text("name") or section.file.stem
    step = Step(
        name=name,
        component=component,
        inputs=MappingProxyType({port: ParentInput(port) for port in component.inputs}),
        outputs=MappingProxyType({port: ParentOutput(port) for port in component.outputs}),
        compute=section.text("compute"),
        timeout_seconds=timeout(section),
        place=section.node.place,
    )
    given = inputs or {name: JobInput(port, None) for name, port in component.inputs.items()}
    return _spec(section, JobKind.COMMAND, {name: step}, given, dict(component.outputs), {})


def _pipeline(section: Section) -> JobSpec | None:
    section.refuse_unknown(keys.PIPELINE_JOB, "a pipeline job")
    if "component" in section:
        section.fault(
            "component", "a pipeline job of a pipeline component is not supported", "Write its steps in jobs."
        )
        return None
    inputs = job_inputs(section.section("inputs"))
    outputs = job_outputs(section.section("outputs"))
    steps, places = steps_from(section.section("jobs"), inputs)
    if "jobs" not in section or section.entries["jobs"].value == {}:
        section.fault("jobs", "the pipeline has no steps", "Add a step under jobs.")
    return _spec(section, JobKind.PIPELINE, steps, inputs, outputs, places)


def _spec(
    section: Section,
    kind: JobKind,
    steps: dict[str, Step],
    inputs: dict[str, JobInput],
    outputs: dict[str, OutputPort],
    places: dict[str, Place],
) -> JobSpec:
    settings = section.section("settings")
    return JobSpec(
        kind=kind,
        source=local(section.file.name, section.folder),
        name=section.text("name") or section.file.stem,
        steps=MappingProxyType(steps),
        inputs=MappingProxyType(inputs),
        outputs=MappingProxyType(outputs),
        display_name=section.text("display_name"),
        experiment_name=section.text("experiment_name"),
        description=section.text("description") or "",
        tags=MappingProxyType(_texts(section.section("tags"))),
        default_compute=_default_compute(settings) or section.text("compute"),
        continue_on_step_failure=settings.flag("continue_on_step_failure", True),
        force_rerun=settings.flag("force_rerun", False),
        places=MappingProxyType(dict(_places(section.node)) | places),
    )


def _declares_component(section: Section) -> bool:
    """Whether a file of type command declares a component: both kinds share their type and most of their keys."""
    schema = section.entries.get("$schema")
    if schema is not None and isinstance(schema.value, str) and "schema" in schema.value:
        return "component" in schema.value.lower()
    if keys.COMPONENT_ONLY & section.entries.keys():
        return True
    inputs = section.section("inputs").entries.values()
    return any(isinstance(node.value, Mapping) and not {"path", "value"} & node.value.keys() for node in inputs)


def _default_compute(settings: Section) -> str | None:
    compute = settings.text("default_compute")
    if compute is not None and compute != "serverless" and not compute.startswith("azureml:") and "${{" not in compute:
        settings.fault("default_compute", f"{compute} is not a compute", f"Write azureml:{compute}, or serverless.")
    return compute


def _texts(section: Section) -> dict[str, str]:
    return {key: section.text(key) or "" for key in section.entries}


def _places(node: Node) -> Iterator[tuple[str, Place]]:
    yield node.place.key, node.place
    if isinstance(node.value, Mapping):
        for entry in node.value.values():
            yield from _places(entry)
