"""How often the watch over incoming data is wrong, and how long it takes.

Reference and incoming rows are drawn anew for each case and independently: from the shipped data (blurred a little, so
that no row comes twice), from normal distributions, from a mixture of shapes; and the shipped data itself is divided at
random, as prep divides it. A false alarm is any drifted feature of eight where nothing has changed; "significance
alone" leaves the threshold of the PSI out and takes 5 %: what the adjusted p-values promise by themselves. A shift is
half a standard deviation of one feature, and found if that feature has drifted, by the default policy. The mixture's
have no limit to keep: what is often missing has a smaller PSI, as it should. Each share has a bound on the side that
matters, which it is beyond with a probability of 5 % (Clopper and Pearson, Biometrika 26, 1934).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
from drift_populations import POPULATIONS, SHIPPED, Population, Rows
from make_rows import make_rows
from measure import table

from flows.drift.feature_rows import read_features
from flows.drift.picture import draw as draw_picture
from flows.drift.statistics import DriftPolicy, DriftReport, compare

POLICY = DriftPolicy()
ALARM_LIMIT, POWER_LIMIT, SIGNIFICANCE_ALONE = 0.05, 0.95, 0.05
SHIFT = 0.5
TRAIN_ROWS = 537  # of the 768 shipped ones, as prep divides them
SIZES = [(TRAIN_ROWS, 1_000), (10_000, 1_000), (TRAIN_ROWS, 100), (100, 100), (10_000, 10_000)]
ALARMS, ALONE, FOUND = "false alarms", "false alarms, significance alone", "found"


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of cases, and the bound of it; ``met`` is None where there is no limit to keep."""

    what: str
    population: str
    reference_rows: int
    incoming_rows: int
    cases: int
    hits: int
    bound: float
    met: bool | None

    def cells(self) -> list[str]:
        """Format the rate as a row of the table."""
        sizes = [f"{self.reference_rows:,}", f"{self.incoming_rows:,}"]
        shares = [f"{self.hits} of {self.cases}", f"{self.hits / self.cases:.2%}", f"{self.bound:.2%}"]
        return [self.what, self.population, *sizes, *shares, {None: "", True: "met", False: "missed"}[self.met]]


HEADER = ["what", "population", "reference", "incoming", "cases", "share", "bound", ""]


@dataclass(frozen=True, slots=True)
class Question:
    """What one process is to count: false alarms, or with a feature to be shifted, how often that is found."""

    population: str
    reference_rows: int
    incoming_rows: int
    cases: int
    feature: str | None = None
    shift: float = 0.0


def answer(question: Question) -> list[Rate]:
    """Draw and compare as often as asked. Equal questions have equal answers."""
    random = np.random.default_rng(crc32(repr(question).encode()))
    reports = list(_reports(question, random))
    if question.feature is not None:
        found = sum(question.feature in [feature.feature for feature in report.drifted] for report in reports)
        return [_found(question, found)]
    default = sum(bool(report.drifted) for report in reports)
    alone = sum(any(feature.p_value <= SIGNIFICANCE_ALONE for feature in report.features) for report in reports)
    return [_alarms(question, ALARMS, default, ALARM_LIMIT), _alarms(question, ALONE, alone, None)]


def _reports(question: Question, random: np.random.Generator) -> Iterator[DriftReport]:
    for _ in range(question.cases):
        if question.population == "divided":
            yield compare(*_divided(random), POLICY)
            continue
        population = _population(question.population)
        reference = population.draw(question.reference_rows, random)
        incoming = population.draw(question.incoming_rows, random)
        if question.feature is not None:
            incoming = population.shifted(incoming, question.feature, question.shift, random)
        yield compare(reference, incoming, POLICY)


@cache
def _population(name: str) -> Population:
    return POPULATIONS[name]()


def _divided(random: np.random.Generator) -> tuple[Rows, Rows]:
    """The shipped rows, as they are, divided at random."""
    whole = read_features(SHIPPED, "the shipped data").columns
    order = random.permutation(len(next(iter(whole.values()))))
    parts = ({name: column[rows] for name, column in whole.items()} for rows in np.split(order, [TRAIN_ROWS]))
    return next(parts), next(parts)


def _alarms(question: Question, what: str, hits: int, limit: float | None) -> Rate:
    from scipy.stats import beta

    cases = question.cases
    bound = 1.0 if hits == cases else float(beta.ppf(0.95, hits + 1, cases - hits))
    met = None if limit is None else bound <= limit
    sizes = question.reference_rows, question.incoming_rows
    return Rate(what, question.population, *sizes, cases, hits, bound, met)


def _found(question: Question, hits: int) -> Rate:
    from scipy.stats import beta

    cases = question.cases
    bound = 0.0 if hits == 0 else float(beta.ppf(0.05, hits, cases - hits + 1))
    what = f"{FOUND}: {question.feature} {question.shift:+g} SD"
    sizes = question.reference_rows, question.incoming_rows
    met = None if question.population == "mixed" else bound >= POWER_LIMIT
    return Rate(what, question.population, *sizes, cases, hits, bound, met)


def questions(cases: int) -> Iterator[Question]:
    """All that is asked: alarms of ``cases`` cases each, shifts of a fifth as many."""
    yield Question("divided", TRAIN_ROWS, 768 - TRAIN_ROWS, cases)
    for population in POPULATIONS:
        for reference_rows, incoming_rows in SIZES:
            yield Question(population, reference_rows, incoming_rows, cases)
    for population in POPULATIONS:
        features = list(POPULATIONS[population]().deviations)
        for feature in features[:1] if population == "gaussian" else features:
            for shift in (SHIFT, -SHIFT):
                for reference_rows in (TRAIN_ROWS, 10_000):
                    yield Question(population, reference_rows, 1_000, max(cases // 5, 1), feature, shift)


def speed() -> list[list[str]]:
    """Seconds from the files to the picture, of 1 million incoming rows and a reference of 10 million, as Parquet."""
    with tempfile.TemporaryDirectory(prefix="tandem-drift-") as place:
        files = {rows: Path(place) / f"{rows}.parquet" for rows in (10_000_000, 1_000_000)}
        for rows, file in files.items():
            make_rows(rows, file)
        taken = [time.perf_counter()]
        sides: list[Rows] = []
        for file in files.values():
            sides.append(read_features(file, file.name).columns)
            taken.append(time.perf_counter())
        report = compare(sides[0], sides[1], POLICY)
        taken.append(time.perf_counter())
        draw_picture(report)
        taken.append(time.perf_counter())
    names = ["read 10,000,000 rows", "read 1,000,000 rows", "compare", "draw"]
    return [[name, f"{after - before:.2f}"] for name, before, after in zip(names, taken, taken[1:], strict=False)]


def main() -> int:
    """Measure, print the tables (or JSON), and return 1 if a limit is missed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300, help="cases of each false-alarm rate; a fifth for shifts")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    args = parser.parse_args()
    asked = list(questions(args.cases))
    rates: list[Rate] = []
    with ProcessPoolExecutor() as pool:
        for at, answered in enumerate(pool.map(answer, asked), start=1):
            rates += answered
            print(f"{at} of {len(asked)}", end="\r", file=sys.stderr, flush=True)
    seconds = speed()
    if args.json:
        print(json.dumps({"rates": [asdict(rate) for rate in rates], "seconds": dict(seconds)}, indent=2))
    else:
        print(table(HEADER, 2, [rate.cells() for rate in rates]))
        print(f"\n{table(['Parquet', 'seconds'], 1, seconds)}")
    return 0 if all(rate.met is not False for rate in rates) else 1


if __name__ == "__main__":
    sys.exit(main())
