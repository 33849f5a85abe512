"""Drift statistics: compare incoming rows with those that a model was trained on, feature by feature. Pure.

Two statistics look at each feature. The population stability index (PSI) compares the shares of rows in ten bins, cut
at the reference's deciles (in fewer where rows are few), and in one more for missing values; it says how large a
difference is. Kolmogorov-Smirnov (KS) compares the measured values without bins. Both give a p-value, which says
whether the difference may be chance.

A feature has drifted if its PSI reaches the threshold *and* one of its p-values, adjusted over all features and both
statistics, is at most the significance. Among many rows every small difference is significant, and the threshold
decides; among few rows chance alone makes a large PSI, and the significance decides. As long as rows are independent of
each other (many rows of one patient are not), the probability that data of the same kind raise any alarm is at most the
significance, whatever the number of features.

Sources: PSI: N. Siddiqi, Credit Risk Scorecards, Wiley 2006, and the divergence of H. Jeffreys, Proc. R. Soc. A 186
(1946). Its distribution where nothing has changed: B. Yurdakul and J. Naranjo, Statistical properties of the population
stability index, Journal of Risk Model Validation 14 (2020); S. Kullback, Information Theory and Statistics, Wiley 1959,
section 6.4. Smoothing: R. Krichevsky and V. Trofimov, IEEE Trans. Inf. Theory 27 (1981). KS: scipy.stats.ks_2samp.
Adjustment: S. Holm, Scand. J. Statist. 6 (1979).
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
"""The values of one feature, of shape (n_rows,); NaN is a missing one."""

FEWEST_BINS, MOST_BINS = 3, 10
ROWS_A_BIN = 20  # with fewer, chi-squared makes large values of the PSI seem rarer than they are
SMOOTHING = 0.5  # of a row, added to every bin, so that an empty one has a logarithm
PICTURE_BINS = 24
PICTURE_QUANTILE = 0.995  # beyond it a few outliers would squeeze all others into one bin
WHOLE_NUMBERS_BELOW = 1e12  # halves of larger ones may not be numbers any more


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When a difference counts.

    Attributes:
        psi_threshold: Smallest PSI that counts; by convention 0.1 is a moderate and 0.25 a large difference.
        significance: Highest allowed probability of any alarm where nothing has changed, 0 to 1.
    """

    psi_threshold: float = 0.1
    significance: float = 0.01


@dataclass(frozen=True, slots=True)
class Histogram:
    """The measured values for a picture: the edges of the bins, and the share of either side's values in each."""

    edges: tuple[float, ...]
    reference: tuple[float, ...]
    incoming: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How a feature differs.

    Attributes:
        feature: Its name.
        psi: Population stability index, from 0 (the same), upwards.
        ks: Greatest distance of the distribution functions of measured values, 0 to 1; None where a side has none.
        p_value: The smaller of its two p-values, adjusted because every feature is tested twice.
        drifted: Whether the difference counts.
        reference_missing: Share of missing values, 0 to 1; likewise ``incoming_missing``.
        reference_median: Of the measured values; None where there are none; likewise ``incoming_median``.
        histogram: For a picture.
    """

    feature: str
    psi: float
    ks: float | None
    p_value: float
    drifted: bool
    reference_missing: float
    incoming_missing: float
    reference_median: float | None
    incoming_median: float | None
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How incoming rows differ from the reference. ``tests`` is how many p-values were adjusted for one another."""

    policy: DriftPolicy
    reference_rows: int
    incoming_rows: int
    tests: int
    features: tuple[FeatureDrift, ...]

    @property
    def drifted(self) -> tuple[FeatureDrift, ...]:
        """The features whose difference counts, the largest PSI first."""
        found = (feature for feature in self.features if feature.drifted)
        return tuple(sorted(found, key=lambda feature: -feature.psi))


def compare(reference: Mapping[str, Values], incoming: Mapping[str, Values], policy: DriftPolicy) -> DriftReport:
    """Compare two sets of rows, feature by feature; the order of rows does not matter.

    Args:
        reference: The values by feature; at least one feature and one row, all of one length.
        incoming: The same features.
        policy: When a difference counts.
    """
    psis = {name: stability(values, incoming[name]) for name, values in reference.items()}
    distances = {name: _kolmogorov_smirnov(values, incoming[name]) for name, values in reference.items()}
    found = {("psi", name): p for name, (_, p) in psis.items()}
    found |= {("ks", name): distance[1] for name, distance in distances.items() if distance is not None}
    adjusted = dict(zip(found, adjust(list(found.values())), strict=True))
    features: list[FeatureDrift] = []
    for name, values in reference.items():
        psi, distance = psis[name][0], distances[name]
        p_value = min(adjusted["psi", name], adjusted.get(("ks", name), 1.0))
        features.append(
            FeatureDrift(
                feature=name,
                psi=psi,
                ks=None if distance is None else distance[0],
                p_value=p_value,
                drifted=psi >= policy.psi_threshold and p_value <= policy.significance,
                reference_missing=float(np.isnan(values).mean()),
                incoming_missing=float(np.isnan(incoming[name]).mean()),
                reference_median=_median(values),
                incoming_median=_median(incoming[name]),
                histogram=histogram(values, incoming[name]),
            )
        )
    rows = len(next(iter(reference.values()))), len(next(iter(incoming.values())))
    return DriftReport(policy, *rows, len(found), tuple(features))


