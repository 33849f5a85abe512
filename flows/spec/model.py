"""What an Azure ML job says, as frozen values.

A standalone command job and a pipeline job have one shape here: a graph of steps. A command job is the graph of
one step, whose inputs and outputs are bound one to one to those of the job, so that an engine knows one shape only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

LITERAL_TYPES = frozenset({"string", "number", "integer", "boolean"})
DATA_TYPES = frozenset({"uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model"})


def _empty() -> Mapping[str, str]:
    return MappingProxyType({})


class JobKind(StrEnum):
    """The two kinds of job that the reader knows."""

    COMMAND = "command"
    PIPELINE = "pipeline"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: file, line (from 1) and dotted key, such as ``jobs.train.inputs.reg_rate``."""

    file: Path
    line: int
    key: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}" if self.key else f"{self.file}:{self.line}"


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
    """A declared output. ``path`` is where the YAML wants it stored, if it says so."""

    name: str
    type: str
    path: str | None = None
    mode: str | None = None
    place: Place | None = field(default=None, compare=False)


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

    ``code`` is an absolute folder or file, ``source`` the YAML file that declares the component.
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


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the graph: a component, and what its inputs and outputs are bound to."""

    name: str
    component: Component
    inputs: Mapping[str, InputBinding] = field(default_factory=lambda: MappingProxyType({}))
    outputs: Mapping[str, ParentOutput] = field(default_factory=lambda: MappingProxyType({}))
    environment_variables: Mapping[str, str] = field(default_factory=_empty)
    compute: str | None = None
    timeout_seconds: int | None = None
    place: Place | None = field(default=None, compare=False)

    @property
    def upstream(self) -> frozenset[str]:
        """The names of the steps whose outputs this step reads."""
        return frozenset(binding.step for binding in self.inputs.values() if isinstance(binding, StepOutput))


@dataclass(frozen=True, slots=True)
class JobInput:
    """An input of the job: its port, and its value (None where the YAML gives none)."""

    port: InputPort
    value: InputValue | None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job or pipeline job, whole.

    ``steps`` are in the order of the file (:func:`flows.spec.graph.waves` orders them); ``places`` says where in the
    file each dotted key stands.
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
    places: Mapping[str, Place] = field(
        default_factory=lambda: MappingProxyType(dict[str, Place]()), compare=False, repr=False
    )

    def place(self, key: str) -> Place:
        """Where a dotted key stands; a key that the file leaves out stands where its nearest parent does."""
        near = key
        while near and near not in self.places:
            near = near.rpartition(".")[0]
        found = self.places.get(near) or Place(self.source, 1, "")
        return found if near == key else Place(found.file, found.line, key)
