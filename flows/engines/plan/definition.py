"""Definition of a job: the files and values that say what it does, each with its digest, and what its file is called.

Two jobs with the same definition do the same. Where two definitions differ, their parts say which file or value does.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flows.data.digests import text_digest
from flows.data.snapshot import Snapshot
from flows.engines.plan.fingerprint import canonical_digest
from flows.engines.plan.output_places import project_of
from flows.spec.model.job import JobSpec, Literal

LONGEST_LABEL = 200  # characters; a workspace takes 256 in a tag
_LONGEST_NAME = 60


def file_label(file: Path) -> str:
    """What the file of a job is called: the name of its project's folder, a slash, and its path in the project.

    Jobs of several projects are in one workspace, and many projects have a file of the same path.
    """
    place = Path(os.path.realpath(file))
    project = project_of(place)
    path = place.relative_to(project).as_posix()
    return f"{project.name[:_LONGEST_NAME]}/{path[_LONGEST_NAME - LONGEST_LABEL :]}"


def same_file(label: str, other: str) -> bool:
    """Whether two labels may be of one file: the folder of a project is not called the same on every machine."""
    return label.partition("/")[2] == other.partition("/")[2]


def definition_parts(spec: JobSpec) -> Mapping[str, str]:
    """The digest of each file and folder of code that say what a job does, and each literal value that it is given.

    Files are named by their path from the folder of the job's file, values by their key.

    Raises:
        OSError: A file cannot be read.
    """
    return dict(_parts(spec))


def definition_digest(parts: Mapping[str, str]) -> str:
    """The digest of a definition, in 32 characters."""
    return canonical_digest(dict(parts))[:32]


def _parts(spec: JobSpec) -> Iterator[tuple[str, str]]:
    def named(path: Path) -> str:
        return os.path.relpath(path, spec.source.parent)

    components = [step.component for step in spec.steps.values()]
    declared = {place.file for place in spec.places.values()}  # those of pipelines in the pipeline among them
    for file in {spec.source, *(component.source for component in components), *declared}:
        yield named(file), hashlib.sha256(file.read_bytes()).hexdigest()
    for code, includes in {(component.code, component.additional_includes) for component in components}:
        folders = [named(folder) for folder in (code, *includes) if folder is not None]
        if folders:
            yield f"code {' + '.join(folders)}", Snapshot.of(code, includes).digest()
    for name, step in spec.steps.items():
        environment = step.component.environment
        if environment is not None and environment.conda is not None:
            yield f"environment of {name}", text_digest(environment.conda)
    for name, given in spec.inputs.items():
        if isinstance(given.value, Literal):
            yield f"inputs.{name}", given.value.text
