"""Make diabetes data of any size from the shipped rows.

Each row is a shipped row with a little noise, within the range that was measured and with the zeros that stand for
"not measured" kept, under a patient id of its own.
"""

# PyArrow ships no types.
# pyright: basic

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

DATA = Path(__file__).resolve().parents[2] / "data/diabetes-diagnostics/diabetes-diagnostics.csv"
ROWS_A_BLOCK = 1_000_000
NOISE = 0.05  # standard deviation, as a share of the column's own


def make_rows(rows: int, path: Path) -> None:
    """Write ``rows`` plausible rows to the Parquet file ``path``, the same ones every time."""
    shipped = pd.read_csv(DATA)
    random = np.random.default_rng(0)
    schema = pa.Schema.from_pandas(shipped, preserve_index=False)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROWS_A_BLOCK):
            count = min(ROWS_A_BLOCK, rows - start)
            block = shipped.iloc[random.integers(len(shipped), size=count)].reset_index(drop=True)
            block["PatientID"] = np.arange(start + 1, start + count + 1)
            for column in shipped.columns.drop(["PatientID", "Diabetic"]):
                measured = shipped[column][shipped[column] > 0]
                noisy = block[column] + random.normal(0, NOISE * measured.std(), count)
                noisy = noisy.clip(measured.min(), measured.max()).where(block[column] > 0, 0)
                decimals = 3 if column == "DiabetesPedigree" else 1
                whole = pd.api.types.is_integer_dtype(shipped[column])
                block[column] = noisy.round().astype(int) if whole else noisy.round(decimals)
            writer.write_table(pa.Table.from_pandas(block, schema, preserve_index=False))


def main() -> None:
    """Read the command line and make the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("path", type=Path)
    args = parser.parse_args()
    make_rows(args.rows, args.path)


if __name__ == "__main__":
    main()
