"""Rows with keys, valid ones and broken ones."""

from pathlib import Path
from random import Random

import pandas as pd

from columns import FEATURES, RANGES

MARK = "7654.321"  # a value that no message and no log may have


def valid_rows(random: Random, count: int) -> pd.DataFrame:
    """Rows with keys, in columns whose order is not the model's."""

    def cell(name: str) -> float | int | None:
        low, high = RANGES[name]
        return random.choice([None, 0, random.randint(int(low), int(high)), random.uniform(low, high)])

    rows = pd.DataFrame({name: [cell(name) for _ in range(count)] for name in reversed(FEATURES)}, dtype=float)
    rows.insert(3, "PatientID", [f"{number:06}" for number in range(count)])
    rows["Ward"] = [random.choice(['north, "old" wing', "south\nbuilding", "", "ëst"]) for _ in range(count)]
    return rows


def broken_files(random: Random, folder: Path, count: int) -> list[tuple[Path, int, str]]:
    """CSV files of five rows, of which one cannot be scored: the file, the number of the row from 0, and the column."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[tuple[Path, int, str]] = []
    for number in range(count):
        rows, row, column = valid_rows(random, 5).astype(object), random.randrange(5), random.choice(FEATURES)
        rows.loc[row, column] = random.choice(["many", f"{MARK}x", "inf", "-Infinity", "1,5", "0x1F", "1_000"])
        file = folder / f"{number:03}.csv"
        rows.to_csv(file, index=False)
        made.append((file, row, column))
    return made
