"""Which columns of an input the model takes, and which are passed on to the output. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.errors import DataAssetError

# What the output has beside the columns that are passed on.
RESULT = ("label", "probability", "model", "version")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of an input: those that the model takes, and the others, which are passed on; as in the input."""

    features: tuple[str, ...]
    passed_on: tuple[str, ...]


def columns_of_input(names: Sequence[str], signature: Sequence[Mapping[str, Any]], label: str, model: str) -> Columns:
    """Divide the columns of an input.

    Args:
        names: The columns of the input.
        signature: The columns of the model, as MLflow writes them in a signature.
        label: What the input is called in messages.
        model: What the model is called in messages.

    Raises:
        DataAssetError: The model does not say what it takes; a column that it needs is missing; or a column that would
            be passed on has a name that the output has already.
    """
    if not signature:
        raise DataAssetError(
            f"The model {model} has no signature that names its columns. Nothing was scored. Save it again with one."
        )
    needed = [str(column["name"]) for column in signature if column.get("required", True)]
    if missing := [name for name in needed if name not in names]:
        there = ", ".join(f"{name:.40}" for name in names[:20]) + (" and more" if len(names) > 20 else "")
        raise DataAssetError(
            f"The data {label} lack {', '.join(missing)}, which {model} needs; they have {there}. Nothing was scored."
        )
    taken = {str(column["name"]) for column in signature}
    passed_on = tuple(name for name in names if name not in taken)
    if clash := [name for name in passed_on if name in RESULT]:
        raise DataAssetError(
            f"The data {label} have the column {clash[0]}, which the output has too. Nothing was scored. Rename it."
        )
    return Columns(tuple(name for name in names if name in taken), passed_on)
