"""``make deploy``, ``make undeploy`` and ``make worker``: deployments on a Prefect server, and what runs them."""

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING

import yaml

from flows.cli.run import exit_code_of
from flows.errors import ServiceError, SettingsError
from flows.machine.hidden_memory import hide_memory
from flows.machine.living import enlist
from flows.machine.private import keep_private
from flows.prefect_api.server import PrefectApi, elsewhere, find_prefect_api, use_prefect_api
from flows.settings import PROJECT, Settings

if TYPE_CHECKING:
    from deployments.ours import Done

DEPLOYMENTS = PROJECT / "prefect.yaml"
NOTIFICATIONS = PROJECT / "deployments" / "automations.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    commands: dict[str, Callable[[], int]] = {"deploy": _deploy, "undeploy": _undeploy, "worker": _worker}
    parser = argparse.ArgumentParser(prog="python -m deployments.deploy", description=__doc__)
    parser.add_argument("command", choices=list(commands))
    command = commands[parser.parse_args(arguments).command]
    keep_private()
    return exit_code_of(command)


def _deploy() -> int:
    api = _server()
    os.chdir(PROJECT)  # the build steps are for the checkout
    from deployments.rollout import deploy

    done = _run(deploy(DEPLOYMENTS, NOTIFICATIONS, os.environ))
    _print(api, done)
    if all(each.verb == "there" for each in done):
        print(f"\n  Nothing had to be changed: all {len(done)} are there.")
    print(f"\n  {_messages(done)}")
    where = f"PREFECT_API_URL={api.url} " if api.origin == "served" else ""  # which Prefect's own command does not know
    print(f"\n  Next: make worker, and in another terminal: {where}prefect deployment run 'train-pipeline/on-demand'")
    return 0


def _messages(done: "Sequence[Done]") -> str:
    """Whether messages arrive. A block that is new here, or has changed, is tried by a test message."""
    blocks = [each for each in done if each.kind == "block" and each.verb != "removed"]
    if not blocks:
        return "No messages are sent: TANDEM_NOTIFY names no block, such as slack-webhook/ops."
    from flows.prefect_api.messages import NOTIFY, send_test

    chosen = blocks[-1].name
    is_new = any(each.verb in ("made", "changed") and each.name in (NOTIFY, chosen) for each in done)
    why = asyncio.run(send_test(chosen) if is_new else _failed())
    if why:
        return f"MESSAGES ARE NOT DELIVERED through {chosen}: {why}. Correct the block, then: tandem notify --test"
    return f"Messages go through {chosen}" + (", which took a test message." if is_new else ".")


async def _failed() -> str:
    """The last message that the server could not deliver, if none was delivered since; else nothing."""
    from prefect.client.orchestration import get_client

    from flows.prefect_api.messages import undelivered

    async with get_client() as client:
        found = await undelivered(client)
    return str(found[0]) if found else ""


def _undeploy() -> int:
    api = _server()
    from deployments.rollout import undeploy

    done = _run(undeploy())
    _print(api, done)
    if not done:
        print("\n  Nothing to remove: nothing on this server was made by `make deploy`.")
    return 0


def _worker() -> int:
    api = _server()
    configs = yaml.safe_load(DEPLOYMENTS.read_text(encoding="utf-8"))["deployments"]
    (pool,) = {config["work_pool"]["name"] for config in configs}
    print(f"Prefect: {api.url} ({api.origin}); work pool: {pool}", flush=True)
    hide_memory()  # Prefect is called, not executed: that would undo this, and steps could read our memory
    sys.argv = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
    from prefect.cli import app

    settings = Settings.from_environment()
    # The state must stay as long as flow runs may be started on it, even while none is.
    entry = enlist(settings.home, "make worker", api=elsewhere(api.url, settings.prefect_home))
    try:
        app()
    finally:
        entry.end()
    return 0


def _server() -> PrefectApi:
    """The server that is configured or served. A temporary one would end with the command, and all would be lost."""
    settings = Settings.from_environment()
    if find_prefect_api(settings) is None:
        raise SettingsError(
            "There is no Prefect server. Nothing was changed. Start one with `make ui` in another terminal, or name "
            "yours: prefect config set PREFECT_API_URL=http://HOST:4200/api"
        )
    return use_prefect_api(settings, is_needed=True)


def _run(work: "Coroutine[None, None, list[Done]]") -> "list[Done]":
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        return asyncio.run(work)
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise ServiceError(
            f"The Prefect server refused, or did not answer: {error}\n"
            "What was done before is kept; run the same command again."
        ) from error


def _print(api: PrefectApi, done: "Sequence[Done]") -> None:
    print(f"Prefect: {api.url} ({api.origin})\n")
    for each in done:
        print(f"  {each.verb:8} {each.kind:11} {each.name}{f'  ({each.detail})' if each.detail else ''}")
    counted = Counter(each.verb for each in done)
    print("\n  " + ", ".join(f"{count} {verb}" for verb, count in counted.items()))


if __name__ == "__main__":
    sys.exit(main())
