"""Jobs, steps and components as frozen values.

Every job is a graph of steps, so that an engine has to know one shape only. A command, sweep or parallel job is a graph
of one step, whose inputs and outputs are bound one to one to those of the job. A node that is a whole pipeline is
replaced by its steps, named ``node.step``, and every binding through its inputs and outputs is resolved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from flows.errors import Place
from flows.spec.model.control import ALWAYS, Control, When
from flows.spec.model.parallel import Parallel
from flows.spec.model.sweep import Sweep

LITERAL_TYPES = frozenset({"string", "number", "integer", "boolean"})
DATA_TYPES = frozenset({"uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model"})


def _empty() -> Mapping[str, str]:
    return MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


class JobKind(StrEnum):
    """The kinds of job that the reader knows. All but a pipeline are a graph of one step."""

    COMMAND = "command"
    PIPELINE = "pipeline"
    SWEEP = "sweep"
    PARALLEL = "parallel"
    OTHER = "other"
    """A kind that runs on Azure ML only, such as Spark; the ``kind`` of its step says which."""


@dataclass(frozen=True, slots=True)
class InputPort:
    """A declared input: its type, and for a literal its default, enum and (inclusive) range.

    The type is ``inferred`` where no component declares it: it is then that of the value that the file gives.
    """

    name: str
    type: str
    optional: bool = False
    default: str | None = None
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""
    inferred: bool = False
    place: Place | None = field(default=None, compare=False)

    @property
    def is_literal(self) -> bool:
        """Whether the value travels as text in the command, rather than as a path to data."""
        return self.type in LITERAL_TYPES


@dataclass(frozen=True, slots=True)
class OutputPort:
    """An output, with all that the component and the step or job say of it. A literal is the content of a file.

    ``path`` is where the YAML wants it stored, if it says so: a URI, or an absolute local path. With an ``asset_name``,
    the output is registered as a data asset or model under that name when the job has completed; without an
    ``asset_version``, as its next version.
    """

    name: str
    type: str
    path: str | None = None
    mode: str | None = None
    asset_name: str | None = None
    asset_version: str | None = None
    place: Place | None = field(default=None, compare=False)

    @property
    def is_literal(self) -> bool:
        """Whether the step writes a value, rather than data, which others read as text."""
        return self.type in LITERAL_TYPES

    @property
    def is_file(self) -> bool:
        """Whether its path is that of a file, which the step makes; else that of a folder, which is there."""
        return self.type == "uri_file" or self.is_literal


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal as the text that the command receives (``True``, ``0.001``), as Azure ML sends it."""

    text: str


@dataclass(frozen=True, slots=True)
class DataReference:
    """Data as the YAML names it: ``azureml:name:1``, ``azureml:name@latest``, a URL, or an absolute local path."""

    type: str
    path: str
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class ParentInput:
    """``${{parent.inputs.name}}``: the value of an input of the job."""

    name: str


@dataclass(frozen=True, slots=True)
class StepOutput:
    """``${{parent.jobs.step.outputs.output}}``: what another step delivers."""

    step: str
    output: str


@dataclass(frozen=True, slots=True)
class ParentOutput:
    """``${{parent.outputs.name}}``: this step output is delivered as that output of the job."""

    name: str


InputValue: TypeAlias = Literal | DataReference
InputBinding: TypeAlias = Literal | DataReference | ParentInput | StepOutput


