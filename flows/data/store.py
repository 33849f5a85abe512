"""Store of data assets on this machine: a YAML file for each version, and the content, kept once by its digest.

The content keeps the name of its file, by which a person knows it.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from flows.data.assets import check_asset_name, data_assets, versions_of
from flows.data.atomic import atomic_write, draft_of
from flows.data.digests import data_digest
from flows.errors import ParameterError, SettingsError
from flows.machine.private import tighten
from flows.spec.reading.assets import REGISTERED_AT, DataAsset, read_data_asset
from flows.spec.text.names import file_name, inside

SCHEMA = "https://azuremlschemas.azureedge.net/latest/data.schema.json"


@dataclass(frozen=True, slots=True)
class RegisteredData:
    """A version of a data asset; ``created`` is False where the newest version had this content already."""

    asset: DataAsset
    sha256: str
    created: bool


class DataStore:
    """The registered data below one folder: ``assets/<name>/<version>.yml`` and ``content/<digest>/<file>``."""

    def __init__(self, folder: Path, others: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._all = (*others, folder / "assets")

    def register(
        self, path: Path, name: str, type: str = "uri_file", version: str | None = None, description: str = ""
    ) -> RegisteredData:
        """Make the next version of a data asset, unless its newest one has this content.

        Args:
            path: The file or folder, which is copied.
            name: Of the data asset.
            type: uri_file, uri_folder or mltable.
            version: A version to use instead of the next number; an existing one is replaced.
            description: Shown where data assets are listed.

        Raises:
            ParameterError: The name or version is not one that a file can have and a job can ask for.
            SettingsError: The store cannot be written.
        """
        check_asset_name(name, version)
        digest = data_digest(path)
        known = versions_of(name, list(data_assets(self._all)))
        if version is None and known and known[-1].path.exists() and data_digest(known[-1].path) == digest:
            return RegisteredData(known[-1], digest, created=False)
        number = max((int(asset.version) for asset in known if asset.version.isdigit()), default=0) + 1
        content = self.keep(path, digest)
        try:
            folder = inside(self._folder / "assets", name)
            said = {"type": type, "name": name, **({"description": description} if description else {})}
            if version is not None:
                _check_is_replaced(file := inside(folder, f"{version}.yml"), name, version)
                self._write(file, said, content, digest, replaces=True)
                return RegisteredData(read_data_asset(file), digest, created=True)
            while not self._write(file := folder / f"{number}.yml", said, content, digest):
                number += 1  # somebody else was quicker
            return RegisteredData(read_data_asset(file), digest, created=True)
        except OSError as error:
            raise self._not_kept(error) from error

    def keep(self, path: Path, digest: str) -> Path:
        """Copy a file or folder to the place of its content, whole or not at all, and return that place.

        Raises:
            SettingsError: The store cannot be written.
        """
        place = self._content(digest) / file_name(path.name, "data")
        try:
            if place.exists():
                return place
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = draft_of(place)
            if path.is_dir():
                shutil.copytree(path, draft)
            else:
                shutil.copyfile(path, draft)
            tighten(draft)
            draft.rename(place)
        except OSError as error:
            raise self._not_kept(error) from error
        return place

    def kept(self, digest: str) -> Path | None:
        """The file or folder with this content, under whichever name it was kept; None if there is none."""
        for path in sorted(self._content(digest).glob("*")):
            if not path.name.startswith(".") and data_digest(path) == digest:
                return path
        return None

    def _content(self, digest: str) -> Path:
        return inside(self._folder / "content", digest[:16])

    def _not_kept(self, error: OSError) -> SettingsError:
        return SettingsError(
            f"The data cannot be kept in {self._folder}: {error.strerror}. Set TANDEM_HOME to a folder of yours."
        )

    @staticmethod
    def _write(file: Path, said: Mapping[str, str], content: Path, digest: str, replaces: bool = False) -> bool:
        """Write the YAML of a version; False if there is one, unless this one ``replaces`` it."""
        tags = {"tandem.sha256": digest, REGISTERED_AT: datetime.now(UTC).isoformat(timespec="microseconds")}
        place = {"path": os.path.relpath(content, file.parent), "tags": tags}
        asset = {"$schema": SCHEMA, **said, "version": file.stem, **place}
        text = yaml.safe_dump(asset, sort_keys=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        if replaces:
            atomic_write(file, text)
            return True
        draft = draft_of(file)
        draft.write_text(text, encoding="utf-8")
        try:
            os.link(draft, file)  # fails where the version is there, as a rename would not
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True


def _check_is_replaced(file: Path, name: str, version: str) -> None:
    """Check that an existing file is of this very version: some file systems do not tell capital letters apart."""
    if not file.exists():
        return
    there = read_data_asset(file)
    if (there.name, there.version) != (name, version):
        raise ParameterError(
            f"{name}:{version} cannot be kept beside {there.name}:{there.version}: both are the file {file} here. "
            "Choose another name or version."
        )
