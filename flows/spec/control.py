"""Control flow in the graph of a job: what waits for what, and the steps of each iteration of a loop. Pure."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from flows.spec.model.control import Body, Control, DoWhile, IfElse, ParallelFor, Port, When, item_input
from flows.spec.model.job import DataReference, InputBinding, InputPort, InputValue, Literal, Step, StepOutput

_ITEM_NAME = re.compile(r"[\w-]+")


def with_order(steps: Mapping[str, Step]) -> dict[str, Step]:
    """The steps of a job, each with when it runs: after which choices and loops, and for which of their values."""
    if all(step.control is None for step in steps.values()):
        return dict(steps)
    choices: dict[str, list[tuple[str, bool]]] = {}
    loops: dict[str, str] = {}
    for name, step in steps.items():
        match step.control:
            case IfElse(true_block, false_block):
                for wanted, block in ((True, true_block), (False, false_block)):
                    for node in block:
                        choices.setdefault(node, []).append((name, wanted))
            case DoWhile(body) | ParallelFor(body):
                loops[body.name] = name
            case None:
                pass
    members: dict[str, list[str]] = {}
    found: dict[str, Step] = {}
    for name, step in steps.items():
        nodes = list(_nodes(name))
        only_if = tuple(dict.fromkeys(choice for node in nodes for choice in choices.get(node, ())))
        around = [loops[node] for node in nodes if node in loops]
        for loop in around:
            members.setdefault(loop, []).append(name)
        after = frozenset(choice for choice, _ in only_if)
        found[name] = replace(step, when=When(after, only_if, around[-1] if around else None))
    for loop, body in members.items():
        before = frozenset(name for member in body for name in steps[member].reads) | frozenset(body)
        when = found[loop].when
        found[loop] = replace(found[loop], when=replace(when, after=when.after | before - {loop}))
    return found


def body_of(step: Step) -> Body | None:
    """What a step repeats; None where it is no loop."""
    return step.control.body if isinstance(step.control, DoWhile | ParallelFor) else None


def is_within(name: str, node: str) -> bool:
    """Whether a step is a node, or one of the steps of the pipeline that the node is."""
    return name == node or name.startswith(f"{node}.")


def given_by_items(steps: Iterable[Step]) -> frozenset[Port]:
    """The inputs of steps that get their values from the items of a loop, as far as the file tells."""
    found: set[Port] = set()
    for step in steps:
        if isinstance(step.control, ParallelFor):
            items, takes = step.control.items, step.control.body.takes
            names = takes if items is None else {name for given in items.values() for name in given}
            found.update(port for name in names for port in takes.get(name, ()))
    return frozenset(found)


def always_run(steps: Mapping[str, Step], in_order: Iterable[str]) -> frozenset[str]:
    """The steps that run in every job that completes: neither repeated by a loop nor dependent on a choice.

    Args:
        steps: The steps of the job.
        in_order: Their names, each after those that it waits for.
    """
    certain: set[str] = set()
    for name in in_order:
        step = steps[name]
        waits_for = {other for other in step.upstream if other in steps and steps[other].when.loop is None}
        if step.when.loop is None and not step.when.only_if and waits_for <= certain:
            certain.add(name)
    return frozenset(name for name in certain if steps[name].control is None)


def in_iteration(name: str, body: Body, iteration: str) -> str:
    """The name that a step of a loop's body has in an iteration: ``fit-2``, ``sub-2.fit``."""
    return f"{body.name}-{iteration}{name[len(body.name) :]}"


def is_iteration_of(name: str, body: Body) -> bool:
    """Whether a name is that of a step in some iteration of a body."""
    return name.startswith(f"{body.name}-")


def delivered_in(body: Body, iteration: str, output: str) -> StepOutput:
    """The output of a step that is an output of the body in an iteration."""
    step, port = body.delivers[output]
    return StepOutput(in_iteration(step, body, iteration), port)


