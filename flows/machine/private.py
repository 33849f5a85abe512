"""Keeps the local state private to its user: sets the umask of each process, and closes folders from before.

The state has the rows that models were trained on. Every command, and every flow run of a worker, begins with
:func:`keep_private`; whatever they start inherits the umask: the Prefect and MLflow servers, the step host and its
steps, the MLflow worker. What is copied into the state with the modes that it had elsewhere is closed by
:func:`tighten`. What a person asked for in a folder of theirs is made by :func:`hand_out`, with their own umask, which
is kept in ``TANDEM_UMASK`` for the programs that come after.
"""

import os
import shutil
import stat
from pathlib import Path

from flows.machine.folder import may_hold_state
from flows.settings import Settings

OF_OTHERS = 0o077  # what group and others may do
UMASK = "TANDEM_UMASK"


def keep_private() -> None:
    """Make what this process and its children write from now on its user's alone; close an older state, once.

    Closed is the folder that ``TANDEM_HOME`` names, with all in it, if it is this user's and a state folder or empty.
    """
    before = os.umask(OF_OTHERS)
    os.umask(before | OF_OTHERS)
    os.environ.setdefault(UMASK, f"{before:03o}")
    home = Settings.from_environment().home
    if is_open(home) and _is_state(home):
        tighten(home)


def is_open(folder: Path) -> bool:
    """Whether a folder is there that group or others may enter, list or change."""
    try:
        return bool(folder.stat().st_mode & OF_OTHERS)
    except OSError:
        return False


def tighten(folder: Path) -> None:
    """Take from group and others what they may do with a folder and all in it, the folder itself last.

    What belongs to somebody else stays as it is, and so does a file with further names, of which one may be outside.
    """
    if not folder.is_dir():
        return
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            _close(os.path.join(place, name), is_named=True)
    _close(folder, is_named=False)


def hand_out(source: Path, target: Path) -> None:
    """Copy a file or a folder to where a person wants it, as their umask has it; what is there has its modes kept.

    What is neither file nor folder (a pipe, a link to nothing) is passed over. A file keeps its date, and stays one
    that can be executed.

    Raises:
        OSError: The target cannot be written, or the source not be read.
    """
    if source.is_dir():
        make_folder(target)
        for path in sorted(source.iterdir()):
            hand_out(path, target / path.name)
    elif source.is_file():
        is_new = not target.exists()
        mode = target.stat().st_mode if not is_new else 0o777 if os.access(source, os.X_OK) else 0o666
        shutil.copyfile(source, target)
        shutil.copystat(source, target)
        target.chmod(stat.S_IMODE(mode) & ~(umask_at(target) if is_new else 0))


def hand_out_text(text: str, target: Path) -> None:
    """Write a file where a person wants it, as their umask has it.

    Raises:
        OSError: It cannot be written.
    """
    is_new = not target.exists()
    target.write_text(text, encoding="utf-8")
    if is_new:
        target.chmod(0o666 & ~umask_at(target))


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where a person wants it, as their umask has it.

    Raises:
        OSError: It cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        special = path.stat().st_mode & 0o7000  # as of a folder whose group all in it has
        path.chmod(special | 0o777 & ~umask_at(path))


def umask_at(place: Path) -> int:
    """The user's umask; in the state, where a deployed flow run works, that of the state."""
    try:
        own = int(os.environ[UMASK], 8) & 0o777
    except (KeyError, ValueError):
        own = os.umask(OF_OTHERS)  # nothing was made private in this process
        os.umask(own)
    return own | OF_OTHERS if place.absolute().is_relative_to(Settings.from_environment().home) else own


def _is_state(home: Path) -> bool:
    found = home.stat()
    is_shared = found.st_mode & stat.S_ISVTX  # such as /tmp
    if found.st_uid != os.geteuid() or is_shared or home in (Path.home(), Path("/")):
        return False
    return may_hold_state(set(os.listdir(home)))


def _close(path: str | Path, is_named: bool) -> None:
    try:
        found = os.lstat(path) if is_named else os.stat(path)
        is_mine = found.st_uid == os.geteuid() and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1)
        if is_mine and found.st_mode & OF_OTHERS and not stat.S_ISLNK(found.st_mode):
            os.chmod(path, stat.S_IMODE(found.st_mode) & ~OF_OTHERS)
    except FileNotFoundError:
        pass  # another process has taken it away
