"""Data assets and environments of a workspace."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from azure.ai.ml import load_data, load_environment
from azure.ai.ml.entities import Data

from flows.data.digests import data_digest
from flows.engines.azureml.sdk.connection import Connection
from flows.engines.azureml.sdk.retries import create_once, persistently

SHA256 = "tandem.sha256"
FROM_PROJECT = "tandem.from_project"  # made from a YAML file of the project, whenever that was first needed


class RemoteData(NamedTuple):
    """A version of a data asset, its type, its SHA-256 if it was registered with that, and when it was registered.

    ``registered`` is None for data of the project, which a run has only brought to the workspace.
    """

    version: str
    type: str
    sha256: str | None
    registered: datetime | None = None


class Assets:
    """Finds data assets and environments, and makes those that are not there yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_data(self, name: str, version: str | None) -> RemoteData | None:
        """A version of a data asset, the newest if None; None if there is no such version."""
        which = {"label": "latest"} if version is None else {"version": version}
        found: Any = await self._connection.look(lambda client: client.data.get(name, **which))
        return None if found is None else _remote_data(found)

    async def register_data(self, path: Path, name: str, sha256: str) -> tuple[RemoteData, bool]:
        """Make the next version of a data asset, unless the newest has this content; whether it was made."""
        latest = await self.find_data(name, None)
        if latest is not None and latest.sha256 == sha256:
            return latest, False
        data = Data(name=name, path=str(path), type="uri_file", tags={SHA256: sha256})
        return _remote_data(await self._connection.upload(lambda client: client.data.create_or_update(data))), True

    async def create_data(self, file: Path, path: Path | None) -> RemoteData:
        """Make a data asset from its YAML file, in the version that the file says; ``path`` is where its data is."""
        data: Any = load_data(file)
        data.tags = {**(data.tags or {}), FROM_PROJECT: "true"}
        if path is not None:
            data.tags[SHA256] = data_digest(path)

        async def create() -> RemoteData:
            return _remote_data(await self._connection.upload(lambda client: client.data.create_or_update(data)))

        # Someone else may make it at this moment: the version, or so far only its file.
        return await create_once(create, lambda: self.find_data(str(data.name), str(data.version)))

    async def has_environment(self, name: str, version: str) -> bool:
        """Whether an environment has this version."""
        return await self._find_environment(name, version) is not None

    async def ensure_environment(self, file: Path, name: str, version: str) -> None:
        """Make an environment from its YAML file, under this name and version, unless it is there."""
        if await persistently(lambda: self.has_environment(name, version)):
            return

        def create(client: Any) -> Any:
            environment: Any = load_environment(file)
            environment.name, environment.version = name, version
            return client.environments.create_or_update(environment)

        await create_once(lambda: self._connection.upload(create), lambda: self._find_environment(name, version))

    async def _find_environment(self, name: str, version: str) -> Any:
        return await self._connection.look(lambda client: client.environments.get(name, version))


def _remote_data(data: Any) -> RemoteData:
    tags, made = data.tags or {}, data.creation_context
    registered = None if made is None or FROM_PROJECT in tags else made.created_at
    return RemoteData(str(data.version), str(data.type), tags.get(SHA256), registered)
