"""How prep and train grow with the rows: time and peak memory at 10 thousand, 1 million and 10 million.

The shipped components' own scripts run as whole processes, as they do in a job. Rows go in and out as Parquet.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from measure import Cost, measure, table

HERE = Path(__file__).resolve().parent
STEPS = HERE.parents[1] / "aml_steps"
ROWS = [10_000, 1_000_000, 10_000_000]
PEAK_LIMIT_MIB = 6 * 1024


@dataclass(frozen=True, slots=True)
class Result:
    """What a step took for so many rows, how that compares with the size before, and whether it is within the limits.

    Attributes:
        wall_growth: Wall time as a multiple of that of the size before; None for the first size.
        peak_growth: The same of the peak memory.
        seconds_per_million: Wall seconds for each further million rows since the size before, free of the start-up.
        met: Neither growth is above that of the rows, and the peak is below the limit.
    """

    step: str
    rows: int
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    wall_growth: float | None
    peak_growth: float | None
    seconds_per_million: float | None
    met: bool

    def cells(self) -> list[str]:
        """Format the result as a row of the table."""
        taken = [f"{self.wall_seconds:.2f}", f"{self.cpu_seconds:.2f}", f"{self.peak_mib:,.0f}"]
        growths = [f"x{growth:.1f}" if growth else "" for growth in (self.wall_growth, self.peak_growth)]
        further = f"{self.seconds_per_million:.2f}" if self.seconds_per_million else ""
        return [self.step, f"{self.rows:,}", *taken, *growths, further, "met" if self.met else "missed"]


HEADER = ["step", "rows", "wall s", "CPU s", "peak MiB", "wall", "peak", "s per further million", ""]


def run_steps(rows: int, folder: Path) -> dict[str, Cost]:
    """Make the data for one size and measure each step on it."""
    subprocess.run([sys.executable, HERE / "make_rows.py", str(rows), folder / "data.parquet"], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PYTHONPATH": str(STEPS),  # where the file lies that the components include
    }
    steps: dict[str, dict[str, str]] = {
        "prep": {
            "data": "data.parquet",
            "train_data": "train.parquet",
            "test_data": "test.parquet",
            "data_report": "data_report.json",
        },
        "train": {"train_data": "train.parquet", "model": "model"},
    }
    costs: dict[str, Cost] = {}
    for step, options in steps.items():
        flags = [text for name, value in options.items() for text in (f"--{name}", value)]
        cost = measure([sys.executable, STEPS / f"{step}/{step}.py", *flags], folder, environment)
        print(f"{rows:,} rows, {step}: {cost.wall_seconds:.2f} s, {cost.peak_mib:,.0f} MiB", file=sys.stderr)
        costs[step] = cost
    return costs


def compare(costs: dict[int, dict[str, Cost]]) -> list[Result]:
    """Set each size beside the one before it, step by step."""
    results: list[Result] = []
    for step in next(iter(costs.values())):
        rows_before, before = 0, None
        for rows, of_steps in costs.items():
            cost = of_steps[step]
            wall_growth = peak_growth = seconds_per_million = None
            met = cost.peak_mib < PEAK_LIMIT_MIB
            if before:
                wall_growth, peak_growth = cost.wall_seconds / before.wall_seconds, cost.peak_mib / before.peak_mib
                seconds_per_million = (cost.wall_seconds - before.wall_seconds) / (rows - rows_before) * 1e6
                met = met and max(wall_growth, peak_growth) <= rows / rows_before
            taken = cost.wall_seconds, cost.cpu_seconds, cost.peak_mib
            results.append(Result(step, rows, *taken, wall_growth, peak_growth, seconds_per_million, met))
            rows_before, before = rows, cost
    return results


def main() -> int:
    """Measure, print the table (or JSON), and return 1 if a limit is missed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="sizes to measure, ascending")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    args = parser.parse_args()
    costs: dict[int, dict[str, Cost]] = {}
    for rows in args.rows:
        with tempfile.TemporaryDirectory(prefix="tandem-rows-") as folder:
            costs[rows] = run_steps(rows, Path(folder))
    results = compare(costs)
    if args.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        print(table(HEADER, 1, [result.cells() for result in results]))
        print(f"\nGrowth is from the size above. Limits: that of the rows, and {PEAK_LIMIT_MIB:,} MiB.")
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
