"""Reader of a whole file: a job or a component of any kind, as one graph of steps."""

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from flows.errors import Place
from flows.spec.model.job import (
    DataReference,
    InputPort,
    JobInput,
    JobKind,
    JobSpec,
    Literal,
    OutputPort,
)
from flows.spec.reading.assembly import job_spec, one_step_job
from flows.spec.reading.nested import Graph
from flows.spec.reading.pipeline import Scope, graph_from
from flows.spec.reading.ports.input_values import component_inputs, input_value, job_inputs, open_type
from flows.spec.reading.ports.port_names import GROUPED
from flows.spec.reading.ports.ports import declared_inputs, declared_outputs, job_outputs, with_settings
from flows.spec.reading.work.alone import check_alone
from flows.spec.reading.work.component import (
    Work,
    as_component,
    command_work,
    declared_work,
    environment_variables,
    parallel_work,
    registered_work,
    work_kind,
)
from flows.spec.reading.work.elsewhere import REFUSALS, inline_elsewhere
from flows.spec.reading.work.environments import environment_from
from flows.spec.reading.work.references import References, Registered
from flows.spec.reading.work.sweep import sweep_from, sweep_timeout, trial_work
from flows.spec.text import keys
from flows.spec.text.locations import local
from flows.spec.text.section import Section, nearest
from flows.spec.text.shape import of_shape
from flows.spec.text.words import did_you_mean

_JOBS = frozenset({"command", "sweep", "parallel", "pipeline"})
_KNOWN = {
    "command": (keys.COMMAND_JOB, "a command job"),
    "sweep": (keys.SWEEP_JOB, "a sweep job"),
    "parallel": (keys.PARALLEL_JOB, "a parallel job"),
}
# The keys that tell what a file is.
_TELLING = ("type", "jobs", "command", "trial", "task", "component")
_ELSEWHERE = REFUSALS.keys() - {"promptflow_parallel"}
_SCHEMA = re.compile(r"(?P<kind>command|sweep|parallel|pipeline)(Job|Component)\.(schema|json)", re.IGNORECASE)
# What a schema's address says of the file; those of the preview end in ParallelComponent.json.
_SCHEMA_OF_EITHER = re.compile(r"schema|(job|component)\.json", re.IGNORECASE)
# The preview's spelling, which the client still rewrites in a job: {inputs.x} for ${{inputs.x}}.
_SINGLE_BRACES = re.compile(r"(?<!\{)\{((?:inputs|outputs|search_space)\.[^{}]*)\}(?!\})")


def job_from(section: Section, references: References) -> tuple[JobSpec, Graph] | None:
    """Read a file's mapping.

    Returns:
        The job with the nodes of its graph, among them nested pipelines; None, with a fault, where it is neither a job
        nor a component.
    """
    section = _without_empty_type(section)
    kind = _kind(section)
    if kind is None:
        for key in section.entries:
            if key not in keys.ANY_FILE and (remedy := did_you_mean(key, _TELLING)):
                section.fault(key, f"no job or component can have the key {key}", remedy)
        section.missing(_TELLING, "the file is neither a job nor a component", "Add type: pipeline or type: command.")
        return None
    if kind not in {*_JOBS, *_ELSEWHERE, "component"}:
        remedy = nearest(kind, frozenset({*_JOBS, *_ELSEWHERE}), "types")
        section.fault("type", f"a job cannot be of type {kind}", remedy)
        return None
    is_component = _declares_component(section, kind)
    if kind == "data_transfer" and not is_component:
        section.fault("type", "a job cannot be of type data_transfer", "Make it a step of a pipeline.")
        return None
    names_one = "component" in section and kind != "automl"  # which runs none
    if names_one and not is_component and "command" not in section and "jobs" not in section:
        return _of_component(section, kind, references)
    if kind == "pipeline":
        return _pipeline(section, references, is_component)
    if is_component:
        section = as_component(section, kind)
        check_alone(section, kind)
        work = declared_work(section, section.file.stem)
        return None if work is None else one_step_job(section, work, component_inputs(work.component.inputs), True)
    if kind == "sweep":
        return _sweep(section, references)
    if kind == "component":
        section.fault("component", "a job of type component names a component and no more", "Write type: command.")
        return None
    if kind in _KNOWN:
        section = of_shape(section, *_KNOWN[kind])
    inputs, outputs = job_inputs(section.section("inputs")), _outputs(section)
    ports = {name: given.port for name, given in inputs.items()}
    name = section.file.stem
    match kind:
        case "command":
            work = _with_double_braces(section, command_work(section, name, ports, outputs))
        case "parallel":
            work = parallel_work(section, name, ports, outputs)
        case _:
            component = inline_elsewhere(section, kind, name, ports, outputs, is_job=True)
            work = Work(component, kind, refusal=REFUSALS[kind]).with_settings(section)
    return one_step_job(section, work, inputs, False)


