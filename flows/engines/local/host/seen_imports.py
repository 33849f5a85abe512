"""Record of the modules that a component's script has imported, kept in the local state, so that they are preloaded.

A forked step writes down which modules of the libraries it had to import itself. They are added to the component's
record as the step ends: the next run finds them preloaded.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from flows.data.atomic import atomic_write
from flows.data.digests import text_digest
from flows.spec.model.job import Component

MOST_MODULES = 2000  # MLflow, pandas and scikit-learn have some 1,500 together; beyond that, the oldest are forgotten


class SeenImports:
    """The records of a state folder, which can be deleted at any time: without them, steps are only slower."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "steps" / "imports"

    def of(self, component: Component) -> list[str]:
        """The modules that the component was seen to import, in that order; empty if it was not seen."""
        return _names(self._place(component))

    def add(self, component: Component, file: Path) -> None:
        """Take over what a step of the component has written down, and delete that file. It need not be there."""
        names = _names(file)
        with suppress(OSError):
            file.unlink(missing_ok=True)
            if names:
                self._folder.mkdir(parents=True, exist_ok=True)
                known = list(dict.fromkeys([*self.of(component), *names]))
                atomic_write(self._place(component), json.dumps(known[-MOST_MODULES:]))

    def forget(self, component: Component) -> None:
        """Delete the record, since an import in it may be the reason why the step could not be forked."""
        with suppress(OSError):
            self._place(component).unlink(missing_ok=True)

    def _place(self, component: Component) -> Path:
        return self._folder / f"{text_digest(ascii(f'{component.source} {component.name}'))}.json"


def _names(file: Path) -> list[str]:
    try:
        found: object = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return []
    return [str(name) for name in found] if isinstance(found, Sequence) else []
