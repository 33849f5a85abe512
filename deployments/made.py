"""What was made here: its names are kept in a variable on the server, each written down before it is made.

So `make undeploy` removes that and nothing else, from any machine, and whatever happened in between.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

VARIABLE = "tandem_made"

Kind = Literal["pool", "variable", "block", "deployment", "automation"]
Verb = Literal["there", "made", "changed", "removed", "gone"]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one object: it was ``there`` as wanted, or ``made``, ``changed``, ``removed``; or it was ``gone``
    before it could be removed."""

    verb: Verb
    kind: Kind
    name: str
    detail: str = ""


@dataclass(slots=True)
class Made:
    """The names of what was made here, as the server keeps them."""

    client: PrefectClient
    names: set[tuple[Kind, str]] = field(default_factory=set[tuple[Kind, str]])

    @classmethod
    async def read(cls, client: PrefectClient) -> "Made":
        """Read them; none if nothing was ever made."""
        variable = await client.read_variable_by_name(VARIABLE)
        words: Any = [] if variable is None else variable.value
        pairs: Any = (str(word).split(" ", 1) for word in words)
        return cls(client, {(kind, name) for kind, name in pairs})

    async def add(self, kind: Kind, name: str) -> None:
        """Write down what is about to be made."""
        if (kind, name) not in self.names:
            self.names.add((kind, name))
            await self._write()

    async def take(self, kind: Kind, name: str) -> None:
        """Forget what was removed; with the last, the variable too."""
        if (kind, name) in self.names:
            self.names.remove((kind, name))
            await self._write()

    def of(self, kind: Kind) -> list[str]:
        """The names of one kind, in order."""
        return sorted(name for of_kind, name in self.names if of_kind == kind)

    async def _write(self) -> None:
        if self.names:
            await write_variable(self.client, VARIABLE, sorted(f"{kind} {name}" for kind, name in self.names))
        else:
            await self.client.delete_variable_by_name(VARIABLE)


async def write_variable(client: PrefectClient, name: str, value: Any) -> None:
    """Set a variable, whether there is one or not."""
    if await client.read_variable_by_name(name) is None:
        await client.create_variable(VariableCreate(name=name, value=value, tags=["tandem"]))
    else:
        await client.update_variable(VariableUpdate(name=name, value=value))
