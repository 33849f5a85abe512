"""Reader of data assets and environments, from their Azure ML YAML."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flows.spec.model.job import DATA_TYPES, Environment
from flows.spec.reading.work.environments import environment_definition
from flows.spec.text import keys
from flows.spec.text.faults import findings, raise_faults
from flows.spec.text.locations import local
from flows.spec.text.section import Section, nearest
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import load_yaml

REGISTERED_AT = "tandem.registered_at"  # a tag: when a data asset was registered here, ISO 8601 in UTC


@dataclass(frozen=True, slots=True)
class DataAsset:
    """A data asset: ``name:version``, its type, the absolute local path (or URL) of its data, and its YAML file.

    ``registered`` is when it was registered on this machine; None for one that somebody has written.
    """

    name: str
    version: str
    type: str
    path: Path
    description: str = ""
    source: Path | None = field(default=None, compare=False)
    registered: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class NamedEnvironment:
    """An environment definition under its name and version."""

    name: str
    version: str | None
    environment: Environment
    description: str = ""


def read_data_asset(path: Path) -> DataAsset:
    """Read an Azure ML data YAML. A data asset without a version is version 1, as in a new workspace.

    Raises:
        SpecError: The file is not what it should be; every fault is named.
    """
    asset = None
    with findings(path) as faults:
        node = load_yaml(path, faults)
        asset = None if node is None else _data_asset(Section(node, faults))
    raise_faults(faults)
    assert asset is not None  # load and _data_asset note a fault for every None
    return asset


def read_environment(path: Path) -> NamedEnvironment | None:
    """Read an Azure ML environment YAML; None where the file is something else, such as a conda file.

    Raises:
        SpecError: The file is an environment, but not what it should be; every fault is named.
    """
    found = None
    with findings(path) as faults:
        node = load_yaml(path, faults)
        if node is not None and not {"image", "build"} & Section(node, faults).entries.keys():
            return None
        found = None if node is None else _environment(Section(node, faults))
    raise_faults(faults)
    return found


def _environment(section: Section) -> NamedEnvironment:
    name = _name(section) or section.file.stem
    environment = environment_definition(section)
    return NamedEnvironment(name, section.label("version"), environment, section.text("description") or "")


def _data_asset(section: Section) -> DataAsset | None:
    section = of_shape(section, keys.DATA_ASSET, "a data asset")
    name = _name(section)
    kind = section.text("type") or "uri_folder"
    if kind not in DATA_TYPES:
        section.fault("type", f"{kind} is not a type of data", nearest(kind, DATA_TYPES, "types"))
    path = section.text("path")
    if path is None and "path" not in section:
        section.missing("path", "the data asset has no path", "Add path: with the file, relative to this one.")
    if name is None or path is None:
        return None
    place = local(path, section.folder)
    version, description = section.label("version") or "1", section.text("description") or ""
    source, registered = section.node.place.file.absolute(), _time(section.section("tags").label(REGISTERED_AT))
    return DataAsset(name, version, kind, place, description, source, registered)


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _name(section: Section) -> str | None:
    if "name" not in section:
        section.missing("name", "there is no name", "Add name:.")
    return section.text("name")
