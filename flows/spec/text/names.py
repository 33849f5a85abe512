"""Safe file names: whether a name can be that of a file, and the path that is made of it.

A name comes from a YAML file, a flag, a service or a URL, and means one file or folder. Joined to a folder without a
check it may lead anywhere: ``folder / "/etc"`` is ``/etc``. Code that makes a path of a name therefore calls
:func:`inside`, and the YAML reader reports with :func:`unfit` what is wrong with a name before anything runs.

Names of devices of Windows (``con``, ``aux``, ``nul``) are ordinary ones on the systems that Tandem runs on.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from flows.errors import ParameterError

# What Linux and macOS take as the name of one file.
MAX_NAME_BYTES = 255


def unfit(name: str) -> str | None:
    """Why a name cannot be that of one file or folder, as the end of a sentence that begins with it; None if it can."""
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return "means a folder that is there already"
    if separator := next((sign for sign in "/\\" if sign in name), None):
        return f"has a {separator} in it, which leads to another folder"
    if sign := next((sign for sign in name if not sign.isprintable()), None):
        return f"has the character U+{ord(sign):04X} in it, which cannot be seen"
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        return f"has {size} bytes, and the name of a file has {MAX_NAME_BYTES} at most"
    return None


def inside(folder: Path, *names: str) -> Path:
    """The path below a folder that is made of these names, each of which is one part of it.

    Raises:
        ParameterError: A name cannot be that of a file or folder.
    """
    for name in names:
        if (reason := unfit(name)) is not None:
            raise ParameterError(f"{shown(name)!r} cannot be the name of a file or folder below {folder}: it {reason}.")
    return folder.joinpath(*names)


def file_name(name: str, otherwise: str) -> str:
    """A name that a file has elsewhere, as on the web, or another where it cannot have it here."""
    return name if unfit(name) is None else otherwise


def twins(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The names that some file systems cannot keep apart from an earlier one, each with that one.

    They differ in capital letters, or in how a letter with an accent is written.
    """
    first: dict[str, str] = {}
    for name in names:
        earlier = first.setdefault(_folded(name), name)
        if earlier != name:
            yield name, earlier


def shown(text: str, most: int = 40) -> str:
    """A text as a message may quote it: cut where it is long."""
    return text if len(text) <= most else f"{text[:most]}…"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
