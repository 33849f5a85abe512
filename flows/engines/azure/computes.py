"""The compute targets of a workspace."""

from flows.engines.azure.connection import Connection


class Computes:
    """Finds compute targets."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def names(self) -> tuple[str, ...]:
        """The names of the compute targets of the workspace."""
        found = await self._connection.call(lambda client: list(client.compute.list()))
        return tuple(str(compute.name) for compute in found)

    async def has(self, name: str) -> bool:
        """Whether there is a compute target of this name."""
        return await self._connection.look(lambda client: client.compute.get(name)) is not None
