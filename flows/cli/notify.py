"""``tandem notify``: through which block messages go, whether they arrive, and, if asked to, a test message."""

import asyncio
import json
from dataclasses import asdict, dataclass

from flows.errors import ServiceError, SettingsError
from flows.prefect_api.messages import Undelivered, chosen_block, send_test, undelivered
from flows.prefect_api.server import find_prefect_api, use_prefect_api
from flows.settings import Settings

HOW = "TANDEM_NOTIFY=slack-webhook/ops make deploy"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The block that messages go through, what it failed to deliver of late, and whether a test was sent."""

    block: str
    undelivered: tuple[Undelivered, ...]
    tested: bool


def notify(*, test: bool, as_json: bool) -> int:
    """Say through which block messages go; return 1 if the last were not delivered.

    Raises:
        SettingsError: There is no Prefect server that stays, or no block was chosen.
        ServiceError: The test message was not delivered.
    """
    settings = Settings.from_environment()
    if find_prefect_api(settings) is None:
        raise SettingsError(
            "There is no Prefect server, so no messages are sent. Start one with `make ui` in another terminal, "
            f"then choose a block: {HOW}"
        )
    use_prefect_api(settings)
    found = asyncio.run(_looked(test))
    print(json.dumps(asdict(found), indent=2) if as_json else _as_text(found))
    return 1 if found.undelivered and not test else 0


async def _looked(test: bool) -> Delivery:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        chosen = await chosen_block(client)
        if chosen is None:
            raise SettingsError(f"Nobody is told: no block was chosen for messages. Choose one: {HOW}")
        if test and (why := await send_test(chosen)):
            raise ServiceError(
                f"The test message through {chosen} was not delivered: {why}. Correct the block in Prefect's web "
                "interface, or choose another, then: tandem notify --test"
            )
        return Delivery(chosen, tuple(await undelivered(client)), test)


def _as_text(found: Delivery) -> str:
    lines = [f"  messages  go through {found.block}"]
    lines += [f"  failed    {each}" for each in found.undelivered]
    if found.tested:
        lines.append("  test      sent from this machine: see that it has arrived")
    else:
        lines.append("\n  Send a test message:  tandem notify --test")
    return "\n" + "\n".join(lines) + "\n"
