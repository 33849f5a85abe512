"""Finds the YAML that ``component`` or ``trial`` names: in place, in another file, or registered in a workspace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.spec.model.asset_reference import AssetReference
from flows.spec.text.faults import Findings, TooManyError
from flows.spec.text.limits import MAX_STEPS
from flows.spec.text.locations import beside, is_file, is_remote
from flows.spec.text.section import Section
from flows.spec.text.yaml_lines import load_yaml


@dataclass(frozen=True, slots=True)
class Registered:
    """A component that is registered in a workspace or registry, and has no file here."""

    reference: str

    @property
    def name(self) -> str:
        """The component's own name, without where it is registered and its version."""
        asset = AssetReference.read(self.reference)
        return self.reference if asset is None else asset.name


@dataclass(slots=True)
class References:
    """What the files of one job refer to; each file is read once.

    ``assets`` maps registered components (``azureml:name:1``, ``name:1``, ``name``, or a URI) to local YAML files.
    """

    assets: Mapping[str, Path] = field(default_factory=dict[str, Path])
    _files: dict[Path, Section | None] = field(default_factory=dict[Path, Section | None])
    _sizes: dict[Path, int] = field(default_factory=dict[Path, int])
    _steps: int = 0

    def count_step(self) -> None:
        """Count a step of the job, or of a pipeline in it.

        Raises:
            TooManyError: There are more than a job may have.
        """
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TooManyError(f"the job has more than {MAX_STEPS:,} steps, those of nested pipelines among them")

    def find(self, section: Section, key: str) -> Section | Registered | None:
        """What stands at a key; None, with a fault, where there is nothing to read."""
        node = section.entries[key]
        if isinstance(node.value, Mapping):
            return section.section(key)
        reference = section.text(key)
        if reference is None:
            return None
        if not is_remote(reference):
            return self._file(section, key, beside(reference, section.folder), "")
        asset = AssetReference.read(reference)
        names = (reference, *(() if asset is None else asset.names()))
        given = next((self.assets[name] for name in names if name in self.assets), None)
        return Registered(reference) if given is None else self._file(section, key, given, f", given for {reference}")

    def _file(self, section: Section, key: str, path: Path, why: str) -> Section | None:
        if path not in self._files:
            node = load_yaml(path, section.faults) if is_file(path) else None
            if not is_file(path):
                remedy = "A path is relative to the file that names it." if not why else "Name its YAML file."
                section.fault(key, f"there is no file {path}{why}", remedy)
            self._files[path] = Section(node, section.faults) if node else None
            self._sizes[path] = node.size if node else 0
        elif isinstance(section.faults, Findings):
            section.faults.take(self._sizes[path])
        return self._files[path]
