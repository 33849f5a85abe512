"""Reader of control flow: the nodes ``if_else``, ``do_while`` and ``parallel_for`` of a pipeline.

What the client refuses is refused here, and so is what it lets pass and the service would refuse: nodes that are not
there, loops within blocks and bodies, values that do not fit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from flows.errors import Place
from flows.spec.control import body_of, items_in, named_items
from flows.spec.model.control import (
    CONDITION,
    ITEMS,
    MAX_ITERATIONS,
    Body,
    Control,
    DoWhile,
    IfElse,
    ParallelFor,
    item_input,
)
from flows.spec.model.job import (
    LITERAL_TYPES,
    Component,
    DataReference,
    InputBinding,
    InputPort,
    Literal,
    OutputPort,
    ParentOutput,
    Step,
    StepOutput,
)
from flows.spec.reading.ports.bindings import StepInputBinding, expression
from flows.spec.reading.ports.input_values import input_value
from flows.spec.reading.ports.ports import output_bindings, with_settings
from flows.spec.reading.work.component import Work
from flows.spec.text import keys
from flows.spec.text.limits import MAX_STEPS
from flows.spec.text.locations import is_remote, local
from flows.spec.text.section import Section, nearest
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import Node

CONTROL_FLOW = frozenset(keys.CONTROL_NODES)

_NODE = re.compile(r"parent\.jobs\.([^.]+)")
_PORT = re.compile(r"parent\.jobs\.([^.]+)\.(inputs|outputs)\.(.+)")


def is_control(section: Section) -> bool:
    """Whether a node is control flow, by its type."""
    node = section.entries.get("type")
    return node is not None and isinstance(node.value, str) and node.value.lower() in CONTROL_FLOW


def with_control(steps: Mapping[str, Step], sections: Mapping[str, Section]) -> dict[str, Step]:
    """The steps of a pipeline and its control flow.

    What reads from the body of a ``do_while`` reads from the loop then, which delivers what the last iteration has.

    Args:
        steps: The steps that are no control flow.
        sections: The nodes that are, by name.
    """
    found = {name: _Reader(name, section, steps, frozenset(sections)).read() for name, section in sections.items()}
    _refuse_shared_bodies(found, sections)
    return _read_from_loops({**steps, **found})


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one node; ``steps`` are the others of its pipeline, ``controls`` the names of all control flow in it."""

    name: str
    section: Section
    steps: Mapping[str, Step]
    controls: frozenset[str]

    def read(self) -> Step:
        kind = (self.section.text("type") or "").lower()
        section = of_shape(self.section, keys.CONTROL_NODES[kind], f"the step {self.name}", ignored=True)
        match kind:
            case "if_else":
                return self._if_else(section)
            case "do_while":
                return self._do_while(section)
            case _:
                return self._parallel_for(section)

    def _if_else(self, section: Section) -> Step:
        true_block, false_block = self._block(section, "true_block"), self._block(section, "false_block")
        if not _has(section, "true_block") and not _has(section, "false_block"):
            message = f"{self.name} has neither a true_block nor a false_block"
            section.missing(("true_block", "false_block"), message, "Add true_block: ${{parent.jobs.<step>}}.")
        for node in true_block:
            if node in false_block:
                message = f"{node} is in the true_block and in the false_block"
                section.fault("false_block", message, "Leave it out of both, if it always runs.")
        inputs: dict[str, InputBinding] = {}
        if CONDITION not in section:
            section.missing(CONDITION, f"{self.name} has no condition", f"Add {_OUTPUT_OF_A_STEP}")
        elif (value := self._condition(section, section.entries[CONDITION])) is not None:
            inputs[CONDITION] = value
        port = InputPort(CONDITION, "boolean", place=section.place(CONDITION))
        return self._step("if_else", IfElse(true_block, false_block), {CONDITION: port}, inputs)

    def _condition(self, section: Section, node: Node) -> InputBinding | None:
        if isinstance(node.value, bool) or (isinstance(node.value, str) and node.value.lower() in ("true", "false")):
            return Literal(str(node.value).capitalize())
        if not isinstance(node.value, str) or expression(node.value) is None:
            message = f"the condition is {node.plain() if isinstance(node.value, str | int | float) else node.kind}"
            section.fault(CONDITION, message, f"Write {_OUTPUT_OF_A_STEP}")
            return None
        value = input_value(section, CONDITION, node, None)
        if isinstance(value, StepInputBinding):
            section.fault(CONDITION, f"{node.value} is no output", f"Write {_OUTPUT_OF_A_STEP}")
            return None
        return value

    def _block(self, section: Section, key: str) -> tuple[str, ...]:
        if not _has(section, key):
            return ()
        value = section.entries[key].value
        texts = section.texts(key) if isinstance(value, tuple) else filter(None, [section.text(key)])
        nodes = [self._node(section, key, text) for text in texts]
        return tuple(dict.fromkeys(node for node in nodes if node is not None))

    def _do_while(self, section: Section) -> Step:
        body = self._body(section)
        most = self._most(section)
        node = section.entries.get(CONDITION)
        condition = None
        if node is not None and isinstance(node.value, bool):
            remedy = "Name a boolean output of the body, or leave it out: limits alone then end the loop."
            section.fault(CONDITION, f"the condition is {node.kind}", remedy)
        elif (text := section.text(CONDITION)) is not None and body is not None:
            condition = self._port(section, CONDITION, text, body, "outputs")
            port = None if condition is None else body.component.outputs.get(condition)
            if port is not None and port.type not in ("boolean", "path"):
                message = f"the condition is the {port.type} output {condition} of {body.name}"
                section.fault(CONDITION, message, "Name an output of type boolean.")
        mapping = {} if body is None else self._mapping(section, body)
        if body is None:
            return self._step("do_while", DoWhile(Body(""), mapping, condition, most), {}, {}, is_open=True)
        control = DoWhile(_body(body), MappingProxyType(mapping), condition, most)
        step = self._step("do_while", control, {}, {}, body.component.outputs, body.component.is_open)
        return replace(step, outputs=body.outputs)

    def _most(self, section: Section) -> int:
        if "limits" not in section:
            section.missing("limits", f"{self.name} has no limits", "Add limits: {max_iteration_count: 10}.")
            return 1
        limits = of_shape(section.section("limits"), keys.DO_WHILE_LIMITS, "the limits of a do_while", ignored=True)
        key = "max_iteration_count"
        if key not in limits:
            limits.missing(key, f"there is no {key}", f"Add {key}: a number from 1 to {MAX_ITERATIONS}.")
            return 1
        most = limits.integer(key)
        if most is not None and not 1 <= most <= MAX_ITERATIONS:
            limits.fault(key, f"{key} is {most}", f"Make it a number from 1 to {MAX_ITERATIONS}.")
        return most or 1

    def _mapping(self, section: Section, body: Step) -> dict[str, str]:
        if not _has(section, "mapping"):
            remedy = "Add mapping: with outputs of the body, each with the input that takes it in the next iteration."
            section.missing("mapping", f"{self.name} has no mapping", remedy)
        given = section.section("mapping")
        found: dict[str, str] = {}
        for key, node in given.entries.items():
            output = self._port(given, key, key, body, "outputs")
            texts = given.texts(key) if isinstance(node.value, tuple) else filter(None, [given.text(key)])
            for name in (self._port(given, key, text, body, "inputs") for text in texts):
                if name is None or output is None:
                    continue
                if found.setdefault(name, output) != output:
                    message = f"the input {name} of {body.name} takes both {found[name]} and {output}"
                    given.fault(key, message, "Map one output to it.")
                if (reason := _unlike(body.component, output, name)) is not None:
                    given.fault(key, reason, "Map literals to literals, and data to data.")
        return found

    def _parallel_for(self, section: Section) -> Step:
        body = self._body(section)
        most = section.integer("max_concurrency", 1)
        if not _has(section, ITEMS):
            section.missing(ITEMS, f"{self.name} has no items", "Add items: with a mapping for each run of the body.")
        if body is None:
            return self._step("parallel_for", ParallelFor(Body("")), {}, {}, is_open=True)
        items, ports, inputs = self._items(section, body)
        control = ParallelFor(_body(body), None if items is None else MappingProxyType(items), most)
        collected = {name: collected_port(port) for name, port in body.component.outputs.items()}
        outputs = with_settings(collected, section.section("outputs"))
        step = self._step("parallel_for", control, ports, inputs, outputs, body.component.is_open)
        return replace(step, outputs=MappingProxyType(output_bindings(section.section("outputs"))))

    def _items(
        self, section: Section, body: Step
    ) -> tuple[dict[str, tuple[str, ...]] | None, dict[str, InputPort], dict[str, InputBinding]]:
        """The items by name, and the inputs of the loop with what they are bound to."""
        node = section.entries.get(ITEMS)
        if node is None or node.value is None:
            return {}, {}, {}
        value = node.value
        if isinstance(value, str) and expression(value) is not None:
            bound = input_value(section, ITEMS, node, None)
            port = InputPort(ITEMS, "string", place=node.place)
            if isinstance(bound, StepInputBinding):
                section.fault(ITEMS, f"{value} gives no items", "Bind items to an input of the job, or an output.")
                bound = None
            return None, {ITEMS: port}, {} if bound is None else {ITEMS: bound}
        try:
            read = items_in(value) if isinstance(value, str) else named_items(value)
        except ValueError as error:
            remedy = "Write a list of mappings, or JSON text of one: [{input: value}]."
            section.fault(ITEMS, str(error), remedy)
            return {}, {}, {}
        if len(read) > MAX_STEPS:
            section.fault(ITEMS, f"there are {len(read):,} items", f"Give {MAX_STEPS:,} at most.")
            return {}, {}, {}
        nodes = {name: item if isinstance(item, Node) else _as_node(item, node.place) for name, item in read.items()}
        return self._each(section, body, nodes)

    def _each(
        self, section: Section, body: Step, nodes: Mapping[str, Node]
    ) -> tuple[dict[str, tuple[str, ...]], dict[str, InputPort], dict[str, InputBinding]]:
        declared = body.component.inputs
        items: dict[str, tuple[str, ...]] = {}
        ports: dict[str, InputPort] = {}
        inputs: dict[str, InputBinding] = {}
        first: frozenset[str] | None = None
        for item, node in nodes.items():
            given = Section(node, section.faults)
            if not isinstance(node.value, Mapping):
                section.fault(ITEMS, f"the item {item} is {node.kind}", "Make it a mapping: {input: value}.")
                continue
            first = frozenset(given.entries) if first is None else first
            if frozenset(given.entries) != first:
                message = f"the item {item} has other keys than the first: {', '.join(sorted(given.entries)) or 'none'}"
                section.fault(ITEMS, message, f"Give each {', '.join(sorted(first)) or 'none'}.")
            items[item] = tuple(given.entries)
            for name, value in given.entries.items():
                port = declared.get(name)
                if port is None and not body.component.is_open:
                    message = f"the body {body.name} has no input {name}"
                    section.fault(ITEMS, message, nearest(name, frozenset(declared), "inputs"))
                bound = self._item_value(given, section, name, value, port)
                if bound is not None and port is not None:
                    own = item_input(item, name)
                    ports[own] = replace(port, name=own, optional=False, default=None)
                    inputs[own] = bound
        return items, ports, inputs

    def _item_value(
        self, given: Section, section: Section, name: str, node: Node, port: InputPort | None
    ) -> InputBinding | None:
        bound = input_value(given, name, node, port)
        if isinstance(bound, StepInputBinding):
            given.fault(name, f"{node.plain()} is no value of an item", "Bind it to an input of the job.")
            return None
        if isinstance(bound, DataReference) and not is_remote(bound.path):
            section.fault(
                ITEMS,
                f"an item gives {name} the local path {node.plain() if isinstance(node.value, str) else bound.path}",
                "Azure ML uploads no data of items: name a data asset, or bind it to an input of the job.",
            )
        return bound

    def _body(self, section: Section) -> Step | None:
        """The step that a loop repeats; None, with a fault, where there is no right one."""
        if not _has(section, "body"):
            section.missing("body", f"{self.name} has no body", "Add body: ${{parent.jobs.<step>}}.")
            return None
        text = section.text("body")
        node = None if text is None else self._node(section, "body", text)
        step = None if node is None else self.steps[node]
        if step is not None and step.kind not in ("command", "pipeline"):
            message = f"the body {node} is of type {step.kind}"
            section.fault("body", message, "The body of a loop is a command or a pipeline.")
            return None
        return step

    def _node(self, section: Section, key: str, text: str) -> str | None:
        """The step that ``${{parent.jobs.<step>}}`` names; None, with a fault, where it names none."""
        found = _NODE.fullmatch(expression(text) or "")
        if found is None:
            section.fault(key, f"{text} names no step", "Write ${{parent.jobs.<step>}}.")
            return None
        node = found[1]
        if node in self.controls:
            remedy = "Put it into a pipeline of its own, and name that."
            section.fault(key, f"{node} is control flow, which cannot stand in a {_within(key)}", remedy)
        elif node not in self.steps:
            section.fault(key, f"the job has no step {node}", nearest(node, frozenset(self.steps), "steps"))
        else:
            return node
        return None

    def _port(self, section: Section, key: str, text: str, body: Step, kind: str) -> str | None:
        """An input or output of the body, by its name or by a binding to it; None, with a fault, where it is none."""
        name, bound = text, _PORT.fullmatch(expression(text) or "")
        if bound is not None:
            if (bound[1], bound[2]) != (body.name, kind):
                section.fault(key, f"{text} is none of the {kind} of {body.name}", f"Name one of its {kind}.")
                return None
            name = bound[3]
        known = body.component.inputs if kind == "inputs" else body.component.outputs
        if name in known or body.component.is_open:
            return name
        section.fault(key, f"the body {body.name} has no {kind[:-1]} {name}", nearest(name, frozenset(known), kind))
        return None

    def _step(
        self,
        kind: str,
        control: Control,
        ports: Mapping[str, InputPort],
        inputs: Mapping[str, InputBinding],
        outputs: Mapping[str, OutputPort] = MappingProxyType({}),
        is_open: bool = False,
    ) -> Step:
        component = Component(
            self.name,
            "",
            local(self.section.file.name, self.section.folder),
            inputs=MappingProxyType(dict(ports)),
            outputs=MappingProxyType(dict(outputs)),
            is_open=is_open,
        )
        return Work(component, kind, control=control).step(self.name, self.section.node.place, inputs=inputs)


