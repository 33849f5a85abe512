"""What counts as drift, and what does not: properties of the comparison, and its error rates on simulated data."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flows.drift.feature_rows import FEATURES
from flows.drift.statistics import (
    DriftPolicy,
    DriftReport,
    Values,
    adjust,
    bin_counts,
    bin_edges,
    compare,
    population_stability_index,
    stability,
)
from flows.drift.summary import measures, reasons
from tests.bench.drift_populations import Population, shipped

POLICY = DriftPolicy()
NAN = float("nan")

relaxed = settings(max_examples=60, deadline=None)

cells = st.one_of(st.floats(-1e9, 1e9), st.integers(-3, 3).map(float), st.just(NAN))
columns = st.integers(1, 60).flatmap(lambda rows: arrays(np.float64, rows, elements=cells))


def compared(reference: Values, incoming: Values, policy: DriftPolicy = POLICY) -> DriftReport:
    return compare({"x": reference}, {"x": incoming}, policy)


def values(*cells: float) -> Values:
    return np.array(cells, dtype=np.float64)


def normal(rows: int, mean: float = 0.0, seed: int = 0) -> Values:
    return np.random.default_rng(seed).normal(mean, 1.0, rows)


def figures(report: DriftReport) -> Mapping[str, float]:
    return measures(report.features[0])


# --- the measures ---------------------------------------------------------------------------------------------------


@relaxed
@given(columns)
def test_identical_data_has_not_drifted(column: Values) -> None:
    report = compared(column, column)
    assert report.features[0].psi == 0
    assert report.features[0].ks in (0, None)
    assert not report.drifted


@relaxed
@given(columns, columns, st.integers(0, 2**32 - 1))
def test_order_of_rows_is_of_no_matter(reference: Values, incoming: Values, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation
    assert compared(shuffled(reference), shuffled(incoming)) == compared(reference, incoming)


@relaxed
@given(columns, columns)
def test_every_figure_is_within_its_range(reference: Values, incoming: Values) -> None:
    report = compared(reference, incoming)
    (feature,) = report.features
    assert feature.psi >= 0
    assert feature.ks is None or 0 <= feature.ks <= 1
    assert 0 <= feature.p_value <= 1
    shown = feature.histogram
    assert len(shown.edges) == len(shown.reference) + 1 == len(shown.incoming) + 1
    for shares in (shown.reference, shown.incoming):
        assert sum(shares) == pytest.approx(1) or sum(shares) == 0


@relaxed
@given(st.data())
def test_psi_is_the_same_either_way_round(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 12))
    one, other = (np.array(data.draw(st.lists(st.integers(0, 500), min_size=size, max_size=size))) for _ in range(2))
    if one.sum() and other.sum():
        assert population_stability_index(one, other) == pytest.approx(population_stability_index(other, one))


@relaxed
@given(columns, columns)
def test_ks_is_the_same_either_way_round(reference: Values, incoming: Values) -> None:
    assert figures(compared(reference, incoming)).get("ks") == figures(compared(incoming, reference)).get("ks")


def test_psi_is_the_formula_in_numbers_with_half_a_row_more_in_each_bin() -> None:
    # (60.5/101 - 30.5/101) ln(60.5/30.5) + (40.5/101 - 70.5/101) ln(40.5/70.5)
    psi = population_stability_index(np.array([60, 40, 0]), np.array([30, 70, 0]))
    assert psi == pytest.approx(30 / 101 * (np.log(60.5 / 30.5) + np.log(70.5 / 40.5)))


@relaxed
@given(columns)
def test_every_row_is_in_one_bin(column: Values) -> None:
    assert bin_counts(column, bin_edges(column, 10)).sum() == len(column)


def test_bins_of_distinct_values_hold_a_tenth_each_and_missing_values_have_their_own() -> None:
    column = np.append(np.arange(100.0), [NAN] * 7)
    assert bin_counts(column, bin_edges(column, 10)).tolist() == [10] * 10 + [7]


@relaxed
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjustment_keeps_the_order_and_never_makes_a_p_value_smaller(p_values: list[float]) -> None:
    adjusted = adjust(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    assert [adjusted[at] for at in order] == sorted(adjusted)
    assert min(adjusted) == min(1, len(p_values) * min(p_values))


def test_adjustment_is_that_of_holm() -> None:
    assert adjust([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


# --- what counts ----------------------------------------------------------------------------------------------------


def test_shifted_feature_has_drifted_and_says_by_how_much() -> None:
    reference = {"steady": normal(500), "moved": normal(500, seed=1)}
    incoming = {"steady": normal(1000, seed=2), "moved": normal(1000, mean=0.5, seed=3)}
    report = compare(reference, incoming, POLICY)
    assert [feature.feature for feature in report.drifted] == ["moved"]
    (said,) = reasons(report)
    assert said.startswith("moved: PSI 0.") and "median" in said


def test_difference_that_is_certain_but_trifling_is_no_drift() -> None:
    report = compared(normal(100_000), normal(100_000, mean=0.1, seed=1))
    assert report.features[0].p_value < 1e-9
    assert not report.drifted


def test_difference_that_is_large_but_may_be_chance_is_no_drift() -> None:
    report = compared(normal(100), normal(20, mean=0.3, seed=3))
    assert report.features[0].psi > POLICY.psi_threshold
    assert not report.drifted


@pytest.mark.parametrize("rows", [20, 200])
@pytest.mark.parametrize("moved_to", [6.0, 8.0, NAN], ids=["down", "up", "missing"])
def test_constant_that_becomes_another_has_drifted(moved_to: float, rows: int) -> None:
    assert compared(np.full(500, 7.0), np.full(rows, moved_to)).drifted


def test_constant_that_stays_has_not_drifted() -> None:
    assert not compared(np.full(500, 7.0), np.full(200, 7.0)).drifted


def test_values_that_are_all_missing_on_one_side_have_drifted_and_on_both_have_not() -> None:
    missing, measured = np.full(200, NAN), normal(200)
    assert compared(measured, missing).drifted
    assert compared(missing, measured).drifted
    both = compared(missing, missing)
    assert not both.drifted
    assert both.features[0].ks is None and both.features[0].reference_median is None


def test_more_missing_values_are_drift_though_the_measured_ones_are_of_the_same_kind() -> None:
    reference, incoming = normal(500), normal(1000, seed=1)
    incoming[:300] = NAN
    report = compared(reference, incoming)
    assert report.drifted
    assert report.features[0].incoming_missing == 0.3


def test_value_that_has_become_rare_is_drift_though_it_is_one_of_three() -> None:
    random = np.random.default_rng(0)
    reference, incoming = (random.choice(3, size=800, p=shares) for shares in ([0.4, 0.4, 0.2], [0.6, 0.35, 0.05]))
    assert compared(reference.astype(float), incoming.astype(float)).drifted


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_few_rows_are_never_enough(rows: int) -> None:
    assert not compared(normal(rows), normal(rows, mean=100)).drifted


def test_infinite_values_are_measured_ones_beyond_all_others() -> None:
    incoming = normal(1000, seed=1)
    incoming[:300] = np.inf
    assert compared(normal(500), incoming).drifted


# --- how often it is wrong ------------------------------------------------------------------------------------------
# Fixed seeds, and far fewer repetitions than `make bench-drift`, which says how good the figures are.


@pytest.fixture(scope="module")
def population() -> Population:
    return shipped()


def test_data_of_the_same_kind_raises_an_alarm_in_at_most_one_of_twenty_cases(population: Population) -> None:
    # The significance alone must hold it: every PSI counts. 13 of 150 is what 5 % stays within in 98 of 100 cases.
    random, policy = np.random.default_rng(0), DriftPolicy(psi_threshold=1e-12, significance=0.05)
    alarms = 0
    for _ in range(150):
        report = compare(population.draw(537, random), population.draw(1000, random), policy)
        alarms += bool(report.drifted)
    assert alarms <= 13


@pytest.mark.parametrize("shift", [0.5, -0.5], ids=["up", "down"])
@pytest.mark.parametrize("feature", FEATURES)
def test_shift_of_half_a_standard_deviation_in_one_feature_is_found_in_a_thousand_rows(
    population: Population, feature: str, shift: float
) -> None:
    random, found = np.random.default_rng(2), 0
    for _ in range(20):
        incoming = population.shifted(population.draw(1000, random), feature, shift, random)
        report = compare(population.draw(537, random), incoming, POLICY)
        found += [drifted.feature for drifted in report.drifted] == [feature]
    assert found >= 19


@relaxed
@given(st.integers(20, 300), st.integers(20, 300), st.integers(0, 2**32 - 1))
def test_p_value_of_psi_is_a_probability_whatever_the_numbers_of_rows(rows: int, more: int, seed: int) -> None:
    psi, p_value = stability(normal(rows, seed=seed), normal(more, seed=seed + 1))
    assert psi >= 0 and 0 < p_value <= 1
