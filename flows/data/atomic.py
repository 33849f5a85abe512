"""Atomic file writes: a file is written under another name in the same folder, and then renamed.

A process that reads at the same time, or after this process was killed, finds a whole file or none.
"""

import hashlib
import os
import threading
from pathlib import Path

from flows.spec.text.names import unfit


def draft_of(place: Path) -> Path:
    """The path of a draft beside ``place``, to be renamed to it when whole. No other process or thread uses it."""
    own = f"{os.getpid()}.{threading.get_ident()}"
    name = f".{place.name}.{own}"
    if unfit(name) is not None:  # too long, though the name of the place is not
        name = f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()}.{own}"
    return place.with_name(name)


def atomic_write(place: Path, text: str, mode: int | None = None) -> None:
    """Write a text file, whole or not at all: a process that reads it meanwhile reads the old or the new one.

    Args:
        place: The file, whose folder is there. One that is there already is replaced.
        text: What is written, as UTF-8.
        mode: The permissions of the file, such as ``0o755``; those that the umask leaves if it is left out.

    Raises:
        OSError: It cannot be written. What was there is as it was.
    """
    draft = draft_of(place)
    try:
        draft.write_text(text, encoding="utf-8")
        if mode is not None:
            draft.chmod(mode)
        draft.replace(place)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