@dataclass(frozen=True, slots=True)
class Environment:
    """The Azure ML environment a component asks for.

    Either a reference such as ``azureml:name@latest``, or what an inline definition says: an image, and the text of its
    conda file.
    """

    reference: str | None = None
    image: str | None = None
    conda: str | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """A versioned definition of work: a command with declared inputs and outputs.

    ``code`` is an absolute folder or file, ``source`` the YAML file that declares the component. The ``command`` is
    empty for a parallel component and for one that cannot run here.

    With a ``reference`` (``azureml:name:1``, ``azureml://registries/…``), nothing is known of the component but its
    name: it is registered in a workspace or registry, and no local file was given for it. Its ports are then those that
    the steps name, and ``is_open``: it may have others, of any type.
    """

    name: str
    command: str
    source: Path
    version: str | None = None
    display_name: str | None = None
    code: Path | None = None
    additional_includes: tuple[Path, ...] = ()
    environment: Environment | None = None
    environment_variables: Mapping[str, str] = field(default_factory=_empty)
    inputs: Mapping[str, InputPort] = field(default_factory=lambda: MappingProxyType({}))
    outputs: Mapping[str, OutputPort] = field(default_factory=lambda: MappingProxyType({}))
    is_deterministic: bool = True
    reference: str | None = None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many processes a step asks for: ``type`` is mpi, pytorch, tensorflow or ray.

    ``processes`` is the number on each instance (mpi, pytorch) or the number of workers (tensorflow).
    """

    type: str
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the graph: a component, and what its inputs and outputs are bound to.

    Attributes:
        name: Unique in the job; ``outer.inner`` for the step ``inner`` of the pipeline that the node ``outer`` runs.
        component: What runs; of a sweep, its trial. What the step itself says of the environment and of an output
            (path, mode, registration) stands in it already.
        inputs: What the inputs are bound to. One that is left out has its default, or no value.
        outputs: Which outputs are delivered as outputs of the job.
        kind: The type in the words of Azure ML: command, sweep, parallel, spark, automl, …
        sweep: What is searched, where the step is a sweep. Else None.
        parallel: What is called on which mini-batches, where the step is parallel. Else None.
        control: Which other steps run, where the step is a choice or a loop, and runs no command. Else None.
        when: When it runs, where the job has choices or loops.
        refusal: Why the step cannot run on this machine, as the end of a sentence that begins with its name
            (``is a Spark job, which …``); None where it can. A valid file may hold such a step.
        instance_count: How many instances the step asks for.
        distribution: How many processes it asks for, if it says so.
        declared: What else the file says of the step, as plain values by key: resources, services, identity,
            queue_settings, tags, comment, … It makes no difference to a local run; it is a part of what a command job
            on Azure ML is made of.
    """

    name: str
    component: Component
    inputs: Mapping[str, InputBinding] = field(default_factory=lambda: MappingProxyType({}))
    outputs: Mapping[str, ParentOutput] = field(default_factory=lambda: MappingProxyType({}))
    environment_variables: Mapping[str, str] = field(default_factory=_empty)
    compute: str | None = None
    timeout_seconds: int | None = None
    place: Place | None = field(default=None, compare=False)
    kind: str = "command"
    sweep: Sweep | None = None
    parallel: Parallel | None = None
    control: Control | None = None
    when: When = ALWAYS
    refusal: str | None = None
    instance_count: int = 1
    distribution: Distribution | None = None
    declared: Mapping[str, Any] = field(default_factory=_nothing)

    @property
    def node(self) -> tuple[str, ...]:
        """The way to the step through the file: the nodes that it stands in, outermost first, and its own name."""
        return tuple(self.name.split("."))

    @property
    def reads(self) -> frozenset[str]:
        """The names of the steps whose outputs this step reads."""
        return frozenset(binding.step for binding in self.inputs.values() if isinstance(binding, StepOutput))

    @property
    def upstream(self) -> frozenset[str]:
        """The names of the steps that end before this one begins."""
        return self.reads | self.when.after


@dataclass(frozen=True, slots=True)
class JobInput:
    """An input of the job: its port, and its value (None where the YAML gives none)."""

    port: InputPort
    value: InputValue | None


@dataclass(frozen=True, slots=True)
class NestedPipeline:
    """A node that is a whole pipeline: its name (``outer``, ``outer.inner``), and the component that it runs."""

    name: str
    component: str
    source: Path
    display_name: str | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job, whole; or a component, as a job whose inputs have no value yet.

    ``steps`` are in the order of the file (:func:`flows.spec.graph.waves` orders them); ``nested`` has the pipeline
    components that steps came from, by the name of their node; ``declared`` is what else the file says of the job
    (identity, services, properties, further settings); ``places`` says where in the files each dotted key stands, and
    ``type`` is that of the file as it is written there; ``left_out`` names the nodes of the file
    that are not to be run, in a job of some of its steps.

    A job's own values of the inputs are typed by the value; those of a component are typed as it declares them, have
    its defaults, and may be optional.
    """

    kind: JobKind
    source: Path
    name: str
    steps: Mapping[str, Step]
    inputs: Mapping[str, JobInput] = field(default_factory=lambda: MappingProxyType({}))
    outputs: Mapping[str, OutputPort] = field(default_factory=lambda: MappingProxyType({}))
    display_name: str | None = None
    experiment_name: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=_empty)
    default_compute: str | None = None
    continue_on_step_failure: bool = True
    force_rerun: bool = False
    is_component: bool = False
    nested: Mapping[str, "NestedPipeline"] = field(
        default_factory=lambda: MappingProxyType(dict[str, "NestedPipeline"]())
    )
    declared: Mapping[str, Any] = field(default_factory=_nothing)
    left_out: frozenset[str] = frozenset()
    type: str | None = field(default=None, compare=False, repr=False)
    places: Mapping[str, Place] = field(
        default_factory=lambda: MappingProxyType(dict[str, Place]()), compare=False, repr=False
    )

    @property
    def refusals(self) -> Mapping[str, str]:
        """Why each step that cannot run on this machine cannot, by its name."""
        return {name: step.refusal for name, step in self.steps.items() if step.refusal is not None}

    def place(self, key: str) -> Place:
        """Where a dotted key stands; a key that the file leaves out stands where its nearest parent does."""
        near = key
        while near and near not in self.places:
            near = near.rpartition(".")[0]
        found = self.places.get(near) or Place(self.source, 1, "")
        return found if near == key else Place(found.file, found.line, found.key + key[len(near) :])
