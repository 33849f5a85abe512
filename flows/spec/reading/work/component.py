"""Reader of components, from their own YAML file or from the step or job that declares them in place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flows.errors import Place
from flows.spec.model.control import Control
from flows.spec.model.job import (
    Component,
    Distribution,
    Environment,
    InputBinding,
    InputPort,
    OutputPort,
    ParentOutput,
    Step,
)
from flows.spec.model.parallel import Parallel
from flows.spec.model.sweep import Sweep
from flows.spec.reading.ports.ports import declared_inputs, declared_outputs
from flows.spec.reading.work.elsewhere import component_elsewhere
from flows.spec.reading.work.environments import environment_from
from flows.spec.reading.work.parallel import parallel_from
from flows.spec.reading.work.references import Registered
from flows.spec.text import keys
from flows.spec.text.limits import MAX_TEXT_BYTES
from flows.spec.text.locations import is_remote, is_remote_code, local
from flows.spec.text.names import shown
from flows.spec.text.section import Section
from flows.spec.text.shape import by_type, of_shape

# Keys of a job, step or component that only say what a command job on Azure ML is made of.
DECLARED = frozenset(
    {
        "description",
        "tags",
        "properties",
        "comment",
        "display_name",
        "resources",
        "services",
        "identity",
        "queue_settings",
        "distribution",
    }
)
_SHAPES: Mapping[str, keys.Shape] = {
    "command": keys.COMMAND_COMPONENT,
    "parallel": keys.PARALLEL_COMPONENT,
    "pipeline": keys.PIPELINE_COMPONENT,
}
_UNBOUND: Mapping[str, InputBinding] = MappingProxyType({})
_UNDELIVERED: Mapping[str, ParentOutput] = MappingProxyType({})
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Work:
    """A component with all that its own YAML says of how it runs; a step may say otherwise."""

    component: Component
    kind: str = "command"
    parallel: Parallel | None = None
    sweep: Sweep | None = None
    control: Control | None = None
    refusal: str | None = None
    instance_count: int = 1
    distribution: Distribution | None = None
    timeout_seconds: int | None = None
    declared: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType(dict[str, Any]()))

    def with_settings(self, section: Section, is_component: bool = False) -> "Work":
        """The same, with what a job, step or component says of resources, distribution, limits and the rest."""
        if self.kind not in ("command", "parallel", "sweep"):
            return replace(self, declared=MappingProxyType({**self.declared, **section.plain(DECLARED)}))
        return replace(
            self,
            instance_count=_instance_count(section, is_component) or self.instance_count,
            distribution=_distribution(section, is_component) or self.distribution,
            # The limits of a sweep are its own.
            timeout_seconds=self.timeout_seconds if self.kind == "sweep" else timeout(section) or self.timeout_seconds,
            declared=MappingProxyType({**self.declared, **section.plain(DECLARED)}),
        )

    def why_refused(self) -> str | None:
        """Why it cannot run on this machine, as the end of a sentence; None where it can."""
        if self.refusal is None and self.distribution is not None and self.instance_count > 1:
            return f"asks for {self.instance_count} instances ({self.distribution.type}), and this machine is one"
        return self.refusal

    def step(
        self,
        name: str,
        place: Place | None = None,
        inputs: Mapping[str, InputBinding] = _UNBOUND,
        outputs: Mapping[str, ParentOutput] = _UNDELIVERED,
        environment_variables: Mapping[str, str] = _NO_VARIABLES,
        compute: str | None = None,
    ) -> Step:
        """The step that does this work: the only place where a step is made. Each field of the work is one of the step.

        Args:
            name: Unique in the job.
            place: Where the file declares it.
            inputs: What its inputs are bound to.
            outputs: Which of its outputs are delivered as outputs of the job.
            environment_variables: Those that the step itself sets.
            compute: The compute that the step itself names.
        """
        own: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        own["refusal"] = self.why_refused()
        return Step(
            name=name,
            place=place,
            inputs=MappingProxyType(dict(inputs)),
            outputs=MappingProxyType(dict(outputs)),
            environment_variables=environment_variables,
            compute=compute,
            **own,
        )


def declared_work(section: Section, fallback_name: str, kind: str | None = None) -> Work | None:
    """What a component YAML of any kind but a pipeline declares; None, with a fault, where it is no component.

    Args:
        section: Its mapping.
        fallback_name: What the component is called where it does not say so itself.
        kind: Its kind, where it is known.
    """
    kind = kind or (section.text("type") or "command").lower()
    match kind:
        case "command":
            section = as_component(section, kind)
            inputs = declared_inputs(section.section("inputs"))
            outputs = declared_outputs(section.section("outputs"))
            return command_work(section, fallback_name, inputs, outputs, is_component=True)
        case "parallel":
            section = as_component(section, kind)
            inputs = declared_inputs(section.section("inputs"))
            outputs = declared_outputs(section.section("outputs"))
            return parallel_work(section, fallback_name, inputs, outputs, is_component=True)
        case "pipeline":
            section.fault("type", "a pipeline component cannot stand here", "Name a command component.")
        case _:
            component, refusal = component_elsewhere(section, kind, fallback_name)
            if component is not None:
                return Work(component, kind, refusal=refusal, declared=MappingProxyType(section.plain(DECLARED)))
    return None


def as_component(section: Section, kind: str) -> Section:
    """The mapping of a component YAML of a kind, without the keys that Azure ML ignores there, which are noted."""
    if "intellectual_property" in section and section.entries["intellectual_property"].value:
        message = "the Azure ML client cannot send a component with the key intellectual_property"
        section.fault("intellectual_property", message, "Leave it out.")
        section = section.without("intellectual_property")
    if kind == "command" and "environment_variables" in section:  # this machine sets them, as it always has
        message = "a command component has the key environment_variables, which Azure ML does not know"
        section.warn("environment_variables", message, "It is ignored there: give the variables to the step.")
    shape = _SHAPES.get(kind)
    return section if shape is None else of_shape(section, shape, f"a {kind} component", ignored=True)


def command_work(
    section: Section,
    name: str,
    inputs: Mapping[str, InputPort],
    outputs: Mapping[str, OutputPort],
    is_component: bool = False,
) -> Work:
    """What a component, a command job, a trial and a step with its command in place have in common."""
    command = section.text("command")
    if "command" not in section or (command is not None and not command.strip()):
        section.missing("command", "there is no command", "Add command: with what the step runs.")
    environment = environment_from(section)
    if "environment" not in section:
        section.missing("environment", "there is no environment", "Add environment: azureml:<name>@latest.")
    code, refusal = _code(section)
    component = _component(section, name, inputs, outputs, code, environment)
    return Work(replace(component, command=command or ""), refusal=refusal).with_settings(section, is_component)


def parallel_work(
    section: Section,
    name: str,
    inputs: Mapping[str, InputPort],
    outputs: Mapping[str, OutputPort],
    is_component: bool = False,
) -> Work:
    """What a parallel component, and a parallel job or step that declares its task in place, have in common."""
    task = section.section("task")
    environment = environment_from(task)
    if "task" not in section:
        section.missing("task", "there is no task", "Add task: with type, code, entry_script and environment.")
    elif "environment" not in task:
        task.fault("environment", "there is no environment", "Add environment: azureml:<name>@latest.")
    code, refusal = _code(task)
    component = _component(section, name, inputs, outputs, code, environment)
    parallel = parallel_from(section, None, code)
    if refusal is None and "model" in task and "entry_script" not in task:
        refusal = "calls a model without a script, which only Azure ML can"
    return Work(component, "parallel", parallel, refusal=refusal).with_settings(section, is_component)


def work_kind(section: Section) -> str:
    """The kind of a component, from its type or, where that is left out, from what it has."""
    kind = section.text("type")
    if kind is not None:
        return kind.lower()
    if "nodes" in section or "flow" in section:  # a prompt flow, or a run of one
        return "promptflow_parallel"
    return "pipeline" if "jobs" in section else "parallel" if "task" in section else "command"


def registered_work(
    found: Registered, kind: str, inputs: Mapping[str, InputPort], outputs: Mapping[str, OutputPort]
) -> Work:
    """The work of a component that is not on this machine, with the ports that the step or job names."""
    component = Component(
        found.name,
        "",
        Path(),
        inputs=MappingProxyType(dict(inputs)),
        outputs=MappingProxyType(dict(outputs)),
        reference=found.reference,
        is_open=True,
    )
    return Work(component, kind, refusal=f"runs {found.reference}, which has no file on this machine")


def environment_variables(section: Section) -> Mapping[str, str]:
    """The environment variables, each as text; values are not substituted, as in Azure ML."""
    found: dict[str, str] = {}
    variables = section.section("environment_variables")
    for name, node in variables.entries.items():
        if not name or "=" in name:
            message = "a variable has no name" if not name else f"the variable {shown(name)} has a = in its name"
            variables.fault(name, message, "No process can have such a variable: give it another name.")
        elif isinstance(node.value, str) and len(f"{name}={node.value}".encode()) > MAX_TEXT_BYTES:
            message = f"the variable {shown(name)} has more than {MAX_TEXT_BYTES} bytes with its name"
            variables.fault(name, message, "No process can have such a variable: read it from a file.")
        elif isinstance(node.value, bool | int | float | str):
            found[name] = str(node.value)
        elif node.value is not None:  # the client drops a variable without a value
            variables.fault(name, f"the variable {name} is {node.kind}", "Give it text.")
    return MappingProxyType(found)


def timeout(section: Section) -> int | None:
    """The seconds after which a step is to be stopped, from its ``limits``."""
    return section.section("limits").integer("timeout", 1)


def _component(
    section: Section,
    name: str,
    inputs: Mapping[str, InputPort],
    outputs: Mapping[str, OutputPort],
    code: Path | None,
    environment: Environment | None,
) -> Component:
    return Component(
        name=section.text("name") or name,
        command="",
        source=local(section.file.name, section.folder),
        version=section.label("version"),
        display_name=section.text("display_name"),
        code=code,
        additional_includes=_includes(section),
        environment=environment,
        environment_variables=environment_variables(section),
        inputs=MappingProxyType(dict(inputs)),
        outputs=MappingProxyType(dict(outputs)),
        is_deterministic=section.flag("is_deterministic", True),
    )


def _instance_count(section: Section, is_component: bool) -> int | None:
    resources = section.section("resources")
    count = resources.integer("instance_count", None if is_component else 1)
    if count is None or count > 0:
        return count
    remedy = "A step that runs it has to say its own: resources: {instance_count: 1}."
    resources.warn("instance_count", f"the instance_count of the component is {count}", remedy)
    return None


def _distribution(section: Section, is_component: bool) -> Distribution | None:
    kind = by_type(section, "distribution", keys.DISTRIBUTION, ignored=is_component)
    if kind is None:
        return None
    given = section.section("distribution")
    count = given.integer("worker_count" if kind == "tensorflow" else "process_count_per_instance", 1)
    return Distribution(kind, count or 1)


def _code(section: Section) -> tuple[Path | None, str | None]:
    """The folder of the code, and why the step cannot run here if that is not on this machine."""
    code = section.text("code")
    if code is None:
        return None, None
    if is_remote(code):
        if not is_remote_code(code):
            remedy = "Write the path of a folder, azureml:<name>:<version>, git+https://… or https://…."
            section.fault("code", f"Azure ML takes no code from {code}", remedy)
        return None, f"takes its code from {code}, which is not on this machine"
    return section.path("code"), None


def _includes(section: Section) -> tuple[Path, ...]:
    found = (section.path("additional_includes", path) for path in section.texts("additional_includes"))
    return tuple(path for path in found if path is not None)
