"""The four steps in one plain process: what Tandem is measured against.

Everything is written into the current folder; MLflow goes where ``MLFLOW_TRACKING_URI`` says.
"""

import argparse
import shutil
from pathlib import Path

import mlflow
from steps.evaluate.evaluate import evaluate
from steps.prep.prep import prep
from steps.register.register import register
from steps.train.train import train


def main() -> None:
    """Run the steps one after the other, within one MLflow run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--reg_rate", type=float, required=True)
    args = parser.parse_args()
    shutil.rmtree("outputs", ignore_errors=True)
    for folder in ("train_data", "test_data", "evaluation", "registration"):
        Path("outputs", folder).mkdir(parents=True)
    with mlflow.start_run() as run:
        prep(args.data, 0.3, "outputs/train_data", "outputs/test_data")
        train("outputs/train_data", args.reg_rate, "outputs/model")
        evaluate("outputs/model", "outputs/test_data", "outputs/evaluation")
        register(run, "outputs/model", "outputs/evaluation", "bench-diabetes", "outputs/registration")


if __name__ == "__main__":
    main()
