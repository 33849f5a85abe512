"""The code of a step as Azure ML would upload it: which files, their digest, and a copy to run in."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

IGNORE_FILES = (".amlignore", ".gitignore")  # the first that is there is used, alone, as the SDK does
BYTE_CODE = "__pycache__"  # a run leaves it behind; it must not make the next run look changed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files by their path in the snapshot (POSIX, sorted), with the place each is read from."""

    files: tuple[tuple[str, Path], ...]

    @classmethod
    def of(cls, code: Path | None, includes: tuple[Path, ...] = ()) -> "Snapshot":
        """Return the snapshot of a code folder (or single file) with its additional includes.

        Ignore files apply to the folder they lie in, like those of the SDK, and that of the code to all. Additional
        includes land at the top.
        """
        found: dict[str, Path] = {}
        for root, prefix in ((code, ""), *((include, include.name) for include in includes)):
            if root is None:
                continue
            if root.is_file():
                found[root.name] = root
                continue
            for path in _walk(root):
                found[os.path.join(prefix, path.relative_to(root)).replace(os.sep, "/")] = path
        if includes and code is not None:
            ignored = _ignored_names(code)
            found = {name: path for name, path in found.items() if not ignored(name)}
        return cls(tuple(sorted(found.items())))

    def digest(self) -> str:
        """The SHA-256 of names and contents; dates, owners and the place on disk do not count."""
        whole = hashlib.sha256()
        for name, path in self.files:
            whole.update(f"{name}\0{file_digest(path)}\n".encode())
        return whole.hexdigest()

    def copy_to(self, folder: Path) -> None:
        """Copy every file below ``folder``, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in self.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def data_digest(path: Path) -> str:
    """The SHA-256 of a file's content, or of a folder's names and contents."""
    if path.is_file():
        return file_digest(path)
    whole = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        whole.update(f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\n".encode())
    return whole.hexdigest()


def _walk(root: Path) -> Iterator[Path]:
    ignored = _ignored_names(root)
    for folder, names, files in os.walk(root, followlinks=True):
        here = os.path.relpath(folder, root).replace(os.sep, "/")
        names[:] = sorted(name for name in names if name != BYTE_CODE)
        yield from (Path(folder, name) for name in files if not ignored(f"{here}/{name}".removeprefix("./")))


def _ignored_names(root: Path) -> Callable[[str], bool]:
    """Whether a file, by its path below ``root``, is left out. The last rule that matches decides, as in the SDK.

    Unlike in git, a file in a folder that is left out can be kept: ``data/`` and then ``!data/keep.csv``.
    """
    ignore_file = next((root / name for name in IGNORE_FILES if (root / name).is_file()), None)
    if ignore_file is None:
        return lambda name: False
    from pathspec import PathSpec  # only a folder with an ignore file pays for the import
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    lines = [line.rstrip() for line in ignore_file.read_text(encoding="utf-8").splitlines()]
    return PathSpec.from_lines(GitIgnoreSpecPattern, lines).match_file
