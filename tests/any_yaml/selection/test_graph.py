"""Selections of steps, as pure functions of jobs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.any_yaml.selection.graph import cut_pipelines, downstream, need, selected, steps_named
from flows.errors import ParameterError
from flows.spec.model.control import Body, DoWhile
from flows.spec.model.job import Component, DataReference, InputPort, JobKind, JobSpec, OutputPort, Step, StepOutput
from flows.spec.reading.reader import read_job
from tests.engines.jobs import FILE, FOLDER, command, delivered_by, pipeline

Write = Callable[..., Path]
OPTIONAL = {**command("$[[cat ${{inputs.it}}]]", outputs={"out": FILE}), "name": "optional"}
OPTIONAL["inputs"] = {"it": {**FILE, "optional": True}}


def chain(length: int, edges: list[tuple[int, int]]) -> JobSpec:
    """A pipeline whose step ``b`` reads from ``a`` for every edge ``(a, b)``."""
    steps: dict[str, Step] = {}
    for number in range(length):
        sources = sorted({a for a, b in edges if b == number})
        ports = {f"from{a}": InputPort(f"from{a}", "uri_folder") for a in sources}
        made = {"out": OutputPort("out", "uri_folder")}
        component = Component("c", "true", Path("/c.yml"), inputs=ports, outputs=made)
        steps[f"s{number}"] = Step(
            f"s{number}", component, inputs={f"from{a}": StepOutput(f"s{a}", "out") for a in sources}
        )
    return JobSpec(JobKind.PIPELINE, Path("/p.yml"), "p", steps)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[JobSpec, frozenset[str]]:
    length = draw(st.integers(1, 8))
    pairs = [(a, b) for b in range(length) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    chosen = draw(st.sets(st.sampled_from([f"s{number}" for number in range(length)]), min_size=1))
    return chain(length, edges), frozenset(chosen)


@given(graphs())
def test_selected_job_has_every_edge_among_the_chosen_steps_and_data_for_every_other(
    drawn: tuple[JobSpec, frozenset[str]],
) -> None:
    whole, chosen = drawn
    delivered = {each.output: f"/left/{each.output.step}" for each in need(whole, chosen)}
    part = selected(whole, chosen, delivered)

    assert part.steps.keys() == chosen
    assert [*part.steps] == [name for name in whole.steps if name in chosen]
    for name, step in part.steps.items():
        assert step.inputs.keys() == whole.steps[name].inputs.keys()
        for port, binding in whole.steps[name].inputs.items():
            assert isinstance(binding, StepOutput)
            if binding.step in chosen:
                assert step.inputs[port] == binding
            else:
                assert step.inputs[port] == DataReference("uri_folder", f"/left/{binding.step}")
    assert need(part, chosen) == ()
    assert part.left_out == whole.steps.keys() - chosen


@given(graphs())
def test_downstream_of_steps_is_closed_and_needs_nothing_that_reads_from_them(
    drawn: tuple[JobSpec, frozenset[str]],
) -> None:
    whole, begun = drawn
    found = downstream(whole, begun)
    assert begun <= found
    assert all(name in found for name, step in whole.steps.items() if step.upstream & found)
    assert all(name in begun or whole.steps[name].upstream & found for name in found)


def test_whole_selection_is_the_job_itself() -> None:
    whole = chain(3, [(0, 1), (1, 2)])
    assert selected(whole, whole.steps.keys(), {}) is whole


@pytest.fixture
def train(write: Write) -> JobSpec:
    """A pipeline with inputs of every kind."""
    steps = {
        "prep": command("true", inputs={"rows": "${{parent.inputs.rows}}"}, outputs={"table": FILE, "more": FOLDER}),
        "train": command(
            "true",
            inputs={"table": delivered_by("prep", "table"), "rate": "${{parent.inputs.rate}}", "seed": 3},
            outputs={"model": "${{parent.outputs.model}}"},
        ),
        "optional": {"component": "./optional.yml", "inputs": {"it": delivered_by("prep", "table")}},
        "other": command(
            "true", inputs={"more": "${{parent.inputs.more}}"}, outputs={"out": "${{parent.outputs.other}}"}
        ),
    }
    inputs = {"rows": {**FILE, "path": "./rows.csv"}, "more": {**FILE, "path": "./rows.csv"}, "rate": 0.1}
    text = pipeline(steps, inputs=inputs, outputs={"model": FOLDER, "other": FOLDER})
    folder = write({"job.yml": text, "optional.yml": json.dumps(OPTIONAL), "rows.csv": "a\n"})
    return read_job(folder / "job.yml")


def test_selection_leaves_out_data_and_outputs_of_other_steps_and_keeps_literals(train: JobSpec) -> None:
    part = selected(train, {"train"}, {StepOutput("prep", "table"): "/left/table"})
    assert part.steps["train"].inputs["table"] == DataReference("uri_file", "/left/table")
    assert (part.inputs.keys(), part.outputs.keys()) == ({"rate"}, {"model"})
    assert part.left_out == {"prep", "optional", "other"}
    assert selected(train, {"other"}, {}).inputs.keys() == {"more", "rate"}


def test_optional_input_whose_output_nobody_has_left_has_no_value(train: JobSpec) -> None:
    (each,) = need(train, {"optional"})
    assert (str(each), each.readers, each.optional) == ("table of prep", ("optional.it",), True)
    assert need(train, {"optional", "train"})[0].optional is False
    assert selected(train, {"optional"}, {}).steps["optional"].inputs == {}


def test_step_of_a_nested_pipeline_and_all_of_it_can_be_chosen(write: Write) -> None:
    inner: Any = {"type": "pipeline", "name": "inner", "inputs": {"it": FILE}, "outputs": {"out": FILE}}
    inner["jobs"] = {
        "one": command("true", inputs={"it": "${{parent.inputs.it}}"}, outputs={"out": FILE}),
        "two": command("true", inputs={"it": delivered_by("one")}, outputs={"out": "${{parent.outputs.out}}"}),
    }
    steps = {
        "first": command("true", outputs={"out": FILE}),
        "outer": {"type": "pipeline", "component": "./inner.yml", "inputs": {"it": delivered_by("first")}},
        "last": command("true", inputs={"it": delivered_by("outer")}),
    }
    whole = read_job(write({"job.yml": pipeline(steps), "inner.yml": json.dumps(inner)}) / "job.yml")

    assert steps_named(whole, "outer", "--only") == {"outer.one", "outer.two"}
    two = selected(whole, steps_named(whole, "outer.two", "--only"), {StepOutput("outer.one", "out"): "/left"})
    assert two.steps["outer.two"].inputs["it"] == DataReference("uri_file", "/left")
    assert (two.left_out, [*two.nested]) == ({"first", "last"}, ["outer"])
    assert cut_pipelines(two, whole) == ("outer",)
    last = selected(whole, {"last"}, {StepOutput("outer.two", "out"): "/left"})
    assert (last.left_out, [*last.nested], cut_pipelines(last, whole)) == ({"first", "outer"}, [], ())
    assert cut_pipelines(selected(whole, {"first", "outer.one", "outer.two"}, {}), whole) == ()


def test_wrong_step_is_told_with_the_nearest_name(train: JobSpec) -> None:
    with pytest.raises(ParameterError, match=r"--only trian: job\.yml has no step trian\. Did you mean train\?"):
        steps_named(train, "trian", "--only")


def test_job_that_is_no_pipeline_has_no_steps_to_choose_from(write: Write) -> None:
    spec = read_job(write({"job.yml": json.dumps(command("true"))}) / "job.yml")
    with pytest.raises(ParameterError, match=r"job\.yml is no pipeline, so it has one step\. Run it without --only"):
        steps_named(spec, "job", "--only")


def test_pipeline_with_a_loop_or_a_condition_runs_as_a_whole() -> None:
    spec = chain(2, [(0, 1)])
    control = DoWhile(Body("s0"), {}, "more", 3)
    loop = replace(spec.steps["s1"], kind="do_while", control=control)
    spec = replace(spec, steps={**spec.steps, "s1": loop})
    with pytest.raises(ParameterError, match=r"p\.yml has the do_while s1, which decides while the pipeline runs"):
        steps_named(spec, "s0", "--only")
