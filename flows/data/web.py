"""Downloads files from the web once, and keeps them by their content under their own name."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from flows.data.atomic import atomic_write
from flows.data.digests import text_digest
from flows.errors import ParameterError
from flows.spec.text.names import file_name, inside

CONNECT_SECONDS = 30  # without receiving a byte
CHUNK_BYTES = 1 << 20
SHOWN_SECONDS = 2.0  # how often the progress of a fetch is told
_Tell = Callable[[str], None]


class NotFetched(Exception):
    """A file could not be fetched. The text says why."""


class WebFiles:
    """The files that were fetched, below one folder: ``<digest>/<name>``, and what each URL led to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, url: str, tell: _Tell | None = None) -> Path:
        """The file at an http(s) URL: the one that was fetched before, else fetched now.

        Raises:
            NotFetched: It is not there, cannot be reached, or cannot be kept.
        """
        entry = self._folder / "urls" / f"{text_digest(url)[:32]}.json"
        try:
            digest, name = Path(json.loads(entry.read_bytes())["file"]).parts
            known = inside(self._folder, digest, name)
            if known.is_file():
                return known
        except (OSError, ValueError, LookupError, TypeError, ParameterError):
            pass  # it was never fetched
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder) as drafts:
                draft = Path(drafts) / "file"
                digest = _download(url, draft, tell or _to_stderr)
                place = inside(self._folder, digest[:16], _name(url))
                place.parent.mkdir(exist_ok=True)
                shutil.move(draft, place)
                said = {"url": _shown(url), "file": os.path.relpath(place, self._folder)}
                atomic_write(entry, json.dumps(said))
        except OSError as error:
            raise NotFetched(_why(error)) from error
        except (HTTPException, ValueError) as error:
            raise NotFetched(str(error) or type(error).__name__) from error
        return place


def _download(url: str, target: Path, tell: _Tell) -> str:
    """Download a URL to a file, and return its digest. A proxy that the environment names is used."""
    digest, done, told = hashlib.sha256(), 0, time.monotonic()
    request = urllib.request.Request(url, headers={"User-Agent": "tandem"})
    with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as answer, target.open("wb") as stream:
        whole = int(answer.headers.get("Content-Length") or 0)
        reader: IO[bytes] = answer
        while chunk := reader.read(CHUNK_BYTES):
            stream.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if time.monotonic() - told >= SHOWN_SECONDS:
                told = time.monotonic()
                tell(f"fetching {_name(url)}: {done / 1e6:.0f} MB" + (f" of {whole / 1e6:.0f} MB" if whole else ""))
    if whole and done != whole:
        raise NotFetched(f"it ended after {done} of {whole} bytes")
    return digest.hexdigest()


def _name(url: str) -> str:
    return file_name(unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2], "file")


def _shown(url: str) -> str:
    """A URL without its query, which may be a key."""
    return url.partition("?")[0]


def _why(error: OSError) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"it cannot be reached: {error.reason}"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS} s"
    return error.strerror or str(error)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
