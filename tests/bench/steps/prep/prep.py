"""Split the measurements into a training and a test part."""

# scikit-learn ships no types.
# pyright: basic, reportAttributeAccessIssue=false

import argparse
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split


def prep(data: str, test_share: float, train_data: str, test_data: str) -> None:
    """Read the CSV file ``data``; write ``data.parquet`` into the folders ``train_data`` and ``test_data``."""
    frame = pd.read_csv(data).drop(columns="PatientID")
    train, test = train_test_split(frame, test_size=test_share, random_state=0, stratify=frame["Diabetic"])
    train.to_parquet(Path(train_data) / "data.parquet", index=False)
    test.to_parquet(Path(test_data) / "data.parquet", index=False)


def main() -> None:
    """Read the command line, make the output folders, split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--test_share", type=float, default=0.3)
    parser.add_argument("--train_data", required=True)
    parser.add_argument("--test_data", required=True)
    args = parser.parse_args()
    Path(args.train_data).mkdir(parents=True, exist_ok=True)
    Path(args.test_data).mkdir(parents=True, exist_ok=True)
    prep(args.data, args.test_share, args.train_data, args.test_data)


if __name__ == "__main__":
    main()
