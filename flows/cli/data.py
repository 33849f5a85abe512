"""``tandem data register``: the next version of a data asset, and the event that tells who waits for it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from flows.data.assets import ResolvedData, check_asset_name, is_path, resolve_data
from flows.engines.open_engine import chosen_engine
from flows.errors import DataAssetError
from flows.prefect_api.server import find_prefect_api, use_prefect_api
from flows.settings import Settings, make_command, training_command
from flows.training.parameters import EngineName
from flows.training.request import require_project
from flows.training.trainable import why_untrainable


def register_data(file: str, name: str, engine: EngineName, *, as_json: bool) -> int:
    """Check a data file as prep would, register it, and emit ``tandem.data.registered``.

    Raises:
        ParameterError: The name is none that data can have.
        SettingsError: The pipeline is not there.
        DataAssetError: The file is not there, or is not the data that the pipeline takes; every fault is named.
    """
    check_asset_name(name)
    settings = Settings.from_environment()
    require_project(settings)
    kind = chosen_engine(engine, settings).kind
    path = resolve_data(file if is_path(file) else f"./{file}", settings.data_assets).path
    assert path is not None  # a path that is there
    if said := why_untrainable(path, settings):
        raise DataAssetError(f"{path} is not data that the pipeline takes; nothing was registered:\n{said}")
    data, created = asyncio.run(kind.register_data(settings, path, name))
    told = tell_registered(settings, data)
    if as_json:
        print(json.dumps(_as_data(data, created, kind.name, told), indent=2))
    else:
        print(_as_text(data, created, told))
    return 0


def tell_registered(settings: Settings, data: ResolvedData) -> bool | None:
    """Emit the event; None if there is no Prefect API that lives longer than this command."""
    if find_prefect_api(settings) is None:
        return None
    use_prefect_api(settings)
    from flows.orchestration.events import data_registered, emit

    return asyncio.run(emit(data_registered(data, data.sha256 or "")))


def _as_data(data: ResolvedData, created: bool, engine: str, told: bool | None) -> Mapping[str, Any]:
    return {
        "data_asset": data.label,
        "created": created,
        "engine": engine,
        "sha256": data.sha256,
        "path": None if data.path is None else str(data.path),
        "event_emitted": bool(told),
    }


def _as_text(data: ResolvedData, created: bool, told: bool | None) -> str:
    what = "registered" if created else "there already, with the same content"
    event = event_as_text(told, ", which starts train-pipeline/on-new-data where that is deployed")
    next_command = f"{training_command()} --data_asset_name {data.label}"
    return f"\n  data   {data.label}, {what}\n  event  {event}\n\n  Train on it:  {next_command}\n"


def event_as_text(told: bool | None, consequence: str = "") -> str:
    """Whether the event of new data was emitted, as :func:`tell_registered` returns it, and what comes of it."""
    if told is None:
        return f"there is no Prefect server, so nobody was told ({make_command('ui', 'tandem ui')})"
    return f"emitted tandem.data.registered{consequence}" if told else "Prefect knows of it"
