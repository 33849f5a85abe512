"""The table of engines, and which of them a run takes. Imports none of them before it is opened."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.engines.azureml.kind import AzureMlKind
from flows.engines.kind import EngineKind, Where
from flows.engines.local.kind import LocalKind
from flows.engines.polling import Timeouts
from flows.errors import SettingsError
from flows.mlflow_store.places import MlflowPlace, mlflow_place
from flows.settings import WORKSPACE_VARIABLES, Settings

if TYPE_CHECKING:
    from flows.engines.engine import Engine

ENGINES: dict[str, EngineKind] = {kind.name: kind for kind in (LocalKind(), AzureMlKind())}
"""Every engine, by its name. A further one is a package beside ``local`` and ``azureml``, and an entry here."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine, why it was chosen, and where its runs are tracked; ``mlflow`` is None if that is in a workspace."""

    kind: EngineKind
    reason: str
    tracking: Where
    mlflow: MlflowPlace | None = None


def chosen_engine(name: str, settings: Settings, tracking: Where = "local") -> EngineChoice:
    """Say which engine a run takes, and why. ``auto`` is one in a workspace where that is set, else one without.

    Raises:
        SettingsError: A workspace is needed, and a variable of it is missing; all that are, are named. Or the
            variables of MLflow name what cannot be used.
    """
    missing = settings.missing_workspace
    usable = [kind for kind in ENGINES.values() if not (missing and kind.needs_workspace)]
    kind = max(usable, key=lambda kind: kind.needs_workspace) if name == "auto" else ENGINES[name]
    if kind not in usable:
        raise _needs(missing, f"The {kind.title} engine", "--engine local to run the same pipeline on this machine")
    if kind.needs_workspace:
        return EngineChoice(kind, f"workspace {settings.workspace['AZUREML_ARM_WORKSPACE_NAME']}", "azureml")
    none = len(missing) == len(WORKSPACE_VARIABLES)  # all names together are longer than a line of a terminal
    reason = "no workspace: AZUREML_ARM_* are not set" if none else f"not set: {', '.join(missing)}"
    reason = reason if name == "auto" else "as asked"
    if tracking == "local":
        place = mlflow_place(settings)
        where = "" if place.is_own else f"; tracking in MLflow at {place}"
        return EngineChoice(kind, f"{reason}{where}", "local", place)
    if missing:
        raise _needs(missing, "Tracking into a workspace", "--tracking local to track the runs on this machine")
    workspace = settings.workspace["AZUREML_ARM_WORKSPACE_NAME"]
    return EngineChoice(kind, f"{reason}; tracked in the workspace {workspace}", "azureml")


@asynccontextmanager
async def open_engine(
    name: str,
    settings: Settings,
    timeouts: Timeouts | None = None,
    tracking: Where = "local",
    python: Path | None = None,
) -> "AsyncGenerator[Engine]":
    """An engine for one flow run. When it is left, nothing that it started runs unwatched.

    ``python`` is the interpreter of steps on this machine, where it is not that of this process.

    Raises:
        SettingsError: The engine cannot be used here.
    """
    choice = chosen_engine(name, settings, tracking)
    async with choice.kind.open(settings, timeouts or Timeouts(), choice.tracking, python) as engine:
        yield engine


def _needs(missing: Sequence[str], what: str, instead: str) -> SettingsError:
    return SettingsError(
        f"{what} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not set. "
        f"Nothing was run. Set {'it' if len(missing) == 1 else 'them'}, or write {instead}."
    )
