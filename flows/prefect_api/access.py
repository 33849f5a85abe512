"""Access to a Prefect API: whether it answers and takes the credential that is set.

Asked before Prefect is imported. Prefect's own client would find out late, after minutes of retries or in the middle of
a flow, and with a traceback. No message has a credential in it.
"""

import base64
import os
import tomllib
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from flows.errors import ServerFault, ServiceError, SettingsError

SECONDS = 5.0  # to connect, and then to answer
API_URL, AUTH_STRING, API_KEY = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"
SERVER_AUTH_STRING = "PREFECT_SERVER_API_AUTH_STRING"
_HEADERS = "PREFECT_CLIENT_CUSTOM_HEADERS"
# Files of the working directory that Prefect reads too, and what is in them if they say something to it.
_FILES = {"prefect.toml": "", ".env": "PREFECT_", "pyproject.toml": "tool.prefect"}


def check_access(url: str, credential: str = "", *, is_needed: bool = False) -> None:
    """See that an API answers and takes a credential.

    Args:
        url: Its address, without a credential in it.
        credential: NAME:PASSWORD; where it is empty, what Prefect's settings have.
        is_needed: Whether the command is of no use without a server that outlives it, so is not told to go without.

    Raises:
        ServiceError: It does not answer.
        SettingsError: It refuses the credential, or asks for one and none is set.
    """
    found = why_no_access(url, credential, is_needed=is_needed)
    if found is not None:
        raise found.raised(f"The Prefect API at {url}")


def why_no_access(url: str, credential: str = "", *, is_needed: bool = False) -> ServerFault | None:
    """Ask an API for its version, as :func:`check_access` does; why it cannot be used.

    None if it answers, or if only Prefect itself can tell, which knows more settings.
    """
    request = urllib.request.Request(f"{url.rstrip('/')}/admin/version")
    name, header = (API_URL, _basic(credential)) if credential else _credential()
    if header:
        request.add_unredirected_header("Authorization", header)
    try:
        urllib.request.build_opener().open(request, timeout=SECONDS).close()
    except HTTPError as error:
        error.close()
        if error.code in (401, 403):
            return None if _may_be_set_elsewhere() else _refused(name, error.code)
        return _silent(f"{error.code} {error.reason}", is_needed) if error.code >= 500 else None
    except (OSError, HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, SSLError):
            return None  # Prefect has settings of its own for whom to trust
        said = f"nothing within {SECONDS:g} s" if isinstance(cause, TimeoutError) else str(cause)
        return _silent(said, is_needed)
    return None


def active_profile() -> Mapping[str, str]:
    """The settings of Prefect's active profile; empty if there is none."""
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
        found = profiles["profiles"][os.environ.get("PREFECT_PROFILE") or profiles.get("active")]
        return {name: str(value) for name, value in found.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}


def split_credential(url: str) -> tuple[str, str]:
    """An address without the name and password that may be in it; and those, as NAME:PASSWORD, or an empty text.

    Raises:
        SettingsError: It is no address of a server. Nothing of it is told, for there may be a password in it.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        if parts.scheme in ("http", "https") and host:
            return parts._replace(netloc=host).geturl(), unquote(user)
    raise SettingsError(f"{API_URL} is no address of a server. Nothing was run. Write it like http://HOST:4200/api.")


def _credential() -> tuple[str, str]:
    """The setting that a credential comes from, and the header that it makes; an empty header where none is set."""
    profile = active_profile()
    for name in (AUTH_STRING, API_KEY):
        if value := os.environ.get(name) or profile.get(name):
            return name, _basic(value) if name == AUTH_STRING else f"Bearer {value}"
    return "", ""


def _basic(credential: str) -> str:
    return f"Basic {base64.b64encode(credential.encode()).decode()}"


def _may_be_set_elsewhere() -> bool:
    """Whether Prefect may find a credential where it is not looked for here."""
    if os.environ.get(_HEADERS) or active_profile().get(_HEADERS):
        return True
    for name, mark in _FILES.items():
        with suppress(OSError, ValueError):
            if mark in Path(name).read_text(encoding="utf-8"):
                return True
    return False


_EXAMPLES = {API_URL: "http://NAME:PASSWORD@HOST:4200/api", AUTH_STRING: "NAME:PASSWORD", API_KEY: "KEY"}


def _refused(setting: str, code: int) -> ServerFault:
    """That the credential of a setting is refused; where none is set, that one is asked for."""
    if not setting:
        command = f"export {AUTH_STRING}={_EXAMPLES[AUTH_STRING]}"
        remedy = f"Set {AUTH_STRING} (for Prefect Cloud, {API_KEY})"
        return ServerFault(f"asks for a credential, and none is set ({code})", remedy, command, SettingsError)
    does, command = f"refuses the credential in {setting} ({code})", f"export {setting}={_EXAMPLES[setting]}"
    return ServerFault(does, "Correct it", command, SettingsError)


def _silent(cause: str, is_needed: bool) -> ServerFault:
    if is_needed:
        command = f"{'export ' if API_URL in os.environ else 'prefect config set '}{API_URL}=http://HOST:4200/api"
        return ServerFault(f"does not answer: {cause}", "Start that server, or name another", command, ServiceError)
    command = f"unset {API_URL}" if API_URL in os.environ else f"prefect config unset {API_URL}"
    return ServerFault(f"does not answer: {cause}", "Start that server, or go without one", command, ServiceError)
