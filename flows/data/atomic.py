"""Files that come into being whole: they are written beside their place first, and then put there."""

import hashlib
import os
import threading
from pathlib import Path

from flows.spec.text.names import unfit


def draft_of(place: Path) -> Path:
    """Where to write what will be put in its place when it is whole; no other process or thread writes there."""
    own = f"{os.getpid()}.{threading.get_ident()}"
    name = f".{place.name}.{own}"
    if unfit(name) is not None:  # too long, though the name of the place is not
        name = f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()}.{own}"
    return place.with_name(name)
