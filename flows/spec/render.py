"""A component's command with the values in it, ready for a shell."""

import re
from collections.abc import Iterator, Mapping

EXPRESSION = re.compile(r"\$\{\{\s*(inputs|outputs)\s*\.\s*([\w.-]+?)\s*\}\}")
# ``]]`` ends the block, except where it belongs to a longer run of brackets: ``$[[ a[${{inputs.i}}] ]]``.
OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)


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

    def block(match: re.Match[str]) -> str:
        names = [name for kind, name in EXPRESSION.findall(match[1]) if kind == "inputs"]
        if any(name in inputs and inputs[name] is None for name in names):
            return ""
        return EXPRESSION.sub(value, match[1])

    # One pass over the command's own text; the values that are put in are never scanned.
    parts: list[str] = []
    end = 0
    for match in OPTIONAL.finditer(command):
        parts += [EXPRESSION.sub(value, command[end : match.start()]), block(match)]
        end = match.end()
    return "".join([*parts, EXPRESSION.sub(value, command[end:])])


def references(command: str) -> Iterator[tuple[str, str, bool]]:
    """Every reference of a command: ``inputs`` or ``outputs``, the name, and whether it stands in ``$[[ … ]]``."""
    blocks = [match.span() for match in OPTIONAL.finditer(command)]
    for match in EXPRESSION.finditer(command):
        yield match[1], match[2], any(start <= match.start() < end for start, end in blocks)
