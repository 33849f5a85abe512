"""Import errors of libraries, as one message: which library cannot be imported, why, and what installs it."""

import platform
import re
import sys

from flows.errors import SettingsError
from flows.settings import PROJECT, in_checkout

_OWN = ("flows", "deployments")
_NAME = re.compile(r"cannot import name '(\w+)'")


def import_fault(error: ImportError) -> SettingsError | None:
    """What an import error means for a person; None if the module is one of our own, which is a bug."""
    cause = _first_cause(error)
    if (cause.name or "").partition(".")[0] in _OWN:
        return None
    environment = "`pip check` lists what does not fit together."
    if in_checkout():
        environment = (
            f"`make env` makes the environment in {PROJECT}, and {PROJECT}/.venv/bin/python is its interpreter."
        )
    return SettingsError(
        f"A library cannot be imported by {sys.executable} (Python {platform.python_version()}): {cause}. {environment}"
    )


def _first_cause(error: ImportError) -> ImportError:
    """The import error that all others came of.

    A package that imports its parts when they are used, as Prefect does, answers with an AttributeError where that
    fails. ``from package import name`` keeps only its words, so the name is asked for once more.
    """
    found, first = _NAME.search(str(error)), error
    cause = error.__cause__ or error.__context__
    if found and cause is None:
        try:
            getattr(sys.modules.get(error.name or ""), found[1])
        except Exception as again:
            cause = again
    while cause not in (None, error):  # the second try has the error, which is being handled, as its context
        first = cause if isinstance(cause, ImportError) else first
        cause = cause.__cause__ or cause.__context__
    return first
