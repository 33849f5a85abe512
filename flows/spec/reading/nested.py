"""Flattens pipelines within pipelines into one graph, whose steps are named ``outer.inner``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from flows.errors import Fault, Place
from flows.spec.control import renamed, with_order
from flows.spec.model.control import Body, DoWhile, ParallelFor, Port
from flows.spec.model.job import (
    InputBinding,
    JobSpec,
    Literal,
    NestedPipeline,
    OutputPort,
    ParentInput,
    Step,
    StepOutput,
)


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes of one pipeline, each bound in that pipeline's own terms.

    A node that is a whole pipeline is a step of kind ``pipeline`` without a command, and has its own graph in
    ``inner``. ``places`` says where each key stands, relative to the pipeline (``jobs.train.inputs.rate``).
    """

    steps: Mapping[str, Step]
    places: Mapping[str, Place]
    inner: Mapping[str, "Pipeline"] = field(default_factory=dict[str, "Pipeline"])


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A nested pipeline: what it is called, and itself as a job of its own, to be checked in its own terms."""

    node: NestedPipeline
    job: JobSpec
    graph: Graph


def jobs_within(graph: Graph) -> list[JobSpec]:
    """Every nested pipeline as a job, however deep."""
    return [job for nested in graph.inner.values() for job in (nested.job, *jobs_within(nested.graph))]


def flat(spec: JobSpec, graph: Graph, faults: list[Fault]) -> JobSpec:
    """A job whose nested pipelines are replaced by their steps, all bound to each other or to the job.

    Args:
        spec: The job with the steps of ``graph``.
        graph: Its nodes.
        faults: Where an output that nothing delivers is noted.
    """
    if not graph.inner:
        return spec
    found = _flat(graph, faults)
    return replace(
        spec,
        steps=MappingProxyType(with_order(found.steps)),
        nested=MappingProxyType({name: nested.node for name, nested in found.inner.items()}),
        places=MappingProxyType({**spec.places, **found.places}),
    )


def _flat(graph: Graph, faults: list[Fault]) -> Graph:
    steps: dict[str, Step] = {}
    places = dict(graph.places)
    inner: dict[str, Pipeline] = {}
    delivered: dict[StepOutput, StepOutput] = {}
    bodies: dict[str, Body] = {}
    for name, node in graph.steps.items():
        nested = graph.inner.get(name)
        if nested is None:
            steps[name] = node
            continue
        below = _flat(nested.graph, faults)
        bodies[name] = _body(node, below)
        inner[name] = nested
        inner |= {f"{name}.{key}": _renamed(pipeline, f"{name}.{key}") for key, pipeline in below.inner.items()}
        places |= {_lifted_key(name, key): place for key, place in below.places.items() if key.startswith("jobs.")}
        for step in below.steps.values():
            steps[f"{name}.{step.name}"] = _lifted(node, step)
            for output, target in step.outputs.items():
                delivered[StepOutput(name, target.name)] = StepOutput(f"{name}.{step.name}", output)
    steps = {name: _with_body(_rebound(step, graph, delivered, faults), bodies) for name, step in steps.items()}
    return Graph(steps, places, inner)


def _body(node: Step, below: Graph) -> Body:
    """A nested pipeline as the body of a loop: what its steps take of its inputs, and which make its outputs."""
    takes: dict[str, list[Port]] = {name: [] for name in node.component.inputs}
    delivers: dict[str, Port] = {}
    for step in below.steps.values():
        own = f"{node.name}.{step.name}"
        for name, binding in step.inputs.items():
            if isinstance(binding, ParentInput) and binding.name in takes:
                takes[binding.name].append((own, name))
        delivers |= {target.name: (own, output) for output, target in step.outputs.items()}
    return Body(
        node.name,
        MappingProxyType({name: tuple(ports) for name, ports in takes.items()}),
        MappingProxyType(delivers),
    )


def _with_body(step: Step, bodies: Mapping[str, Body]) -> Step:
    """A loop over a nested pipeline, with the steps of that pipeline as its body."""
    if not isinstance(step.control, DoWhile | ParallelFor) or step.control.body.name not in bodies:
        return step
    return replace(step, control=replace(step.control, body=bodies[step.control.body.name]))


def _lifted(node: Step, step: Step) -> Step:
    """A step of a nested pipeline in the terms of the pipeline around it, in which it is a part of ``node``."""

    def lifted(binding: InputBinding) -> InputBinding | None:
        match binding:
            case ParentInput(name):
                port = node.component.inputs.get(name)
                default = None if port is None or port.default is None else Literal(port.default)
                return node.inputs.get(name, default)
            case StepOutput(inner, output):
                return StepOutput(f"{node.name}.{inner}", output)
            case _:
                return binding

    bound = {name: lifted(binding) for name, binding in step.inputs.items()}
    ports = {
        name: _delivered_as(port, node.component.outputs.get(step.outputs[name].name)) if name in step.outputs else port
        for name, port in step.component.outputs.items()
    }
    outputs = {name: node.outputs[target.name] for name, target in step.outputs.items() if target.name in node.outputs}
    return replace(
        step,
        name=f"{node.name}.{step.name}",
        component=replace(step.component, outputs=MappingProxyType(ports)),
        inputs=MappingProxyType({name: binding for name, binding in bound.items() if binding is not None}),
        outputs=MappingProxyType(outputs),
        control=renamed(step.control, lambda name: f"{node.name}.{name}"),
    )


def _delivered_as(port: OutputPort, outer: OutputPort | None) -> OutputPort:
    """An output with what the node around it says of it."""
    if outer is None:
        return port
    return replace(
        port,
        path=outer.path or port.path,
        mode=outer.mode or port.mode,
        asset_name=outer.asset_name or port.asset_name,
        asset_version=outer.asset_version or port.asset_version,
    )


def _rebound(step: Step, graph: Graph, delivered: Mapping[StepOutput, StepOutput], faults: list[Fault]) -> Step:
    """A step that reads from the steps of a nested pipeline, rather than from the pipeline."""
    bound: dict[str, InputBinding] = {}
    for name, binding in step.inputs.items():
        if isinstance(binding, StepOutput) and binding.step in graph.inner:
            if binding in delivered:
                bound[name] = delivered[binding]
            elif binding.output in graph.steps[binding.step].component.outputs:
                pipeline = graph.inner[binding.step].node
                message = f"no step of {pipeline.component} delivers its output {binding.output}"
                remedy = f"Bind an output of one to ${{{{parent.outputs.{binding.output}}}}}."
                faults.append(Fault(Place(pipeline.source, 1, f"outputs.{binding.output}"), message, remedy))
        else:
            bound[name] = binding
    return step if bound == step.inputs else replace(step, inputs=MappingProxyType(bound))


def _lifted_key(node: str, key: str) -> str:
    return f"jobs.{node}.{key.removeprefix('jobs.')}"


def _renamed(pipeline: Pipeline, name: str) -> Pipeline:
    return replace(pipeline, node=replace(pipeline.node, name=name))
