"""Checks of Spark jobs and steps: what the Azure ML client refuses of them before it sends anything.

None runs on this machine. What is wrong is told all the same, so that the file is not refused later.
"""

import re
from collections.abc import Mapping
from typing import Any

from flows.spec.reading.ports.bindings import expression
from flows.spec.text import keys
from flows.spec.text.locations import exists, is_file, is_remote
from flows.spec.text.section import Section, nearest
from flows.spec.text.shape import of_shape

# What has to be set, by the longer of the two names that the client takes under conf.
_ALWAYS = ("spark.driver.cores", "spark.driver.memory", "spark.executor.cores", "spark.executor.memory")
_INSTANCES = "spark.executor.instances"
_DYNAMIC = "spark.dynamicAllocation.enabled"
_LEAST, _MOST = "spark.dynamicAllocation.minExecutors", "spark.dynamicAllocation.maxExecutors"
_SHORT: Mapping[str, str] = {
    **{name: name.removeprefix("spark.").replace(".", "_") for name in (*_ALWAYS, _INSTANCES)},
    _DYNAMIC: "dynamic_allocation_enabled",
    _LEAST: "dynamic_allocation_min_executors",
    _MOST: "dynamic_allocation_max_executors",
}
_INPUT = re.compile(r"\$\{\{inputs\.([\w.-]+)\}\}")
_OPTIONAL_INPUT = re.compile(r"\[[\w.\s-]*\$\{\{inputs\.([\w.-]+)\}\}\]")


def check_spark(section: Section, component: Section | None = None) -> None:
    """Note what is wrong with a Spark job or step.

    Args:
        section: The job or step.
        component: The component that a step names; None where it declares its work in place.
    """
    _check_place(section)
    _check_conf(section, component)
    _check_modes(section, component, "inputs")
    _check_modes(section, component, "outputs")
    _check_entry(section, component)
    if component is None:
        _check_args(section)


def check_files(section: Section, is_component: bool) -> None:
    """Say which files of a Spark job, step or component are not in its code, where that is on this machine.

    Args:
        section: Its mapping.
        is_component: Whether it is a component, whose entry is said of too: the client looks for it in a job or step.
    """
    if "entry" not in section:
        section.missing("entry", "there is no entry", "Add entry: {file: <script>.py}.")
    code = section.path("code")
    named = [(section, key, path) for key in ("py_files", "jars", "files", "archives") for path in section.texts(key)]
    entry = section.section("entry").text("file")
    if is_component and entry is not None:
        named.append((section.section("entry"), "file", entry))
    for owner, key, path in named:
        if code is not None and not is_remote(path) and not exists(code / path):
            owner.warn(key, f"there is no file {path} in the code", f"It is looked for at {code / path}.")


def _check_place(section: Section) -> None:
    compute, resources = "compute" in section, section.entries.get("resources")
    if compute == (resources is not None):
        message = "a Spark job has both compute and resources" if compute else "a Spark job has no compute"
        remedy = "Keep one of the two." if compute else "Add resources: {instance_type: …, runtime_version: …}."
        section.fault("resources" if compute else "", message, remedy)
    if resources is None:
        return
    given = of_shape(section.section("resources"), keys.SPARK_RESOURCES, "the resources of a Spark job")
    for key, example in (("instance_type", "standard_e4s_v3"), ("runtime_version", '"3.3"')):
        if key not in given:
            given.missing(key, f"the resources have no {key}", f"Add {key}: {example}.")


def _check_conf(section: Section, component: Section | None) -> None:
    def value(name: str) -> Any:
        """What is set; the client takes a zero and an empty text for nothing."""
        given = (each.section("conf").entries for each in (section, component) if each is not None)
        return next((conf[key].plain() for conf in given for key in (name, _SHORT[name]) if _is_set(conf, key)), None)

    is_dynamic = value(_DYNAMIC) in ("True", "true", True)
    wanted = (*_ALWAYS, _LEAST, _MOST) if is_dynamic else (*_ALWAYS, _INSTANCES)
    if missing := [name for name in wanted if value(name) is None]:
        section.fault("conf", f"the conf of a Spark job has no {', '.join(missing)}", "Add it under conf.")
        return
    least, most, instances = value(_LEAST), value(_MOST), value(_INSTANCES)
    if not is_dynamic:
        if least is not None or most is not None:
            name = _LEAST if least is not None else _MOST
            section.fault("conf", f"{name} is set, and dynamic allocation is not", f"Add {_DYNAMIC}: true.")
    elif not isinstance(least, int) or not isinstance(most, int) or not 0 < least <= most:
        section.fault("conf", f"{_LEAST} is {least}, and {_MOST} {most}", "Give whole numbers from 1, the lower first.")
    elif isinstance(instances, int) and not least <= instances <= most:
        section.fault("conf", f"{_INSTANCES} is {instances}", f"Make it {least} to {most}, as the executors may be.")


def _is_set(conf: Mapping[str, Any], key: str) -> bool:
    return key in conf and bool(conf[key].plain())


def _check_modes(section: Section, component: Section | None, key: str) -> None:
    """Data is read and written in mode ``direct`` only, which a step or its component says."""
    given = section.section(key)
    for name, node in given.entries.items():
        if not isinstance(node.value, Mapping) or "value" in node.value or name == "default":
            continue
        own = given.section(name)
        path = own.entries.get("path")
        if path is not None and isinstance(path.value, str) and expression(path.value) is not None:
            continue  # what it is bound to may say so
        port = None if component is None else component.section(key).entries.get(name)
        modes = [_mode(node.value), _mode(port.value if port is not None else None)]
        if "direct" not in modes and not any("${{" in mode for mode in modes):
            noun = key.removesuffix("s")
            given.fault(name, f"a Spark job takes its {noun} {name} in mode direct only", "Add mode: direct.")


def _mode(value: object) -> str:
    mode = value.get("mode") if isinstance(value, Mapping) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    text = getattr(mode, "value", None)  # pyright: ignore[reportUnknownArgumentType]
    return text.lower() if isinstance(text, str) else ""


def _check_entry(section: Section, component: Section | None) -> None:
    declaring = component or section
    entry = declaring.entries.get("entry")
    if entry is None or not isinstance(entry.value, Mapping):
        return
    given = declaring.section("entry")
    if "file" not in given:
        message = "a Spark job has no class for its entry" if "class_name" in given else "the entry has no file"
        (section if component else given).fault("component" if component else "", message, "Write {file: <script>.py}.")
        return
    code, file = declaring.entries.get("code"), given.text("file")
    is_step = component is not None or section.node.place.key != ""
    if file is None or (code is None and not is_step):
        return
    if code is not None and (not isinstance(code.value, str) or is_remote(code.value)):
        return
    folder = declaring.folder if code is None else Section(declaring.node, []).path("code")
    if folder is not None and not is_file(folder / file):
        owner, key = (section, "component") if component else (given, "file")
        owner.fault(key, f"there is no file {file} in the code", f"It is looked for at {folder / file}.")


def _check_args(section: Section) -> None:
    args, given = section.text("args") or "", frozenset(section.section("inputs").entries)
    optional = _OPTIONAL_INPUT.findall(args)
    for name in dict.fromkeys(_INPUT.findall(args)):
        if name not in given and name not in optional:
            message = f"args use ${{{{inputs.{name}}}}}, which is not declared"
            section.fault("args", message, nearest(name, given, "inputs"))
