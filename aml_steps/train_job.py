"""Prepare, train and evaluate in one process: the job for a quick experiment, without a champion.

The same functions as in the pipeline's steps, so that both give the same model and the same figures for the same
parameters.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa

from evaluate import evaluate
from prep import prep
from train import train


def frame_of(table: pa.Table) -> pd.DataFrame:  # pyright: ignore[reportUnknownParameterType]
    """Turn prepared rows into a frame of features and label."""
    return table.drop_columns([prep.PATIENT] if prep.PATIENT in table.column_names else []).to_pandas()


def main(argv: list[str] | None = None) -> int:
    """Run the job; the arguments are those of train_job.yml."""
    parser = argparse.ArgumentParser(prog="train_job", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="CSV or Parquet file")
    prep.add_parameters(parser)
    train.add_parameters(parser)
    evaluate.add_parameters(parser)
    parser.add_argument("--model", type=Path, required=True, help="empty folder for the MLflow model")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder for the evaluation")
    arguments = parser.parse_args(argv)

    try:
        prepared = prep.prepare_file(arguments.data, prep.read_parameters(arguments))
    except prep.DataError as error:
        print(*(f"train_job: {fault}" for fault in error.faults), sep="\n", file=sys.stderr)
        return 2
    print(prep.summary(prepared.report))
    train_rows = frame_of(prepared.table.take(prepared.train))
    test_rows = frame_of(prepared.table.take(prepared.test))

    parameters = train.read_parameters(arguments)
    train.use_identity_of_job()
    with mlflow.start_run():
        mlflow.log_params({**prepared.report["parameters"], **asdict(parameters), "threshold": arguments.threshold})
        training = train.train(train_rows, parameters)
        scores = {"challenger": evaluate.score(training.model, test_rows)}
        evaluation = evaluate.write_evaluation(arguments.evaluation, test_rows, scores, arguments.threshold)
        mlflow.log_metrics({**training.metrics, **evaluate.tracked(evaluation)})
    train.save(training.model, train_rows, arguments.model)
    print(train.summary(training))
    print(evaluate.summary(evaluation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
