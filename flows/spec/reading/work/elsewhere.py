"""Reader of jobs, steps and components that run on Azure ML only.

Each becomes a step that says why it cannot run on this machine, so that the rest of its pipeline is still checked.
"""

from collections.abc import Mapping
from types import MappingProxyType

from flows.spec.model.job import Component, InputPort, OutputPort
from flows.spec.reading.ports.ports import declared_inputs, declared_outputs
from flows.spec.reading.work.automl import check_automl, check_needs
from flows.spec.reading.work.spark import check_files, check_spark
from flows.spec.reading.work.transfer import check_transfer, check_transfer_component
from flows.spec.text import keys
from flows.spec.text.locations import local
from flows.spec.text.section import Section, nearest
from flows.spec.text.shape import of_shape

# Why a step of each kind cannot run on this machine: the end of a sentence that begins with its name.
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "spark": "is a Spark job, which needs a Spark cluster",
        "automl": "is an AutoML job, which only Azure ML runs",
        "import": "imports data through a connection of the workspace",
        "data_transfer": "moves data between stores of the workspace",
        "finetuning": "fine-tunes a model of a registry, which only Azure ML does",
        "distillation": "distils a model of a registry, which only Azure ML does",
        "promptflow_parallel": "runs a prompt flow, which only Azure ML does",
    }
)

# The keys of an AutoML job depend on its task.
_KEYS = {
    "spark": keys.SPARK,
    "data_transfer": keys.DATA_TRANSFER,
    "import": keys.IMPORT,
}


def component_elsewhere(section: Section, kind: str, fallback_name: str) -> tuple[Component | None, str | None]:
    """The component that a YAML of such a kind declares, and why it cannot run here; None for an unknown kind."""
    if kind not in REFUSALS:
        remedy = nearest(kind, frozenset({"command", "parallel", "pipeline", *REFUSALS}), "types")
        section.fault("type", f"{kind} is not a type of component", remedy)
        return None, None
    if kind == "promptflow_parallel":  # its inputs and outputs are typed in a way of their own
        return Component(fallback_name, "", local(section.file.name, section.folder), is_open=True), REFUSALS[kind]
    _check_keys(section, kind, f"a component of type {kind}")
    if kind == "spark":
        check_files(section, is_component=True)
    if kind == "data_transfer":
        check_transfer_component(section)
    inputs = declared_inputs(section.section("inputs"))
    outputs = declared_outputs(section.section("outputs"))
    return _component(section, fallback_name, inputs, outputs, is_open=kind != "spark"), REFUSALS[kind]


def inline_elsewhere(
    section: Section,
    kind: str,
    name: str,
    inputs: Mapping[str, InputPort],
    outputs: Mapping[str, OutputPort],
    is_job: bool = False,
) -> Component:
    """The component of a job or step of such a kind that declares its work in place."""
    _check_keys(section, kind, f"a step of type {kind}")
    if kind == "spark":
        check_files(section, is_component=False)
        check_spark(section)
    if kind == "data_transfer":
        check_transfer(section)
    if kind == "automl":
        check_automl(section, is_job)
        if is_job:
            check_needs(section)
    if kind == "import":
        outputs = {**outputs, "output": OutputPort("output", "path")}
    return _component(section, name, inputs, outputs, is_open=kind not in ("spark", "import"))


def _check_keys(section: Section, kind: str, owner: str) -> None:
    if kind in _KEYS:
        of_shape(section, _KEYS[kind], owner, ignored=True)


def _component(
    section: Section,
    name: str,
    inputs: Mapping[str, InputPort],
    outputs: Mapping[str, OutputPort],
    is_open: bool,
) -> Component:
    return Component(
        name=section.text("name") or name,
        command="",
        source=local(section.file.name, section.folder),
        version=section.label("version"),
        inputs=MappingProxyType(dict(inputs)),
        outputs=MappingProxyType(dict(outputs)),
        is_open=is_open,
    )
