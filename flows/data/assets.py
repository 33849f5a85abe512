"""Finder of data on this machine: a data asset under ``data/`` or in the local state, or a plain file."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flows.data.digests import data_digest
from flows.errors import DataAssetError, ParameterError
from flows.plain_text.paths import unless_told
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import DataReference
from flows.spec.reading.assets import DataAsset, read_data_asset
from flows.spec.text.locations import kind_of_file
from flows.spec.text.names import shown, unfit
from flows.spec.text.words import did_you_mean

_WORD = re.compile(r"[\w.-]+")
_FILE_ENDINGS = (".csv", ".parquet", ".pq", ".txt", ".tsv", ".gz")


@dataclass(frozen=True, slots=True)
class ResolvedData:
    """Data that was found: its ``name:version`` (or its path, if it is no asset), its type, where it is, its SHA-256.

    ``path`` is None for data that is in a workspace; the SHA-256 is None where it is not known. ``definition`` is
    the YAML file that describes a local asset. ``registered`` is when an asset was registered, with its time zone, None
    where that is not known, as of data that came with the project.
    """

    label: str
    type: str
    path: Path | None
    name: str | None = None
    version: str | None = None
    sha256: str | None = None
    definition: Path | None = None
    registered: datetime | None = None

    @property
    def reference(self) -> DataReference:
        """What a job is bound to: the asset in this version, or the file."""
        return DataReference(self.type, self.label if self.name is None else f"azureml:{self.label}")


def is_path(text: str) -> bool:
    """Whether ``text`` means a file rather than the name of a data asset."""
    return "/" in text or "\\" in text or text.lower().endswith(_FILE_ENDINGS) or text in (".", "..")


def asset_named(text: str) -> AssetReference:
    """The data asset that a text names: ``name``, ``name:version`` or ``name@latest``, also after ``azureml:``.

    Raises:
        DataAssetError: It is no such name, or has another label than ``latest``.
    """
    found = AssetReference.short(text)
    if found is None:
        raise DataAssetError(
            f"{text!r} is neither the name of a data asset nor a path. Write NAME, NAME:VERSION or PATH."
        )
    if found.label not in (None, "latest"):
        raise DataAssetError(f"{text!r}: the only label of a data asset is @latest.")
    return found


def check_asset_name(name: str, version: str | None = None) -> None:
    """Check that a job can ask for data under a name and version, and that files can have these names.

    Raises:
        ParameterError: The name or the version is not allowed.
    """
    for noun, text in (("name", name), ("version", version)):
        if text is None:
            continue
        if (reason := unfit(f"{text}.yml" if noun == "version" else text)) is None and not _WORD.fullmatch(text):
            reason = "has characters other than letters, digits, - . and _"
        if reason is not None:
            raise ParameterError(
                f"{shown(text)!r} cannot be the {noun} of a data asset or model: it {reason}. Nothing was registered. "
                "Use letters, digits, - and _."
            )


def resolve_data(text: str, folders: Sequence[Path], type: str = "uri_file") -> ResolvedData:
    """Find a data asset (``name``, ``name:version``, ``name@latest``, with or without ``azureml:``) or a file.

    Raises:
        DataAssetError: There is no such asset, version or file, or the file cannot be read.
    """
    if is_path(text):
        path = Path(text).expanduser().absolute()
        _check_readable(path, f"The data file {text}")
        return ResolvedData(str(path), "uri_folder" if path.is_dir() else type, path)
    wanted = asset_named(text)
    assets = list(data_assets(folders))
    versions = versions_of(wanted.name, assets)
    if not versions:
        raise DataAssetError(_unknown_asset(wanted.name, sorted({asset.name for asset in assets}), folders[0]))
    asset = versions[-1]
    if wanted.version is not None:
        found = [asset for asset in versions if asset.version == wanted.version]
        if not found:
            known = ", ".join(asset.version for asset in versions)
            raise DataAssetError(
                f"The data asset {wanted.name} has no version {wanted.version}. It has: {known}; "
                f"write {wanted.name}@latest for the newest."
            )
        asset = found[0]
    label = f"{asset.name}:{asset.version}"
    _check_readable(asset.path, f"The file of the data asset {label}")
    return ResolvedData(
        label,
        asset.type,
        asset.path,
        asset.name,
        asset.version,
        definition=asset.source,
        registered=asset.registered,
    )


def resolve_reference(reference: DataReference, folders: Sequence[Path]) -> Path:
    """Find the file or folder that a job's YAML names: as :func:`resolve_data`, with the type of the reference.

    Unlike there, the file may be empty.
    """
    if os.path.isabs(reference.path) and os.path.exists(reference.path):
        _check_kind(Path(reference.path), f"The data file {reference.path}")
        return Path(reference.path)
    path = resolve_data(reference.path, folders, reference.type).path
    assert path is not None  # what is found on this machine has a path
    return path


def data_assets(folders: Sequence[Path]) -> Iterator[DataAsset]:
    """Yield every data asset that is described by a YAML file below one of the folders, which need not be there."""
    for folder in folders:
        for path in sorted((*folder.rglob("*.yml"), *folder.rglob("*.yaml"))):
            yield read_data_asset(path)


def versions_of(name: str, assets: Sequence[DataAsset]) -> list[DataAsset]:
    """The versions of a data asset, the newest last: by number, where they are numbers."""
    return sorted((asset for asset in assets if asset.name == name), key=lambda asset: _version_order(asset.version))


def newer_version(version: str, than: str) -> bool:
    """Whether a version of a data asset is newer than another: by number, where they are numbers."""
    return _version_order(version) > _version_order(than)


def other_data_here(text: str, found: ResolvedData, folders: Sequence[Path]) -> str:
    """Say that this machine has other data under a name that was found in a workspace; empty where it has not.

    Args:
        text: What was asked for, as for :func:`resolve_data`.
        found: What the workspace has.
        folders: Where this machine's data assets are.
    """
    try:
        here = resolve_data(text, folders)
    except DataAssetError:
        return ""
    if here.path is None or here.version is None or found.version is None:
        return ""
    if here.version == found.version and found.sha256 is not None and found.sha256 != data_digest(here.path):
        what = f"{here.path} has other content under the same version"
    elif newer_version(here.version, found.version):
        what = f"{here.path} is a newer version ({here.version}), which the workspace does not have"
    else:
        return ""
    return f"{what}. To train on that: tandem data register {here.path} --name {here.name}"


def _version_order(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdigit() else (-1, version)


def _check_readable(path: Path, what: str) -> None:
    if _check_kind(path, what) is None:
        try:
            with path.open("rb") as stream:
                empty = not stream.read(1)
        except OSError as error:
            raise DataAssetError(f"{what} cannot be read{unless_told(path, what)}: {error.strerror}.") from error
        if empty:
            raise DataAssetError(f"{what} is empty{unless_told(path, what)}.")


def _check_kind(path: Path, what: str) -> str | None:
    """Refuse what is neither a file nor a folder, without opening it; None for a file."""
    try:
        kind = kind_of_file(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataAssetError(f"{what} does not exist{unless_told(path, what)}.") from None
    except (OSError, ValueError) as error:  # a link to itself; a name with a NUL
        why = getattr(error, "strerror", error)
        raise DataAssetError(f"{what} cannot be read{unless_told(path, what)}: {why}.") from None
    if kind is not None and not path.is_dir():
        raise DataAssetError(f"{what} is {kind}{unless_told(path, what)}. Give a file or a folder.")
    return kind


def _unknown_asset(name: str, known: list[str], folder: Path) -> str:
    hint = f" {did_you_mean(name, known)}".rstrip()
    listing = ", ".join(known) or "none"
    return (
        f"There is no data asset {name!r} in {folder}.{hint} It has: {listing}. "
        f"A path to a CSV or Parquet file is taken too, such as ./{name}.csv."
    )
