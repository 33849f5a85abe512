"""Imports of the step host, made before it forks. Imports only the standard library itself."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import sys
import types
from typing import Iterable  # noqa: UP035 (the steps' interpreter may be an old one)

# Imported before a fork these start no Python threads and hold no locks or connections; those that start native ones
# (OpenBLAS, Arrow) know how to start anew in the child. A test of this project checks both.
PRELOADABLE = {
    *("alembic", "git", "joblib", "matplotlib", "mlflow", "narwhals", "numpy", "pandas", "pandera", "pyarrow"),
    *("scipy", "skops", "sklearn", "sqlalchemy"),
}
# These change what their package offers to all of a process: only the step that imports them is to see it.
NOT_PRELOADABLE = ("sklearn.experimental",)
# Resident memory of the host, in bytes, from which on nothing more is preloaded. MLflow, pandas, scikit-learn,
# Matplotlib and SciPy occupy 380 MiB together, which all steps share. What comes on top is imported by the steps that
# use it, and takes memory only as long as they run.
MOST_BYTES = 512 << 20
IMPORT_SECONDS = 120.0  # the longest that one import may take, and keep all other steps waiting


class ImportTakesTooLong(BaseException):
    """Ends an import that takes too long. A ``BaseException``, so that no library catches it."""


class Imports:
    """What is still to be imported, and what could not be."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.broken: set[str] = set()  # packages whose import has failed half-way
        self.running = False

    def load(self, module: str) -> bool:
        """Import ``package.module``, or for ``module:name`` also the submodule of that name if there is one.

        Returns:
            Whether a fork of this process can import what is left of it, as a new process can.
        """
        parent, _, name = module.partition(":")
        package = parent.partition(".")[0]
        if not is_preloadable(parent):
            return True
        if package in self.broken:
            return False
        if parent not in sys.modules and resident_bytes() > MOST_BYTES:
            return True  # a step that needs it imports it itself
        try:
            self.running = True
            signal.setitimer(
                signal.ITIMER_REAL, IMPORT_SECONDS, 1.0
            )  # again each second, if it comes where it is ignored
            imported = importlib.import_module(parent)
            # An attribute that is no module is what was meant; a lazy module is not loaded by being there.
            is_value = name in vars(imported) and not isinstance(vars(imported)[name], types.ModuleType)
            if name and not is_value and hasattr(imported, "__path__") and importlib.util.find_spec(f"{parent}.{name}"):
                importlib.import_module(f"{parent}.{name}")
        except ModuleNotFoundError:
            pass  # of another version, or not installed for this interpreter; a step that needs it will say so
        except BaseException:  # a step that imports it is a new process, and meets the same by itself
            self.broken.add(package)
        finally:
            self.running = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        return package not in self.broken

    def end_overdue(self) -> None:
        """Give up the import that has taken too long."""
        if self.running:
            raise ImportTakesTooLong(f"not done after {IMPORT_SECONDS:g} s")


def is_preloadable(module: str) -> bool:
    """Whether a module may be imported before a fork, whichever step needs it."""
    return module.partition(".")[0] in PRELOADABLE and not f"{module}.".startswith(
        tuple(f"{name}." for name in NOT_PRELOADABLE)
    )


def resident_bytes() -> int:
    """The memory that this process occupies."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def note_imports(place: str, code: str, names: Iterable[str]) -> None:
    """Write down which of the modules that a script has imported could have been imported before the fork.

    Args:
        place: The file to write.
        code: The folder of the step's code. What lies in it is left out, and so is what no finder has found.
        names: The modules.
    """
    own = os.path.join(os.path.realpath(code), "")
    found: list[str] = []
    for name in names:
        spec = getattr(sys.modules.get(name), "__spec__", None)
        is_found = getattr(spec, "name", None) == name and not str(getattr(spec, "origin", "")).startswith(own)
        if is_found and is_preloadable(name):
            found.append(name)
    with contextlib.suppress(Exception), open(place, "w", encoding="utf-8") as file:
        json.dump(found, file)


def shadowed(folder: str, script: str) -> bool:
    """Whether a module of the script's folder has the name of one that is loaded here, and so would not be found.

    True as well if the script is not there, which a new Python process reports.
    """
    path = os.path.join(folder, script)
    if not os.path.isfile(path):
        return True
    folder = os.path.dirname(path)
    try:
        with os.scandir(folder) as entries:
            found = {e.name.partition(".")[0] for e in entries if e.is_dir() or e.name.endswith((".py", ".so"))}
    except OSError:
        return True
    return bool(found & {name.partition(".")[0] for name in sys.modules} - {"__main__"})


def say(text: str) -> None:
    """Write a line for a person to standard error."""
    with contextlib.suppress(OSError):  # nobody reads it
        print(f"step host: {text}", file=sys.stderr)
