"""What a path leads to, found without opening it: to open a FIFO would wait for its writer."""

import os
import stat
from pathlib import Path

_OTHER_FILES = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO (a named pipe)", stat.S_IFSOCK: "a socket"}


def kind_of_file(path: Path) -> str | None:
    """What a path leads to where that is no regular file; None for a regular file.

    Raises:
        OSError: It leads nowhere, or in a circle.
    """
    mode = os.stat(path).st_mode
    return None if stat.S_ISREG(mode) else _OTHER_FILES.get(stat.S_IFMT(mode), "a device")