def stability(reference: Values, incoming: Values) -> tuple[float, float]:
    """The PSI of a feature, and the probability of one at least as large where nothing has changed.

    Where nothing has changed, the PSI of k bins is distributed as (1/n + 1/m) times chi-squared with k - 1 degrees of
    freedom, n and m being the numbers of rows.
    """
    from scipy.stats import chi2

    rows = min(len(reference), len(incoming))
    edges = bin_edges(reference, min(max(rows // ROWS_A_BIN, FEWEST_BINS), MOST_BINS))
    before, after = bin_counts(reference, edges), bin_counts(incoming, edges)
    used = int(np.count_nonzero(before + after))
    psi = population_stability_index(before, after)
    scale = 1 / len(reference) + 1 / len(incoming)
    return psi, float(chi2.sf(psi / scale, used - 1)) if used > 1 else 1.0


def population_stability_index(reference: NDArray[np.int64], incoming: NDArray[np.int64]) -> float:
    """The sum over bins of (p - q) ln(p / q), p and q being the shares of rows in the bin.

    Bins that are empty on both sides are left out.

    Args:
        reference: Rows in each bin, of shape (n_bins,).
        incoming: The same.
    """
    used = reference + incoming > 0
    p, q = (counts[used] + SMOOTHING for counts in (reference, incoming))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((p - q) * np.log(p / q)))


def bin_edges(reference: Values, bins: int) -> Values:
    """Upper edges of the bins, each but the last, which has none: quantiles of the measured values.

    A value that is several quantiles at once gets a bin of its own, so that a shift of a constant shows in either
    direction.
    """
    measured = reference[~np.isnan(reference)]
    if not len(measured):
        return measured
    quantiles = np.quantile(measured, np.arange(1, bins) / bins, method="inverted_cdf")
    edges, times = np.unique(quantiles, return_counts=True)
    return np.unique(np.concatenate([edges, np.nextafter(edges[times > 1], -np.inf)]))


def bin_counts(values: Values, edges: Values) -> NDArray[np.int64]:
    """Rows in each bin, those with a missing value last; of shape (n_edges + 2,)."""
    measured = values[~np.isnan(values)]
    places = np.searchsorted(edges, measured, side="left")
    return np.append(np.bincount(places, minlength=len(edges) + 1), len(values) - len(measured)).astype(np.int64)


def adjust(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment: rejecting all that are at most alpha is wrong with a probability of at most alpha."""
    adjusted, least = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = least
    return adjusted


def _kolmogorov_smirnov(reference: Values, incoming: Values) -> tuple[float, float] | None:
    """KS distance and p-value of the measured values; where values repeat, the p-value errs on the large side."""
    from scipy.stats import ks_2samp

    before, after = reference[~np.isnan(reference)], incoming[~np.isnan(incoming)]
    if not len(before) or not len(after):
        return None
    with warnings.catch_warnings():
        # It takes the asymptotic formula where rounding makes the exact p-value a little more than 1.
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        found: Any = ks_2samp(before, after)
    return float(found.statistic), float(found.pvalue)


def _median(values: Values) -> float | None:
    measured = values[~np.isnan(values)]
    return float(np.median(measured)) if len(measured) else None


def histogram(reference: Values, incoming: Values) -> Histogram:
    """Bin the measured values of both sides alike, evenly, for a picture; outliers are counted in the outer bins."""
    sides = [values[np.isfinite(values)] for values in (reference, incoming)]
    edges = _even_edges([side for side in sides if len(side)])
    shares = [np.histogram(side.clip(edges[0], edges[-1]), edges)[0] / max(len(side), 1) for side in sides]
    return Histogram(tuple(edges.tolist()), tuple(shares[0].tolist()), tuple(shares[1].tolist()))


def _even_edges(sides: Sequence[Values]) -> NDArray[Any]:
    if not sides:
        return np.array([0.0, 1.0])
    low = min(float(np.quantile(side, 1 - PICTURE_QUANTILE)) for side in sides)
    high = max(float(np.quantile(side, PICTURE_QUANTILE)) for side in sides)
    if max(abs(low), abs(high)) < WHOLE_NUMBERS_BELOW and all(bool(np.all(side == np.round(side))) for side in sides):
        # A bin holds equally many whole numbers, or some would look like peaks.
        step = max(math.ceil((high - low) / PICTURE_BINS), 1)
        return np.arange(math.floor(low) - 0.5, math.ceil(high) + step, step)
    return np.linspace(low, high if high > low else low + max(abs(low), 1.0), PICTURE_BINS + 1)
