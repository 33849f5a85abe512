"""What a sweep tries, and which trials it stops early."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.engines.local.sweep.search import best, should_stop_early, trials
from flows.spec.model.sweep import EarlyTermination, Hyperparameter, Objective, Sampling, Sweep

MOST, LEAST = Objective("maximize", "auc"), Objective("minimize", "loss")
SOLVER = Hyperparameter("solver", "choice", ("lbfgs", "saga"))
RATE = Hyperparameter("rate", "choice", ("0.1", "1"))


def sweep(*space: Hyperparameter, algorithm: str = "random", total: int = 100, seed: int | None = 7) -> Sweep:
    return Sweep({one.name: one for one in space}, MOST, total, Sampling(algorithm, seed))


def test_grid_goes_through_all_combinations_in_order() -> None:
    found = [tuple(values.values()) for values in trials(sweep(SOLVER, RATE, algorithm="grid"))]
    assert found == [("lbfgs", "0.1"), ("lbfgs", "1"), ("saga", "0.1"), ("saga", "1")]


def test_random_choices_repeat_nothing_and_end_with_the_last_combination() -> None:
    found = [tuple(values.values()) for values in trials(sweep(SOLVER, RATE))]
    assert len(found) == len(set(found)) == 4


def test_choices_are_drawn_from_a_grid_too_large_to_be_made() -> None:
    space = [Hyperparameter(f"x{number}", "choice", tuple("0123456789")) for number in range(18)]
    assert len({tuple(values.values()) for values in trials(sweep(*space, total=5))}) == 5


def test_without_a_seed_the_same_space_is_drawn_from_in_the_same_way() -> None:
    rate = Hyperparameter("rate", "uniform", min_value=0.0, max_value=1.0)
    first, more = (list(trials(sweep(rate, total=total, seed=None))) for total in (3, 5))
    assert more[:3] == first


def test_same_seed_tries_the_same_and_another_seed_something_else() -> None:
    rate = Hyperparameter("rate", "uniform", min_value=0.0, max_value=1.0)
    first, again, other = (list(trials(sweep(rate, total=5, seed=seed))) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("one", "least", "most"),
    [
        (Hyperparameter("x", "randint", upper=5), 0, 4),
        (Hyperparameter("x", "uniform", min_value=-1, max_value=2), -1, 2),
        (Hyperparameter("x", "quniform", min_value=1, max_value=9, q=2), 0, 10),
        (Hyperparameter("x", "loguniform", min_value=-3, max_value=0), math.exp(-3), 1),
        (Hyperparameter("x", "qlognormal", mu=1, sigma=0.5, q=1), 0, 1000),
        (Hyperparameter("x", "normal", mu=5, sigma=1), -5, 15),
    ],
)
def test_values_are_drawn_from_where_they_should_be(one: Hyperparameter, least: float, most: float) -> None:
    drawn = [float(values["x"]) for values in trials(sweep(one))]
    assert len(set(drawn)) > 1
    assert all(least <= value <= most for value in drawn)
    if one.q:
        assert all(value % one.q == pytest.approx(0) for value in drawn)


def test_best_is_by_the_goal_and_undefined_values_never_win() -> None:
    values = {1: 0.8, 2: math.nan, 3: 0.9, 4: 0.7}
    assert (best(values, MOST), best(values, LEAST), best({1: math.nan}, MOST)) == (3, 4, None)


def test_bandit_stops_what_is_further_from_the_best_than_the_slack() -> None:
    policy = EarlyTermination("bandit", evaluation_interval=1, slack_factor=0.2)
    reports: Mapping[int, list[float]] = {1: [0.8], 2: [0.66], 3: [0.67]}
    assert [should_stop_early(policy, MOST, number, reports) for number in reports] == [False, True, False]
    amount = EarlyTermination("bandit", slack_amount=0.1)
    assert [should_stop_early(amount, LEAST, n, {1: [0.5], 2: [0.61], 3: [0.6]}) for n in (1, 2, 3)] == [
        False,
        True,
        False,
    ]


def test_median_stopping_stops_what_is_worse_than_the_median_of_the_averages() -> None:
    policy = EarlyTermination("median_stopping", delay_evaluation=2)
    reports = {1: [0.5, 0.6], 2: [0.7, 0.8], 3: [0.8, 0.9]}
    assert [should_stop_early(policy, MOST, number, reports) for number in reports] == [True, False, False]


def test_truncation_stops_the_worst_share_of_those_that_have_come_as_far() -> None:
    policy = EarlyTermination("truncation_selection", truncation_percentage=40)
    reports = {1: [0.1], 2: [0.2], 3: [0.3], 4: [0.4], 5: [0.5, 0.6]}
    assert [should_stop_early(policy, MOST, number, reports) for number in (1, 2, 3, 4)] == [True, True, False, False]


@given(st.sampled_from(["bandit", "median_stopping", "truncation_selection"]), st.integers(1, 5), st.integers(0, 9))
def test_no_policy_is_applied_before_its_delay_or_between_its_intervals(kind: str, every: int, delay: int) -> None:
    policy = EarlyTermination(kind, every, delay, slack_factor=0.0, truncation_percentage=99)
    for done in range(1, 12):
        if done < delay or done % every:
            assert not should_stop_early(policy, MOST, 1, {1: [0.0] * done, 2: [1.0] * done})


def test_best_trial_is_never_stopped() -> None:
    for kind in ("bandit", "median_stopping", "truncation_selection"):
        policy = EarlyTermination(kind, slack_factor=0.0, truncation_percentage=50)
        assert not should_stop_early(policy, MOST, 2, {1: [0.1], 2: [0.9]})
