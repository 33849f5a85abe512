"""Data assets that are registered on this machine: a YAML file a version, and the content, kept once by its digest."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from flows.data_assets import data_assets, versions_of
from flows.drafts import draft_of
from flows.engines.digests import data_digest
from flows.errors import SettingsError
from flows.private import tighten
from flows.spec.assets import DataAsset, read_data_asset

SCHEMA = "https://azuremlschemas.azureedge.net/latest/data.schema.json"


@dataclass(frozen=True, slots=True)
class RegisteredData:
    """A version of a data asset; ``created`` is False where the newest version had this content already."""

    asset: DataAsset
    sha256: str
    created: bool


class DataStore:
    """The registered data below one folder: ``assets/<name>/<version>.yml`` and ``content/<digest>``."""

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
            version: Another version than the next; one that is there is replaced.
            description: For whoever lists it.

        Raises:
            SettingsError: The store cannot be written.
        """
        digest = data_digest(path)
        known = versions_of(name, list(data_assets(self._all)))
        if version is None and known and known[-1].path.exists() and data_digest(known[-1].path) == digest:
            return RegisteredData(known[-1], digest, created=False)
        number = max((int(asset.version) for asset in known if asset.version.isdigit()), default=0) + 1
        try:
            content = self._keep(path, digest)
            folder = self._folder / "assets" / name
            if version is not None:
                (folder / f"{version}.yml").unlink(missing_ok=True)
            said = {"type": type, "name": name, **({"description": description} if description else {})}
            while not self._write(file := folder / f"{version or number}.yml", said, content, digest):
                number += 1  # somebody else was quicker
            return RegisteredData(read_data_asset(file), digest, created=True)
        except OSError as error:
            raise SettingsError(
                f"The data cannot be kept in {self._folder}: {error.strerror}. Set TANDEM_HOME to a folder of yours."
            ) from error

    def _keep(self, path: Path, digest: str) -> Path:
        """Copy the content to its place, whole or not at all."""
        place = self._folder / "content" / (digest[:16] + (path.suffix if path.is_file() else ""))
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
        return place

    @staticmethod
    def _write(file: Path, said: Mapping[str, str], content: Path, digest: str) -> bool:
        """Write the YAML of a version; False if there is one."""
        place = {"path": os.path.relpath(content, file.parent), "tags": {"tandem.sha256": digest}}
        asset = {"$schema": SCHEMA, **said, "version": file.stem, **place}
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_of(file)
        draft.write_text(yaml.safe_dump(asset, sort_keys=False), encoding="utf-8")
        try:
            os.link(draft, file)  # fails where the version is there, as a rename would not
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True
