"""The notification block that messages to people go through: find it, try it, and see what it failed to deliver."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

NOTIFY = "tandem_notify"  # the variable on the server that names the block
OURS = "tandem: "  # what the names of our automations begin with
RECENT_DAYS = 7  # so long Prefect keeps events, unless told otherwise
TEST = ("Tandem: a test message", "Messages of Tandem arrive here. Sent by `make deploy` or `tandem notify --test`.")
_FAILED, _SENT = "prefect.automation.action.failed", "prefect.automation.action.executed"


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message that the server could not deliver: which automation sent it, when, and what Prefect says of it."""

    automation: str
    occurred: str
    reason: str

    def __str__(self) -> str:
        return f"{self.automation!r} at {self.occurred[:16].replace('T', ' ')}: {self.reason}"


async def chosen_block(client: "PrefectClient") -> str | None:
    """The block that messages go through, ``slack-webhook/ops``; None if nobody is told."""
    found = await client.read_variable_by_name(NOTIFY)
    return None if found is None else str(found.value)


async def is_there(client: "PrefectClient", chosen: str) -> bool:
    """Whether the server has a block."""
    from prefect.exceptions import ObjectNotFound

    slug, _, name = chosen.partition("/")
    try:
        await client.read_block_document_by_name(name, slug, include_secrets=False)
    except ObjectNotFound:
        return False
    return True


async def send_test(chosen: str) -> str:
    """Send a test message from this machine; return why it was not delivered, or nothing.

    What is returned names no address, since that may be the secret of the block.
    """
    import httpx
    from prefect.blocks.abstract import NotificationError
    from prefect.blocks.core import Block

    subject, body = TEST
    logging.getLogger("apprise").propagate = False  # the caller says it, once
    try:
        block: Any = await Block.aload(chosen)
        with block.raise_on_failure():
            await block.anotify(body, subject)
    except NotificationError as error:
        return " ".join(error.log.split()) or "the service did not take it, and did not say why"
    except httpx.HTTPStatusError as error:
        return f"the address answered {error.response.status_code} {error.response.reason_phrase}"
    except httpx.HTTPError as error:
        return f"the address cannot be reached: {error or type(error).__name__}"
    except Exception as error:  # whatever a block of another library raises; its text may have the secret in it
        return f"the block cannot be used: {type(error).__name__}"
    return ""


async def undelivered(client: "PrefectClient") -> list[Undelivered]:
    """The messages that the server could not deliver since the last that it did, the newest first; of a week at most.

    Prefect writes down a failure that its notification blocks report. One of ``custom-webhook`` is only in the log of
    the server.
    """
    since = (datetime.now(UTC) - timedelta(days=RECENT_DAYS)).isoformat()
    asked = {"event": {"name": [_FAILED, _SENT]}, "occurred": {"since": since}, "order": "DESC"}
    answer = await client.request("POST", "/events/filter", json={"filter": asked, "limit": 50})
    answer.raise_for_status()
    found: list[Undelivered] = []
    for event in answer.json()["events"]:
        automation, payload = event["resource"].get("prefect.resource.name", ""), event["payload"]
        if payload.get("action_type") != "send-notification" or not automation.startswith(OURS):
            continue
        if event["event"] == _SENT:
            break
        said = " ".join(f"{payload.get('reason', '')} {payload.get('notification_log', '')}".split())
        found.append(Undelivered(automation, event["occurred"], said))
    return found
