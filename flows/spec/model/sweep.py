"""Sweeps as frozen values: what is searched, how, for which metric, and when the search ends."""

from collections.abc import Mapping
from dataclasses import dataclass

# The ways to draw a value, by the keys that each must have. ``values`` are those to choose from.
EXPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "choice": ("values",),
    "randint": ("upper",),
    "uniform": ("min_value", "max_value"),
    "loguniform": ("min_value", "max_value"),
    "quniform": ("min_value", "max_value", "q"),
    "qloguniform": ("min_value", "max_value", "q"),
    "normal": ("mu", "sigma"),
    "lognormal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "qlognormal": ("mu", "sigma", "q"),
}


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """How one value of the search space is drawn, in the words of Azure ML.

    ``type`` is one of :data:`EXPRESSIONS`; the fields that it does not need are empty.

    - choice: one of ``values``, each as the text that the trial receives.
    - randint: a whole number from 0 to ``upper`` - 1.
    - uniform: a number from ``min_value`` to ``max_value``; quniform: ``round(uniform / q) * q``.
    - loguniform: ``exp(uniform(min_value, max_value))``: the bounds are exponents; qloguniform: rounded to ``q``.
    - normal: of mean ``mu`` and deviation ``sigma``; lognormal: ``exp(normal)``; q…: rounded to ``q``.

    Only ``choice``, ``randint``, ``quniform`` and ``qloguniform`` are finite; a grid takes only those of ``choice``.
    """

    name: str
    type: str
    values: tuple[str, ...] = ()
    upper: int | None = None
    min_value: float | None = None
    max_value: float | None = None
    mu: float | None = None
    sigma: float | None = None
    q: float | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next trial's values are chosen: ``random``, ``grid`` or ``bayesian``.

    ``rule`` (``random`` or ``sobol``), ``seed`` and ``logbase`` belong to random sampling.
    """

    algorithm: str = "random"
    seed: int | None = None
    rule: str = "random"
    logbase: str | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """The MLflow metric that ranks the trials, and whether it is to be ``minimize``d or ``maximize``d."""

    goal: str
    primary_metric: str

    @property
    def is_maximized(self) -> bool:
        """Whether more is better."""
        return self.goal == "maximize"


@dataclass(frozen=True, slots=True)
class EarlyTermination:
    """When a trial that does badly is stopped.

    A trial reports the metric again and again; each report is an interval, counted from 1. The policy is applied at
    every interval that is a multiple of ``evaluation_interval``, beginning with ``delay_evaluation``.

    - bandit: stopped where it is worse than the best trial's metric by more than ``slack_amount``, or than
      best / (1 + ``slack_factor``) to be maximized, best * (1 + ``slack_factor``) to be minimized.
    - median_stopping: stopped where its best metric is worse than the median of all trials' running averages.
    - truncation_selection: the worst ``truncation_percentage`` of the trials at this interval are stopped.
    """

    type: str
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    slack_factor: float | None = None
    slack_amount: float | None = None
    truncation_percentage: int | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """A search over the inputs of a trial, which is the step's own component.

    Every name of ``search_space`` is a literal input of that component (the reader adds it where a command says
    ``${{search_space.name}}``, and makes that ``${{inputs.name}}``), so that a trial is the same step with these
    inputs bound: :func:`flows.spec.bind.trial`. The step delivers the outputs of its best trial.

    ``max_concurrent_trials`` is None where the file leaves it open: as many as the machine has room for.
    The step's ``timeout_seconds`` is that of the whole sweep.
    """

    search_space: Mapping[str, Hyperparameter]
    objective: Objective
    max_total_trials: int
    sampling: Sampling = Sampling()
    max_concurrent_trials: int | None = None
    trial_timeout_seconds: int | None = None
    early_termination: EarlyTermination | None = None
