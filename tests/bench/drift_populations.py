"""Populations that rows are drawn from, to count how often the watch over incoming data is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.drift.feature_rows import FEATURES, read_features
from flows.drift.statistics import Values

SHIPPED = Path(__file__).resolve().parents[2] / "data/diabetes-diagnostics/diabetes-diagnostics.csv"
SMOOTHING = 0.1  # of a standard deviation: noise, so that no row is drawn twice

Rows = Mapping[str, Values]


@dataclass(frozen=True, slots=True)
class Population:
    """Something that independent rows can be drawn from.

    Attributes:
        draw: Draws so many rows.
        deviations: The standard deviation of each feature's measured values.
        lowest: Below which no value of a feature can lie.
        whole: The features whose values are whole numbers.
    """

    draw: Callable[[int, np.random.Generator], Rows]
    deviations: Mapping[str, float]
    lowest: Mapping[str, float]
    whole: frozenset[str]

    def shifted(self, rows: Rows, feature: str, deviations: float, random: np.random.Generator) -> Rows:
        """Rows with one feature moved by so many standard deviations.

        What should not be a whole number is rounded up or down at random, so that the mean moves by just so much; what
        would be too low is set to the lowest value, so that it moves by less.
        """
        moved = rows[feature] + deviations * self.deviations[feature]
        if feature in self.whole:
            moved = np.floor(moved + random.random(len(moved)))
        return {**rows, feature: np.maximum(moved, self.lowest[feature])}


def shipped() -> Population:
    """The shipped rows, drawn with replacement and blurred a little; together as they were, and as often missing."""
    columns = read_features(SHIPPED, "the shipped data").columns
    table = np.column_stack([columns[name] for name in FEATURES])
    deviations, lowest = np.nanstd(table, axis=0), np.nanmin(table, axis=0)
    whole = np.array([bool(np.all(np.isnan(column) | (column == np.round(column)))) for column in table.T])

    def draw(rows: int, random: np.random.Generator) -> Rows:
        drawn = table[random.integers(len(table), size=rows)]
        drawn = drawn + random.normal(size=drawn.shape) * deviations * SMOOTHING
        drawn = np.maximum(np.where(whole, np.round(drawn), drawn), lowest)
        return dict(zip(FEATURES, drawn.T, strict=True))

    return Population(
        draw,
        dict(zip(FEATURES, deviations.tolist(), strict=True)),
        dict(zip(FEATURES, lowest.tolist(), strict=True)),
        frozenset(name for name, is_whole in zip(FEATURES, whole, strict=True) if is_whole),
    )


def gaussian() -> Population:
    """Eight independent standard normal features."""
    names = [f"normal {number}" for number in range(1, 9)]
    return Population(
        lambda rows, random: dict(zip(names, random.normal(size=(8, rows)), strict=True)),
        dict.fromkeys(names, 1.0),
        dict.fromkeys(names, -np.inf),
        frozenset(),
    )


def mixed() -> Population:
    """Eight independent features of different shapes: skewed, flat, heavy-tailed, counted, often missing."""

    def draw(rows: int, random: np.random.Generator) -> Rows:
        humps = random.normal(size=rows) + np.where(random.random(rows) < 0.5, -2.0, 2.0)
        sparse = np.where(random.random(rows) < 0.4, np.nan, random.normal(size=rows))
        return {
            "skewed": random.lognormal(0.0, 0.6, rows),
            "flat": random.random(rows),
            "two humps": humps,
            "heavy tails": random.standard_t(5, rows),
            "counted": random.poisson(4.0, rows).astype(np.float64),
            "few values": random.binomial(3, 0.4, rows).astype(np.float64),
            "40 % missing": sparse,
            "rounded": np.round(random.normal(size=rows), 1),
        }

    many = draw(1_000_000, np.random.default_rng(0))
    floor = dict.fromkeys(many, -np.inf) | dict.fromkeys(("skewed", "flat", "counted", "few values"), 0.0)
    deviations = {name: float(np.nanstd(column)) for name, column in many.items()}
    return Population(draw, deviations, floor, frozenset({"counted", "few values"}))


POPULATIONS: Mapping[str, Callable[[], Population]] = {"shipped": shipped, "gaussian": gaussian, "mixed": mixed}
