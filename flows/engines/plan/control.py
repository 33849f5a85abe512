"""What choices and loops say of a step before the job runs: how often it would run, and under which condition. Pure."""

from collections.abc import Iterator

from flows.spec.control import body_of, in_iteration, item_values, iteration_steps
from flows.spec.model.control import CONDITION, ITEMS, DoWhile, IfElse, ParallelFor
from flows.spec.model.job import InputBinding, JobSpec, Literal, ParentInput, Step, StepOutput
from flows.spec.text.words import counted


def when_it_runs(spec: JobSpec, step: Step) -> str:
    """When and how often a step would run, in a few words; empty where it runs once, whatever happens."""
    return "; ".join(_said(spec, step))


def how_often(step: Step) -> str:
    """How often a loop runs its body, in a few words; empty for what is no loop."""
    match step.control:
        case DoWhile(_, _, condition, most):
            while_true = f", while {condition} is true" if condition else ""
            return f"up to {counted(most, 'time')}{while_true}"
        case ParallelFor(_, items, most):
            all_items = f"of {counted(len(items), 'item')}" if items is not None else f"item of {_bound(step, ITEMS)}"
            return f"for each {all_items}" + (f", {most} at once" if most else "")
        case _:
            return ""


def as_planned(spec: JobSpec, step: Step) -> Step | None:
    """A step as it runs first; None where a loop gives it values that are not known before the job runs."""
    if step.when.loop is None:
        return step
    loop = spec.steps[step.when.loop]
    body = body_of(loop)
    if body is None or not isinstance(loop.control, ParallelFor):
        return step
    if not loop.control.items:
        return None
    item = next(iter(loop.control.items))
    return iteration_steps(spec.steps, body, item, item_values(loop, item))[in_iteration(step.name, body, item)]


def _said(spec: JobSpec, step: Step) -> Iterator[str]:
    for choice, wanted in step.when.only_if:
        yield f"only if {_bound(spec.steps[choice], CONDITION)} is {str(wanted).lower()} ({choice})"
    if step.when.loop is not None:
        yield f"{how_often(spec.steps[step.when.loop])} ({step.when.loop})"
    match step.control:
        case IfElse(true_block, false_block):
            yes, no = ", ".join(true_block) or "nothing", ", ".join(false_block) or "nothing"
            yield f"{yes} if {_bound(step, CONDITION)} is true, else {no}"
        case DoWhile() | ParallelFor():
            yield f"runs {step.control.body.name} {how_often(step)}"
        case None:
            pass


def _bound(step: Step, name: str) -> str:
    """What an input of a choice or a loop is bound to, in a few words."""
    binding: InputBinding | None = step.inputs.get(name)
    match binding:
        case StepOutput(other, output):
            return f"{other}.{output}"
        case ParentInput(above):
            return f"the input {above}"
        case Literal(text):
            return text.lower()
        case _:
            return name
