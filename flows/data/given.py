"""Local stand-ins for data and components that the YAML names elsewhere: ``--asset NAME_OR_URI=PATH`` and its file.

A name without a version covers all its versions, and a URI that ends in a slash covers all that is below it.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from flows.errors import Fault, ParameterError
from flows.spec.model.asset_reference import AssetReference
from flows.spec.text.locations import local
from flows.spec.text.yaml_text import TooMuchError, check_size, text_of

ASSETS_FILE = "tandem.assets.yml"
_YAML = (".yml", ".yaml")
_IN_WORKSPACE = re.compile(
    r"azureml://subscriptions/[^/]+/resource[gG]roups/[^/]+/(providers/[^/]+/)?workspaces/[^/]+/"
)
_ALL_OF_IT = re.compile(r"(?<!/)/(\*\*?)?$")  # a folder, whether or not its name ends in a slash, and all that is in it


@dataclass(frozen=True, slots=True)
class GivenAssets:
    """Local files and folders by the names and URIs that they stand for."""

    paths: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType(dict[str, Path]()))

    def path(self, reference: str) -> Path | None:
        """The path that was given for a name or URI; None if there is none. Below a given folder, it need not exist."""
        for name in names_of(reference):
            for given in (name, f"{name}/"):
                if given in self.paths:
                    return self.paths[given]
        return next(self._below(reference), None)

    @property
    def components(self) -> Mapping[str, Path]:
        """Those that may stand for a component, for :func:`flows.spec.reading.reader.read_job`."""
        return {
            name: path
            for given, path in self.paths.items()
            if path.suffix in _YAML
            for name in (given, given.removeprefix("azureml:"))
        }

    def _below(self, reference: str) -> Iterator[Path]:
        """The places that the longest prefixes of a URI stand for, the longest first."""
        for given in sorted((given for given in self.paths if given.endswith("/")), key=len, reverse=True):
            for name in names_of(reference):
                if name.startswith(given) and not name.endswith("*"):
                    yield self.paths[given] / name.removeprefix(given)


def given_assets(pairs: Sequence[str], file: Path) -> GivenAssets:
    """Read ``NAME_OR_URI=PATH`` pairs, and ``tandem.assets.yml`` beside a YAML file and in the working directory.

    A pair wins over the files, and the file in the working directory over the other. A path in a file is relative to
    that file.

    Raises:
        ParameterError: A pair or a file is wrong. The error names every fault.
    """
    found: dict[str, Path] = {}
    wrong: list[str] = []
    for folder in dict.fromkeys((file.absolute().parent, Path.cwd())):
        found.update(_from_file(folder / ASSETS_FILE, wrong))
    for pair in pairs:
        name, separator, path = _split(pair)
        if not separator or not name or not path:
            wrong.append(
                f"--asset {pair}: write --asset NAME_OR_URI=PATH, such as --asset azureml:titanic:1=titanic.csv."
            )
        elif not _is_there(place := local(os.path.expanduser(path), Path.cwd())):
            wrong.append(f"--asset {pair}: there is no {place}.")
        else:
            found[name] = place
    if wrong:
        raise ParameterError("\n".join(wrong))
    return GivenAssets(MappingProxyType(found))


def names_of(reference: str) -> Iterator[str]:
    """The names that a reference goes by, itself first, its bare name last.

    ``azureml://registries/r/data/titanic/versions/1`` is also ``azureml:titanic:1``, ``titanic:1`` and ``titanic``; a
    URI with a subscription in it is also the short one, and a folder goes by its name with or without a slash.
    """
    yield from dict.fromkeys(_names(reference))


def _names(reference: str) -> Iterator[str]:
    yield reference
    if "://" in reference and "?" in reference:  # the query is a key that expires
        yield reference.partition("?")[0]
    elif "://" in reference and (folder := _ALL_OF_IT.sub("", reference)) != reference:
        yield folder
        yield from _registered_names(folder)
    yield from _registered_names(reference)


def _registered_names(reference: str) -> Iterator[str]:
    """The shorter names of what is registered, or lies in a datastore."""
    text = reference.removeprefix("azureml:") if reference.startswith("azureml:azureml:") else reference
    if text != reference:
        yield text
    short = _IN_WORKSPACE.sub("azureml://", text)
    if short != text:
        yield short
    asset = AssetReference.read(short) if short.startswith("azureml:") else None
    if asset is not None:
        yield from asset.names()


def _split(pair: str) -> tuple[str, str, str]:
    """A pair at its ``=``: at the last one where what stands before it is a URL with a query."""
    return pair.rpartition("=") if "?" in pair.partition("=")[0] else pair.partition("=")


def _from_file(file: Path, wrong: list[str]) -> Mapping[str, Path]:
    if not file.is_file():
        return {}
    faults: list[Fault] = []
    text = text_of(file, faults)
    if text is None:
        wrong += [f"{file}: {fault.message}." for fault in faults]
        return {}
    try:
        check_size(text)
        said: Any = yaml.safe_load(text) or {}
    except (TooMuchError, ValueError, yaml.YAMLError) as error:
        wrong.append(f"{file}: this cannot be read: {' '.join(str(error).split())}.")
        return {}
    if not isinstance(said, dict):
        wrong.append(f"{file}: write a mapping, such as azureml:titanic:1: ./titanic.csv.")
        return {}
    found: dict[str, Path] = {}
    for name, path in said.items():
        if not isinstance(name, str) or not isinstance(path, str):
            wrong.append(f"{file}: {name}: write the path of a file or folder, relative to this file.")
        elif not _is_there(place := local(os.path.expanduser(path), file.parent)):
            wrong.append(f"{file}: {name}: there is no {place}.")
        else:
            found[name] = place
    return found


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
