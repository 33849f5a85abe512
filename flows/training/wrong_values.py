"""One sentence for each value that pydantic refuses: its key, what is allowed, and what was given."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError


def wrong_values(error: ValidationError) -> Iterator[tuple[Any, str]]:
    """Yield each fault, as pydantic has it, and its sentence without a full stop."""
    for fault in error.errors():
        yield fault, _sentence(fault)


def _sentence(fault: Any) -> str:
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] == "value_error":  # raised by a validator of ours
        said = str(fault["ctx"]["error"])
    elif fault["type"] == "json_invalid":
        said = str(fault["msg"])
    else:
        message = str(fault["msg"])
        given = "" if fault["type"] == "missing" else f", not {fault['input']!r:.40}"
        said = f"{message[0].lower()}{message[1:]}{given}"
    return f"{where}: {said}" if where else said
