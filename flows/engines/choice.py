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
        SettingsError: Azure ML is asked for, and a variable of the workspace is missing; all that are, are named.
    """
    missing = [variable for variable in WORKSPACE_VARIABLES if variable not in settings.workspace]
    if name == "local":
        return EngineChoice("local", "as asked")
    if not missing:
        return EngineChoice("azureml", f"workspace {settings.workspace['AZUREML_ARM_WORKSPACE_NAME']}")
    if name == "auto":
        return EngineChoice("local", f"not set: {', '.join(missing)}")
    raise SettingsError(
        f"The Azure ML engine needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not set. "
        "Nothing was run. Set them, or write --engine local to run the same pipeline on this machine."
    )
