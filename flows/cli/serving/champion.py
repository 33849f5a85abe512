"""``tandem promote`` and ``tandem rollback``: a person moves the champion, and with it what is served if asked to."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from flows.cli.options import PromoteOptions, RollbackOptions
from flows.cli.state.usable import check_usable
from flows.engines.open_engine import chosen_engine, open_engine
from flows.errors import DataAssetError, ParameterError
from flows.mlflow_store.model_registry import ModelRegistry
from flows.prefect_api.server import python_path
from flows.rollout.champion import Moved, promote_version, roll_back, version_before
from flows.rollout.parameters import is_file
from flows.rollout.record import Retired
from flows.serving.open_serving import open_serving
from flows.settings import Settings
from flows.spec.reading.endpoints import read_endpoint

PROGRAM = "flows"  # the module that is the program ``tandem``
ALL_AT_ONCE = ("--steps", "100", "--pause-seconds", "0", "--mirror-percent", "0")


def promote(options: PromoteOptions) -> int:
    """Make a version the champion, print what was changed, and deploy it if asked to; return the exit code.

    Raises:
        TandemError: Nothing was changed.
    """
    if ":" not in options.model:
        raise ParameterError(f"{options.model!r} names no version. Write NAME:VERSION. Nothing was changed.")
    moved = _moved(options.engine, lambda registry: promote_version(registry, options.model, options.reason or ""))
    return _told(moved, options)


def rollback(options: RollbackOptions) -> int:
    """Bring back the champion from before, or with an endpoint alone what it served before; return the exit code.

    Raises:
        TandemError: Nothing was changed.
    """
    if options.model is None:
        if options.endpoint is None:
            raise ParameterError("Name a model, or --endpoint NAME. Nothing was changed.")
        label = asyncio.run(_served_before(options.engine, options.endpoint))
        _deploy(label, options)
    if not options.reason:
        raise ParameterError("Say why with --reason TEXT: it is kept with both versions. Nothing was changed.")
    name, reason = options.model, options.reason
    moved = _moved(options.engine, lambda registry: roll_back(registry, name, reason))
    return _told(moved, options)


def _moved(engine_name: str, move: Callable[[ModelRegistry], Awaitable[Moved]]) -> Moved:
    settings = Settings.from_environment()
    check_usable(settings)

    async def moved() -> Moved:
        async with open_engine(engine_name, settings) as engine:
            return await move(engine.registry)

    return asyncio.run(moved())


def _told(moved: Moved, options: PromoteOptions | RollbackOptions) -> int:
    version, before = moved.version, moved.before
    label = f"{version.name}:{version.version}"
    number = None if before is None else before.version
    if options.json:
        print(json.dumps({"model": version.name, "champion": version.version, "before": number}, indent=2))
    elif number == version.version:
        print(f"{label} is the champion already; nothing was changed.")
    else:
        print(f"{label} is the champion{'' if number is None else f', in place of version {number}'}.")
    if options.deploy:
        _deploy(label, options)
    if not options.json:
        print(f"\n  Serve it:  tandem deploy {label}")
    return 0


def _deploy(label: str, options: PromoteOptions | RollbackOptions) -> NoReturn:
    """Become ``tandem deploy``, in one step: a person who goes back wants it now, as soon as the tests have passed.

    A process finds its Prefect server when it imports Prefect, and this one has done so to reach the registry.
    """
    given = {"--endpoint": options.endpoint, "--deployment": options.deployment, "--engine": options.engine}
    words = [word for flag, value in given.items() if value is not None for word in (flag, value)]
    words += [*ALL_AT_ONCE, *(["--json"] if options.json else [])]
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ["PYTHONPATH"] = python_path()
    os.execv(sys.executable, [sys.executable, "-P", "-m", PROGRAM, "deploy", label, *words])


async def _served_before(engine_name: str, endpoint_text: str) -> str:
    """The model that an endpoint served before: that of a deployment that is kept, else the champion from before."""
    endpoint_name = read_endpoint(Path(endpoint_text)).name if is_file(endpoint_text) else endpoint_text
    settings = Settings.from_environment()
    kind = chosen_engine(engine_name, settings).kind.name
    async with open_serving(kind, settings) as serving:
        endpoint = await serving.endpoint(endpoint_name)
        if endpoint is None:
            raise DataAssetError(f"There is no endpoint {endpoint_name}. Nothing was changed. See: tandem endpoints")
        retired = Retired.of(endpoint.tags)
        for name in () if retired is None else retired.colours:
            kept = endpoint.deployment(name)
            if kept is not None and kept.model is not None and not endpoint.traffic.get(name):
                return kept.model.label
        shares = sorted(endpoint.traffic.items(), key=lambda share: -share[1])
        now = endpoint.deployment(shares[0][0]) if shares else None
    if now is None or now.model is None:
        raise DataAssetError(f"The endpoint {endpoint_name} serves no model that is known. Nothing was changed.")
    async with open_engine(engine_name, settings) as engine:
        version = await engine.registry.version(now.model.name, now.model.version)
        if version is None:
            raise DataAssetError(f"{now.model.label} is not in the registry any more. Nothing was changed.")
        before = await version_before(engine.registry, version)
    return f"{before.name}:{before.version}"
