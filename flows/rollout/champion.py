"""A person moves the champion of a model: to a version, or back to the one before."""

import getpass
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.errors import DataAssetError, RunError
from flows.mlflow_store.model_registry import ModelRegistry, ModelVersion, Overtaken
from flows.orchestration.journal import RunIdentity, forget_interrupted
from flows.serving.wanted_model import find_version
from flows.settings import Settings
from flows.training.moves import Move, replaced

_NOTE = re.compile(r"(\d+) in place of (\d+)\.")


@dataclass(frozen=True, slots=True)
class Moved:
    """The champion of a model was moved; or was that version already, where ``before`` is the same.

    ``earlier`` if it was moved by an earlier start of the same command, which was killed before it could tell.
    """

    version: ModelVersion
    before: ModelVersion | None
    earlier: bool = False


def way_back(engine: str, settings: Settings, *, model: str = "", endpoint: str = "") -> tuple[object, ...]:
    """What makes two ways back the same one, for :mod:`flows.orchestration.journal`: of a model, or of an endpoint.

    Args:
        engine: The name of the engine whose registry or endpoint it is.
        settings: Which workspace, or which MLflow servers.
        model: Its name.
        endpoint: Its name.
    """
    return ("rollback", engine, dict(settings.workspace), dict(settings.mlflow), model, endpoint)


def forget_ways_back(engine: str, settings: Settings, *, model: str, endpoint: str) -> None:
    """Forget the interrupted ways back of a model and of an endpoint: a rollout has come to its end there since."""
    forget_interrupted(settings.begun_runs, way_back(engine, settings, model=model))
    forget_interrupted(settings.begun_runs, way_back(engine, settings, endpoint=endpoint))


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


async def roll_back(registry: ModelRegistry, name: str, why: str, begun: RunIdentity) -> Moved:
    """Make the version that the champion has replaced the champion again.

    What is about to be moved is written down before. An equal command that was killed, before or after it moved it,
    means the same move; the champion is not moved one version further.

    Raises:
        ParameterError: There is no reason, or the name is none.
        DataAssetError: There is no champion, or it has replaced none.
        RunError: Another version became the champion meanwhile.
    """
    champion = await find_version(registry, name)
    noted = _NOTE.fullmatch(begun.note)
    if noted is not None and champion.version == int(noted[1]):
        return Moved(champion, await registry.version(champion.name, int(noted[2])), earlier=True)
    before = await version_before(registry, champion, "tandem promote {} --reason TEXT")
    begun.write_down(f"{before.version} in place of {champion.version}.")
    return await _move(registry, before, champion, why)


async def version_before(registry: ModelRegistry, version: ModelVersion, otherwise: str) -> ModelVersion:
    """The champion that a version has replaced.

    Args:
        registry: Where both are.
        version: The later one.
        otherwise: The command to type where there is none, with ``{}`` for a model and its version.

    Raises:
        DataAssetError: It has replaced none, or that one is gone.
    """
    number = replaced(version)
    found = None if number is None else await registry.version(version.name, number)
    if found is None:
        said = "has replaced no other" if number is None else f"has replaced version {number}, which is gone"
        raise DataAssetError(
            f"{version.name}:{version.version} {said}. Nothing was changed. Name a version: "
            f"{otherwise.format(f'{version.name}:VERSION')}"
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
