"""Core quotas of the workspace's region."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.engines.azureml.sdk.connection import Connection


@dataclass(frozen=True, slots=True)
class CoreQuota:
    """A limit on cores: of one ``family`` of VM sizes, or of all together (None).

    ``tier`` is ``dedicated`` or ``low_priority``; ``limit`` None where there is none.
    """

    name: str
    family: str | None
    tier: str
    used: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class VmSize:
    """A size of VMs: the family whose quota it counts against, and its cores."""

    family: str
    cores: int


class Quotas:
    """Looks up VM sizes and quotas of the region that a workspace is in."""

    def __init__(self, connection: Connection, location: str) -> None:
        self._connection = connection
        self._location = location

    async def size(self, name: str) -> VmSize | None:
        """The VM size of this name, if the region has it."""
        return (await self.sizes()).get(name.lower())

    async def sizes(self) -> Mapping[str, VmSize]:
        """The VM sizes that the region has, by their names in lower case."""
        found = await self._connection.call(lambda client: list(client.compute.list_sizes(location=self._location)))
        return {
            str(size.name).lower(): VmSize(str(_told(size, "family")), int(_told(size, "v_cp_us", "vCPUs")))
            for size in found
        }

    async def cores(self) -> tuple[CoreQuota, ...]:
        """The quotas of cores that hold for this workspace."""
        found = await self._connection.call(lambda client: list(client.compute.list_usage(location=self._location)))
        return tuple(_quota(usage) for usage in found if self._is_ours(usage) and _is_of_cores(usage))

    def _is_ours(self, usage: Any) -> bool:
        """A row of a workspace counts for that workspace alone."""
        _, is_of_one, workspace = str(_told(usage, "id") or "").lower().partition("/workspaces/")
        return not is_of_one or workspace.partition("/")[0] == self._connection.name.lower()


def _is_of_cores(usage: Any) -> bool:
    return "cores" in str(_told(usage, "type")).lower()


def _quota(usage: Any) -> CoreQuota:
    kind, name, limit = str(_told(usage, "type")), _told(usage, "name"), int(_told(usage, "limit"))
    return CoreQuota(
        name=str(name.get("localizedValue") or name.get("localized_value") or name.get("value")),
        family=str(name["value"]) if "/vmfamily/" in kind.lower() else None,
        tier="low_priority" if "lowpriority" in kind.lower() else "dedicated",
        used=int(_told(usage, "current_value", "currentValue") or 0),
        limit=None if limit < 0 else limit,
    )


def _told(entity: Any, *names: str) -> Any:
    """A value by the first of its names that has one: 1.35.2 leaves some under the name that they have on the wire."""
    return next((value for name in names if (value := getattr(entity, name, None)) is not None), None)
