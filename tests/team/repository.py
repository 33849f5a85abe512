"""This checkout as a bare repository that hosts clone from, served by ``git daemon``."""

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flows.machine.child import Child
from flows.prefect_api.server import free_port
from tests.terminal import PROJECT

NAME = "tandem.git"


def _git(folder: Path, *words: str | Path) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@contextmanager
def served_repository(folder: Path, address: str) -> Generator[str]:
    """The address of a repository with the files of this checkout as they are now, for as long as the block lasts."""
    tree, port = folder / "tree", free_port()
    for name in filter(None, _git(PROJECT, "ls-files", "-co", "--exclude-standard", "-z").split("\0")):
        if (PROJECT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, tree / name)
    _git(tree, "init", "--quiet", "--initial-branch", "main")
    _git(tree, "add", "--all")
    _git(
        tree, "-c", "user.name=team", "-c", "user.email=team@example.org", "commit", "--quiet", "--message", "As it is"
    )
    _git(folder, "clone", "--quiet", "--bare", tree, NAME)
    words = ("git", "daemon", "--export-all", f"--base-path={folder}", f"--listen={address}", f"--port={port}")
    environment = {
        **os.environ,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    with Child("git daemon", words, environment, log=folder / "git-daemon.log"):
        yield f"git://{address}:{port}/{NAME}"
