"""The data assets and environments of a workspace."""

from pathlib import Path
from typing import Any

from azure.ai.ml import load_data, load_environment

from flows.engines.azure.connection import AlreadyThereError, Connection


class Assets:
    """Finds data assets and environments, and makes those that are not there yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_data(self, name: str, version: str | None) -> tuple[str, str] | None:
        """The concrete version and the type of a data asset (of its newest version, if None)."""
        which = {"label": "latest"} if version is None else {"version": version}
        found: Any = await self._connection.look(lambda client: client.data.get(name, **which))
        return None if found is None else (str(found.version), str(found.type))

    async def create_data(self, file: Path) -> tuple[str, str]:
        """Make a data asset from its YAML file, in the version that the file says; return version and type."""
        data: Any = load_data(file)
        try:
            made: Any = await self._connection.upload(lambda client: client.data.create_or_update(data))
        except AlreadyThereError:  # made by someone else at this moment
            made = await self._connection.call(lambda client: client.data.get(data.name, data.version))
        return str(made.version), str(made.type)

    async def ensure_environment(self, file: Path, name: str, version: str) -> None:
        """Make an environment from its YAML file, under this name and version, unless it is there."""
        if await self._connection.look(lambda client: client.environments.get(name, version)) is not None:
            return

        def make(client: Any) -> None:
            environment: Any = load_environment(file)
            environment.name, environment.version = name, version
            client.environments.create_or_update(environment)

        await self._connection.upload(make)
