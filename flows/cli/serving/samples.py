"""``tandem endpoints samples``: what is kept of an endpoint's requests, and a version of a data asset made of it."""

import asyncio
import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.cli.data import event_as_text, tell_registered
from flows.cli.options import EndpointSamplesOptions
from flows.data.assets import ResolvedData, check_asset_name
from flows.engines.kind import EngineKind
from flows.engines.open_engine import chosen_engine, open_engine
from flows.errors import DataAssetError, ParameterError, ServingError
from flows.plain_text.table import aligned
from flows.serving.endpoints import Endpoint
from flows.serving.open_serving import open_serving
from flows.serving.samples import Samples, read_samples
from flows.settings import Settings
from flows.spec.model.asset_reference import AssetReference
from flows.tags import DATA


def show_samples(options: EndpointSamplesOptions) -> int:
    """Print what is kept, register it if asked to, and return the exit code.

    Raises:
        ParameterError: The time or the name of the data asset is none.
        ServingError: There is no such endpoint.
        DataAssetError: There are no rows that could be registered, or the name is that of data with labels.
    """
    since = None if options.since is None else _time(options.since)
    if options.register is not None:
        check_asset_name(options.register)
    settings = Settings.from_environment()
    kind = chosen_engine(options.engine, settings).kind

    async def found() -> tuple[Samples, tuple[ResolvedData, bool] | None]:
        with tempfile.TemporaryDirectory() as place:
            folder, file = Path(place, "collected"), Path(place, f"{options.name}.csv")
            async with open_serving(kind.name, settings) as serving:
                endpoint = await serving.endpoint(options.name)
                if endpoint is None:
                    raise ServingError(f"There is no endpoint {options.name}. See what there is: tandem endpoints")
                kept = await serving.collected(options.name, folder)
            if options.register is None:
                return await asyncio.to_thread(read_samples, kept, since), None
            samples = await asyncio.to_thread(read_samples, kept, since, file)
            if not samples.total:
                raise DataAssetError(f"{_nothing(options.name)}\nNothing was registered.")
            await _check_unlabelled(endpoint, options.register, kind, settings)
            return samples, await kind.register_data(settings, file, options.register)

    samples, registered = asyncio.run(found())
    told = None if registered is None else tell_registered(settings, registered[0])
    if options.json:
        print(json.dumps(_as_data(options.name, samples, registered, told), indent=2))
    else:
        print(samples_as_text(options.name, samples, registered, told))
    return 0


async def _check_unlabelled(endpoint: Endpoint, name: str, kind: EngineKind, settings: Settings) -> None:
    """Refuse to make rows without labels a version of what a champion that is served was trained on."""
    models = {one.model.name for one in endpoint.deployments if one.model is not None}
    if not models:
        return
    async with open_engine(kind.name, settings) as engine:
        for model in sorted(models):
            champion = await engine.registry.champion(model)
            trained_on = None if champion is None else AssetReference.short(champion.tags.get(DATA, ""))
            if trained_on is not None and trained_on.name == name:
                raise DataAssetError(
                    f"The champion of {model} was trained on {name}, and what an endpoint is asked has no labels. "
                    f"Nothing was registered. Take another name, such as {name}-asked."
                )


def samples_as_text(
    endpoint: str, samples: Samples, registered: tuple[ResolvedData, bool] | None, told: bool | None
) -> str:
    """What is kept, as aligned lines, with the next command."""
    if not samples.total:
        return _nothing(endpoint)
    deployments = ", ".join(f"{name} {rows:,}" for name, rows in sorted(samples.rows.items()))
    lines = [
        ("rows", f"{samples.total:,} in {samples.requests:,} requests ({deployments})"),
        ("answers", f"of {samples.answered:,} rows"),
        ("asked", f"{_minute(samples.since)} to {_minute(samples.until)} UTC"),
    ]
    if samples.unreadable:
        lines.append(("passed over", f"{samples.unreadable:,} lines that are no requests"))
    following = f"Register them:  tandem endpoints samples {endpoint} --register {endpoint}-asked"
    if registered is not None:
        data, created = registered
        what = "registered" if created else "there already, with the same content"
        lines += [("data", f"{data.label}, {what}"), ("event", event_as_text(told))]
        following = f"Compare them:  tandem watch {data.name}"
    return "\n".join(["", *aligned(lines), "", f"  {following}", ""])


def _nothing(endpoint: str) -> str:
    return (
        f"Nothing is kept of what {endpoint} was asked. A deployment keeps it where its YAML has data_collector: with "
        "model_inputs and model_outputs (docs/serving.md, See what is asked)."
    )


def _as_data(
    endpoint: str, samples: Samples, registered: tuple[ResolvedData, bool] | None, told: bool | None
) -> Mapping[str, Any]:
    return {
        "endpoint": endpoint,
        "rows": samples.total,
        "deployments": dict(samples.rows),
        "requests": samples.requests,
        "answered": samples.answered,
        "since": None if samples.since is None else samples.since.isoformat(),
        "until": None if samples.until is None else samples.until.isoformat(),
        "columns": list(samples.columns),
        "unreadable": samples.unreadable,
        "data_asset": None if registered is None else registered[0].label,
        "created": registered is not None and registered[1],
        "event_emitted": bool(told),
    }


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ParameterError(f"--since {text} is no time. Write 2026-05-31, or 2026-05-31T14:00 (in UTC).") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
