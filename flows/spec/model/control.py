"""Control flow as frozen values: a choice between steps, a loop while a condition holds, a loop over items.

A step that has one of these runs no command: it says whether and how often other steps of its pipeline run. What it
reads is bound to inputs of its own, as for any step: the condition of a choice to ``condition``; the items of a loop to
``items`` where an input of the job or another step gives them as text, else each value to ``items.<item>.<input>``.

Nodes are meant by their names; a node that is a pipeline stands for all of its steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

CONDITION = "condition"
ITEMS = "items"
MAX_ITERATIONS = 1000

Port: TypeAlias = tuple[str, str]
"""A step, and one of its inputs or outputs."""


@dataclass(frozen=True, slots=True)
class IfElse:
    """A choice: the steps of one block run, those of the other are left out."""

    true_block: tuple[str, ...] = ()
    false_block: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """What a loop repeats: one node, a step or a whole pipeline.

    Attributes:
        name: The node.
        takes: By each input of the node, the inputs of steps that have its value: its own where it is a step, those
            that are bound to it where it is a pipeline.
        delivers: By each output of the node, the output of the step that makes it.
    """

    name: str
    takes: Mapping[str, tuple[Port, ...]] = field(default_factory=lambda: MappingProxyType({}))
    delivers: Mapping[str, Port] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class DoWhile:
    """A loop that runs its body, and again as long as a condition is true.

    Attributes:
        body: What is repeated.
        mapping: By input of the body, the output of the body that it takes from the iteration before; in the first
            iteration it has the value that the node gives it.
        condition: The boolean output of the body that is looked at after each iteration; None for a loop that only
            ``max_iteration_count`` ends.
        max_iteration_count: How many iterations there are at most, from 1 to :data:`MAX_ITERATIONS`.
    """

    body: Body
    mapping: Mapping[str, str]
    condition: str | None
    max_iteration_count: int


@dataclass(frozen=True, slots=True)
class ParallelFor:
    """A loop that runs its body once for each item, several at once.

    Attributes:
        body: What is repeated.
        items: By the name of each item (its key, or its number from 1), the inputs of the body that it has values
            for; None where the items are the text that the input ``items`` receives.
        max_concurrency: How many items are worked on at once; None where the file leaves it open: all.
    """

    body: Body
    items: Mapping[str, tuple[str, ...]] | None = None
    max_concurrency: int | None = None


Control: TypeAlias = IfElse | DoWhile | ParallelFor


@dataclass(frozen=True, slots=True)
class When:
    """When a step runs, as the control flow of its job has it.

    Attributes:
        after: The steps that end before it, besides those whose outputs it reads.
        only_if: The choices that it depends on, each with the value of the condition for which it runs.
        loop: The innermost loop that repeats it; None where none does.
    """

    after: frozenset[str] = frozenset()
    only_if: tuple[tuple[str, bool], ...] = ()
    loop: str | None = None


ALWAYS = When()


def item_input(item: str, name: str) -> str:
    """The input of a loop that has the value of one item for one input of the body."""
    return f"{ITEMS}.{item}.{name}"