def _without_empty_type(section: Section) -> Section:
    """The mapping without a type that has no value, which Azure ML lets stand in a component."""
    if "type" not in section or section.entries["type"].value is not None:
        return section
    untyped = section.without("type")
    kind = _kind(untyped)
    return untyped if kind is not None and _declares_component(untyped, kind) else section


def _kind(section: Section) -> str | None:
    kind = section.text("type")
    if kind is not None:
        return kind.lower()
    schema = section.entries.get("$schema")
    named = _SCHEMA.search(schema.value) if schema is not None and isinstance(schema.value, str) else None
    if named is not None:
        return named["kind"].lower()
    for key, kind in (("jobs", "pipeline"), ("command", "command"), ("trial", "sweep"), ("task", "parallel")):
        if key in section:
            return kind
    return "component" if "component" in section else None


def _declares_component(section: Section, kind: str) -> bool:
    """Whether a file declares a component: jobs and components share their types and most of their keys."""
    schema = section.entries.get("$schema")
    if schema is not None and isinstance(schema.value, str) and _SCHEMA_OF_EITHER.search(schema.value):
        named = _SCHEMA.search(schema.value)
        if named is None or named["kind"].lower() == kind:  # that of another kind was copied along with the file
            return "component" in schema.value.lower()
    if keys.COMPONENT_ONLY & section.entries.keys():
        return True
    if (
        kind == "sweep"
        or (kind == "pipeline" and "name" not in section)
        or (keys.JOB_ONLY | {"component"}) & section.entries.keys()
    ):
        return False
    inputs = section.section("inputs").entries.values()
    declared = [isinstance(node.value, Mapping) and not {"path", "value"} & node.value.keys() for node in inputs]
    # Azure ML has no job that transfers data, so that a file of one with no inputs is a component.
    return all(declared) and (bool(declared) or kind == "data_transfer")


def _pipeline(section: Section, references: References, is_component: bool) -> tuple[JobSpec, Graph]:
    if is_component:
        section = as_component(section, "pipeline")
        section.label("version")  # nothing reads it, but a wrong one is a fault
        inputs = component_inputs(declared_inputs(section.section("inputs")))
        outputs = declared_outputs(section.section("outputs"))
    else:
        if "component" in section:
            section.fault("component", "a pipeline job has either jobs or a component", "Remove one of the two.")
        section = of_shape(section, keys.PIPELINE_JOB, "a pipeline job")
        inputs, outputs = job_inputs(section.section("inputs"), GROUPED), _outputs(section)
    file = local(section.file.name, section.folder)
    graph = graph_from(section, Scope(inputs, outputs, references, (file,), is_component))
    spec = job_spec(section, JobKind.PIPELINE, graph.steps, inputs, outputs, graph.places)
    return replace(spec, is_component=is_component), graph


def _sweep(section: Section, references: References) -> tuple[JobSpec, Graph] | None:
    section = of_shape(section, keys.SWEEP_JOB, "a sweep job")
    sweep = sweep_from(section)
    if "trial" not in section:
        section.missing("trial", "the sweep has no trial", "Add trial: with command and environment.")
        return None
    found = references.find(section, "trial")
    if found is None:
        return None
    inputs, outputs = job_inputs(section.section("inputs")), _outputs(section)
    ports = {name: given.port for name, given in inputs.items()}
    if isinstance(found, Registered):
        work = registered_work(found, "sweep", ports, outputs)
    elif isinstance(section.entries["trial"].value, Mapping) and "inputs" not in found:
        found = of_shape(found, keys.TRIAL, "a trial")
        work = _with_double_braces(found, command_work(found, section.file.stem, ports, outputs))
        work = trial_work(work, sweep, section, in_place=True)
    else:
        declared = declared_work(found, section.file.stem)
        if declared is None:
            return None
        work = trial_work(declared, sweep, section, in_place=False)
        inputs = _given(section, work.component.inputs, sweep.search_space)
        work = _with_outputs(section, work)
    work = replace(work, sweep=sweep, timeout_seconds=sweep_timeout(section)).with_settings(section)
    spec, graph = one_step_job(section, work, inputs, False)
    if isinstance(found, Section):
        spec = replace(spec, places=MappingProxyType({**spec.places, "command": found.place("command")}))
    return spec, graph


