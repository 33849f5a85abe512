"""Paths in the YAML: whether they are on this machine, and where, relative to the file that names them."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

_ELSEWHERE = re.compile(r"(azureml:|runs:|git\+|/subscriptions/|[a-zA-Z][a-zA-Z0-9+.-]+://)")
_OTHER_FILES = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO (a named pipe)", stat.S_IFSOCK: "a socket"}
# A host has a dot, and two letters or more at its end, or the client takes its URL for none.
_CODE = re.compile(
    r"git\+|azureml://registries/|(https?|ftps?)://(localhost|([\w-]+\.)+[\w-]{2,}|\d+(\.\d+){3})(:\d+)?([/?]|$)"
    r"|azureml:/subscriptions/.+/codes/[^/]+/versions/[^/]+$|azureml:[^/:@]+(:.+|@.+)$",
    re.IGNORECASE,
)
_FILE = re.compile(r"\Afile:(//(?=/))?")


def is_remote(path: str) -> bool:
    """Whether a path is an Azure ML reference or a URL, rather than a local path."""
    return not path.startswith("file:") and _ELSEWHERE.match(path) is not None


def is_remote_code(path: str) -> bool:
    """Whether Azure ML takes code from there: a version in a workspace or registry, a Git repository or a web URL."""
    return _CODE.match(path) is not None


def exists(path: Path) -> bool:
    """Whether there is such a file or folder."""
    return _holds(path.exists)


def is_file(path: Path) -> bool:
    """Whether there is such a file."""
    return _holds(path.is_file)


def kind_of_file(path: Path) -> str | None:
    """What a path leads to where that is no regular file; None for a regular file.

    It is found without opening the path: to open a FIFO would wait for its writer.

    Raises:
        OSError: It leads nowhere, or in a circle.
    """
    mode = os.stat(path).st_mode
    return None if stat.S_ISREG(mode) else _OTHER_FILES.get(stat.S_IFMT(mode), "a device")


def local(path: str, folder: Path) -> Path:
    """An absolute local path; a relative one starts at ``folder``. A ``file:`` in front of it is dropped."""
    return Path(os.path.abspath(folder / _FILE.sub("", path, count=1)))


def beside(path: str, folder: Path) -> Path:
    """A local path as a person would write it from here: relative if ``folder`` is."""
    return Path(os.path.normpath(folder / _FILE.sub("", path, count=1)))


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError):  # a name that no file can have
        return False
