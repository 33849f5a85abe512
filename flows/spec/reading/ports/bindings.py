"""Parser of binding expressions such as ``${{parent.jobs.prep.outputs.data}}``."""

from dataclasses import dataclass

from flows.spec.model.job import ParentInput, ParentOutput, StepOutput


@dataclass(frozen=True, slots=True)
class StepInputBinding:
    """``${{parent.jobs.step.inputs.name}}``: what that step's input is given. Only the reader meets it."""

    step: str
    name: str


def expression(text: str) -> str | None:
    """What stands between ``${{`` and ``}}`` if the whole text is one expression, else None.

    An expression inside of a longer text is text: Azure ML sends it as it is.
    """
    text = text.strip()
    path = text[3:-2]
    if not (text.startswith("${{") and text.endswith("}}")) or len(text) < 5 or "{" in path or "}" in path:
        return None
    return ".".join(part.strip() for part in path.split("."))


def input_binding(path: str) -> ParentInput | StepOutput | StepInputBinding | None:
    """What an expression binds an input to, or None where it names nothing that an input can be bound to."""
    match path.split("."):
        case ["parent", "inputs", *name] if all(name) and name:
            return ParentInput(".".join(name))
        case ["parent", "jobs", step, "outputs", output] if step and output:
            return StepOutput(step, output)
        case ["parent", "jobs", step, "inputs", *name] if step and all(name) and name:
            return StepInputBinding(step, ".".join(name))
        case _:
            return None


def output_binding(path: str) -> ParentOutput | None:
    """What an expression binds an output to, or None."""
    match path.split("."):
        case ["parent", "outputs", name] if name:
            return ParentOutput(name)
        case _:
            return None
