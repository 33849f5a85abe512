"""A job's plan as Markdown, for a comment on a pull request or the summary of a workflow. Pure."""

from collections.abc import Iterator

from flows.cli.plan.mermaid import flowchart
from flows.cli.plan.text import reason_lines
from flows.engines.plan.job import JobPlan, PlannedStep, StepState
from flows.spec.model.job import JobSpec
from flows.training.markdown import plain

MOST_ROWS = 100  # GitHub takes 65,536 characters in a comment
MOST_DRAWN = 60  # steps of a graph that can be read
_STATES = {StepState.RUN: "would run", StepState.REUSE: "unchanged"}
_ORDER = (StepState.RUN, StepState.MAY_RUN, StepState.CANNOT_RUN, StepState.REUSE)


def plan_as_markdown(plan: JobPlan, spec: JobSpec) -> str:
    """What would run and why as a table, and the graph below it.

    Args:
        plan: The plan of the job.
        spec: The job with its data as the file names it, for the graph.
    """
    return "\n".join(_lines(plan, spec))


def _lines(plan: JobPlan, spec: JobSpec) -> Iterator[str]:
    counts = [(plan.count(state), _STATES.get(state, state.value)) for state in _ORDER]
    told = ", ".join(f"{number} {state}" for number, state in counts if number)
    against = "earlier runs" if plan.against is None else plain(plan.against)
    changed = [step for step in plan.steps if step.state is not StepState.REUSE]
    yield f"### Plan of {plain(plan.spec.display_name or plan.spec.name)}, compared with {against}\n"
    if changed:
        yield f"{told}.\n\n| step | plan | why |\n|---|---|---|"
        yield from (
            f"| {plain(step.name)} | {_STATES.get(step.state, step.state.value)} | {_why(step)} |"
            for step in changed[:MOST_ROWS]
        )
        if len(changed) > MOST_ROWS:
            yield f"| and {len(changed) - MOST_ROWS} more | | |"
    else:
        yield f"Nothing would run again: {told}."
    if len(plan.steps) <= MOST_DRAWN:
        graph = f"```mermaid\n{flowchart(plan, spec)}\n```"
        yield f"\n<details><summary>The graph; what is unchanged is dashed</summary>\n\n{graph}\n\n</details>"
    yield (
        "\nCompared by content: component, code, environment, variables and inputs of each step. Nothing was run. "
        f"Planned with Python {plan.python}."
    )


def _why(step: PlannedStep) -> str:
    if step.plan is not None or step.state is not StepState.CANNOT_RUN:
        reasons = reason_lines(step.plan.reasons, in_short=True) if step.plan else []
        return "<br>".join(plain(line) for line in (*reasons, *([step.note] if step.note else [])))
    return plain(step.refusal or f"it needs {', '.join(step.needs)}")
