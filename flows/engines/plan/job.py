"""Plan of a whole job on this machine: its steps in waves, which ones run or are reused, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from flows.engines.plan.control import as_planned, when_it_runs
from flows.engines.plan.environment import Shortfall, shortfalls
from flows.engines.plan.output_places import OutputPlace
from flows.engines.plan.steps import Baseline, Planner, StepPlan
from flows.errors import UserError
from flows.settings import Settings
from flows.spec.graph import waves
from flows.spec.model.job import Environment, JobSpec, Step, StepOutput


class StepState(StrEnum):
    """Whether a step would run or be reused."""

    REUSE = "reuse"
    RUN = "run"
    MAY_RUN = "may run"
    """Upstream steps run first; it is reused if they deliver what they did before."""
    CANNOT_RUN = "cannot run"


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step as it would run.

    Attributes:
        step: The step.
        wave: Its wave, from 1: it needs only steps of earlier ones.
        state: Whether it would run or be reused.
        plan: What it depends on; of one that a loop repeats, in the first iteration. None for one that cannot run, for
            a choice or a loop, and for one whose values are not known yet.
        refusal: Why it cannot run here, as the end of a sentence that begins with its name.
        needs: The steps that cannot run and whose outputs it reads.
        note: When and how often it would run, where choices or loops decide that; empty where they do not.
    """

    step: Step
    wave: int
    state: StepState
    plan: StepPlan | None = None
    refusal: str | None = None
    needs: tuple[str, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """The name of the step."""
        return self.step.name


@dataclass(frozen=True, slots=True)
class AskedEnvironment:
    """An environment, the steps that ask for it, and what the interpreter lacks of it; None if that is not known."""

    label: str
    steps: tuple[str, ...]
    shortfalls: tuple[Shortfall, ...] | None


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job as it would run: its steps in the order of the graph, and the environments that they ask for.

    ``python`` is the version of the interpreter; ``writes`` the local paths that outputs are copied to when the job has
    ended, and ``output_dir`` the folder that everything is copied to, if there is one; ``against`` what it is compared
    with, where that is not the earlier runs on this machine; ``preloaded`` the modules that are imported before a step
    starts, by its name, for the steps that (may) run.
    """

    spec: JobSpec
    python: str
    steps: tuple[PlannedStep, ...]
    environments: tuple[AskedEnvironment, ...]
    writes: tuple[OutputPlace, ...] = ()
    output_dir: str | None = None
    against: str | None = None
    preloaded: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def refused_writes(self) -> tuple[OutputPlace, ...]:
        """The paths that nothing may be written to."""
        return tuple(place for place in self.writes if place.refusal is not None)

    @property
    def refused(self) -> tuple[PlannedStep, ...]:
        """The steps that cannot run here for a reason of their own."""
        return tuple(step for step in self.steps if step.refusal is not None)

    def count(self, state: StepState) -> int:
        """How many steps are in a state."""
        return sum(step.state is state for step in self.steps)


def plan_job(
    spec: JobSpec,
    settings: Settings,
    force_rerun: bool = False,
    python: Path | None = None,
    baseline: Baseline | None = None,
) -> JobPlan:
    """Plan every step of a job. Nothing runs, and nothing is written."""
    planner = Planner(spec, settings, force_rerun, python, baseline)
    planned: dict[str, PlannedStep] = {}
    delivered: dict[StepOutput, Path] = {}
    for number, wave in enumerate(waves(spec), start=1):
        for name in wave:
            step = _planned(planner, spec.steps[name], number, planned, delivered)
            planned[name] = step
            if step.plan is not None:
                delivered.update(planner.delivered({name: step.plan}))
    environments, against = tuple(_environments(planner)), None if baseline is None else baseline.name
    return JobPlan(spec, planner.interpreter.release, tuple(planned.values()), environments, against=against)


def _planned(
    planner: Planner, step: Step, wave: int, planned: Mapping[str, PlannedStep], delivered: Mapping[StepOutput, Path]
) -> PlannedStep:
    note = when_it_runs(planner.spec, step)
    refusal = step.refusal
    needs = tuple(name for name in sorted(step.upstream) if planned[name].state is StepState.CANNOT_RUN)
    first = None if step.control else as_planned(planner.spec, step)
    if refusal is None and not needs and first is None:
        return PlannedStep(step, wave, StepState.RUN, note=note)
    if refusal is None and not needs and first is not None:
        pending = frozenset(name for name in step.upstream if planned[name].state is not StepState.REUSE)
        try:
            plan = planner.plan(first, delivered, pending)
        except UserError as error:
            refusal = f"cannot be planned: {error}"
        else:
            state = StepState.REUSE if plan.reused else StepState.MAY_RUN if plan.may_be_reused else StepState.RUN
            return PlannedStep(step, wave, state, plan, note=note)
    return PlannedStep(step, wave, StepState.CANNOT_RUN, None, refusal, needs, note)


def _environments(planner: Planner) -> Iterator[AskedEnvironment]:
    found: dict[Environment, list[str]] = {}
    for name, step in planner.spec.steps.items():
        if step.component.environment is not None:
            found.setdefault(step.component.environment, []).append(name)
    for environment, steps in found.items():
        definition = planner.defined(environment)
        known = definition is not None and definition.conda is not None
        lacking = shortfalls(definition, planner.interpreter) if definition is not None and known else None
        label = environment.reference or environment.image or "in the file"
        yield AskedEnvironment(label, tuple(steps), lacking)
