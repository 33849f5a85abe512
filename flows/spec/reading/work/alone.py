"""Checks of a component file by itself: what the Azure ML client refuses to register, and takes within a pipeline."""

from pathlib import Path

from flows.spec.reading.work.transfer import check_copies
from flows.spec.text.locations import exists, is_remote, local
from flows.spec.text.section import Section


def check_alone(section: Section, kind: str) -> None:
    """Note what keeps a component of its own from being registered.

    Args:
        section: The mapping of the component's file.
        kind: The kind of the component.
    """
    if kind == "data_transfer":
        check_copies(section)
        return
    owner = section.section("task") if kind == "parallel" else section
    code = owner.text("code")
    if code is None and kind == "spark":  # whose code is the folder of its file
        code = "."
    if code is None:
        return
    if code.startswith("git+"):
        owner.fault("code", "a component of its own takes no code from Git", "Name a folder, or a version of code.")
    elif not is_remote(code):
        folder = local(code, section.folder)
        for path in section.texts("additional_includes"):
            if exists(folder / Path(path).name):
                message = f"the code has a file or folder {Path(path).name} already, and {path} is to be added to it"
                section.fault("additional_includes", message, "Rename or remove one of the two.")
