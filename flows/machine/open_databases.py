"""Processes that have a database of the local state open, registered as its users or not. Linux only: by ``/proc``.

A notebook, or an ``mlflow ui`` that somebody has started by hand, is not registered (:mod:`flows.machine.living`).
"""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_DATABASE = re.compile(r"\.db(-\w+)?$")


def processes_with_databases_open(home: Path) -> Iterator[tuple[int, str]]:
    """The processes but this one, each with its command, that have a database of a state open.

    Those of other users are seen by root only.
    """
    below = os.path.join(os.path.realpath(home), "")
    for name in os.listdir("/proc") if os.path.isdir("/proc/self/fd") else ():
        if (
            name.isdecimal()
            and int(name) != os.getpid()
            and any(file.startswith(below) and _DATABASE.search(file) for file in _open_files(name))
        ):
            with suppress(OSError):
                words = Path("/proc", name, "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
                yield int(name), shlex.join(words)[:200]


def _open_files(process: str) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            with suppress(OSError):  # closed meanwhile
                yield os.readlink(f"/proc/{process}/fd/{descriptor}")
