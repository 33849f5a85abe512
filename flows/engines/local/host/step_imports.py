"""Imports of the step host, made before it forks. Imports only the standard library itself."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import signal
import sys
import types

# Imported before a fork these start no Python threads and hold no locks or connections; those that start native ones
# (OpenBLAS, Arrow) know how to start anew in the child. A test of this project checks both.
PRELOADABLE = {
    *("alembic", "git", "joblib", "matplotlib", "mlflow", "narwhals", "numpy", "pandas", "pandera", "pyarrow"),
    *("scipy", "skops", "sklearn", "sqlalchemy"),
}
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
        if package not in PRELOADABLE:
            return True
        if package in self.broken:
            return False
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