_OUTPUT_OF_A_STEP = "condition: ${{parent.jobs.<step>.outputs.<name>}}, an output of type boolean."


def collected_port(port: OutputPort) -> OutputPort:
    """What a loop over items makes of an output of its body: data becomes a table of all, literals become text."""
    return OutputPort(port.name, "string" if port.type in LITERAL_TYPES else "mltable", place=port.place)


def _body(step: Step) -> Body:
    takes = {name: ((step.name, name),) for name in step.component.inputs}
    delivers = {name: (step.name, name) for name in step.component.outputs}
    return Body(step.name, MappingProxyType(takes), MappingProxyType(delivers))


def _has(section: Section, key: str) -> bool:
    return key in section and section.entries[key].value not in (None, ())


def _within(key: str) -> str:
    return "body" if key == "body" else "block"


def _unlike(component: Component, output: str, name: str) -> str | None:
    """Why an output cannot be mapped to an input: one is a literal, and the other is data."""
    before, after = component.outputs.get(output), component.inputs.get(name)
    if before is None or after is None or before.type == "path" or before.is_literal == after.is_literal:
        return None
    return f"the {before.type} output {output} is mapped to the {after.type} input {name}"


def _as_node(value: object, place: Place) -> Node:
    """A plain value, as if it stood in the YAML at a place."""
    if isinstance(value, Mapping):
        entries: Mapping[str, object] = value
        return Node({name: _as_node(item, place) for name, item in entries.items()}, place)
    if isinstance(value, list):
        items: list[object] = value
        return Node(tuple(_as_node(item, place) for item in items), place)
    known = value if isinstance(value, bool | int | float | str) else None
    return Node(known, place)


