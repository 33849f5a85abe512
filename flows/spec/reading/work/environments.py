"""Reader of the environment that a component asks for."""

from collections.abc import Mapping

import yaml

from flows.errors import Fault
from flows.spec.model.job import Environment
from flows.spec.text import keys
from flows.spec.text.faults import Findings
from flows.spec.text.locations import beside, exists, is_file, is_remote, local
from flows.spec.text.section import Section
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import load_yaml
from flows.spec.text.yaml_text import TooMuchError, check_size, text_of


def environment_from(section: Section, key: str = "environment") -> Environment | None:
    """The environment at a key: a reference, a file beside this one, or a definition in place."""
    node = section.entries.get(key)
    if node is None:
        return None
    if isinstance(node.value, Mapping):
        return environment_definition(section.section(key))
    text = section.text(key)
    if text is None:
        return None
    if is_remote(text):
        return Environment(reference=text)
    if not text.startswith("file:"):
        path = local(text, section.folder)
        remedy = f"Write file:{text}." if is_file(path) else f"Write azureml:{text}, with a version or @latest."
        section.fault(key, f"{text} is not an environment", remedy)
        return None
    path = beside(text, section.folder)
    if not is_file(path):
        section.fault(key, f"there is no file {path}", "A path is relative to the file that names it.")
        return None
    definition = load_yaml(path, section.faults)
    return environment_definition(Section(definition, section.faults)) if definition else None


def environment_definition(section: Section) -> Environment:
    """What an environment YAML, or the mapping of one, defines."""
    section = of_shape(section, keys.ENVIRONMENT, "an environment")
    build = section.entries.get("build")
    _check_dockerfile(section.section("build"))
    if build is not None and "image" in section:
        section.fault("image", "the environment has both image and build", "Keep one of the two.")
    if build is None and "image" not in section:
        remedy = "Add image: and, if need be, conda_file:."
        section.missing(("image", "build"), "the environment has neither image nor build", remedy)
    reference = None if build is None else f"build:{build.plain()}"
    return Environment(reference=reference, image=section.text("image"), conda=_conda(section))


def _check_dockerfile(build: Section) -> None:
    path, context = build.text("dockerfile_path"), build.entries.get("path")
    if path is None or context is None or not isinstance(context.value, str) or is_remote(context.value):
        return
    folder = local(context.value, build.folder)
    if exists(folder) and not is_file(folder / path):
        build.fault("dockerfile_path", f"there is no file {path}", f"It is looked for at {folder / path}.")


def _conda(section: Section) -> str | None:
    node = section.entries.get("conda_file")
    if node is None:
        return None
    if isinstance(node.value, Mapping):
        return yaml.safe_dump(node.plain(), sort_keys=False, allow_unicode=True)
    name = section.text("conda_file")
    if name is None:
        return None
    path = local(name, section.folder)
    found: list[Fault] = []
    text = text_of(path, found) if is_file(path) else None
    if text is None:
        message = f"{path}: {found[0].message}" if found else f"there is no text file {path}"
        section.fault("conda_file", message, "A path is relative to the file that names it.")
        return None
    if isinstance(section.faults, Findings):
        section.faults.take(len(text) // 64)
    try:
        check_size(text)
    except TooMuchError as error:
        section.fault("conda_file", f"{path}: {error}", "Name a conda file.")
        return None
    return text
