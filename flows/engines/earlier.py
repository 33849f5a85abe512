"""Jobs that were run before: what became of their steps, and where the outputs are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from flows.engines.runs import RunStatus, StepOutcome
from flows.spec.model.job import StepOutput
from flows.tags import RESUMES


@dataclass(frozen=True, slots=True)
class EarlierJob:
    """A job that an engine has run, or runs.

    Attributes:
        name: The name of the job.
        status: In Azure ML's words, also of a job on this machine.
        tags: Those that it was submitted with.
        steps: What became of each step that it has run, by name; empty while it is not known.
        outputs: Where the outputs of its completed steps are: a path on this machine, or
            ``azureml://jobs/<child job>/outputs/<output>``.
    """

    name: str
    status: str
    tags: Mapping[str, str]
    steps: Mapping[str, StepOutcome] = field(default_factory=lambda: MappingProxyType(dict[str, StepOutcome]()))
    outputs: Mapping[StepOutput, str] = field(default_factory=lambda: MappingProxyType(dict[StepOutput, str]()))

    @property
    def resumes(self) -> str | None:
        """The job after which this one goes on; None if it has begun by itself."""
        return self.tags.get(RESUMES)

    @property
    def finished(self) -> frozenset[str]:
        """The names of the steps that have completed."""
        return frozenset(name for name, step in self.steps.items() if step.status is RunStatus.COMPLETED)

    def after(self, before: "EarlierJob") -> "EarlierJob":
        """This job with what the one before it has left, where it goes on after that."""
        steps, outputs = {**before.steps, **self.steps}, {**before.outputs, **self.outputs}
        return replace(self, steps=MappingProxyType(steps), outputs=MappingProxyType(outputs))
