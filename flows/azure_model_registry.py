"""The model registry of an Azure ML workspace. The champion is a tag that one version carries."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flows.engines.azure.connection import RETRY_SECONDS, TRIES, AlreadyThereError, persistently
from flows.errors import ServiceError, TandemError, UserError
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

        Where two versions carry the tag, as long as it is moved, the newer one is what is meant.
        """
        tagged = [model for model in await self._versions(model_name) if ALIAS_TAG in model.tags]
        return _version(tagged[-1], alias="champion") if tagged else None

    async def version(self, model_name: str, version: int) -> ModelVersion | None:
        """See :meth:`flows.model_registry.ModelRegistry.version`."""
        found = [model for model in await self._versions(model_name) if model.version == version]
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
        made, created = await self._ensure(model_name, model, idempotency_tags, tags)
        if alias is not None and not await self._give(alias, made):
            alias = None
        return _version(made, alias=alias, created=created)

    async def tag(self, model_name: str, version: int, name: str, value: str | None) -> None:
        """See :meth:`flows.model_registry.ModelRegistry.tag`. Without a value the tag is taken away."""
        await persistently(lambda: self._workspace.models.tag(model_name, version, name, value))

    async def _ensure(
        self, model_name: str, model: str, idempotency_tags: Mapping[str, str], tags: Mapping[str, str]
    ) -> tuple["RemoteModel", bool]:
        """The version that carries the idempotency tags, and whether it is new. After any doubt it is looked for again.

        It takes the number after those in which it was not found, so that of two who do this at once one is refused.
        """

        def same(versions: tuple["RemoteModel", ...]) -> "RemoteModel | None":
            return next((one for one in versions if idempotency_tags.items() <= one.tags.items()), None)

        known, number_is_free = await self._versions(model_name), True
        if found := same(known):
            return found, False
        trouble: TandemError | None = None
        for tries in range(1, TRIES + 1):
            number = 1 + max((version.version for version in known), default=0) if number_is_free else None
            trouble = None
            try:
                made = await self._workspace.models.create(model_name, number, model, {**tags, **idempotency_tags})
                if same((made,)):
                    return made, True
            except ServiceError as error:
                trouble = error
                await asyncio.sleep(RETRY_SECONDS * tries)
            except UserError as error:
                trouble = error
            before, known = known, await self._versions(model_name)
            if found := same(known):
                return found, True
            refused = isinstance(trouble, UserError) and known == before
            if refused and not isinstance(trouble, AlreadyThereError):
                break
            number_is_free = not refused  # else an archived version has it, which is not listed
        raise trouble or ServiceError(f"The workspace gave every new version of {model_name} to someone else.")

    async def _give(self, alias: str, made: "RemoteModel") -> bool:
        """Have the newest version that carries the alias, this one counted among them, be the only one; is it this?"""
        if made.tags.get(ALIAS_TAG) != alias:
            await self.tag(made.name, made.version, ALIAS_TAG, alias)
        carriers = {version.version for version in await self._versions(made.name) if ALIAS_TAG in version.tags}
        *others, newest = sorted(carriers | {made.version})
        for other in others:
            await self.tag(made.name, other, ALIAS_TAG, None)
        return newest == made.version

    async def _versions(self, model_name: str) -> tuple["RemoteModel", ...]:
        return await persistently(lambda: self._workspace.models.versions(model_name))


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
