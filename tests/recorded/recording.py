"""Recordings of the Azure SDK test proxy, read from their files.

A file is ``{"Entries": [...], "Variables": {...}}``, an entry one request and its answer. Header values may be lists;
bodies may be objects, lists, text, lists of lines, base64 or null. Names, ids and keys are replaced in the files, often
so that a body that was JSON is none any more: such a body is not compared.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

from tests.azure_ml_service.messages import Json

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)


class Unreadable(Exception):
    """A file that is no recording; the message says why, without its content."""


class _Missing:
    """A body that is not there, which is something else than JSON's null."""


class _Opaque:
    """A body that is there and cannot be compared: bytes, text, or JSON that replacements have broken."""


NO_BODY: Final = _Missing()
OPAQUE: Final = _Opaque()


@dataclass(frozen=True, slots=True)
class Entry:
    """A recorded request and its answer. Header names are in lower case; ``body`` is the answer's, as compared."""

    method: str
    host: str
    target: str
    sent: object
    sent_headers: Mapping[str, str]
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def path(self) -> str:
        """The path of the request, without its query."""
        return urlsplit(self.target).path


def recordings(folder: Path, only: str = "") -> Iterator[Path]:
    """The ``*.json`` files below a folder whose path below it matches a pattern, in the order of their paths."""
    for path in sorted(folder.rglob("*.json")):
        if path.is_file() and re.search(only, path.relative_to(folder).as_posix()):
            yield path


def read(path: Path) -> list[Entry]:
    """The entries of a file.

    Raises:
        Unreadable: It is no recording.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"it cannot be read ({type(error).__name__})") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        why = "it has conflict marks of Git" if _CONFLICT.search(text) else "it is not JSON"
        raise Unreadable(why) from error
    entries = found.get("Entries") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise Unreadable("it has no list of entries")
    try:
        return [_entry(entry) for entry in entries]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"one of its entries is not whole ({type(error).__name__})") from error


def _entry(entry: Json) -> Entry:
    uri = urlsplit(entry["RequestUri"])
    headers = _headers(entry.get("ResponseHeaders"))
    kind = headers.get("content-type", "")
    return Entry(
        method=entry["RequestMethod"].upper(),
        host=(uri.hostname or "").lower(),
        target=uri._replace(scheme="", netloc="").geturl() or "/",
        sent=entry.get("RequestBody"),
        sent_headers=_headers(entry.get("RequestHeaders")),
        status=int(entry["StatusCode"]),
        headers=headers,
        body=_recorded_body(entry.get("ResponseBody"), kind),
    )


def _headers(found: Json | None) -> dict[str, str]:
    return {
        name.lower(): ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in (found or {}).items()
    }


def _recorded_body(body: object, kind: str) -> Any:
    if body is None:
        return NO_BODY
    if isinstance(body, str):
        return body_of(body, kind)
    if isinstance(body, list) and body and "json" not in kind and all(isinstance(line, str) for line in body):
        return body_of("".join(body), kind)  # text, line by line
    return body


def body_of(text: str, kind: str) -> Any:
    """A body as it is compared: JSON, the elements of XML as if they were JSON, :data:`NO_BODY` or :data:`OPAQUE`.

    Args:
        text: The body.
        kind: Its ``Content-Type``; empty if there is none.
    """
    text = text.lstrip("\ufeff")
    if not text:
        return NO_BODY
    try:
        if "xml" in kind or text.startswith("<?xml"):
            root = ElementTree.fromstring(text)
            return {root.tag: _element(root)}
        if "json" in kind or text[:1] in ("{", "["):
            return json.loads(text)
    except (ValueError, ElementTree.ParseError):
        pass
    return OPAQUE


def _element(element: ElementTree.Element) -> Any:
    """An XML element as JSON; what may be repeated is a list though it is there once."""
    if len(element) == 0:
        return element.text or None
    found: Json = {}
    for child in element:
        if child.tag in ("Blob", "BlobPrefix"):
            found.setdefault(child.tag, []).append(_element(child))
        else:
            found[child.tag] = _element(child)
    return found
