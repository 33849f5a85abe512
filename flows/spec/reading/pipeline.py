"""Reader of a pipeline's nodes. A new kind of node gets its reader here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from flows.spec.control import with_order
from flows.spec.model.job import (
    Component,
    InputPort,
    JobInput,
    JobKind,
    JobSpec,
    NestedPipeline,
    OutputPort,
    Step,
)
from flows.spec.reading.nested import Graph, Pipeline
from flows.spec.reading.ports.bindings import StepInputBinding
from flows.spec.reading.ports.bound_settings import with_bound_settings
from flows.spec.reading.ports.input_values import component_inputs
from flows.spec.reading.ports.node_ports import bindings, inferred_inputs, inferred_outputs, with_asked_outputs
from flows.spec.reading.ports.ports import declared_inputs, declared_outputs, output_bindings, with_settings
from flows.spec.reading.ports.step_inputs import resolved
from flows.spec.reading.work.automl import check_needs
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
from flows.spec.reading.work.control import CONTROL_FLOW, is_control, with_control
from flows.spec.reading.work.elsewhere import REFUSALS, inline_elsewhere
from flows.spec.reading.work.environments import environment_from
from flows.spec.reading.work.parallel import parallel_from
from flows.spec.reading.work.references import References, Registered
from flows.spec.reading.work.spark import check_spark
from flows.spec.reading.work.sweep import sweep_from, sweep_timeout, trial_work
from flows.spec.reading.work.transfer import check_transfer
from flows.spec.text import keys
from flows.spec.text.limits import MAX_NESTING
from flows.spec.text.locations import beside, is_file, local
from flows.spec.text.places import places_within
from flows.spec.text.section import Section, nearest
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import Node, load_yaml

_STEP_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_KINDS = frozenset({"command", "sweep", "parallel", "pipeline", *CONTROL_FLOW, *REFUSALS})


@dataclass(frozen=True, slots=True)
class Scope:
    """What the nodes of a pipeline can refer to: its inputs and outputs, and files.

    ``within`` has the files of the pipelines that this one is a node of, itself among them; ``is_component`` says
    whether it is a component of its own, which Azure ML registers without looking at what its steps' settings name.
    """

    inputs: Mapping[str, JobInput]
    outputs: Mapping[str, OutputPort]
    references: References
    within: tuple[Path, ...] = ()
    is_component: bool = False


def graph_from(section: Section, scope: Scope) -> Graph:
    """Read the nodes of a pipeline, in the order of the file.

    Args:
        section: The pipeline, which has ``jobs``.
        scope: What its nodes can refer to.
    """
    return _Nodes(section, scope).read()


class _Nodes:
    def __init__(self, section: Section, scope: Scope) -> None:
        self._pipeline = section
        self._section = section.section("jobs")
        self._scope = scope
        self._places = places_within(section.node)
        self._inner: dict[str, Pipeline] = {}
        self._deferred: dict[str, dict[str, StepInputBinding]] = {}
        self._controls: dict[str, Section] = {}

    def read(self) -> Graph:
        if (not self._section.entries and "jobs" not in self._pipeline) or self._section.node.value == {}:
            self._pipeline.missing("jobs", "the pipeline has no steps", "Add a step under jobs.")
        read = {name: self._node(name, node) for name, node in self._section.entries.items()}
        known = {name: step for name, step in read.items() if step is not None}
        steps = resolved(known, self._deferred, self._section)
        found = {
            name: steps.get(name) or _stand_in(name) for name in self._section.entries if name not in self._controls
        }
        found = with_asked_outputs(found)
        if self._controls:
            whole = with_asked_outputs(with_control(found, self._controls))
            found = with_order({name: whole[name] for name in self._section.entries})
        return Graph(found, self._places, self._inner)

    def _node(self, name: str, node: Node) -> Step | None:
        self._scope.references.count_step()
        if isinstance(node.value, str) and node.value.startswith("file:"):
            section = self._job_file(name, node.value)
        else:
            section = self._section.section(name)
        if section is None or not isinstance(section.node.value, Mapping):
            return None
        if not _STEP_NAME.fullmatch(name):
            self._section.fault(name, f"{name} cannot name a step", "Use small letters, digits and underscores.")
        if is_control(section):
            self._controls[name] = section
            return None
        whole = section
        section = with_bound_settings(section, self._scope.inputs, self._scope.is_component)
        kind = section.text("type")
        kind = kind.lower() if kind is not None else _kind(section)
        if kind == "automl":
            check_needs(whole)
        if kind not in _KINDS:
            section.fault(
                "type", f"the step {name} is of type {kind}, which does not exist", nearest(kind, _KINDS, "types")
            )
            return None
        if kind == "sweep":
            return self._sweep(name, section)
        if "component" in section and kind != "automl":  # which runs none
            return self._referring(name, section, kind if "type" in section else None)
        return self._inline(name, section, kind)

    def _job_file(self, name: str, reference: str) -> Section | None:
        """A node that is a job file of its own: ``train: file:./train.yml``."""
        path = beside(reference, self._section.folder)
        node = load_yaml(path, self._section.faults) if is_file(path) else None
        if not is_file(path):
            self._section.fault(name, f"there is no file {path}", "A path is relative to the file that names it.")
        return None if node is None else Section(node, self._section.faults)

    def _referring(self, name: str, section: Section, kind: str | None) -> Step | None:
        found = self._scope.references.find(section, "component")
        if found is None:
            return None
        if isinstance(found, Registered):
            section = _as_node(name, section, kind or "command")
            return self._step(name, section, registered_work(found, kind or "command", *self._inferred(section)))
        own = work_kind(found)
        if kind is not None and kind != own and own in _KINDS and own != "promptflow_parallel":
            message = f"the step {name} is of type {kind}, and its component of type {own}"
            section.fault("type", message, f"Write type: {own}.")
            return None
        if own == "pipeline":
            return self._nested(name, section, found)
        self._places[f"jobs.{name}.command"] = found.place("command")
        self._places[f"jobs.{name}.task"] = found.place("task")
        work = declared_work(found, name, own)
        if work is None:
            return None
        if own == "spark":
            check_spark(section, found)
        if own == "data_transfer":
            check_transfer(section, found)
        section = _as_node(name, section, own)
        if own == "parallel":
            work = replace(work, parallel=parallel_from(section, work.parallel))
        return self._step(name, section, work)

    def _inline(self, name: str, section: Section, kind: str) -> Step | None:
        if kind == "pipeline":
            return self._nested(name, section, section)
        if kind == "command" and "command" not in section:
            of_shape(section, keys.ANY_STEP, f"the step {name}")
            section.missing(
                ("component", "command", "jobs", "trial", "task"),
                f"the step {name} has neither component nor command",
                "Add component: ./<file>.yml.",
            )
            return None
        inputs, outputs = self._inferred(section)
        match kind:
            case "command":
                section = of_shape(section, keys.COMMAND_STEP, f"the step {name}")
                work = command_work(section, name, inputs, outputs)
            case "parallel":
                section = of_shape(section, keys.PARALLEL_STEP, f"the step {name}")
                work = parallel_work(section, name, inputs, outputs)
            case _:
                component = inline_elsewhere(section, kind, name, inputs, outputs)
                work = Work(component, kind, refusal=REFUSALS[kind])
        # ``name`` at a step is that of its job; the component has none of its own.
        component = replace(work.component, name=name, environment_variables=MappingProxyType(dict[str, str]()))
        return self._step(name, section, replace(work, component=component))

    def _sweep(self, name: str, section: Section) -> Step | None:
        section = of_shape(section, keys.SWEEP_NODE, f"the step {name}", ignored=True)
        if "component" in section:
            section.fault("component", f"the sweep {name} has a component, and its work is its trial", "Write trial:.")
        sweep = sweep_from(section)
        if "trial" not in section:
            section.missing("trial", f"the sweep {name} has no trial", "Add trial: ./<component>.yml.")
            return None
        found = self._scope.references.find(section, "trial")
        if found is None:
            return None
        if isinstance(found, Registered):
            work = registered_work(found, "sweep", *self._inferred(section))
        else:
            self._places[f"jobs.{name}.command"] = found.place("command")
            if (kind := work_kind(found)) != "command":
                section.fault("trial", f"the trial of {name} is a {kind} component", "Make it a command component.")
                return None
            declared = declared_work(found, name)
            if declared is None:
                return None
            in_place = isinstance(section.entries["trial"].value, Mapping)
            work = trial_work(declared, sweep, section, in_place)
        return self._step(name, section, replace(work, sweep=sweep, timeout_seconds=sweep_timeout(section)))

    def _nested(self, name: str, section: Section, found: Section) -> Step | None:
        section = of_shape(section, keys.PIPELINE_NODE, f"the step {name}", ignored=True)
        file, in_place = local(found.file.name, found.folder), found.node is section.node
        if file in self._scope.within and not found.node.place.key:
            section.fault("component", f"the pipeline {found.file} is a step of itself", "Remove this step.")
            return None
        if len(self._scope.within) >= MAX_NESTING:
            self._section.fault(name, f"pipelines are nested deeper than {MAX_NESTING} levels", "Make it flatter.")
            return None
        if in_place:
            inputs, outputs = self._inferred(section)
        else:
            found = as_component(found, "pipeline")
            inputs, outputs = declared_inputs(found.section("inputs")), declared_outputs(found.section("outputs"))
        within = (*self._scope.within, file)
        scope = Scope(component_inputs(inputs), outputs, self._scope.references, within, not in_place)
        graph = graph_from(found, scope)
        title = name if in_place else found.text("name") or file.stem
        component = Component(
            title,
            "",
            file,
            display_name=found.text("display_name"),
            inputs=MappingProxyType(inputs),
            outputs=MappingProxyType(outputs),
        )
        job = JobSpec(
            JobKind.PIPELINE,
            component.source,
            title,
            MappingProxyType(dict(graph.steps)),
            inputs=MappingProxyType(dict(scope.inputs)),
            outputs=MappingProxyType(outputs),
            is_component=True,
            places=MappingProxyType(dict(graph.places)),
        )
        node = NestedPipeline(name, title, component.source, component.display_name)
        self._inner[name] = Pipeline(node, job, graph)
        return self._step(name, section, Work(component, "pipeline"))

    def _step(self, name: str, section: Section, work: Work) -> Step:
        """A step of this work, with what the node says of it."""
        work = work.with_settings(section)
        component = work.component
        bound = bindings(section.section("inputs"), component.inputs)
        self._deferred[name] = {port: value for port, value in bound.items() if isinstance(value, StepInputBinding)}
        inputs = {port: value for port, value in bound.items() if not isinstance(value, StepInputBinding)}
        environment = environment_from(section) if "component" in section else None
        component = replace(
            component,
            environment=environment or component.environment,
            outputs=MappingProxyType(with_settings(component.outputs, section.section("outputs"))),
        )
        return replace(work, component=component).step(
            name,
            self._section.place(name),
            inputs=inputs,
            outputs=output_bindings(section.section("outputs")),
            environment_variables=environment_variables(section),
            compute=section.text("compute"),
        )

    def _inferred(self, section: Section) -> tuple[dict[str, InputPort], dict[str, OutputPort]]:
        return inferred_inputs(section, self._scope.inputs), inferred_outputs(section, self._scope.outputs)


def _as_node(name: str, section: Section, kind: str) -> Section:
    """The mapping of a step that names a component, without the keys that Azure ML ignores there, which are noted."""
    shape = {"parallel": keys.PARALLEL_NODE, "command": keys.COMMAND_NODE, "pipeline": keys.PIPELINE_NODE}.get(kind)
    return section if shape is None else of_shape(section, shape, f"the step {name}", ignored=True)


def _kind(section: Section) -> str:
    """The kind of a node without a type, from what it has."""
    if "trial" in section or "search_space" in section:
        return "sweep"
    if "component" in section:
        return "command"
    return "pipeline" if "jobs" in section else "parallel" if "task" in section else "command"


def _stand_in(name: str) -> Step:
    """A step in place of one that could not be read."""
    return Work(Component(name, "", Path(), is_open=True)).step(name)
