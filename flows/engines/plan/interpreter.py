"""Describes the Python that runs the steps: its version and its installed distributions."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.errors import SettingsError

ANSWER_SECONDS = 60
_ENDINGS = (".dist-info", ".egg-info")
_OURSELVES = "tandem-ml"

# It has to run in any Python, however old. The empty entry of the path is this process's folder, not a step's.
_QUESTION = f"""
import sys
sys.path = [folder for folder in sys.path if folder]
import json, os
folders = [folder for folder in sys.path if os.path.isdir(folder)]
names = [name for folder in folders for name in os.listdir(folder) if name.endswith({_ENDINGS!r})]
print(json.dumps([sys.version, names]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What ``sys.version`` says, and the version of every distribution by its normalized name."""

    version: str
    packages: Mapping[str, str]

    @property
    def release(self) -> str:
        """The version alone, such as ``3.11.9``."""
        return self.version.split()[0]


def interpreter(python: Path | None = None) -> Interpreter:
    """Describe an interpreter; without one, that of this process.

    Raises:
        SettingsError: There is none, or it does not say what is installed for it.
    """
    if python is None or os.path.abspath(python) == os.path.abspath(sys.executable):
        return _this()
    return _other(os.path.abspath(python))


def python_named(text: str) -> Path:
    """The interpreter that a person names: a path, or a command such as ``python3.9``."""
    found = None if os.sep in text else shutil.which(text)
    return Path(os.path.abspath(os.path.expanduser(found or text)))


def normalized(name: str) -> str:
    """A distribution's name as all its spellings have it: ``Scikit_Learn`` is ``scikit-learn``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _this() -> Interpreter:
    folders = dict.fromkeys(folder for folder in sys.path if folder and os.path.isdir(folder))
    return Interpreter(sys.version, _packages(name for folder in folders for name in os.listdir(folder)))


def _other(python: str) -> Interpreter:
    try:
        said = subprocess.run([python, "-c", _QUESTION], capture_output=True, timeout=ANSWER_SECONDS, check=True)
        version, names = json.loads(said.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
        raise SettingsError(
            f"--python {python}: this is no Python that runs here: {_why(error)}. "
            "Name the interpreter of an environment, such as .venv/bin/python."
        ) from error
    return Interpreter(version, _packages(names))


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, subprocess.CalledProcessError):
        return f"it ended with exit code {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {ANSWER_SECONDS} s"
    return "it does not say which packages it has"


def _packages(names: Iterable[str]) -> dict[str, str]:
    """Names and versions from those of their folders; the first on the path is the one that is imported."""
    found: dict[str, str] = {}
    for file in names:
        if file.endswith(_ENDINGS):
            name, _, version = file.rpartition(".")[0].partition("-")
            found.setdefault(normalized(name), re.sub(r"-py\d[\d.]*$", "", version))
    found.pop(_OURSELVES, None)
    return dict(sorted(found.items()))
