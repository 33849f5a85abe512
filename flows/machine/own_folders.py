"""Marks folders that runs have made, so that later runs delete nothing else.

Each such folder has a marker file. A folder without the marker is not deleted, and links are never followed.
"""

import os
import shutil
from pathlib import Path

from flows.errors import SettingsError

MARKER = ".made-by-tandem"
_SAID = "A run of Tandem made this folder, and a later one may delete what is in it.\n"


def claim(folder: Path) -> None:
    """Make a folder that later runs may delete from; one that is there already is kept as it is.

    Raises:
        SettingsError: There is something that no run has made, or the folder cannot be made.
    """
    marker = folder / MARKER
    try:
        if folder.is_symlink() or (folder.exists() and not _is_own(folder) and (_is_file(folder) or any(_all(folder)))):
            raise _not_ours(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not _is_own(folder):
            marker.write_text(_SAID, encoding="utf-8")
    except OSError as error:
        raise _failed(folder, "made", error) from error


def claim_empty(folder: Path) -> None:
    """Make a folder as :func:`claim` does, and delete all that an earlier run has left in it.

    Raises:
        SettingsError: As of :func:`claim`; or something in it cannot be deleted.
    """
    claim(folder)
    try:
        for entry in _all(folder):
            if entry.name != MARKER:  # deleted last, so that an interrupted deletion can be resumed
                _delete(Path(entry.path))
    except OSError as error:
        raise _failed(folder, "emptied", error) from error


def discard(folder: Path) -> None:
    """Delete a folder that a run has made, with all that is in it; nothing, if no run has made it.

    Raises:
        SettingsError: Something in it cannot be deleted.
    """
    if not _is_own(folder):
        return
    claim_empty(folder)
    try:
        (folder / MARKER).unlink()
        folder.rmdir()
    except OSError as error:
        raise _failed(folder, "deleted", error) from error


def remove(folder: Path, name: str) -> None:
    """Delete what a run has put into its own folder under a name; nothing, if nothing is there.

    Raises:
        SettingsError: No run has made the folder, or what is in it cannot be deleted.
    """
    place = folder / name
    if not os.path.lexists(place):
        return
    if not _is_own(folder):
        raise _not_ours(place)
    try:
        _delete(place)
    except OSError as error:
        raise _failed(place, "deleted", error) from error


def copy_by_links(source: Path, target: Path) -> None:
    """Copy a file or a folder that no run changes any more: a file gets a second name, where the file system has such.

    Links are followed; what they lead to in vain is left out.

    Raises:
        OSError: The target cannot be written.
    """
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link, ignore_dangling_symlinks=True, dirs_exist_ok=True)
    else:
        _link(str(source), str(target))


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)


def _is_own(folder: Path) -> bool:
    return not folder.is_symlink() and _is_file(folder / MARKER)


def _is_file(place: Path) -> bool:
    return place.is_file() and not place.is_symlink()


def _all(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return list(entries)


def _delete(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)  # which removes links, and does not follow them
    else:
        place.unlink()


def _not_ours(place: Path) -> SettingsError:
    return SettingsError(
        f"{place} is in the way, and is not deleted: no run of Tandem has made it. Move it elsewhere, and run again."
    )


def _failed(place: Path, what: str, error: OSError) -> SettingsError:
    return SettingsError(f"The folder {place} cannot be {what}: {error.strerror or error}: {error.filename or place}.")
