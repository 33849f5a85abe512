"""Checks where the outputs of a local job may be written.

A YAML file may name a local path for an output. It may lie in the project of that file, in ``--output-dir``, or in a
folder that ``--allow-output`` names (or be that file), links resolved; not in the local state, unless a flag names just
that. The project is the checkout that the file is in: the nearest folder above it with a ``.git``. Where there is none
below the home folder of the user, it is the file's own folder.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.errors import CannotRunHere, Place
from flows.spec.model.job import JobSpec, OutputPort
from flows.spec.text.locations import is_remote


@dataclass(frozen=True, slots=True)
class OutputFolders:
    """The folders that outputs may be written to, and the local state, which is excluded; all with links resolved."""

    folders: tuple[Path, ...]
    state: Path

    @classmethod
    def of(cls, file: Path, state: Path, output_dir: str | None, allowed: Sequence[str]) -> "OutputFolders":
        """Those of a job's YAML file, with ``--output-dir`` and every ``--allow-output``."""
        flags = [] if output_dir is None else [output_dir]
        return cls(tuple(map(_resolved, (project_of(file), *flags, *allowed))), _resolved(state))

    def hold(self, place: Path) -> bool:
        """Whether a file or folder may be written: whether it lies in one of the folders, its links resolved."""
        found = _resolved(place)
        return any(found.is_relative_to(folder) and not self._is_state(found, folder) for folder in self.folders)

    def why_not(self, place: Path) -> str:
        """What is wrong with a place that they do not hold, its links resolved."""
        found = _resolved(place)
        leads = f"{place}" if found == place else f"{place} leads to {found}, which"
        where = "in the local state" if found.is_relative_to(self.state) else f"outside of {self.folders[0]}"
        return f"{leads} is {where}"

    def _is_state(self, place: Path, folder: Path) -> bool:
        return place.is_relative_to(self.state) and self.state.is_relative_to(folder) and folder != self.state


@dataclass(frozen=True, slots=True)
class OutputPlace:
    """A local path that a job's YAML gives an output.

    Attributes:
        output: The output, by its name; that of a step as ``step.name``.
        key: Where the YAML says so.
        path: The path.
        refusal: Why nothing may be written there; None if it may.
    """

    output: str
    key: Place
    path: Path
    refusal: str | None


def project_of(file: Path) -> Path:
    """The checkout that a file is in, below the user's home folder if it is in that; else the file's own folder."""
    folder = _resolved(file).parent
    home = _resolved("~")
    for above in (folder, *folder.parents):
        if above == home or above in home.parents:
            break
        if (above / ".git").exists():
            return above
    return folder


def output_places(spec: JobSpec, folders: OutputFolders) -> tuple[OutputPlace, ...]:
    """Every local path that the outputs of a job and of its steps are written to, each once."""
    found: dict[Path, OutputPlace] = {}
    for name, port, path in _local_ports(spec):  # that of the job comes before that of the step which delivers it
        found.setdefault(path, _place(spec, name, port, path, folders))
    return tuple(found.values())


def check_output_places(spec: JobSpec, folders: OutputFolders) -> None:
    """See before anything runs that a job writes where it may.

    Raises:
        CannotRunHere: An output is to be written elsewhere; all are named, each with the flag that allows it.
    """
    lines = [
        f"  {place.key}: {place.refusal}\n      {place_remedy(place)}"
        for place in output_places(spec, folders)
        if place.refusal is not None
    ]
    if lines:
        first = "A job writes its outputs into the project of its file (its checkout, else its folder):"
        raise CannotRunHere("\n".join([first, *lines, "Nothing was run."]))


def place_remedy(place: OutputPlace) -> str:
    """What to do about a place that may not be written."""
    return f"Add --allow-output {shlex.quote(str(_resolved(place.path)))}, or give the output another path."


def local_path(port: OutputPort) -> Path | None:
    """The local path that the YAML gives an output; None if it gives none, or one elsewhere."""
    return None if port.path is None or is_remote(port.path) else Path(port.path)


def _local_ports(spec: JobSpec) -> Iterator[tuple[str, OutputPort, Path]]:
    ports = [(name, port) for name, port in spec.outputs.items()]
    ports += [
        (f"{step.name}.{name}", port) for step in spec.steps.values() for name, port in step.component.outputs.items()
    ]
    for name, port in ports:
        path = local_path(port)
        if path is not None:
            yield name, port, path


def _place(spec: JobSpec, name: str, port: OutputPort, path: Path, folders: OutputFolders) -> OutputPlace:
    place = port.place or spec.place(f"outputs.{port.name}")
    refusal = None if folders.hold(path) else folders.why_not(path)
    return OutputPlace(name, Place(place.file, place.line, f"{place.key}.path"), path, refusal)


def _resolved(path: str | Path) -> Path:
    return Path(os.path.realpath(os.path.expanduser(path)))
