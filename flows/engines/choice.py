"""Which engine ``auto`` means here, and where its runs are tracked. Imports no engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flows.errors import SettingsError
from flows.settings import Settings

Where = Literal["local", "azureml"]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine's name, why it was chosen, and where its runs are tracked."""

    name: Where
    reason: str
    tracking: Where


def chosen_engine(
    name: Literal["auto", "local", "azureml"], settings: Settings, tracking: Where = "local"
) -> EngineChoice:
    """Say which engine a run takes, and why.

    Raises:
        SettingsError: Azure ML is asked for, and a variable of the workspace is missing; all that are, are named.
    """
    missing = settings.missing_workspace
    if name != "local" and not missing:
        return EngineChoice("azureml", f"workspace {settings.workspace['AZUREML_ARM_WORKSPACE_NAME']}", "azureml")
    if name == "azureml":
        raise _needs(missing, "The Azure ML engine", "--engine local to run the same pipeline on this machine")
    reason = "as asked" if name == "local" else f"not set: {', '.join(missing)}"
    if tracking == "local":
        return EngineChoice("local", reason, "local")
    if missing:
        raise _needs(missing, "Tracking into a workspace", "--tracking local to track the runs on this machine")
    workspace = settings.workspace["AZUREML_ARM_WORKSPACE_NAME"]
    return EngineChoice("local", f"{reason}; tracked in the workspace {workspace}", "azureml")


def _needs(missing: Sequence[str], what: str, instead: str) -> SettingsError:
    return SettingsError(
        f"{what} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not set. "
        f"Nothing was run. Set them, or write {instead}."
    )
