"""``tandem promote`` and ``tandem rollback``: a person moves the champion, and with it what is served if asked to."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

from flows.cli.options import PromoteOptions, RollbackOptions
from flows.cli.serving.deploy import MOVED
from flows.cli.state.usable import check_usable
from flows.engines.open_engine import chosen_engine, open_engine
from flows.errors import DataAssetError, ParameterError
from flows.mlflow_store.model_registry import ModelRegistry
from flows.orchestration.journal import RunIdentity, resumable_run
from flows.prefect_api.server import python_path
from flows.rollout.champion import Moved, promote_version, roll_back, version_before, way_back
from flows.rollout.parameters import is_file
from flows.rollout.record import Retired, Rolling
from flows.serving.open_serving import open_serving
from flows.settings import Settings
from flows.spec.reading.endpoints import read_endpoint

PROGRAM = "flows"  # the module that is the program ``tandem``
ALL_AT_ONCE = ("--steps", "100", "--pause-seconds", "0", "--mirror-percent", "0", "--keep-seconds", "0")


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
        _roll_back_endpoint(options, options.endpoint)
    if not options.reason:
        raise ParameterError("Say why with --reason TEXT: it is kept with both versions. Nothing was changed.")
    name, reason = options.model, options.reason
    with _way_back(options.engine, model=name.partition("@")[0]) as begun:
        moved = _moved(options.engine, lambda registry: roll_back(registry, name, reason, begun))
        return _told(moved, options)


def _roll_back_endpoint(options: RollbackOptions, text: str) -> NoReturn:
    """Find out what the endpoint served before, write it down, and deploy it."""
    name = read_endpoint(Path(text)).name if is_file(text) else text
    with _way_back(options.engine, endpoint=name) as begun:
        label = begun.note or asyncio.run(_served_before(options.engine, name, text))
        begun.write_down(label)
        if begun.note:
            print(f"Going on with the rollback of {name} to {label}, which was interrupted.", file=sys.stderr)
        _deploy(label, options)


def _way_back(engine_name: str, *, model: str = "", endpoint: str = "") -> AbstractContextManager[RunIdentity]:
    """This way back, or an equal one that was interrupted. With ``--deploy`` it is open until a rollout has ended."""
    settings = Settings.from_environment()
    check_usable(settings)
    wanted = way_back(chosen_engine(engine_name, settings).kind.name, settings, model=model, endpoint=endpoint)
    return resumable_run(settings.begun_runs, wanted, str(uuid.uuid4()))


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
    facts = {"model": version.name, "champion": version.version, "before": number}
    in_place = "" if number is None else f", in place of version {number}"
    if number == version.version:
        said = f"{label} is the champion already; nothing was changed."
    elif moved.earlier:
        said = (
            f"{label} is the champion{in_place}, as an earlier start of this command, which did not come to its "
            "end, has made it. It was not moved again."
        )
    else:
        said = f"{label} is the champion{in_place}."
    if options.deploy:
        print(said, file=sys.stderr if options.json else sys.stdout)
        _deploy(label, options, facts)
    told = json.dumps(facts, indent=2) if options.json else f"{said}\n\n  Serve it:  tandem deploy {label}"
    print(told, flush=True)  # before what was begun is forgotten
    return 0


def _deploy(
    label: str, options: PromoteOptions | RollbackOptions, moved: Mapping[str, object] | None = None
) -> NoReturn:
    """Become ``tandem deploy``, in one step: a person who goes back wants it now, as soon as the tests have passed.

    What was moved goes into the one document that ``--json`` prints. The deployment that is left is kept only as long
    as a request to it may take.

    A process finds its Prefect server when it imports Prefect, and this one has done so to reach the registry.
    """
    given = {"--endpoint": options.endpoint, "--deployment": options.deployment, "--engine": options.engine}
    words = [word for flag, value in given.items() if value is not None for word in (flag, value)]
    words += [*ALL_AT_ONCE, *(["--json"] if options.json else [])]
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ["PYTHONPATH"] = python_path()
    os.environ[MOVED] = json.dumps(moved or {})
    os.execv(sys.executable, [sys.executable, "-P", "-m", PROGRAM, "deploy", label, *words])


async def _served_before(engine_name: str, endpoint_name: str, typed: str) -> str:
    """The model that an endpoint served before.

    That is the one from before a rollout that was interrupted; else that of a deployment that is kept; else the
    champion that the one which it serves has replaced. ``typed`` is what the endpoint was called on the command line.
    """
    settings = Settings.from_environment()
    kind = chosen_engine(engine_name, settings).kind.name
    async with open_serving(kind, settings) as serving:
        endpoint = await serving.endpoint(endpoint_name)
        if endpoint is None:
            raise DataAssetError(f"There is no endpoint {endpoint_name}. Nothing was changed. See: tandem endpoints")
        rolling, retired = Rolling.of(endpoint.tags), Retired.of(endpoint.tags)
        if rolling is not None and rolling.before:
            old = endpoint.deployment(max(rolling.before, key=lambda name: rolling.before[name]))
            if old is not None and old.model is not None:
                return old.model.label
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
        before = await version_before(engine.registry, version, f"tandem deploy {{}} --endpoint {typed}")
    return f"{before.name}:{before.version}"