def _refuse_shared_bodies(controls: Mapping[str, Step], sections: Mapping[str, Section]) -> None:
    """Note what two loops, or a loop and a choice, both want to run."""
    loops: dict[str, str] = {}
    for name, step in controls.items():
        body = body_of(step)
        if body is not None and body.name and (other := loops.setdefault(body.name, name)) != name:
            remedy = "Give each loop a step of its own."
            sections[name].fault("body", f"{body.name} is the body of {other} already", remedy)
    for name, step in controls.items():
        if not isinstance(step.control, IfElse):
            continue
        for key, block in (("true_block", step.control.true_block), ("false_block", step.control.false_block)):
            for node in block:
                if node in loops:
                    message = f"{node} is the body of the loop {loops[node]}, which runs it"
                    sections[name].fault(key, message, "Put both into a pipeline of its own, and name that.")


def _read_from_loops(steps: Mapping[str, Step]) -> dict[str, Step]:
    """The steps, with what reads from the body of a ``do_while`` reading from the loop, which alone delivers it."""
    bodies = {body.name: name for name, step in steps.items() if (body := body_of(step)) is not None}

    def read_from(binding: InputBinding) -> InputBinding:
        if not isinstance(binding, StepOutput) or binding.step not in bodies:
            return binding
        loop = steps[bodies[binding.step]]
        known = binding.output in loop.component.outputs or loop.component.is_open
        return replace(binding, step=loop.name) if known and isinstance(loop.control, DoWhile) else binding

    found: dict[str, Step] = {}
    for name, step in steps.items():
        inputs = MappingProxyType({port: read_from(binding) for port, binding in step.inputs.items()})
        is_looped = name in bodies and isinstance(steps[bodies[name]].control, DoWhile)
        outputs = MappingProxyType(dict[str, ParentOutput]()) if is_looped else step.outputs
        found[name] = replace(step, inputs=inputs, outputs=outputs)
    return found
