"""Choices and loops in a pipeline are read as values, and refused for what Azure ML or its client refuses."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.spec.control import bound_item, items_in, iteration_steps
from flows.spec.model.control import Body, DoWhile, IfElse, ParallelFor, When
from flows.spec.model.job import DataReference, InputPort, JobSpec, Literal, ParentInput, ParentOutput, StepOutput
from flows.spec.reading.reader import examine
from tests.spec.conftest import Faults, ReadJob

COUNT = """\
name: count
type: command
inputs:
  number: {type: integer}
  text: {type: string, optional: true}
  data: {type: uri_folder, optional: true}
outputs:
  out: {type: uri_folder}
  next: {type: integer, is_control: true}
  more: {type: boolean, is_control: true}
command: count ${{inputs.number}} $[[${{inputs.data}}${{inputs.text}}]] ${{outputs.out}}
environment: azureml:e:1
"""
# A pipeline that has nothing but the same component in it.
NESTED = """\
name: nested
type: pipeline
inputs:
  number: {type: integer}
  data: {type: uri_folder, optional: true}
outputs:
  out: {type: uri_folder}
  next: {type: integer}
  more: {type: boolean}
jobs:
  fit:
    component: ./count.yml
    inputs: {number: "${{parent.inputs.number}}", data: "${{parent.inputs.data}}"}
    outputs: {out: "${{parent.outputs.out}}", next: "${{parent.outputs.next}}", more: "${{parent.outputs.more}}"}
"""
START = """\
type: pipeline
settings: {default_compute: serverless}
inputs: {flag: true, listed: '[{"number": 1}]', limit: 3, rows: {type: uri_folder, path: 'azureml:rows:1'}}
outputs: {out: {type: uri_folder}}
jobs:
  a: {component: ./count.yml, inputs: {number: 1}}
  b: {component: ./count.yml, inputs: {number: 2, data: '${{parent.jobs.a.outputs.out}}'}}
  sub: {type: pipeline, component: ./nested.yml, inputs: {number: 3}}
