"""Files that come into being whole: they are written beside their place first, and then put there."""

import os
import threading
from pathlib import Path


def draft_of(place: Path) -> Path:
    """Where to write what will be put in its place when it is whole; no other process or thread writes there."""
    return place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
