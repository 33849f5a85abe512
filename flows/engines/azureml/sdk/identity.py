"""Identity of this machine at the workspace: which credential answers, and whom its token names.

The token itself does not leave this module.
"""

import base64
import contextlib
import json
import logging
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.core.exceptions import ClientAuthenticationError

from flows.engines.azureml.sdk.connection import SCOPE, Connection
from flows.engines.azureml.sdk.refusals import said_by_each, stopped_by

_CLAIMS = ("upn", "preferred_username", "unique_name", "appid", "azp", "oid", "tid", "xms_mirid", "exp")
_LIBRARY = "azure.identity"
_ANSWERED = re.compile(r"acquired a token from (\w+)")


@dataclass(frozen=True, slots=True)
class SignIn:
    """How signing in went.

    Attributes:
        credential: The class of the credential that answered, such as ``AzureCliCredential``; None if none did.
        claims: What its token says of whom it is for, and when it ends; empty for a token that cannot be read.
        said: What each credential that was tried said, where none answered, in the order in which they were tried.
        stopped_by: The one of these that is set up here but was refused or got no answer: none was tried after it.
    """

    credential: str | None = None
    claims: Mapping[str, str] = field(default_factory=dict[str, str])
    said: Mapping[str, str] = field(default_factory=dict[str, str])
    stopped_by: str | None = None


async def sign_in(connection: Connection) -> SignIn:
    """Ask for a token, as every call to the workspace does."""
    return await connection.call(lambda client: _sign_in(connection.credential))


def _sign_in(chain: Any) -> SignIn:
    with _answering() as answered:
        try:
            token = chain.get_token(SCOPE)
        except ClientAuthenticationError as error:
            said = said_by_each(str(error.message))
            return SignIn(said=said, stopped_by=stopped_by(said, len(chain.credentials)))
    return SignIn(answered[-1] if answered else "a credential", _claims(token.token))


@contextlib.contextmanager
def _answering() -> Generator[list[str]]:
    """Collect the names of the credentials that answer: the library says it in its log, and nowhere else in public."""
    names: list[str] = []

    class Names(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            names.extend(_ANSWERED.findall(record.getMessage()))

    logger, handler = logging.getLogger(_LIBRARY), Names(logging.INFO)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield names
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _claims(token: str) -> dict[str, str]:
    with contextlib.suppress(ValueError, IndexError):
        part = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return {name: str(found[name]) for name in _CLAIMS if found.get(name)}
    return {}
