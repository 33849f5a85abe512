"""Names of registered models. Imports little, since the help of each command needs it."""

import re

from flows.errors import ParameterError

MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


def check_model_name(name: str) -> None:
    """Check a name for a registered model against what both MLflow and Azure ML accept, before anything is run.

    Raises:
        ParameterError: One of them would refuse it.
    """
    if not MODEL_NAME.fullmatch(name):
        nearest = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:255]
        raise ParameterError(
            f"{name!r} cannot be the name of a model: use letters, digits, '_', '-' and '.', beginning with a letter, "
            "a digit or '_', at most 255 in all" + (f" (such as {nearest!r})." if nearest else ".")
        )
