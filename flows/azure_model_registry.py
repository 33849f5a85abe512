"""The model registry of an Azure ML workspace. The champion is a tag that one version carries."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flows.model_registry import ModelVersion

if TYPE_CHECKING:
    from flows.engines.azure.models import RemoteModel
    from flows.engines.azure.workspace import Workspace

ALIAS_TAG = "tandem.alias"


class AzureModelRegistry:
    """Registers models from the outputs of jobs; a :class:`flows.model_registry.ModelRegistry`."""

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace

    async def champion(self, model_name: str) -> ModelVersion | None:
        """See :meth:`flows.model_registry.ModelRegistry.champion`.

        A run that died while it moved the tag has left two: the newer one is what it meant.
        """
        tagged = [model for model in await self._workspace.models.versions(model_name) if ALIAS_TAG in model.tags]
        return _version(tagged[-1], alias="champion") if tagged else None

    async def version(self, model_name: str, version: int) -> ModelVersion | None:
        """See :meth:`flows.model_registry.ModelRegistry.version`."""
        found = [model for model in await self._workspace.models.versions(model_name) if model.version == version]
        return _version(found[0], alias=None) if found else None

    async def register(
        self,
        model_name: str,
        model: str,
        *,
        run_id: str,
        idempotency_tags: Mapping[str, str],
        tags: Mapping[str, str] = {},
        alias: str | None = None,
    ) -> ModelVersion:
        """See :meth:`flows.model_registry.ModelRegistry.register`. The alias moves once the version is there."""
        known = await self._workspace.models.versions(model_name)
        same = [version for version in known if idempotency_tags.items() <= version.tags.items()]
        made = same[0] if same else await self._workspace.models.create(model_name, model, {**tags, **idempotency_tags})
        if alias is not None:
            if made.tags.get(ALIAS_TAG) != alias:
                await self._workspace.models.tag(model_name, made.version, ALIAS_TAG, alias)
            for other in known:
                if other.version != made.version and other.tags.get(ALIAS_TAG) == alias:
                    await self._workspace.models.tag(model_name, other.version, ALIAS_TAG, None)
        return _version(made, alias=alias, created=not same)

    async def tag(self, model_name: str, version: int, name: str, value: str) -> None:
        """See :meth:`flows.model_registry.ModelRegistry.tag`."""
        await self._workspace.models.tag(model_name, version, name, value)


def _version(model: "RemoteModel", alias: str | None, created: bool = False) -> ModelVersion:
    return ModelVersion(
        name=model.name,
        version=model.version,
        created=created,
        alias=alias,
        source=f"azureml:{model.name}:{model.version}",
        run_id=model.job_name,
        tags=model.tags,
    )
