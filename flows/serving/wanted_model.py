"""The version of a registered model that is to be served, by its name and version or alias."""

from pathlib import Path

from flows.data.digests import data_digest, text_digest
from flows.errors import DataAssetError, ParameterError
from flows.mlflow_store.model_registry import ModelRegistry, ModelVersion
from flows.serving.endpoints import ServedModel
from flows.settings import TRAINED_MODEL
from flows.spec.model.asset_reference import AssetReference

CHAMPION = "champion"


async def find_version(registry: ModelRegistry, text: str) -> ModelVersion:
    """Find ``NAME``, ``NAME@champion`` (both are the champion) or ``NAME:VERSION``.

    Raises:
        ParameterError: It is no such reference.
        DataAssetError: There is no such version.
    """
    asked = AssetReference.short(text)
    if asked is None or (asked.version is not None and not asked.version.isdecimal()):
        raise ParameterError(f"{text!r} is no model. Write NAME, NAME@champion or NAME:VERSION. Nothing was changed.")
    if asked.label not in (None, CHAMPION):
        raise ParameterError(f"{text!r}: the label of a model to serve is @{CHAMPION}, or give NAME:VERSION.")
    if asked.version is None:
        found = await registry.champion(asked.name)
    else:
        found = await registry.version(asked.name, int(asked.version))
    if found is None:
        if asked.version is None:
            raise DataAssetError(
                f"The registry has no champion of {asked.name}. Nothing was changed. {champion_remedy(asked.name)}"
            )
        remedy = f"For the champion, write {asked.name}."
        raise DataAssetError(
            f"The registry has no version {asked.version} of {asked.name}. Nothing was changed. {remedy}"
        )
    return found


def champion_remedy(name: str) -> str:
    """What to type where a model has no champion. A training is named for the project's own model only."""
    train = ", or train one: make train" if name == TRAINED_MODEL else ""
    return (
        f"Name a version ({name}:VERSION), make one the champion (tandem promote {name}:VERSION --reason TEXT){train}. "
        f"See which there are: tandem ui"
    )


def served_model(version: ModelVersion) -> ServedModel:
    """The version as the tags of a deployment name it.

    Its digest is that of its files, or of its address where they are in a workspace, in which a version never changes.
    """
    folder = Path(version.source.removeprefix("file://"))
    digest = data_digest(folder) if folder.is_dir() else text_digest(version.source)
    return ServedModel(version.name, version.version, digest)
