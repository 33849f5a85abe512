"""Checks of Prefect: its API, the work pools that the deployments name, and the block that messages go through."""

import asyncio
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from flows.cli.doctor.findings import Finding, fail, ok, skip, warn
from flows.errors import SettingsError
from flows.prefect_api.access import why_no_access
from flows.prefect_api.messages import chosen_block, is_there, undelivered
from flows.prefect_api.server import PrefectApi, find_prefect_api, past_proxies
from flows.settings import Settings

SECONDS = 10.0
MOST_WORKERS = 200
_SKIPPED = tuple(skip(check, "prefect api failed") for check in ("work pool", "messages"))


def _prefects_client() -> Any:
    from prefect.client.orchestration import get_client

    return get_client


async def check_prefect(settings: Settings) -> list[Finding]:
    """Ask the Prefect API that a run would use; also for the pools of ``prefect.yaml`` and the block of messages."""
    pools = _work_pools(settings.project / "prefect.yaml")
    try:
        api = await asyncio.to_thread(find_prefect_api, settings)
    except SettingsError as error:
        return [fail("prefect api", str(error)), *_SKIPPED]
    if api is None:
        told = f"none is configured: each command starts a temporary server (Prefect {version('prefect')})"
        none = (skip(check, "a temporary server has none") for check in ("work pool", "messages"))
        return [ok("prefect api", told), *none]
    os.environ.update(past_proxies(os.environ))
    no_access = await asyncio.to_thread(why_no_access, api.url, api.credential)
    if no_access is not None:
        return [fail("prefect api", f"{_shown(api)} {no_access.does}", no_access.remedy, no_access.command), *_SKIPPED]
    api.to_environment()
    os.environ.setdefault("DO_NOT_TRACK", "true")  # or it talks of telemetry in between the findings
    get_client = await asyncio.to_thread(_prefects_client)
    found: list[Finding] = []
    try:
        async with asyncio.timeout(SECONDS), get_client() as client:
            found.append(await _api(client, api))
            found += [pools] if isinstance(pools, Finding) else [await _pool(client, pool) for pool in pools]
            found.append(await _messages(client))
    except TimeoutError:
        found += _no_answer(api, found, f"nothing within {SECONDS:g} s")
    except Exception as error:  # whatever the client raises is what has come of asking
        said = f"{type(error).__name__}: {error}"
        found += _no_answer(api, found, said, getattr(error, "response", None))
    return found


async def _api(client: Any, api: PrefectApi) -> Finding:
    told = _shown(api)
    error = await client.api_healthcheck()
    if error is not None:
        raise error
    if client.server_type.value == "cloud":
        return ok("prefect api", f"{told}, Prefect Cloud")
    ours, theirs = version("prefect"), await client.api_version()
    if theirs == ours:
        return ok("prefect api", f"{told}, Prefect {theirs}")
    told = f"{told} is Prefect {theirs}, and this client {ours}"
    if theirs.partition(".")[0] != ours.partition(".")[0]:
        return fail("prefect api", told, f"Start a server of Prefect {ours}, or unset PREFECT_API_URL")
    return warn("prefect api", told, "Give the server the version of its clients", f"pip install prefect=={ours}")


async def _pool(client: Any, name: str) -> Finding:
    from prefect.exceptions import ObjectNotFound

    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        told = f"prefect.yaml sends its deployments to the work pool {name}, which is not there"
        return fail("work pool", told, command=f"prefect work-pool create {name} --type process")
    if pool.is_paused:
        return warn("work pool", f"{name} ({pool.type}) is paused", command=f"prefect work-pool resume {name}")
    if pool.is_push_pool or pool.is_managed_pool:
        return ok("work pool", f"{name} ({pool.type}) needs no worker")
    workers = await client.read_workers_for_work_pool(name, limit=MOST_WORKERS, offset=0)  # it takes no null
    online = sorted(worker.name for worker in workers if worker.status.value == "ONLINE")
    if not online:
        told = f"{name} ({pool.type}) has no worker online, so runs of its deployments wait"
        return warn("work pool", told, command=f"prefect worker start --pool {name}")
    return ok("work pool", f"{name} ({pool.type}), online: {', '.join(online)}")


async def _messages(client: Any) -> Finding:
    """Whether the block that messages go through is there, and has delivered the last of them."""
    chosen = await chosen_block(client)
    if chosen is None:
        return ok("messages", "none are sent: TANDEM_NOTIFY names no block for `make deploy`")
    if not await is_there(client, chosen):
        told = f"they go through the block {chosen}, which is not there, so nobody is told"
        return warn("messages", told, "Choose another", "TANDEM_NOTIFY=TYPE/NAME make deploy")
    if lost := await undelivered(client):
        told = f"the last {len(lost)} through {chosen} were not delivered: {lost[0]}"
        return warn("messages", told, "Correct the block", "tandem notify --test")
    return ok("messages", f"through {chosen}; tandem notify --test sends one")


def _no_answer(api: PrefectApi, before: Sequence[Finding], said: str, response: Any = None) -> list[Finding]:
    """What has come of asking with Prefect's own client, which knows more settings."""
    if before:
        return [fail(check, f"cannot be asked: {said}") for check in ("work pool", "messages")[len(before) - 1 :]]
    told = f"{_shown(api)} does not answer: {said}"
    if response is not None and response.status_code in (401, 403):
        told = f"{_shown(api)} refuses the credential ({response.status_code})"
    return [fail("prefect api", told, "Correct Prefect's settings"), *_SKIPPED]


def _shown(api: PrefectApi) -> str:
    return f"{api.url} ({'configured' if api.origin == 'configured' else 'of make ui'})"


def _work_pools(file: Path) -> Sequence[str] | Finding:
    """The names of the work pools that the deployments go to; or why there is nothing to check."""
    if not file.is_file():
        return skip("work pool", f"there is no {file.name}, so no deployment needs a worker")
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        deployments: Any = (content or {}).get("deployments") or ()
        named = [(deployment.get("work_pool") or {}).get("name") for deployment in deployments]
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        return fail("work pool", f"{file} cannot be read: {error}", "Correct it, as `prefect deploy` wants it")
    known = sorted({str(name) for name in named if name and "{{" not in str(name)})
    return known or skip("work pool", f"no deployment of {file.name} names one")