def _of_component(section: Section, kind: str, references: References) -> tuple[JobSpec, Graph] | None:
    """A job that is nothing but a component and its inputs."""
    found = references.find(section, "component")
    if found is None:
        return None
    if isinstance(found, Registered):
        own = "command" if kind == "component" else kind
        section = of_shape(section, {**keys.PIPELINE_JOB, **keys.COMMAND_JOB}, f"a {own} job")
        inputs = job_inputs(section.section("inputs"), GROUPED)
        ports = {name: given.port for name, given in inputs.items()}
        work = registered_work(found, own, ports, job_outputs(section.section("outputs")))
        return one_step_job(section, work.with_settings(section), inputs, False)
    own = work_kind(found)
    if kind not in (own, "component"):
        section.fault("type", f"a job of type {kind} cannot run a component of type {own}", f"Write type: {own}.")
        return None
    if own != "pipeline":
        work = declared_work(found, found.file.stem, own)
        if work is None:
            return None
        section = of_shape(section, {**keys.PIPELINE_JOB, **keys.COMMAND_JOB, **keys.PARALLEL_JOB}, f"a {own} job")
        work = _with_outputs(section, work).with_settings(section)
        variables = {**work.component.environment_variables, **environment_variables(section)}
        component = replace(
            work.component,
            environment=environment_from(section) or work.component.environment,
            environment_variables=MappingProxyType(variables),
        )
        inputs = _given(section, component.inputs, {})
        spec, graph = one_step_job(section, replace(work, component=component), inputs, False)
        return replace(spec, places=MappingProxyType({**spec.places, "command": found.place("command")})), graph
    section = of_shape(section, keys.PIPELINE_JOB, "a pipeline job")
    found = as_component(found, "pipeline")
    inputs = _given(section, declared_inputs(found.section("inputs")), {})
    declared = declared_outputs(found.section("outputs"))
    _refuse_unknown_outputs(section, declared)
    outputs = with_settings(declared, section.section("outputs"))
    files = (local(section.file.name, section.folder), local(found.file.name, found.folder))
    graph = graph_from(found, Scope(inputs, outputs, references, files, is_component=True))
    return job_spec(section, JobKind.PIPELINE, graph.steps, inputs, outputs, _below(graph.places)), graph


def _given(section: Section, ports: Mapping[str, InputPort], searched: Mapping[str, object]) -> dict[str, JobInput]:
    """The inputs of a job of a component: each as the component declares it, with the value that the job gives.

    An input that a sweep searches and that has no value of its own is left out.
    """
    given = section.section("inputs")
    known = frozenset(ports)
    for name in given.entries:
        if name not in ports:
            given.fault(name, f"the component has no input {name}", nearest(name, known, "inputs"))
    found: dict[str, JobInput] = {}
    for name, port in ports.items():
        if name in given and not port.is_literal and open_type(given, name, given.entries[name]) is not None:
            found[name] = JobInput(port, None)
            continue
        value = input_value(given, name, given.entries[name], port) if name in given else None
        if value is not None and not isinstance(value, Literal | DataReference):
            given.fault(name, "an input of a job has no parent to be bound to", "Give it a value.")
        elif name not in searched or value is not None:
            default = None if port.default is None else Literal(port.default)
            found[name] = JobInput(port, default if value is None else value)
    return found


def _with_outputs(section: Section, work: Work) -> Work:
    _refuse_unknown_outputs(section, work.component.outputs)
    outputs = with_settings(work.component.outputs, section.section("outputs"))
    return replace(work, component=replace(work.component, outputs=MappingProxyType(outputs)))


def _refuse_unknown_outputs(section: Section, ports: Mapping[str, OutputPort]) -> None:
    given = section.section("outputs")
    for name in given.entries:
        if name not in ports:
            given.fault(name, f"the component has no output {name}", nearest(name, frozenset(ports), "outputs"))


def _with_double_braces(section: Section, work: Work) -> Work:
    command = _SINGLE_BRACES.sub(r"${{\1}}", work.component.command)
    if command == work.component.command:
        return work
    section.warn("command", "single braces are deprecated", "Write ${{inputs.<name>}}.")
    return replace(work, component=replace(work.component, command=command))


def _outputs(section: Section) -> dict[str, OutputPort]:
    outputs = section.section("outputs")
    for name, node in outputs.entries.items():
        if isinstance(node.value, str):
            outputs.fault(name, f"the output {name} is text", "Write {type: uri_folder}, or leave it empty.")
    return job_outputs(outputs)


def _below(places: Mapping[str, Place]) -> dict[str, Place]:
    return {key: place for key, place in places.items() if key.startswith("jobs.")}
