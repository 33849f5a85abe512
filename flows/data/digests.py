"""Content digests of files and folders. A digest is taken again only when a file has changed."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

SMALL_BYTES = 1 << 20  # read at once; a larger file goes through a buffer
# A file system may give two writes in a row the same time. What was altered this shortly ago is read again.
SETTLED_NANOSECONDS = 2_000_000_000

BYTE_CODE = "__pycache__"  # Python leaves it beside code that it has imported
# What MLflow writes into the folder of a registered model when it loads it. It is no part of the model.
ADDED_ON_LOADING = "registered_model_meta"
_MODEL = "MLmodel"  # the file that says that a folder is a model

_Signature: TypeAlias = tuple[int, int, int, int, int]

# Kept in this process only: another run reads every file anew.
_known: dict[str, tuple[_Signature, str]] = {}


def text_digest(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    place = os.fspath(path)
    now = time.time_ns()
    with open(place, "rb") as stream:
        state = os.fstat(stream.fileno())
        signature = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        known = _known.get(place)
        if known is not None and known[0] == signature:
            return known[1]
        if state.st_size <= SMALL_BYTES:
            digest = hashlib.sha256(stream.read()).hexdigest()
        else:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if max(state.st_mtime_ns, state.st_ctime_ns) < now - SETTLED_NANOSECONDS:
        _known[place] = signature, digest
    return digest


def data_digest(path: Path) -> str:
    """The SHA-256 of a file's content, or of a folder's names and contents.

    What is added to the folder of a model when it is loaded does not count: MLflow's note, and byte code of its code.
    """
    if path.is_file():
        return file_digest(path)
    if (path / _MODEL).is_file():
        names = set(files_below(path, is_byte_code)) - {ADDED_ON_LOADING}
    else:
        names = set(files_below(path))
    named = sorted((tuple(name.split("/")), name) for name in names)
    return text_digest("".join(f"{name}\0{file_digest(f'{path}/{name}')}\n" for _, name in named))


def is_byte_code(folder: str) -> bool:
    """Whether a folder, by its path with a slash at its end, is one of Python's byte code."""
    return f"/{folder}".endswith(f"/{BYTE_CODE}/")


def change_since(digest: str, path: Path) -> str | None:
    """How a file or folder has changed since its digest was taken: ``deleted``, ``altered``, or None if it has not."""
    if not path.exists():
        return "deleted"
    try:
        return None if data_digest(path) == digest else "altered"
    except OSError:
        return "altered"  # it cannot be read any more, or was deleted meanwhile


def files_below(root: Path, is_left_out: Callable[[str], bool] = lambda folder: False) -> Iterator[str]:
    """Every file below a folder, links to files and folders among them, by its POSIX path from there; in any order.

    Args:
        root: The folder.
        is_left_out: Whether a folder, by its path with a slash at its end, is not looked into.
    """
    state = os.stat(root)
    return _below(os.fspath(root), "", frozenset({(state.st_dev, state.st_ino)}), is_left_out)


def _below(
    folder: str, prefix: str, above: frozenset[tuple[int, int]], is_left_out: Callable[[str], bool]
) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except PermissionError:
        return
    for entry in found:
        name = prefix + entry.name
        if entry.is_file():  # neither a link to nothing, as some editors leave behind, nor a pipe
            yield name
        elif entry.is_dir() and not is_left_out(f"{name}/"):
            state = entry.stat()
            itself = state.st_dev, state.st_ino
            if itself not in above:  # a link to a folder that it lies in would never end
                yield from _below(entry.path, f"{name}/", above | {itself}, is_left_out)
