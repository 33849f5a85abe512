"""Folders listed by name in the Python of the steps, as the mounted folders of Azure ML are listed.

Scripts that take ``os.listdir(folder)[0]`` rely on that order; the file systems of this machine have none. Python
imports this file at its start; it may be an old version. If there is another module of this name, that is run as well.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any


class _Listdir:  # an object, since a function would become a method where a class keeps it, as in older pathlibs
    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __call__(self, *path: Any, **named: Any) -> Any:
        return sorted(self._plain(*path, **named))


class _Scandir:
    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __call__(self, *path: Any, **named: Any) -> _Entries:
        with self._plain(*path, **named) as entries:
            return _Entries(sorted(entries, key=_name))


class _Entries:
    def __init__(self, entries: Any) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


def _name(entry: Any) -> Any:
    return entry.name


def _install() -> None:
    os.listdir, os.scandir = _Listdir(os.listdir), _Scandir(os.scandir)
    os.supports_fd.update((os.listdir, os.scandir))  # what shutil asks before it removes a tree in the safe way


def _run_hidden() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if os.path.abspath(path) != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


_install()
_run_hidden()
