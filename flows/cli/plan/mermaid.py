"""A job's plan as a Mermaid flowchart, which GitHub draws in a README or a pull request. Pure."""

import re
from collections.abc import Iterator
from pathlib import PurePath

from flows.engines.plan.control import how_often
from flows.engines.plan.job import JobPlan, StepState
from flows.spec.model.control import IfElse
from flows.spec.model.job import DataReference, JobSpec, Step
from flows.spec.text.locations import is_remote
from flows.spec.values import source

# Every sign but those of plain words; and of these signs, those that would begin a list or emphasise a word.
_MARKUP = re.compile(r"[^\w .:,@/+-]|[.+-](?= )|(?<![^\W_])_|_(?![^\W_])")
_STYLES = {
    StepState.REUSE: "fill:#f4f4f4,stroke:#999,color:#666,stroke-dasharray:4 3",
    StepState.CANNOT_RUN: "fill:#fdecea,stroke:#c62828,color:#8e0000",
}
_CLASSES = {StepState.REUSE: "reused", StepState.CANNOT_RUN: "refused"}


def flowchart(plan: JobPlan, spec: JobSpec) -> str:
    """The steps with the data that they read and the outputs of the job; reused steps are drawn dashed.

    Args:
        plan: The plan of the job.
        spec: The job with its data as the file names it, rather than where it lies on this machine.
    """
    return "\n".join(["flowchart LR", *(f"    {line}" for line in _lines(plan, spec))])


def _lines(plan: JobPlan, spec: JobSpec) -> Iterator[str]:
    # Nodes are numbered: a name may be a keyword of Mermaid (``end``), or have signs that mean something to it.
    steps = {step.name: f"s{at}" for at, step in enumerate(plan.steps)}
    data = {reference: f"d{at}" for at, reference in enumerate(dict.fromkeys(_references(spec)))}
    outputs = {name: f"o{at}" for at, name in enumerate(spec.outputs)}
    yield from (f"{node}[({_quoted(_label(reference))})]" for reference, node in data.items())
    yield from (f"{node}{_shape(spec.steps[name])}" for name, node in steps.items())
    yield from (f"{node}([{_quoted(name)}])" for name, node in outputs.items())
    for name, node in steps.items():
        step = spec.steps[name]
        yield from (f"{data[found]} --> {node}" for found in dict.fromkeys(_read(spec, step)))
        before = sorted((it for it in step.upstream if it in steps), key=lambda it: _number(steps[it]))
        yield from (f"{steps[it]} -->{_label_of_edge(spec, it, step)} {node}" for it in before)
        yield from (f"{node} --> {outputs[bound.name]}" for bound in step.outputs.values() if bound.name in outputs)
    for state, name in _CLASSES.items():
        nodes = [steps[step.name] for step in plan.steps if step.state is state]
        if nodes:
            yield f"classDef {name} {_STYLES[state]}"
            yield f"class {','.join(nodes)} {name}"


def _shape(step: Step) -> str:
    """The form of a step: a choice is a diamond, a loop a box in a box."""
    match step.control:
        case None:
            return f"[{_quoted(step.name)}]"
        case IfElse():
            return f"{{{_quoted(step.name)}}}"
        case _:
            return f"[[{_quoted(step.name)}]]"


def _label_of_edge(spec: JobSpec, before: str, step: Step) -> str:
    """What a choice or a loop says of an edge: the value of the condition, or how often the body runs."""
    wanted = dict(step.when.only_if).get(before)
    if wanted is not None and before not in step.reads:
        return f"|{str(wanted).lower()}|"
    return f"|{_quoted(how_often(step))}|" if spec.steps[before].when.loop == step.name else ""


def _references(spec: JobSpec) -> Iterator[DataReference]:
    for step in spec.steps.values():
        yield from _read(spec, step)


def _read(spec: JobSpec, step: Step) -> Iterator[DataReference]:
    for binding in step.inputs.values():
        value = source(spec, binding)
        if isinstance(value, DataReference):
            yield value


def _number(node: str) -> int:
    return int(node[1:])


def _label(reference: DataReference) -> str:
    path = reference.path
    if is_remote(path):
        return path if "://" in path else path.removeprefix("azureml:")
    return PurePath(path).name or path


def _quoted(text: str) -> str:
    """A label in quotes. A sign that means something in Markdown, HTML or Mermaid is written as its character code."""
    return '"' + _MARKUP.sub(lambda match: f"#{ord(match[0])};", text) + '"'
