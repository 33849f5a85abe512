"""Which engine ``auto`` means here. Imports no engine."""

from dataclasses import dataclass
from typing import Literal

from flows.errors import SettingsError
from flows.settings import WORKSPACE_VARIABLES, Settings


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine's name, and why it was chosen."""

    name: Literal["local", "azureml"]
    reason: str


def chosen_engine(name: Literal["auto", "local", "azureml"], settings: Settings) -> EngineChoice:
    """Say which engine a run takes, and why.

    Raises:
        SettingsError: Azure ML is asked for.
    """
    missing = [variable for variable in WORKSPACE_VARIABLES if variable not in settings.workspace]
    if name == "local":
        return EngineChoice("local", "as asked")
    if name == "auto" and missing:
        return EngineChoice("local", f"{missing[0] if len(missing) == 1 else f'{len(missing)} variables'} not set")
    raise SettingsError(
        "The Azure ML engine is not part of this version yet, so nothing was run. "
        "Write --engine local to run the same pipeline on this machine."
    )
