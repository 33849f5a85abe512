"""Search of a sweep: the values of each trial, and which trials to stop early. Pure, but for a seeded generator."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median

from flows.spec.model.sweep import EarlyTermination, Hyperparameter, Objective, Sweep


def trials(sweep: Sweep) -> Iterator[Mapping[str, str]]:
    """The values of each trial as text, ``max_total_trials`` at most.

    A grid goes through all combinations, the last name changing fastest. If every parameter is a choice, random
    sampling repeats no combination, and ends when there are no more. Bayesian sampling is random here: there is no
    model of the metric. Without a seed, the same space always gives the same trials, so that an interrupted sweep finds
    them again.
    """
    space = sweep.search_space
    chosen = all(one.type == "choice" for one in space.values())
    if sweep.sampling.algorithm == "grid":
        found: Iterator[Mapping[str, str]] = _grid(space)
    else:
        seed = sweep.sampling.seed
        generator = random.Random(repr(sorted(space.items())) if seed is None else seed)
        found = _chosen(space, generator, sweep.max_total_trials) if chosen else _drawn(space, generator)
    return itertools.islice(found, sweep.max_total_trials)


def is_random_instead(sweep: Sweep) -> str | None:
    """The way of sampling that the sweep asks for and that is random here; None where it gets what it asks for."""
    sampling = sweep.sampling
    if sampling.algorithm == "bayesian":
        return "bayesian"
    return "sobol" if sampling.algorithm == "random" and sampling.rule == "sobol" else None


def best(values: Mapping[int, float], objective: Objective) -> int | None:
    """The number of the trial with the best value of the metric, the first of equals; None without any."""
    defined = {number: value for number, value in values.items() if not math.isnan(value)}
    if not defined:
        return None
    return min(defined, key=lambda number: (_loss(defined[number], objective), number))


def should_stop_early(
    policy: EarlyTermination, objective: Objective, number: int, reports: Mapping[int, Sequence[float]]
) -> bool:
    """Whether a policy stops a trial.

    Formulas: https://learn.microsoft.com/azure/machine-learning/how-to-tune-hyperparameters#early-termination-policy

    Args:
        policy: The policy.
        objective: Which direction is better.
        number: The trial.
        reports: The metric as each trial has reported it so far, finished trials among them, in order.
    """
    losses = {one: [_loss(value, objective) for value in values] for one, values in reports.items() if values}
    own = losses.get(number, [])
    interval = len(own)
    if not own or interval < policy.delay_evaluation or interval % policy.evaluation_interval:
        return False
    if policy.type == "bandit":
        return _outside_slack(policy, objective, min(own), min(map(min, losses.values())))
    reached = {one: values[:interval] for one, values in losses.items() if len(values) >= interval}
    if policy.type == "median_stopping":
        return len(losses) > 1 and min(own) > median(fmean(values[:interval]) for values in losses.values())
    worst_first = sorted(reached, key=lambda one: (-min(reached[one]), -one))
    share = (policy.truncation_percentage or 0) / 100
    return number in worst_first[: math.floor(len(reached) * share)]


def _outside_slack(policy: EarlyTermination, objective: Objective, own: float, top: float) -> bool:
    if policy.slack_amount is not None:
        return own > top + policy.slack_amount
    factor = 1 + (policy.slack_factor or 0.0)
    if objective.is_maximized:  # losses are the metric with its sign turned
        return -own < -top / factor
    return own > top * factor


def _loss(value: float, objective: Objective) -> float:
    if math.isnan(value):
        return math.inf
    return -value if objective.is_maximized else value


def _grid(space: Mapping[str, Hyperparameter]) -> Iterator[Mapping[str, str]]:
    for values in itertools.product(*(one.values for one in space.values())):
        yield dict(zip(space, values, strict=True))


def _chosen(space: Mapping[str, Hyperparameter], generator: random.Random, most: int) -> Iterator[Mapping[str, str]]:
    """Combinations of choices, each at most once; of the whole grid, which may be huge, none is made but these."""
    size = math.prod(len(one.values) for one in space.values())
    for place in generator.sample(range(size), min(size, most)):
        values: dict[str, str] = {}
        for name, one in space.items():
            place, at = divmod(place, len(one.values))
            values[name] = one.values[at]
        yield values


def _drawn(space: Mapping[str, Hyperparameter], generator: random.Random) -> Iterator[Mapping[str, str]]:
    while True:
        yield {name: _draw(one, generator) for name, one in space.items()}


def _draw(one: Hyperparameter, generator: random.Random) -> str:
    if one.type == "choice":
        return generator.choice(one.values)
    if one.type == "randint":
        return str(generator.randrange(one.upper or 1))
    kind = one.type.removeprefix("q")
    if kind in ("uniform", "loguniform"):
        value = generator.uniform(one.min_value or 0.0, one.max_value or 0.0)
    else:
        value = generator.gauss(one.mu or 0.0, one.sigma or 0.0)
    if kind.startswith("log"):
        value = math.exp(value)
    if one.q:
        value = round(value / one.q) * one.q
        return str(int(value)) if float(one.q).is_integer() else f"{value:.12g}"
    return repr(value)
