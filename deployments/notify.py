"""Through which block messages are sent: one setting, ``TANDEM_NOTIFY``, which the server remembers.

It names a block of Prefect, ``slack-webhook/ops`` or of any other type that can notify; ``none`` means that nobody is
told. The secret is in the block, which a person makes in Prefect's web interface; one that needs an address only is
made here from ``TANDEM_NOTIFY_URL``.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.blocks import notifications
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_UI_URL

from deployments.made import Done, Made
from deployments.server import put_variable, remove
from flows.errors import SettingsError

SETTING = "TANDEM_NOTIFY"
URL = "TANDEM_NOTIFY_URL"
VARIABLE = "tandem_notify"
NOBODY = "none"


async def put_notify_block(
    client: PrefectClient, made: Made, environment: Mapping[str, str]
) -> tuple[UUID | None, list[Done]]:
    """Find the block, make it if there is an address for it, and remember it; None if nobody is to be told.

    Raises:
        SettingsError: There is no such block, or it cannot notify.
    """
    remembered = await client.read_variable_by_name(VARIABLE)
    chosen = environment.get(SETTING) or (None if remembered is None else str(remembered.value)) or NOBODY
    if chosen == NOBODY:
        return None, [] if remembered is None else [await remove(client, made, "variable", VARIABLE)]
    slug, _, name = chosen.partition("/")
    kind = _block_type(chosen, slug, name)
    url = environment.get(URL) if "url" in kind.model_fields else None
    try:
        found = await client.read_block_document_by_name(name, slug)
        id, verb = found.id, "there"
        if url and url not in (found.data.get("url"), found.data.get("secrets", {}).get("url")):
            id, verb = await _block(kind, name, url).save(name, overwrite=True), "changed"
    except ObjectNotFound:
        if not url:
            raise SettingsError(_missing(chosen, slug, kind)) from None
        await made.add("block", chosen)
        id, verb = await _block(kind, name, url).save(name), "made"
    return id, [Done(verb, "block", chosen), await put_variable(client, made, VARIABLE, chosen)]


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
