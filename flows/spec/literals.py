"""Literal values: the text that a command receives, and whether a text fits a declared input.

The rules are those of azure-ai-ml 1.35.2: a value goes over the wire as ``str(value)``; only a component's own default
is first brought to the declared type.
"""

import re

from flows.spec.model.job import InputPort
from flows.spec.text.section import finite_number

# What YAML 1.1 leaves as text although it is a number: an exponent without a dot.
_DOTLESS_EXPONENT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+")


def type_of(value: bool | int | float | str) -> str:
    """The literal type that Azure ML gives a value that no component declares."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"


def default_text(value: bool | int | float | str, port_type: str) -> str | None:
    """A component's default as text, brought to the type that its port declares.

    Returns:
        The text, or None where the default does not fit the type.
    """
    try:
        # The client reads any number as a float before it looks at the type: a string's ``default: 10`` is ``10.0``.
        read = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        match port_type:
            case "integer" if not isinstance(read, bool):
                return str(int(float(read)))
            case "integer":
                return None  # the client would send True
            case "number":
                return str(float(read))
            case "boolean":
                return str(read).capitalize() if str(read).lower() in ("true", "false") else None
            case _:
                return str(read)
    except (ValueError, OverflowError):
        return None


def as_sent(text: str, port_type: str) -> str:
    """The text that a command receives for a value that is bound to a port of this type."""
    if port_type == "number" and _DOTLESS_EXPONENT.fullmatch(text):
        return str(float(text))
    return text


def misfit(text: str, port: InputPort) -> str | None:
    """Why a text does not fit a port, as the end of a sentence that begins with the text; None where it fits."""
    value = finite_number(text)
    if port.type in ("number", "integer") and value is None:
        return "is not a number"
    # An inferred integer is only what the file happens to say: ``threshold: 1`` may become 0.5.
    if port.type == "integer" and not port.inferred and value is not None and not value.is_integer():
        return "is not a whole number"
    if port.type == "boolean" and text.lower() not in ("true", "false"):
        return "is neither true nor false"
    if port.enum and not _among(text, port):
        return f"is not one of {', '.join(port.enum)}"
    if value is None or port.type not in ("number", "integer"):
        return None
    if port.minimum is not None and value < port.minimum:
        return f"is below the minimum {port.minimum:g}"
    if port.maximum is not None and value > port.maximum:
        return f"is above the maximum {port.maximum:g}"
    return None


def _among(text: str, port: InputPort) -> bool:
    if port.type in ("number", "integer"):
        return finite_number(text) in {finite_number(choice) for choice in port.enum}
    if port.type == "boolean":
        return text.lower() in {choice.lower() for choice in port.enum}
    return text in port.enum
