"""Workspace: its jobs, assets, compute targets and models, over one connection for all flow runs of a process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from flows.engines.azureml.sdk.assets import Assets
from flows.engines.azureml.sdk.computes import Computes
from flows.engines.azureml.sdk.connection import Connection
from flows.engines.azureml.sdk.data_files import DataFiles
from flows.engines.azureml.sdk.jobs import Jobs
from flows.engines.azureml.sdk.models import Models
from flows.machine.living import current
from flows.settings import Settings


class Workspace:
    """The jobs, assets, compute targets and models of one workspace."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.name = connection.name
        self.jobs = Jobs(connection)
        self.assets = Assets(connection)
        self.data_files = DataFiles(connection)
        self.computes = Computes(connection)
        self.models = Models(connection)

    async def location(self) -> str:
        """The region that the workspace is in."""
        # `workspaces.get` asks the same, and imports MLflow, which takes seconds, to make an address of its answer.
        found = await self.connection.call(
            lambda client: client.workspaces._operation.get(client.resource_group_name, self.name)
        )
        return str(found.location)


_open: dict[tuple[str, ...], tuple[Connection, int]] = {}


@asynccontextmanager
async def open_workspace(settings: Settings) -> AsyncGenerator[Workspace]:
    """The workspace of the settings. The connection is closed when the last who uses it has left."""
    if (process := current()) is not None:
        process.keep_temporary_files()  # the SDK copies code with additional includes before it uploads it
    key = (*sorted(settings.workspace.values()), settings.managed_identity_client_id or "")
    # No await between looking and writing: flow runs of one process share one event loop or none of this.
    connection, users = _open.get(key) or (Connection(settings), 0)
    _open[key] = connection, users + 1
    try:
        yield Workspace(connection)
    finally:
        connection, users = _open[key]
        if users > 1:
            _open[key] = connection, users - 1
        else:
            del _open[key]
            await asyncio.to_thread(connection.close)
