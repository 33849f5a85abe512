"""A person moves the champion of a model: to a version, or back to the one before."""

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.errors import DataAssetError, RunError
from flows.mlflow_store.model_registry import ModelRegistry, ModelVersion, Overtaken
from flows.serving.wanted_model import find_version
from flows.training.moves import Move, replaced


@dataclass(frozen=True, slots=True)
class Moved:
    """The champion of a model was moved; or was that version already, where ``before`` is the same."""

    version: ModelVersion
    before: ModelVersion | None


async def promote_version(registry: ModelRegistry, text: str, why: str) -> Moved:
    """Make ``NAME:VERSION`` the champion, and write down who did it and why.

    Raises:
        ParameterError: It names no version, or there is no reason.
        DataAssetError: There is no such version.
        RunError: Another version became the champion meanwhile.
    """
    wanted = await find_version(registry, text)
    champion = await registry.champion(wanted.name)
    if champion is not None and champion.version == wanted.version:
        return Moved(champion, champion)
    return await _move(registry, wanted, champion, why)


async def roll_back(registry: ModelRegistry, name: str, why: str) -> Moved:
    """Make the version that the champion has replaced the champion again.

    Raises:
        ParameterError: There is no reason, or the name is none.
        DataAssetError: There is no champion, or it has replaced none.
        RunError: Another version became the champion meanwhile.
    """
    champion = await find_version(registry, name)
    return await _move(registry, await version_before(registry, champion), champion, why)


async def version_before(registry: ModelRegistry, version: ModelVersion) -> ModelVersion:
    """The champion that a version has replaced.

    Raises:
        DataAssetError: It has replaced none, or that one is gone.
    """
    number = replaced(version)
    found = None if number is None else await registry.version(version.name, number)
    if found is None:
        said = "has replaced no other" if number is None else f"has replaced version {number}, which is gone"
        raise DataAssetError(
            f"{version.name}:{version.version} {said}. Nothing was changed. Name a version: "
            f"tandem promote {version.name}:VERSION --reason TEXT"
        )
    return found


async def _move(registry: ModelRegistry, wanted: ModelVersion, champion: ModelVersion | None, why: str) -> Moved:
    move = Move(wanted, champion, _user(), why, datetime.now(UTC))
    number = None if champion is None else champion.version
    made = await registry.move(
        wanted.name, wanted.version, champion=number, new=move.tags_of_new(), old=move.tags_of_old()
    )
    if isinstance(made, Overtaken):
        raise RunError(
            f"Version {made.by} of {wanted.name} became the champion meanwhile. Nothing was changed. Look at it, and "
            "type the command again if it is still meant."
        )
    return Moved(made, champion)


def _user() -> str:
    try:
        return getpass.getuser()[:32]
    except (KeyError, OSError):
        return "unknown"
