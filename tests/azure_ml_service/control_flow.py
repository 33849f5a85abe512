"""Choices and loops in a submitted pipeline: what waits for what, and the nodes of each iteration.

The SDK sends them as it loads them; what the service makes of them is not recorded. Assumed: each run of a body is a
child of the pipeline under the name of the body; a choice and a loop have no child of their own.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.azure_ml_service.definitions import upstream
from tests.azure_ml_service.messages import Json

_NODE = re.compile(r"\$\{\{\s*parent\.jobs\.([\w-]+)(?:\.outputs\.([\w-]+))?\s*\}\}")
_INPUT = re.compile(r"\$\{\{\s*parent\.inputs\.([\w-]+)\s*\}\}")
LITERALS = frozenset({"string", "number", "integer", "boolean"})


def is_control(node: Json) -> bool:
    """Whether a node runs nothing itself."""
    return node.get("type") in ("if_else", "do_while", "parallel_for")


def body(node: Json) -> str | None:
    """The node that a loop repeats; None for what is no loop."""
    match = _NODE.fullmatch(str(node.get("body", "")))
    return match[1] if match else None


def block(node: Json, key: str) -> list[str]:
    """The nodes of a block of a choice."""
    given: Any = node.get(key) or []
    texts: list[str] = given if isinstance(given, list) else [given]
    return [match[1] for text in texts if (match := _NODE.fullmatch(text))]


def waits_for(nodes: Mapping[str, Json], name: str) -> dict[str, str]:
    """What a node reads from others, by input, and under ``*`` and a number what else it waits for."""
    node = nodes[name]
    found = upstream(nodes[repeated] if (repeated := body(node)) else node)
    if match := _NODE.fullmatch(str(node.get("condition", ""))) if not repeated else None:
        found["condition"] = match[1]
    if match := _NODE.fullmatch(str(node.get("items", ""))):
        found["items"] = match[1]
    choices = [
        other
        for other, choice in nodes.items()
        if choice.get("type") == "if_else" and name in block(choice, "true_block") + block(choice, "false_block")
    ]
    return {**found, **{f"*{number}": choice for number, choice in enumerate(choices)}}


def bound(text: object, inputs: Json, outputs: Mapping[str, Mapping[str, str]]) -> object:
    """A setting of a choice or a loop: its own value, or that of the input or output that it is bound to."""
    if match := _INPUT.fullmatch(str(text)):
        return inputs[match[1]]["value"]
    if (match := _NODE.fullmatch(str(text))) and match[2]:
        return outputs[match[1]][match[2]]
    return text


def is_true(value: object) -> bool:
    """Whether a condition holds."""
    return str(value).strip().lower() == "true"


def with_values(node: Json, values: Json) -> Json:
    """The node of an iteration: with what an item gives it."""
    given = {
        name: value if isinstance(value, dict) else {"job_input_type": "literal", "value": str(value)}
        for name, value in values.items()
    }
    return {**node, "inputs": {**(node.get("inputs") or {}), **given}}


def with_mapping(node: Json, mapping: Json, before: str) -> Json:
    """The node of an iteration after the first: with what the one before delivered."""
    return with_values(
        node,
        {
            name: f"${{{{parent.jobs.{before}.outputs.{output}}}}}"
            for output, names in mapping.items()
            for name in names
        },
    )


def items_of(value: object) -> dict[str, Json]:
    """The items of a loop by name: by key, or by number from 1."""
    items: Any = json.loads(value) if isinstance(value, str) else value
    return items if isinstance(items, dict) else {str(number): item for number, item in enumerate(items, 1)}
