"""The registered models of a workspace."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Model

from flows.engines.azure.connection import Connection


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
        """Every version of a registered model that is a number, by number; any other text is none of ours."""
        found: Iterable[Any] = await self._connection.look(lambda client: list(client.models.list(name=name))) or ()
        numbered = (_remote_model(model) for model in found if str(model.version).isdecimal())
        return tuple(sorted(numbered, key=lambda model: model.version))

    async def create(self, name: str, version: int | None, path: str, tags: Mapping[str, str]) -> RemoteModel:
        """Register a model from the output of a job; without a number, as the version that the workspace gives it.

        Raises:
            AlreadyThereError: The version is that of another model.
        """
        number = None if version is None else str(version)
        model = Model(name=name, version=number, path=path, type=AssetTypes.MLFLOW_MODEL, tags=dict(tags))
        return _remote_model(await self._connection.call(lambda client: client.models.create_or_update(model)))

    async def tag(self, name: str, version: int, tag: str, value: str | None) -> None:
        """Set a tag of a version, or take it away."""

        def change(client: Any) -> None:
            model: Any = client.models.get(name, str(version))
            tags = {key: text for key, text in (model.tags or {}).items() if key != tag}
            model.tags = tags if value is None else {**tags, tag: value}
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
