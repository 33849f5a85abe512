"""A plan as a diagram that Mermaid can draw, whatever the names."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from flows.cli.plan.mermaid import flowchart
from flows.engines.plan.job import JobPlan, PlannedStep, StepState
from flows.spec.model.job import (
    Component,
    DataReference,
    InputBinding,
    JobKind,
    JobSpec,
    OutputPort,
    ParentOutput,
    Step,
    StepOutput,
)

LINE = re.compile(
    r"flowchart LR"
    r'|    (?P<node>[sdo]\d+)(\[|\(\[|\[\()"(?P<label>(\w|[ :,@/]|[.+-](?! )|#\d+;)*)"(\]|\]\)|\)\])'
    r"|    (?P<edge>[sdo]\d+ --> [sdo]\d+)"
    r"|    classDef (reused|refused) [a-z0-9#:,\- ]+"
    r"|    class (?P<of_class>s\d+(,s\d+)* (reused|refused))"
)


def plan_of(
    steps: Mapping[str, Mapping[str, InputBinding]], states: Mapping[str, StepState], outputs: tuple[str, ...] = ()
) -> JobPlan:
    """A plan of steps with these inputs; the first step delivers the outputs of the job."""
    found: dict[str, Step] = {}
    for name, inputs in steps.items():
        bound = {} if found else {output: ParentOutput(output) for output in outputs}
        component = Component(name, "", Path("component.yml"))
        found[name] = Step(name, component, MappingProxyType(dict(inputs)), MappingProxyType(bound))
    ports = {output: OutputPort(output, "uri_file") for output in outputs}
    spec = JobSpec(JobKind.PIPELINE, Path("p.yml"), "p", MappingProxyType(found), outputs=MappingProxyType(ports))
    planned = tuple(PlannedStep(step, 1, states.get(name, StepState.RUN)) for name, step in found.items())
    return JobPlan(spec, "3.11", planned, ())


def drawn(plan: JobPlan) -> str:
    return flowchart(plan, plan.spec)


def test_steps_data_and_outputs_are_drawn_and_reused_steps_in_another_style() -> None:
    data = DataReference("uri_file", "azureml:rows@latest")
    plan = plan_of(
        {
            "prep": {"data": data},
            "train": {"rows": StepOutput("prep", "rows"), "test": StepOutput("prep", "test"), "data": data},
        },
        {"prep": StepState.REUSE},
        ("report",),
    )

    assert drawn(plan).splitlines() == [
        "flowchart LR",
        '    d0[("rows@latest")]',
        '    s0["prep"]',
        '    s1["train"]',
        '    o0(["report"])',
        "    d0 --> s0",
        "    s0 --> o0",
        "    d0 --> s1",
        "    s0 --> s1",
        "    classDef reused fill:#f4f4f4,stroke:#999,color:#666,stroke-dasharray:4 3",
        "    class s0 reused",
    ]


def test_data_is_drawn_by_its_name_and_not_by_where_it_lies() -> None:
    paths = ["/home/me/rows.csv", "azureml:rows:2", "azureml://datastores/blob/paths/rows", "https://example.org/rows"]
    plan = plan_of({"prep": {path: DataReference("uri_file", path) for path in paths}}, {})

    labels = [match["label"] for match in map(LINE.fullmatch, drawn(plan).splitlines()) if match and match["label"]]
    assert labels[:4] == ["rows.csv", "rows:2", "azureml://datastores/blob/paths/rows", "https://example.org/rows"]


@given(
    names=st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True),
    words=st.lists(st.sampled_from(["end", "class", "1. x", "- x", "__x__", "`x`", "#x;", '"', "]", "\n", "%%"])),
)
def test_any_name_is_a_plain_label(names: list[str], words: list[str]) -> None:
    steps = dict.fromkeys([*names, *words], MappingProxyType(dict[str, InputBinding]()))
    lines = drawn(plan_of(steps, dict.fromkeys(steps, StepState.REUSE))).split("\n")

    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    labels = [match["label"] for match in matches if match and match["label"] is not None]
    assert [re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label) for label in labels] == list(steps)
