"""Model registry of an Azure ML workspace. The champion is the newest version that carries a tag.

Azure ML has no lock, and the SDK makes no conditional requests for models (no If-Match). But it gives a version number
to one model only. So a version that is to be promoted is made with the champion's tag in the same request, under the
number after the newest of the list in which the champion was seen to be the one that it was compared with. If anyone
has registered anything since, the service refuses the number, and the champion is looked at again. That request is the
promotion: whoever is overtaken makes no version, and there is no moment at which two could be meant. Taking
the tag from the version before is only tidying up: where a run dies before it, the next promotion does it.

A process may be killed, or stand still for any time, between any two requests: the versions say who is the champion,
and the same run, started again, is told the same. This rests on two things: that the service refuses a number that
another model has, and that a list has every version whose making was answered before the list was asked for. It does
not hold against a person who moves the tag, or deletes the newest version, at the same moment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flows.engines.azureml.sdk.retries import AlreadyThereError, create_once, persistently
from flows.errors import RunError, UserError
from flows.mlflow_store.model_registry import Candidate, ModelVersion, Overtaken
from flows.tags import COMPARED_WITH, decision_tags

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.models import RemoteModel
    from flows.engines.azureml.sdk.workspace import Workspace

ALIAS_TAG = "tandem.alias"
CHAMPION = "champion"


class AzureModelRegistry:
    """Registers models from the outputs of jobs; a :class:`~flows.mlflow_store.model_registry.ModelRegistry`."""

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace

    async def champion(self, model_name: str) -> ModelVersion | None:
        """See :meth:`ModelRegistry.champion`."""
        champion = _champion(await self._versions(model_name))
        return None if champion is None else _version(champion, CHAMPION)

    async def version(self, model_name: str, version: int) -> ModelVersion | None:
        """See :meth:`ModelRegistry.version`."""
        return next((_version(one) for one in await self._versions(model_name) if one.version == version), None)

    async def register(self, candidate: Candidate) -> ModelVersion:
        """See :meth:`ModelRegistry.register`."""
        made, created = await self._ensure(candidate, candidate.tags)
        return _version(made, created=created)

    async def promote(
        self, candidate: Candidate, *, compared_with: int | None, flow_run_id: str
    ) -> ModelVersion | Overtaken:
        """See :meth:`ModelRegistry.promote`.

        A version that was promoted, and has had a successor since, is answered without an alias.
        """

        def check(known: "Sequence[RemoteModel]") -> None:
            champion = _champion(known)
            if champion is not None and champion.version != compared_with:
                raise _OvertakenError(champion.version)

        tags = {**candidate.tags, ALIAS_TAG: CHAMPION, **decision_tags(flow_run_id, compared_with)}
        try:
            made, created = await self._ensure(candidate, tags, check)
        except _OvertakenError as overtaken:
            return Overtaken(overtaken.by)
        tagged = [one.version for one in await self._versions(candidate.model_name) if ALIAS_TAG in one.tags]
        for before in tagged[:-1]:
            await self.tag(candidate.model_name, before, ALIAS_TAG, None)
        return _version(made, CHAMPION if tagged[-1:] == [made.version] else None, created)

    async def move(
        self, model_name: str, version: int, *, champion: int | None, new: Mapping[str, str], old: Mapping[str, str]
    ) -> ModelVersion | Overtaken:
        """See :meth:`ModelRegistry.move`.

        The champion's tag is set at the version first, and then taken from all newer ones: in between, the champion is
        the one from before.
        """
        known = await self._versions(model_name)
        wanted = next((one for one in known if one.version == version), None)
        if wanted is None:
            raise RunError(f"{model_name!r} has no version {version}. Nothing was changed.")
        now = _champion(known)
        if now is not None and now.version not in {champion, version}:
            return Overtaken(now.version)
        if champion is not None and champion != version:
            await persistently(lambda: self._workspace.models.tag(model_name, champion, dict(old)))
        tags = {**new, ALIAS_TAG: CHAMPION}
        await persistently(lambda: self._workspace.models.tag(model_name, version, tags))
        for one in known:
            if ALIAS_TAG in one.tags and one.version != version:
                await self.tag(model_name, one.version, ALIAS_TAG, None)
        return _version(replace(wanted, tags={**wanted.tags, **tags}), CHAMPION)

    async def tag(self, model_name: str, version: int, name: str, value: str | None) -> None:
        """See :meth:`ModelRegistry.tag`. Without a value the tag is taken away."""
        await persistently(lambda: self._workspace.models.tag(model_name, version, {name: value}))

    async def _ensure(
        self,
        candidate: Candidate,
        tags: Mapping[str, str],
        check: "Callable[[Sequence[RemoteModel]], None] | None" = None,
    ) -> tuple["RemoteModel", bool]:
        """The version that carries the idempotency tags, and whether it is new. After any doubt it is looked for again.

        It takes the number after those in which it was not found, so that of two who do this at once one is refused.

        Args:
            candidate: The model.
            tags: Further tags of a new version.
            check: For a version that is to be promoted: sees the versions before each try, and may raise. A version
                that was never promoted is not the one that is looked for.
        """

        model_name, idempotency_tags = candidate.model_name, candidate.idempotency_tags

        def same(versions: "Sequence[RemoteModel]") -> "RemoteModel | None":
            found = (one for one in versions if idempotency_tags.items() <= one.tags.items())
            return next((one for one in found if check is None or {ALIAS_TAG, COMPARED_WITH} & one.tags.keys()), None)

        known, hidden = await self._versions(model_name), frozenset[int]()
        if found := same(known):
            return found, False

        async def create() -> "RemoteModel":
            nonlocal hidden
            if check is not None:
                check(known)
            number = 1 + max((*hidden, *(version.version for version in known)), default=0)
            try:
                named = {**tags, **idempotency_tags}
                made = await self._workspace.models.create(
                    model_name, number, candidate.model, named, candidate.description
                )
            except UserError as error:
                # An archived version may have the number. They are looked at first: so the others are all in the list.
                hidden = await persistently(lambda: self._workspace.models.numbers(model_name))
                if number not in hidden:
                    raise
                raise AlreadyThereError(str(error)) from error
            if same((made,)) is None:
                raise AlreadyThereError(f"The version {number} of {model_name} is another model.")
            return made

        async def find() -> "RemoteModel | None":
            nonlocal known
            known = await self._workspace.models.versions(model_name)
            return same(known)

        return await create_once(create, find), True

    async def _versions(self, model_name: str) -> tuple["RemoteModel", ...]:
        return await persistently(lambda: self._workspace.models.versions(model_name))


class _OvertakenError(Exception):
    def __init__(self, by: int) -> None:
        self.by = by


def _champion(known: "Sequence[RemoteModel]") -> "RemoteModel | None":
    return next((one for one in reversed(known) if ALIAS_TAG in one.tags), None)


def _version(model: "RemoteModel", alias: str | None = None, created: bool = False) -> ModelVersion:
    return ModelVersion(
        name=model.name,
        version=model.version,
        created=created,
        alias=alias,
        source=f"azureml:{model.name}:{model.version}",
        run_id=model.job_name,
        tags=model.tags,
    )
