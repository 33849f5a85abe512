"""Registered models as inputs of a job: ``azureml:NAME:VERSION`` and ``azureml:NAME@ALIAS`` in MLflow's registry.

A name means first what a job has delivered under it, then what MLflow's registry has; without a version, the newest of
both.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.mlflow_store.model_names import MODEL_NAME
from flows.mlflow_store.places import mlflow_place
from flows.settings import Settings
from flows.spec.model.asset_reference import AssetReference

# Of this process: a command reads the inputs of its job twice, and the second time need not start MLflow again.
_known: dict[tuple[str, str], "RegisteredModel | None"] = {}


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version of a registered model, and the folder of this machine that has its files."""

    version: int
    folder: Path


def registered_model(text: str, settings: Settings) -> RegisteredModel | None:
    """Find a registered model by ``name:version``, ``name@alias`` or ``name``; None if MLflow has none such.

    Raises:
        ServiceError: MLflow's server does not answer.
        RunError: The model is registered, and its files are gone.
    """
    asked, place = AssetReference.short(text), mlflow_place(settings)
    if asked is None or not MODEL_NAME.fullmatch(asked.name):
        return None
    if place.is_own and not (settings.home / "mlflow.db").exists():
        return None
    key = (place.registry, text)
    if key not in _known:
        from flows.engines.local.host.one_call import ask_mlflow  # only a job with such an input needs it

        found: Any = ask_mlflow(settings, "find_model", model_name=asked.name, version=asked.version, label=asked.label)
        _known[key] = None if found is None else RegisteredModel(int(found["version"]), Path(found["source_path"]))
    return _known[key]
