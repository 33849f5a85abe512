"""Registered models of a workspace."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from azure.ai.ml.constants import AssetTypes, ListViewType
from azure.ai.ml.entities import Model

from flows.engines.azureml.sdk.connection import Connection


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A version of a registered model in the workspace."""

    name: str
    version: int
    path: str
    job_name: str | None
    tags: Mapping[str, str]


class Models:
    """Lists, registers and tags versions of models."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def versions(self, name: str) -> tuple[RemoteModel, ...]:
        """The versions of a registered model whose name is a number, in ascending order. Tandem makes no others."""
        found: Iterable[Any] = await self._connection.look(lambda client: list(client.models.list(name=name))) or ()
        numbered = (_remote_model(model) for model in found if str(model.version).isdecimal())
        return tuple(sorted(numbered, key=lambda model: model.version))

    async def numbers(self, name: str) -> frozenset[int]:
        """The numbers that are taken: those of all versions, archived ones included."""
        every = ListViewType.ALL
        found: Iterable[Any] | None = await self._connection.look(
            lambda client: list(client.models.list(name=name, list_view_type=every))
        )
        return frozenset(int(model.version) for model in found or () if str(model.version).isdecimal())

    async def create(
        self, name: str, version: int, path: str, tags: Mapping[str, str], description: str = ""
    ) -> RemoteModel:
        """Register a model from the output of a job under a number. The caller looks for it after any doubt.

        Raises:
            AlreadyThereError: The version is that of another model.
        """
        model = Model(
            name=name,
            version=str(version),
            path=path,
            type=AssetTypes.MLFLOW_MODEL,
            tags=dict(tags),
            description=description or None,
        )

        def make(client: Any) -> Any:
            return client.models.create_or_update(model)

        return _remote_model(await self._connection.call(make, again=False))

    async def tag(self, name: str, version: int, tags: Mapping[str, str | None]) -> None:
        """Set tags of a version, and remove those without a value. Of two calls at once, one may undo the other."""

        def change(client: Any) -> None:
            model: Any = client.models.get(name, str(version))
            changed = {**(model.tags or {}), **tags}
            model.tags = {tag: value for tag, value in changed.items() if value is not None}
            client.models.create_or_update(model)

        await self._connection.call(change)


def _remote_model(model: Any) -> RemoteModel:
    return RemoteModel(
        name=str(model.name),
        version=int(model.version),
        path=str(model.path),
        job_name=model.job_name,
        tags=dict(model.tags or {}),
    )
