"""Which data counts as incoming: a file, or a version of a data asset that is newer than the champion's data. Pure.

A version is newer if it is a later one of the data asset that the champion was trained on, or, where the champion was
trained on something else, if it was registered after that training. A file is incoming because somebody names it.
"""

from datetime import datetime

from flows.data.assets import ResolvedData, newer_version
from flows.mlflow_store.model_registry import ModelVersion
from flows.spec.model.asset_reference import AssetReference
from flows.tags import DATA, DATA_SHA256, TRAINED_AT


def why_not_incoming(champion: ModelVersion, data: ResolvedData) -> str:
    """Say why data is not to be compared with what the champion was trained on; empty if it is."""
    who, trained_on = f"{champion.name} version {champion.version}", champion.tags.get(DATA)
    if _is_of(champion, data):
        return f"{data.label} is what {who} was trained on."
    if data.name is None or data.version is None or trained_on is None:
        return ""
    known = AssetReference.short(trained_on)
    if known is not None and known.version is not None and known.name == data.name:
        if newer_version(data.version, known.version):
            return ""
        return f"{data.label} is older than {trained_on}, which {who} was trained on. {_how_else(data)}"
    return _not_after(champion, data, who, trained_on)


def _is_of(champion: ModelVersion, data: ResolvedData) -> bool:
    """Whether the champion was trained on this data: by content where both are known, else by name and version."""
    digest = champion.tags.get(DATA_SHA256)
    if digest and data.sha256:
        return digest == data.sha256
    return champion.tags.get(DATA) == data.label


def _not_after(champion: ModelVersion, data: ResolvedData, who: str, trained_on: str) -> str:
    since = _time(champion.tags.get(TRAINED_AT))
    if since is not None and data.registered is not None and data.registered > since:
        return ""
    trained = f"{who} was trained on {trained_on}" + ("" if since is None else f" at {since:%Y-%m-%d %H:%M} UTC")
    when = "at an unknown time" if data.registered is None else f"at {data.registered:%Y-%m-%d %H:%M} UTC"
    return f"{data.label} is not known to be newer: it was registered {when}, and {trained}. {_how_else(data)}"


def _how_else(data: ResolvedData) -> str:
    file = "FILE" if data.path is None else data.path
    return f"To compare it all the same, name its file: tandem watch {file}"


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