"""


def pipeline(*nodes: str) -> str:
    return START + "".join(f"  {node}\n" for node in nodes)


IF = "c: {type: if_else, condition: '${{parent.jobs.a.outputs.more}}', true_block: '${{parent.jobs.b}}'"
WHILE = "w: {type: do_while, body: '${{parent.jobs.b}}', mapping: {next: number}, limits: {max_iteration_count: 5}"
EACH = "e: {type: parallel_for, body: '${{parent.jobs.b}}'"


@pytest.fixture
def both(read: ReadJob) -> ReadJob:
    def read_both(text: str) -> JobSpec:
        return read(text, count_yml=COUNT, nested_yml=NESTED)

    return read_both


@pytest.fixture
def wrong(faults: Faults) -> Callable[[str], list[str]]:
    return lambda text: [fault.removeprefix("job.yml:") for fault in faults(text, count_yml=COUNT, nested_yml=NESTED)]


def test_a_choice_runs_its_blocks_for_the_value_of_a_condition(both: ReadJob) -> None:
    steps = both(
        pipeline(
            "c: {type: if_else, condition: '${{parent.jobs.a.outputs.more}}', true_block: '${{parent.jobs.b}}',"
            " false_block: ['${{parent.jobs.d}}', '${{parent.jobs.sub}}']}",
            "d: {component: ./count.yml, inputs: {number: 2}}",
        )
    ).steps

    assert steps["c"].control == IfElse(("b",), ("d", "sub"))
    assert steps["c"].inputs == {"condition": StepOutput("a", "more")}
    assert steps["c"].refusal is None
    assert steps["b"].when == When(frozenset({"c"}), (("c", True),))
    assert steps["d"].when == steps["sub.fit"].when == When(frozenset({"c"}), (("c", False),))
    assert steps["b"].upstream == {"a", "c"}


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("true", Literal("True")),
        ("'false'", Literal("False")),
        ("'${{parent.inputs.flag}}'", ParentInput("flag")),
        ("'${{parent.jobs.sub.outputs.more}}'", StepOutput("sub.fit", "more")),
    ],
)
def test_a_condition_is_a_value_an_input_or_a_boolean_output(both: ReadJob, condition: str, value: object) -> None:
    text = f"c: {{type: if_else, condition: {condition}, true_block: '${{{{parent.jobs.b}}}}'}}"
    assert both(pipeline(text)).steps["c"].inputs == {"condition": value}


@pytest.mark.parametrize("condition", ["'${{parent.jobs.b.outputs.more}}'", "more"])
@pytest.mark.parametrize(
    "mapping", ["{next: number, out: data}", "{'${{parent.jobs.b.outputs.next}}': [number], out: [data]}"]
)
def test_a_loop_feeds_outputs_of_its_body_into_inputs_of_the_next_iteration(
    both: ReadJob, condition: str, mapping: str
) -> None:
    steps = both(
        pipeline(
            f"w: {{type: do_while, body: '${{{{parent.jobs.b}}}}', mapping: {mapping}, condition: {condition},"
            " limits: {max_iteration_count: 5}}",
            "d: {component: ./count.yml, inputs: {number: 2, data: '${{parent.jobs.b.outputs.out}}'}}",
        )
    ).steps

    control = steps["w"].control
    assert isinstance(control, DoWhile)
    assert control.mapping == {"number": "next", "data": "out"}
    assert (control.condition, control.max_iteration_count) == ("more", 5)
    assert control.body.delivers["more"] == ("b", "more")
    assert steps["b"].when.loop == "w"
    assert steps["w"].upstream == {"a", "b"}
    assert steps["d"].inputs["data"] == StepOutput("w", "out")  # what the last iteration delivers


def test_a_loop_over_a_pipeline_repeats_all_of_its_steps(both: ReadJob) -> None:
    steps = both(
        pipeline(
            "w: {type: do_while, body: '${{parent.jobs.sub}}', mapping: {next: number, out: data},"
            " condition: more, limits: {max_iteration_count: 5}}",
        )
    ).steps
    control = steps["w"].control

    assert isinstance(control, DoWhile)
    assert control.body == Body(
        "sub",
        {"number": (("sub.fit", "number"),), "data": (("sub.fit", "data"),)},
        {"out": ("sub.fit", "out"), "next": ("sub.fit", "next"), "more": ("sub.fit", "more")},
    )
    second = iteration_steps(steps, control.body, "2", {"number": StepOutput("sub-1.fit", "next")})
    assert list(second) == ["sub-2.fit"]
    assert second["sub-2.fit"].inputs == {"number": StepOutput("sub-1.fit", "next")}
    assert second["sub-2.fit"].when.loop is None


def test_an_output_of_the_job_that_a_body_delivers_is_that_of_its_loop(both: ReadJob) -> None:
    looped = "outputs: {out: '${{parent.outputs.out}}'}"
    steps = both(
        pipeline(
            WHILE.replace("jobs.b", "jobs.d") + "}", f"d: {{component: ./count.yml, inputs: {{number: 2}}, {looped}}}"
        )
    ).steps
    assert steps["w"].outputs == {"out": ParentOutput("out")}
    assert steps["d"].outputs == {}


ITEMS: Mapping[str, tuple[str, list[str]]] = {
    "a list": ("[{number: 1}, {number: 2}]", ["1", "2"]),
    "a mapping": ("{first: {number: 1}, second: {number: 2}}", ["first", "second"]),
    "JSON text": ("""'[{"number": 1}, {"number": 2}]'""", ["1", "2"]),
    "JSON text of a mapping": ("""'{"first": {"number": 1}, "second": {"number": 2}}'""", ["first", "second"]),
    "keys that can name no folder": ("{'a/b': {number: 1}, c: {number: 2}}", ["1", "2"]),
}


@pytest.mark.parametrize(("items", "names"), ITEMS.values(), ids=ITEMS)
def test_a_loop_over_items_runs_its_body_with_the_values_of_each(both: ReadJob, items: str, names: list[str]) -> None:
    step = both(pipeline(f"{EACH}, items: {items}, max_concurrency: 1}}")).steps["e"]

    assert isinstance(step.control, ParallelFor)
    assert step.control.items == dict.fromkeys(names, ("number",))
    assert step.control.max_concurrency == 1
    assert [step.inputs[f"items.{name}.number"] for name in names] == [Literal("1"), Literal("2")]


def test_items_need_not_give_what_the_node_gives_and_may_name_data_and_inputs(both: ReadJob) -> None:
    steps = both(
        pipeline(
            "x: {component: ./count.yml}",
            "e: {type: parallel_for, body: '${{parent.jobs.x}}', items: [{number: 1, data: {type: uri_folder, path: "
            "'azureml:cells:1'}}, {number: '${{parent.inputs.limit}}', data: 'azureml:cells:2'}]}",
        )
    ).steps
    assert dict(steps["e"].inputs) == {
        "items.1.number": Literal("1"),
        "items.1.data": DataReference("uri_folder", "azureml:cells:1"),
        "items.2.number": ParentInput("limit"),
        "items.2.data": DataReference("uri_folder", "azureml:cells:2"),
    }


@pytest.mark.parametrize("items", ["'${{parent.inputs.listed}}'", "'${{parent.jobs.l.outputs.listed}}'"])
def test_items_may_come_from_an_input_or_another_step(read: ReadJob, items: str) -> None:
    lists = COUNT.replace("more:", "listed: {type: string}\n  more:")
    text = pipeline(f"{EACH}, items: {items}}}", "l: {component: ./lists.yml, inputs: {number: 1}}")
    step = read(text, count_yml=COUNT, nested_yml=NESTED, lists_yml=lists).steps["e"]
    assert step.control == ParallelFor(step.control.body, None, None)  # type: ignore[union-attr]
    assert step.component.inputs["items"].type == "string"


def test_a_loop_over_items_collects_data_as_a_table_and_literals_as_text(both: ReadJob) -> None:
    step = both(
        pipeline(
            f"{EACH}, items: [{{number: 1}}], outputs: {{out: '${{{{parent.outputs.out}}}}'}}}}",
            "d: {component: ./count.yml, inputs: {number: 2, data: '${{parent.jobs.e.outputs.out}}'}}",
        )
    ).steps["e"]
    assert {name: port.type for name, port in step.component.outputs.items()} == {
        "out": "mltable",
        "next": "string",
        "more": "string",
    }
    assert step.outputs == {"out": ParentOutput("out")}


def test_a_condition_decides_for_all_that_is_within_a_pipeline_and_that_may_have_choices_of_its_own(
    read: ReadJob,
) -> None:
    inner = NESTED + "  " + IF.replace("jobs.a", "jobs.fit").replace("jobs.b", "jobs.g") + "}\n"
    inner += "  g: {component: ./count.yml, inputs: {number: 1}}\n"
    text = pipeline("c: {type: if_else, condition: true, false_block: '${{parent.jobs.sub}}'}")
    steps = read(text, count_yml=COUNT, nested_yml=inner).steps
    assert steps["sub.c"].control == IfElse(("sub.g",))
    assert steps["sub.c"].inputs == {"condition": StepOutput("sub.fit", "more")}
    assert steps["sub.c"].when.only_if == (("c", False),)
    assert steps["sub.g"].when.only_if == (("c", False), ("sub.c", True))


WRONG: Mapping[str, tuple[str, str]] = {
    "no block": (
        "c: {type: if_else, condition: true}",
        "9: jobs.c: c has neither a true_block nor a false_block | Add true_block: ${{parent.jobs.<step>}}.",
    ),
    "an unknown block": (
        IF.replace("jobs.b", "jobs.bb") + "}",
        "9: jobs.c.true_block: the job has no step bb | Did you mean b?",
    ),
    "a block that is no step": (
        "c: {type: if_else, condition: true, true_block: '${{parent.inputs.limit}}'}",
        "9: jobs.c.true_block: ${{parent.inputs.limit}} names no step | Write ${{parent.jobs.<step>}}.",
    ),
    "the same step in both blocks": (
        IF + ", false_block: ['${{parent.jobs.b}}']}",
        "9: jobs.c.false_block: b is in the true_block and in the false_block | "
        "Leave it out of both, if it always runs.",
    ),
    "no condition": (
        "c: {type: if_else, true_block: '${{parent.jobs.b}}'}",
        "9: jobs.c.condition: c has no condition | "
        "Add condition: ${{parent.jobs.<step>.outputs.<name>}}, an output of type boolean.",
    ),
    "a condition that is text": (
        "c: {type: if_else, condition: more, true_block: '${{parent.jobs.b}}'}",
        "9: jobs.c.condition: the condition is more | "
        "Write condition: ${{parent.jobs.<step>.outputs.<name>}}, an output of type boolean.",
    ),
    "a condition that is no boolean": (
        IF.replace("more", "next") + "}",
        "9: jobs.c.condition: the integer a.next is given to the boolean input condition of c | It takes a boolean.",
    ),
    "a condition that is no boolean input": (
        IF.replace("jobs.a.outputs.more", "inputs.limit") + "}",
        "3: inputs.limit: 3 is neither true nor false for the boolean input condition of c | Give a boolean.",
    ),
    "a condition that waits for its own block": (
        IF.replace("jobs.a", "jobs.b") + "}",
        "7: jobs.b: the steps run in a circle: b → c → b | Remove one of these bindings.",
    ),
    "a loop in a block": (
        f"{WHILE}}}\n  {IF.replace('jobs.b', 'jobs.w')}}}",
        "10: jobs.c.true_block: w is control flow, which cannot stand in a block | "
        "Put it into a pipeline of its own, and name that.",
    ),
    "the body of a loop in a block": (
        f"{WHILE}}}\n  {IF}}}",
        "10: jobs.c.true_block: b is the body of the loop w, which runs it | "
        "Put both into a pipeline of its own, and name that.",
    ),
    "no body": (
        WHILE.replace("body: '${{parent.jobs.b}}', ", "") + "}",
        "9: jobs.w.body: w has no body | Add body: ${{parent.jobs.<step>}}.",
    ),
    "a body that is control flow": (
        f"{WHILE.replace('jobs.b', 'jobs.c')}}}\n  {IF}}}",
        "9: jobs.w.body: c is control flow, which cannot stand in a body | "
        "Put it into a pipeline of its own, and name that.",
    ),
    "one body for two loops": (
        f"{WHILE}}}\n  {EACH}, items: [{{number: 1}}]}}",
        "10: jobs.e.body: b is the body of w already | Give each loop a step of its own.",
    ),
    "a mapping to no input": (
        WHILE.replace("number}", "numbr}") + "}",
        "9: jobs.w.mapping.next: the body b has no input numbr | Did you mean number?",
    ),
    "a mapping of no output": (
        WHILE.replace("{next", "{nxt") + "}",
        "9: jobs.w.mapping.nxt: the body b has no output nxt | Did you mean next?",
    ),
    "a mapping of another step": (
        WHILE.replace("next: number", "'${{parent.jobs.a.outputs.next}}': number") + "}",
        "9: jobs.w.mapping.${{parent.jobs.a.outputs.next}}: ${{parent.jobs.a.outputs.next}} is none of the outputs of "
        "b | Name one of its outputs.",
    ),
    "two outputs for one input": (
        WHILE.replace("next: number", "next: text, more: text") + "}",
        "9: jobs.w.mapping.more: the input text of b takes both next and more | Map one output to it.",
    ),
    "data for a literal": (
        WHILE.replace("next: number", "out: number") + "}",
        "9: jobs.w.mapping.out: the uri_folder output out is mapped to the integer input number | "
        "Map literals to literals, and data to data.",
    ),
    "no mapping": (
        WHILE.replace("mapping: {next: number}, ", "") + "}",
        "9: jobs.w.mapping: w has no mapping | "
        "Add mapping: with outputs of the body, each with the input that takes it in the next iteration.",
    ),
    "no limits": (
        "w: {type: do_while, body: '${{parent.jobs.b}}', mapping: {}}",
        "9: jobs.w.limits: w has no limits | Add limits: {max_iteration_count: 10}.",
    ),
    "a limit out of range": (
        WHILE.replace("5", "1001") + "}",
        "9: jobs.w.limits.max_iteration_count: max_iteration_count is 1001 | Make it a number from 1 to 1000.",
    ),
    "a limit that is bound": (
        WHILE.replace("5", "'${{parent.inputs.limit}}'") + "}",
        "9: jobs.w.limits.max_iteration_count: max_iteration_count is text | Make it a whole number.",
    ),
    "a loop's condition that is a value": (
        WHILE + ", condition: true}",
        "9: jobs.w.condition: the condition is true or false | "
        "Name a boolean output of the body, or leave it out: limits alone then end the loop.",
    ),
    "a loop's condition that is no boolean": (
        WHILE + ", condition: next}",
        "9: jobs.w.condition: the condition is the integer output next of b | Name an output of type boolean.",
    ),
    "a loop's condition of another step": (
        WHILE + ", condition: '${{parent.jobs.a.outputs.more}}'}",
        "9: jobs.w.condition: ${{parent.jobs.a.outputs.more}} is none of the outputs of b | Name one of its outputs.",
    ),
    "no items": (
        EACH + "}",
        "9: jobs.e.items: e has no items | Add items: with a mapping for each run of the body.",
    ),
    "an empty list": (
        EACH + ", items: {}}",
        "9: jobs.e.items: there are no items | Write a list of mappings, or JSON text of one: [{input: value}].",
    ),
    "items that are no JSON": (
        EACH + ", items: number}",
        "9: jobs.e.items: the items are no JSON: Expecting value: line 1 column 1 (char 0) | "
        "Write a list of mappings, or JSON text of one: [{input: value}].",
    ),
    "an item that is a number": (
        EACH + ", items: [1]}",
        "9: jobs.e.items: the item 1 is a number | Make it a mapping: {input: value}.",
    ),
    "items with other keys": (
        EACH + ", items: [{number: 1}, {text: x}]}",
        "9: jobs.e.items: the item 2 has other keys than the first: text | Give each number.",
    ),
    "an item for no input": (
        EACH + ", items: [{unknown: 1}]}",
        "9: jobs.e.items: the body b has no input unknown | The inputs are: data, number, text.",
    ),
    "an item of a wrong type": (
        EACH + ", items: [{number: one}]}",
        "9: jobs.e.items.1.number: one is not a number for the integer input items.1.number of e | Give an integer.",
    ),
    "an item that is a local file": (
        EACH + ", items: [{data: {path: ./rows}}]}",
        "9: jobs.e.items: an item gives data the local path",
    ),
    "no concurrency": (
        EACH + ", items: [{number: 1}], max_concurrency: 0}",
        "9: jobs.e.max_concurrency: max_concurrency is 0 | Make it 1 or more.",
    ),
    "a body that is neither command nor pipeline": (
        f"{EACH.replace('jobs.b', 'jobs.s')}, items: [{{i: 1}}]}}\n"
        "  s: {type: import, source: {type: s3, connection: 'azureml:c', path: x}, output: {type: uri_folder}}",
        "9: jobs.e.body: the body s is of type import | The body of a loop is a command or a pipeline.",
    ),
    "a reader of what is repeated for each item": (
        f"{EACH}, items: [{{number: 1}}]}}\n"
        "  d: {component: ./count.yml, inputs: {number: 1, data: '${{parent.jobs.b.outputs.out}}'}}",
        "10: jobs.d.inputs.data: b runs once for each item of e, and has no output of its own | "
        "Read what the loop collects: ${{parent.jobs.e.outputs.out}}.",
    ),
}


@pytest.mark.parametrize(("node", "fault"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_control_flow_is_told_with_its_place_and_a_remedy(
    wrong: Callable[[str], list[str]], node: str, fault: str
) -> None:
    found = wrong(pipeline(node))
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_valid_job_with_control_flow_is_read_without_warnings(
    tmp_path: Path, write: Callable[[Mapping[str, str]], None]
) -> None:
    text = pipeline(f"{WHILE}, condition: more}}", IF.replace("jobs.b", "jobs.d").replace("jobs.a", "jobs.b") + "}")
    text += "  d: {component: ./count.yml, inputs: {number: 1, data: '${{parent.jobs.b.outputs.out}}'},"
    text += " outputs: {out: '${{parent.outputs.out}}'}}\n"
    write({"job.yml": text, "count.yml": COUNT, "nested.yml": NESTED})
    found = examine(tmp_path / "job.yml")
    assert [str(finding) for finding in found.findings if "nobody reads" not in finding.message] == []


def test_an_item_of_text_at_run_time_binds_literals_and_data() -> None:
    ports = {"number": InputPort("number", "integer"), "data": InputPort("data", "uri_file")}
    given = {"a": {"number": 1, "data": {"uri": "azureml:x:1", "job_input_type": "uri_file"}}}
    assert items_in('{"a": {"number": 1, "data": {"uri": "azureml:x:1", "job_input_type": "uri_file"}}}') == given
    assert bound_item(given["a"], ports) == {"number": Literal("1"), "data": DataReference("uri_file", "azureml:x:1")}
    for item in (1, {"other": 1}, {"number": None}, {"data": {}}, {"number": {"path": "x"}}):
        with pytest.raises(ValueError, match="item"):
            bound_item(item, ports)
