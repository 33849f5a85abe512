"""Shell-safe paths: links that stand in for paths with blanks or special characters.

Azure ML puts paths into a command without quotes, so a path with a blank would become two words. On Azure ML no path
has a blank or another character that means something to a shell; on a laptop many do. For such a path the command gets
another one to the same place, through a link in a temporary folder.
"""

import re
import shutil
import tempfile
from pathlib import Path

_PLAIN = re.compile(r"[\w./@%+=:,-]+")


class ShellPaths:
    """Gives paths their text in a command, making links where need be."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder: Path | None = None
        self._links: dict[Path, Path] = {}

    def close(self) -> None:
        """Remove the links."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def text(self, path: Path) -> str:
        """The path itself, or one through a link that a shell takes as one plain word."""
        if _PLAIN.fullmatch(str(path)):
            return str(path)
        if path.is_relative_to(self._home) and path != self._home:
            return str(self._link(self._home, "home") / path.relative_to(self._home))
        return str(self._link(path, re.sub(r"[^\w.-]", "_", path.name)))

    def _link(self, target: Path, name: str) -> Path:
        if target not in self._links:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="tandem-"))
            link = self._folder / str(len(self._links)) / name
            link.parent.mkdir()
            link.symlink_to(target, target_is_directory=target.is_dir())
            self._links[target] = link
        return self._links[target]
