"""Working folders of the steps, outside of any git repository.

In a container no repository lies above the folder that a step works in. Here the local state may lie in a checkout, as
``.tandem`` of the project does. What looks for a repository (git, libgit2, GitPython, by which MLflow notes a commit)
would find that one. So a step works in a temporary folder then, and what it leaves there is moved to the step's own
folder in the state when it has ended. A state that is in no checkout has the working folders in it from the start.
"""

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from flows.errors import SettingsError
from flows.machine.living import current
from flows.machine.own_folders import claim, discard

_PLACES = ("/tmp", "/var/tmp")


class WorkingFolders:
    """The working folders of one run. Those that are outside of the state are deleted by :meth:`close`."""

    def __init__(self, home: Path) -> None:
        self._place = _outside(home) if is_in_checkout(home) else None
        self._folder: Path | None = None
        self._count = 0

    def place(self, step_folder: Path) -> Path:
        """Where a step is to work; nothing is there yet.

        Raises:
            SettingsError: No temporary folder can be made.
        """
        if self._place is None:
            return step_folder / "code"
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tandem-", dir=self._place))
            claim(self._folder)
            if (entry := current()) is not None:
                entry.tell(work=str(self._folder))
        self._count += 1
        return self._folder / str(self._count) / "code"

    def keep(self, working: Path, step_folder: Path) -> Path:
        """Move what a step has left in its working folder into its own folder; returns where it is then.

        Raises:
            OSError: It cannot be written there.
        """
        kept = step_folder / "code"
        if working != kept:
            try:
                working.rename(kept)
            except OSError:  # another file system
                shutil.copytree(working, kept, symlinks=True, ignore=_special)
                shutil.rmtree(working, ignore_errors=True)
        return kept

    def close(self) -> None:
        """Delete what is left."""
        if self._folder is not None:
            with suppress(SettingsError):
                discard(self._folder)


def is_in_checkout(folder: Path) -> bool:
    """Whether a folder, or one above it, is the top of a git repository's work tree."""
    found = Path(os.path.realpath(folder))
    return any((above / ".git").exists() for above in (found, *found.parents))


def _outside(home: Path) -> Path | None:
    """A folder for temporary files that is in no checkout, on the same file system if possible; None without any."""
    there = next(above for above in (home, *home.parents) if above.exists())
    found = [Path(place) for place in (os.environ.get("TMPDIR"), *_PLACES) if place]
    usable = [place for place in found if os.access(place, os.W_OK | os.X_OK) and not is_in_checkout(place)]
    return min(usable, key=lambda place: place.stat().st_dev != there.stat().st_dev, default=None)


def _special(folder: str, names: list[str]) -> list[str]:
    """What cannot be copied: pipes, sockets, devices."""
    kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    modes = {name: os.lstat(os.path.join(folder, name)).st_mode for name in names}
    return [name for name, mode in modes.items() if not any(is_kind(mode) for is_kind in kinds)]
