"""Puts values into a component's command, ready for a shell."""

import re
from collections.abc import Iterator, Mapping

EXPRESSION = re.compile(r"\$\{\{\s*(inputs|outputs)\s*\.\s*([\w.-]+?)\s*\}\}")
_OPENS, _CLOSES = "$[[", "]]"


def render_command(command: str, inputs: Mapping[str, str | None], outputs: Mapping[str, str]) -> str:
    """Put the values into a command, each verbatim, and drop the optional blocks whose inputs have none.

    Args:
        command: The command as the component declares it, with ``${{inputs.x}}``, ``${{outputs.x}}`` and ``$[[ … ]]``.
        inputs: The text of each input; None for an optional input without a value.
        outputs: The path of each output.

    Returns:
        The command. A value is never looked at again: it may hold ``${{…}}``, ``$[[…]]`` or backslashes.
    """

    def value(match: re.Match[str]) -> str:
        kind, name = match.groups()
        known = inputs if kind == "inputs" else outputs
        if name not in known:
            return match[0]
        return known[name] or ""

    def block(text: str) -> str:
        names = [name for kind, name in EXPRESSION.findall(text) if kind == "inputs"]
        if any(name in inputs and inputs[name] is None for name in names):
            return ""
        return EXPRESSION.sub(value, text)

    # One pass over the command's own text; the values that are put in are never scanned.
    parts: list[str] = []
    end = 0
    for opens, closes in _blocks(command):
        inner = command[opens + len(_OPENS) : closes - len(_CLOSES)]
        parts += [EXPRESSION.sub(value, command[end:opens]), block(inner)]
        end = closes
    return "".join([*parts, EXPRESSION.sub(value, command[end:])])


def references(command: str) -> Iterator[tuple[str, str, bool]]:
    """Every reference of a command: ``inputs`` or ``outputs``, the name, and whether it stands in ``$[[ … ]]``."""
    blocks = _blocks(command)
    opens, closes = next(blocks, (len(command), len(command)))
    for match in EXPRESSION.finditer(command):
        while closes <= match.start():
            opens, closes = next(blocks, (len(command), len(command) + 1))
        yield match[1], match[2], opens <= match.start()


def _blocks(command: str) -> Iterator[tuple[int, int]]:
    """Where each ``$[[ … ]]`` begins and ends: with the first ``]]``."""
    end = 0
    while (opens := command.find(_OPENS, end)) >= 0 and (closes := command.find(_CLOSES, opens + len(_OPENS))) >= 0:
        end = closes + len(_CLOSES)
        yield opens, end
