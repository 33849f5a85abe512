"""Promotion gate: decides whether the challenger becomes the champion. Pure: the decision is a value with reasons."""

import math
from dataclasses import dataclass, replace

from flows.errors import ParameterError
from flows.spec.text.words import did_you_mean
from flows.training.evaluation import METRICS, ModelScores

# A margin is typed in decimals and compared with a difference of floats: 0.813 - 0.812 is a little less than 0.001.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What a challenger must reach.

    Attributes:
        metric: The one metric that decides, a name of :data:`flows.training.evaluation.METRICS`.
        floor: The worst acceptable value: a minimum where greater is better, a maximum where lower is better
            (``log_loss``, ``brier_score_loss``).
        min_improvement: By how much the challenger must beat the champion, in units of the metric, at least 0.
            With 0 it must still be better: an equal challenger changes nothing.

    Raises:
        ParameterError: The metric is unknown, or a number is not one that the metric can have.
    """

    metric: str = "roc_auc"
    floor: float = METRICS["roc_auc"].floor
    min_improvement: float = 0.001

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            hint = did_you_mean(self.metric, METRICS).lower() or f"choose one of {', '.join(METRICS)}."
            raise ParameterError(f"The gate knows no metric {self.metric!r}: {hint}")
        highest = METRICS[self.metric].highest
        if not 0 <= self.floor <= highest:  # NaN too
            raise ParameterError(f"The gate's floor for {self.metric} must be from 0 to {highest:g}, not {self.floor}.")
        if not 0 <= self.min_improvement < math.inf:
            raise ParameterError(f"The gate's min_improvement must be 0 or more, not {self.min_improvement}.")


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The gate's answer. ``reasons`` are sentences for a person: all that speak against, or else all that speak for.

    ``overtaken_by`` is the version that became the champion while the challenger was compared with the last one.
    ``differences`` says in what the champion was trained otherwise: they are no reasons, and may explain the scores.
    """

    promoted: bool
    reasons: tuple[str, ...]
    overtaken_by: int | None = None
    differences: tuple[str, ...] = ()


def decide(challenger: ModelScores, champion: ModelScores | None, policy: GatePolicy) -> GateDecision:
    """Decide whether the challenger becomes the champion.

    It must reach the floor and, where there is a champion, be better than it by the margin on the same rows. A metric
    that is undefined (None or NaN) for either model never promotes. Improving the challenger, or relaxing the floor or
    the margin, never turns a promotion into a rejection.

    Args:
        challenger: The new model's scores.
        champion: The current champion's scores on the same rows, or None if there is no champion.
        policy: What to demand.
    """
    value = _defined(challenger, policy.metric)
    best = _defined(champion, policy.metric) if champion else None
    verdicts = [_against_floor(value, policy)]
    if champion is None:
        verdicts.append((True, "there is no champion yet, so the floor alone decides"))
    else:
        verdicts.append(_against_champion(challenger, value, champion, best, policy))
    promoted = all(passed for passed, _ in verdicts)
    reasons = tuple(reason for passed, reason in verdicts if passed == promoted)
    return GateDecision(promoted, reasons)


def overtaken(decision: GateDecision, version: int) -> GateDecision:
    """The decision once another version has become the champion, with which the challenger was not compared."""
    reason = f"version {version} became the champion while this ran; run again to be compared with it"
    return replace(decision, promoted=False, reasons=(reason,), overtaken_by=version)


def kept_back(decision: GateDecision, reason: str) -> GateDecision:
    """The decision where something else than the scores speaks against a promotion; as it is for an empty reason."""
    return replace(decision, promoted=False, reasons=(reason,)) if reason and decision.promoted else decision


def _against_floor(value: float | None, policy: GatePolicy) -> tuple[bool, str]:
    if value is None:
        return False, f"{policy.metric} of the challenger is undefined"
    if METRICS[policy.metric].greater_is_better:
        passed, words = value >= policy.floor, ("reaches", "is below", "minimum")
    else:
        passed, words = value <= policy.floor, ("is within", "is above", "maximum")
    return passed, f"{policy.metric} {value:.4f} {words[not passed]} the {words[2]} of {policy.floor:g}"


def _against_champion(
    challenger: ModelScores, value: float | None, champion: ModelScores, best: float | None, policy: GatePolicy
) -> tuple[bool, str]:
    if (challenger.rows, challenger.positives) != (champion.rows, champion.positives):
        return False, (
            f"challenger and champion were not measured on the same rows ({challenger.rows} and {champion.rows}), "
            "so they cannot be compared"
        )
    if best is None:
        return False, f"{policy.metric} of the champion is undefined, so there is nothing to compare with"
    if value is None:
        return False, f"without its {policy.metric}, the challenger cannot be compared with the champion's {best:.4f}"
    gain = value - best if METRICS[policy.metric].greater_is_better else best - value
    margin = f"by at least {policy.min_improvement:g}" if policy.min_improvement else "at all"
    if gain > 0 and gain + _ROUNDING >= policy.min_improvement:
        return True, f"{policy.metric} {value:.4f} is better than the champion's {best:.4f} by {gain:.4g}"
    reason = f"{policy.metric} {value:.4f} is not better than the champion's {best:.4f} {margin}"
    if challenger == champion:
        reason += "; every other metric is equal too, so it is most likely the same model"
    return False, reason


def _defined(scores: ModelScores, metric: str) -> float | None:
    value = scores.values[metric]
    return None if value is None or math.isnan(value) else value
