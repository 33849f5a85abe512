"""List folders in the order of their names in the Python of the steps, as the mounted folders of Azure ML are listed.

Scripts rely on it that take ``os.listdir(folder)[0]``. The order that a file system of this machine has is none. Python
imports this at its start; it may be an old one, and has another module of this name, perhaps, which is run as well.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec


class _Listdir:  # an object, since a function would become a method where a class keeps it, as in older pathlibs
    def __init__(self, plain):
        self._plain = plain

    def __call__(self, *path, **named):
        return sorted(self._plain(*path, **named))


class _Scandir:
    def __init__(self, plain):
        self._plain = plain

    def __call__(self, *path, **named):
        with self._plain(*path, **named) as entries:
            return _Entries(sorted(entries, key=lambda entry: entry.name))


class _Entries:
    def __init__(self, entries):
        self._entries = iter(entries)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._entries = iter(())


def _install():
    os.listdir, os.scandir = _Listdir(os.listdir), _Scandir(os.scandir)
    os.supports_fd.update((os.listdir, os.scandir))  # what shutil asks before it removes a tree in the safe way


def _run_hidden():
    here = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if os.path.abspath(path) != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


_install()
_run_hidden()
