"""Find or make the notification block that ``TANDEM_NOTIFY`` names, and remember it in a variable on the server.

The block is one of Prefect's, such as ``slack-webhook/ops``; with ``none`` no messages are sent. It holds the secret,
so a person makes it in Prefect's web interface. A block that needs only an address is made here from
``TANDEM_NOTIFY_URL``.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect.blocks import notifications
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_UI_URL

from deployments.ours import MADE_BLOCK, TAG, Done, remove_notify_block
from deployments.server import put_variable
from flows.errors import SettingsError
from flows.prefect_api.messages import NOTIFY

SETTING = "TANDEM_NOTIFY"
URL = "TANDEM_NOTIFY_URL"
NOBODY = "none"


async def put_notify_block(client: PrefectClient, environment: Mapping[str, str]) -> tuple[UUID | None, list[Done]]:
    """Find the block, make it if there is an address for it, and remember it; None if nobody is to be told.

    A block that was made here is removed when another one is chosen, or none.

    Raises:
        SettingsError: There is no such block, or it cannot notify.
    """
    remembered = await client.read_variable_by_name(NOTIFY)
    before = None if remembered is None else str(remembered.value)
    chosen = environment.get(SETTING) or before or NOBODY
    if chosen == NOBODY:
        return None, await remove_notify_block(client)
    slug, _, name = chosen.partition("/")
    kind = _block_type(chosen, slug, name)
    url = environment.get(URL) if "url" in kind.model_fields else None
    found = await _found(client, slug, name)
    if found is None and not url:
        raise SettingsError(_missing(chosen, slug, kind))
    done = await remove_notify_block(client) if before not in (None, chosen) else []
    tags = list(remembered.tags) if remembered is not None and before == chosen else [TAG]
    if found is None and MADE_BLOCK not in tags:
        tags = [*tags, MADE_BLOCK]
    # The variable comes first: a block that is there without it would never be removed.
    done.append(await put_variable(client, NOTIFY, chosen, tags))
    if found is None:
        id, verb = await _block(kind, name, str(url)).save(name), "made"
    elif url and url not in (found.data.get("url"), found.data.get("secrets", {}).get("url")):
        id, verb = await _block(kind, name, url).save(name, overwrite=True), "changed"
    else:
        id, verb = found.id, "there"
    return id, [*done, Done(verb, "block", chosen)]


async def _found(client: PrefectClient, slug: str, name: str) -> BlockDocument | None:
    with suppress(ObjectNotFound):
        return await client.read_block_document_by_name(name, slug)
    return None


def _block_type(chosen: str, slug: str, name: str) -> type[Block]:
    kinds = {
        kind.get_block_type_slug(): kind
        for kind in vars(notifications).values()
        if isinstance(kind, type) and issubclass(kind, Block) and kind.__module__ == notifications.__name__
    }
    known = {slug: kind for slug, kind in kinds.items() if not kind.__name__.startswith(("Abstract", "Apprise"))}
    if slug not in known or not name:
        raise SettingsError(
            f"{SETTING} is {chosen!r}. Write TYPE/NAME of a block of one of these types: {', '.join(sorted(known))}; "
            f"or {NOBODY}. Nothing was changed."
        )
    return known[slug]


def _missing(chosen: str, slug: str, kind: type[Block]) -> str:
    by_address = f", or set {URL} to its address and run `make deploy` again" if "url" in kind.model_fields else ""
    page = f"{PREFECT_UI_URL.value() or ''}/blocks/catalog/{slug}/create"
    return f"There is no block {chosen}. Make it at {page}{by_address}. Nothing was changed."


def _block(kind: type[Block], name: str, url: str) -> Any:
    if kind is notifications.CustomWebhookNotificationBlock:  # whose address is no secret, unless it is given as one
        message = {"subject": "{{ subject }}", "body": "{{ body }}", "text": "{{ subject }}\n\n{{ body }}"}
        values = {"name": name, "url": "{{ url }}", "secrets": {"url": url}, "json_data": message}
        return kind.model_validate(values)
    return kind.model_validate({"url": url})
