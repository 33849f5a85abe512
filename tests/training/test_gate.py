"""The gate's decisions, by example and by property."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import ParameterError
from flows.training.evaluation import METRICS
from flows.training.gate import GatePolicy, decide
from tests.training.scores import auc, scores

metric_names = st.sampled_from(sorted(METRICS))
values = st.floats(min_value=0, max_value=1)
margins = st.floats(min_value=0, max_value=0.5)


def test_first_model_needs_the_floor_alone() -> None:
    decision = decide(auc(0.8485), None, GatePolicy())
    assert decision.promoted
    assert decision.reasons == (
        "roc_auc 0.8485 reaches the minimum of 0.75",
        "there is no champion yet, so the floor alone decides",
    )


def test_below_the_floor_is_rejected_even_without_a_champion() -> None:
    decision = decide(auc(0.74), None, GatePolicy())
    assert not decision.promoted
    assert decision.reasons == ("roc_auc 0.7400 is below the minimum of 0.75",)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "recall"])
def test_default_floor_rejects_whoever_always_says_the_same_or_knows_the_share_of_positives_only(metric: str) -> None:
    share = 268 / 768  # of the shipped rows
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    guesses = {"roc_auc": 0.5, "average_precision": share, "accuracy": 1 - share, "precision": share}
    guesses |= {"f1": 2 * share / (1 + share), "brier_score_loss": share * (1 - share), "log_loss": entropy}
    assert not decide(scores(metric, guesses[metric]), None, GatePolicy(metric, METRICS[metric].floor)).promoted


def test_better_by_the_margin_is_promoted() -> None:
    decision = decide(auc(0.8485), auc(0.8421), GatePolicy())
    assert decision.promoted
    assert "roc_auc 0.8485 is better than the champion's 0.8421 by 0.0064" in decision.reasons


def test_margin_as_typed_is_enough_despite_rounding() -> None:
    assert 0.813 - 0.812 < 0.001
    assert decide(auc(0.813), auc(0.812), GatePolicy()).promoted


def test_better_by_less_than_the_margin_is_rejected() -> None:
    decision = decide(auc(0.8425), auc(0.8421), GatePolicy())
    assert not decision.promoted
    assert decision.reasons == ("roc_auc 0.8425 is not better than the champion's 0.8421 by at least 0.001",)


@pytest.mark.parametrize("margin", [0.0, 0.001])
def test_same_model_again_is_rejected_and_recognised(margin: float) -> None:
    decision = decide(auc(0.8421), auc(0.8421), GatePolicy(min_improvement=margin))
    assert not decision.promoted
    assert "most likely the same model" in decision.reasons[0]


def test_every_reason_against_is_said() -> None:
    assert len(decide(auc(0.6), auc(0.8), GatePolicy()).reasons) == 2


def test_lower_is_better_turns_floor_and_margin_round() -> None:
    policy = GatePolicy("log_loss", floor=0.5, min_improvement=0.01)
    assert decide(scores("log_loss", 0.45), scores("log_loss", 0.47), policy).promoted
    assert not decide(scores("log_loss", 0.47), scores("log_loss", 0.45), policy).promoted
    assert decide(scores("log_loss", 0.6), None, policy).reasons == ("log_loss 0.6000 is above the maximum of 0.5",)


@pytest.mark.parametrize("undefined", [None, math.nan])
def test_undefined_never_promotes(undefined: float | None) -> None:
    for challenger, champion in [
        (auc(undefined), None), (auc(undefined), auc(0.8)), (auc(0.9), auc(undefined)), (auc(undefined),) * 2,
    ]:  # fmt: skip
        decision = decide(challenger, champion, GatePolicy(floor=0.0, min_improvement=0.0))
        assert not decision.promoted
        assert "undefined" in decision.reasons[0]


def test_other_rows_are_not_compared() -> None:
    decision = decide(auc(0.9), replace(auc(0.8), rows=99), GatePolicy())
    assert not decision.promoted
    assert "not measured on the same rows (100 and 99)" in decision.reasons[0]


def test_misspelt_metric_names_the_nearest() -> None:
    with pytest.raises(ParameterError, match="did you mean roc_auc"):
        GatePolicy("roc-auc")


@pytest.mark.parametrize("changes", [{"floor": 75.0}, {"floor": math.nan}, {"min_improvement": -0.1}])
def test_impossible_numbers_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        GatePolicy(**changes)  # pyright: ignore[reportArgumentType]


@given(metric=metric_names, one=values, other=values, champion=st.none() | values, floor=values, margin=margins)
def test_improving_the_challenger_never_turns_promote_into_reject(
    metric: str, one: float, other: float, champion: float | None, floor: float, margin: float
) -> None:
    worse, better = sorted((one, other), reverse=not METRICS[metric].greater_is_better)
    policy = GatePolicy(metric, floor, margin)
    incumbent = None if champion is None else scores(metric, champion)
    if decide(scores(metric, worse), incumbent, policy).promoted:
        assert decide(scores(metric, better), incumbent, policy).promoted


@given(metric=metric_names, value=values, champion=st.none() | values, floors=st.tuples(values, values), margin=margins)
def test_relaxing_the_floor_never_turns_promote_into_reject(
    metric: str, value: float, champion: float | None, floors: tuple[float, float], margin: float
) -> None:
    relaxed, strict = sorted(floors, reverse=not METRICS[metric].greater_is_better)
    incumbent = None if champion is None else scores(metric, champion)
    if decide(scores(metric, value), incumbent, GatePolicy(metric, strict, margin)).promoted:
        assert decide(scores(metric, value), incumbent, GatePolicy(metric, relaxed, margin)).promoted


@given(metric=metric_names, value=values, champion=values, floor=values, pair=st.tuples(margins, margins))
def test_relaxing_the_margin_never_turns_promote_into_reject(
    metric: str, value: float, champion: float, floor: float, pair: tuple[float, float]
) -> None:
    relaxed, strict = sorted(pair)
    challenger, incumbent = scores(metric, value), scores(metric, champion)
    if decide(challenger, incumbent, GatePolicy(metric, floor, strict)).promoted:
        assert decide(challenger, incumbent, GatePolicy(metric, floor, relaxed)).promoted


@given(metric=metric_names, value=values, champion=values, floor=values, margin=margins)
def test_promoted_is_always_strictly_better_and_has_its_reasons(
    metric: str, value: float, champion: float, floor: float, margin: float
) -> None:
    decision = decide(scores(metric, value), scores(metric, champion), GatePolicy(metric, floor, margin))
    assert decision.reasons
    if decision.promoted:
        assert value > champion if METRICS[metric].greater_is_better else value < champion
