"""Child jobs of a pipeline with choices and loops: which step each is, and which of them always run.

The service shows each run of a loop's body as a child under the name of that body. They are told apart by numbers, in
the order in which they were created. Whether they are children of the pipeline or of the loop is not recorded: both are
looked at.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime

from flows.engines.azureml.sdk.jobs import RemoteJob
from flows.spec.control import always_run, body_of, iteration_steps
from flows.spec.graph import order
from flows.spec.model.control import Body
from flows.spec.model.job import JobSpec, Step

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def children_by_step(
    spec: JobSpec, name: str, children: Callable[[str], Awaitable[tuple[RemoteJob, ...]]]
) -> dict[str, RemoteJob]:
    """The child jobs of a pipeline job by the names of their steps; those of a loop's body as ``<step>-<number>``.

    Args:
        spec: The pipeline.
        name: The job.
        children: Asks for the child jobs of a job.
    """
    bodies = {body.name for step in spec.steps.values() if (body := body_of(step)) is not None}
    found: dict[str, RemoteJob] = {}
    pipelines = [("", "", name)]
    while pipelines:
        prefix, shown_prefix, parent = pipelines.pop()
        numbers: Counter[str] = Counter()
        for child in sorted(await children(parent), key=lambda child: (child.created or _LONG_AGO, child.name)):
            step = f"{prefix}{child.display_name}"
            shown = f"{shown_prefix}{child.display_name}"
            if step in bodies:
                numbers[step] += 1
                shown = f"{shown}-{numbers[step]}"
            if step in spec.steps:
                found[shown] = child
                if body_of(spec.steps[step]) is not None:
                    pipelines.append((prefix, shown_prefix, child.name))
            elif step in spec.nested:
                pipelines.append((f"{step}.", f"{shown}.", child.name))
    return found


def iterations(spec: JobSpec, names: Iterable[str]) -> Iterator[Step]:
    """The steps of iterations, each under the name that :func:`children_by_step` gives its child job.

    Args:
        spec: The pipeline.
        names: The names of child jobs. What is no step of an iteration is passed over.
    """
    for name in names:
        steps, begun = dict(spec.steps), ""
        for part in name.split("."):
            node, _, number = part.partition("-")
            body = _body(steps.values(), f"{begun}{node}") if number else None
            if body is not None:
                steps |= iteration_steps(steps, body, number, {})
            begun = f"{begun}{part}."
        if name in steps and name not in spec.steps:
            yield steps[name]


def _body(steps: Iterable[Step], name: str) -> Body | None:
    found = (body_of(step) for step in steps)
    return next((body for body in found if body is not None and body.name == name), None)


def expected(spec: JobSpec) -> frozenset[str]:
    """The steps that each have a child job, if the job completes."""
    return always_run(spec.steps, order(spec))