def iteration_steps(
    steps: Mapping[str, Step], body: Body, iteration: str, given: Mapping[str, InputBinding]
) -> dict[str, Step]:
    """The steps of one iteration of a loop.

    Args:
        steps: The steps of the job.
        body: What is repeated.
        iteration: The name of the iteration, which becomes a part of the names of the steps.
        given: By input of the body, what it is bound to in this iteration, in place of what the node binds it to.
    """
    bound = {port: binding for name, binding in given.items() for port in body.takes.get(name, ())}

    def name_of(name: str) -> str:
        return in_iteration(name, body, iteration) if is_within(name, body.name) else name

    def binding_of(binding: InputBinding) -> InputBinding:
        return replace(binding, step=name_of(binding.step)) if isinstance(binding, StepOutput) else binding

    found: dict[str, Step] = {}
    for name, step in steps.items():
        if not is_within(name, body.name):
            continue
        inputs = {port: binding_of(binding) for port, binding in step.inputs.items()}
        inputs |= {port: bound[name, port] for port in step.component.inputs if (name, port) in bound}
        inner = step.when.loop
        when = When(
            frozenset(map(name_of, step.when.after)),
            tuple((name_of(choice), wanted) for choice, wanted in step.when.only_if),
            name_of(inner) if inner is not None and is_within(inner, body.name) else None,
        )
        found[name_of(name)] = replace(
            step,
            name=name_of(name),
            inputs=MappingProxyType(inputs),
            outputs=MappingProxyType({}),
            control=renamed(step.control, name_of),
            when=when,
        )
    return found


def renamed(control: Control | None, name_of: Callable[[str], str]) -> Control | None:
    """Control flow whose nodes have other names; ``name_of`` gives the new name for each."""
    match control:
        case IfElse(true_block, false_block):
            return IfElse(tuple(map(name_of, true_block)), tuple(map(name_of, false_block)))
        case DoWhile() | ParallelFor():
            return replace(control, body=_renamed_body(control.body, name_of))
        case None:
            return None


def item_values(step: Step, item: str) -> dict[str, InputBinding]:
    """What an item of a loop gives to the inputs of the body."""
    assert isinstance(step.control, ParallelFor)
    names = (step.control.items or {}).get(item, ())
    values = {name: step.inputs.get(item_input(item, name)) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def named_items(items: object) -> dict[str, Any]:
    """The items of a loop by their names: by their keys where all can name a folder, else by numbers from 1.

    Raises:
        ValueError: There are none, or they are neither a list nor a mapping. The text is a message.
    """
    match items:
        case Mapping() if items:
            keys: list[Any] = list(items)
            named = all(isinstance(key, str) and _ITEM_NAME.fullmatch(key) for key in keys)
            return {key if named else str(number): items[key] for number, key in enumerate(keys, 1)}
        case list() | tuple() if items:
            return {str(number): item for number, item in enumerate(items, 1)}
        case list() | tuple() | Mapping():
            raise ValueError("there are no items")
        case _:
            raise ValueError("the items are neither a list nor a mapping")


def items_in(text: str) -> dict[str, Any]:
    """The items that a text of JSON gives, as plain values by their names.

    Raises:
        ValueError: It is no JSON, or gives no items. The text is a message.
    """
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the items are no JSON: {error}") from error
    return named_items(items)


def bound_item(item: object, ports: Mapping[str, InputPort | None]) -> dict[str, InputValue]:
    """What an item that a text of JSON gave binds the inputs of the body to.

    Args:
        item: The item.
        ports: The inputs of the body; None for one that no step of it takes.

    Raises:
        ValueError: It is no mapping, gives what is no input of the body, or a value of no known kind.
    """
    if not isinstance(item, Mapping):
        raise ValueError(f"an item is {item!r}, and has to map inputs of the body to values")
    given: Mapping[Any, Any] = item
    found: dict[str, InputValue] = {}
    for name, value in given.items():
        if name not in ports:
            raise ValueError(f"an item gives {name!r}, which is no input of the body")
        port = ports[name]
        data: Any = value.get("path") or value.get("uri") if isinstance(value, Mapping) else value
        match value:
            case str() | Mapping() if port is not None and not port.is_literal and isinstance(data, str):
                found[name] = DataReference(port.type, data)
            case bool() | int() | float() | str():
                found[name] = Literal(str(value))
            case _:
                raise ValueError(f"an item gives {name!r} the value {value!r}, which is neither a literal nor data")
    return found


def _renamed_body(body: Body, name_of: Callable[[str], str]) -> Body:
    takes = {name: tuple((name_of(step), port) for step, port in ports) for name, ports in body.takes.items()}
    delivers = {name: (name_of(step), port) for name, (step, port) in body.delivers.items()}
    return Body(name_of(body.name), MappingProxyType(takes), MappingProxyType(delivers))


def _nodes(name: str) -> Iterator[str]:
    """The nodes that a step stands in, outermost first, and itself."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))
