"""Snapshot of code as Azure ML would upload it: its files, their digest, and a copy to run in."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.data.digests import file_digest, files_below, is_byte_code, text_digest

IGNORE_FILES = (".amlignore", ".gitignore")  # the first that is there is used, alone, as the SDK does


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files by their path in the snapshot (POSIX, sorted), with the place each is read from."""

    files: tuple[tuple[str, Path], ...]

    @classmethod
    def of(cls, code: Path | None, includes: tuple[Path, ...] = ()) -> "Snapshot":
        """Return the snapshot of a code folder (or single file) with its additional includes.

        An ignore file applies to its own folder, and that of the code to the includes too, as in the SDK. Additional
        includes lie at the top of the snapshot.
        """
        found: dict[str, Path] = {}
        for root, prefix in ((code, ""), *((include, f"{include.name}/") for include in includes)):
            if root is None:
                continue
            if root.is_file():
                found[root.name] = root
                continue
            found.update((prefix + name, root / name) for name in _walk(root))
        if includes and code is not None:
            ignored = _Ignored.by(code)
            found = {name: path for name, path in found.items() if not ignored.file(name)}
        return cls(tuple(sorted(found.items())))

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every file, by its path in the snapshot."""
        return {name: file_digest(path) for name, path in self.files}

    def digest(self) -> str:
        """The SHA-256 of names and contents; dates, owners and the place on disk do not count."""
        return text_digest("".join(f"{name}\0{digest}\n" for name, digest in self.digests().items()))

    def copy_to(self, folder: Path) -> None:
        """Copy every file below ``folder``, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in self.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def _walk(root: Path) -> Iterator[str]:
    ignored = _Ignored.by(root)

    def is_left_out(folder: str) -> bool:
        # A run leaves byte code behind, which must not make the next run look changed.
        return is_byte_code(folder) or ignored.whole_folder(folder)

    return (name for name in files_below(root, is_left_out) if not ignored.file(name))


@dataclass(frozen=True, slots=True)
class _Ignored:
    """What an ignore file leaves out, by paths below its folder. The last rule that matches decides, as in the SDK.

    Unlike in git, a file in a folder that is left out can be kept: ``data/`` and then ``!data/keep.csv``. Where no rule
    keeps anything, a folder that is left out need not be looked into, however large it is.
    """

    file: Callable[[str], bool] = lambda name: False
    whole_folder: Callable[[str], bool] = lambda name: False

    @classmethod
    def by(cls, root: Path) -> "_Ignored":
        ignore_file = next((root / name for name in IGNORE_FILES if (root / name).is_file()), None)
        if ignore_file is None:
            return cls()
        from pathspec import PathSpec  # imported here because it is slow, and needed only where there is an ignore file
        from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

        lines = [line.rstrip() for line in ignore_file.read_text(encoding="utf-8").splitlines()]
        rules = PathSpec.from_lines(GitIgnoreSpecPattern, lines)
        keeps = any(rule.include is False for rule in rules.patterns)
        return cls(rules.match_file, (lambda name: False) if keeps else rules.match_file)
