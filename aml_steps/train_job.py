"""Prepare, train and evaluate in one process: a quick experiment, without a champion.

The functions are those of the pipeline's steps, so that both give the same model and the same figures for the same
parameters.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow as pa

# The modules of a step import each other by name, as they do where its folder is all that Azure ML has uploaded.
sys.path.insert(1, str(Path(__file__).parent / "evaluate"))
sys.path.insert(1, str(Path(__file__).parent / "train"))
sys.path.insert(1, str(Path(__file__).parent / "prep"))

import evaluate
import evaluation_report
import prep
import train
from data_report import summary
from diabetes_run import log_run
from diabetes_steps import PATIENT, DataError
from figures import tracked
from model_file import load_model, score, trained_with


def frame_of(table: pa.Table) -> pd.DataFrame:  # pyright: ignore[reportUnknownParameterType]
    """Turn prepared rows into a frame of features and label, without PatientID."""
    return table.drop_columns([PATIENT] if PATIENT in table.column_names else []).to_pandas()


def main(argv: list[str] | None = None) -> int:
    """Run the job with the arguments of train_job.yml; return the exit code, 2 for data that cannot be used."""
    parser = argparse.ArgumentParser(prog="train_job", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="CSV or Parquet file")
    prep.add_parameters(parser)
    train.add_parameters(parser)
    parser.add_argument("--model", type=Path, required=True, help="empty folder for the MLflow model")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder for the evaluation")
    arguments = parser.parse_args(argv)

    try:
        prepared = prep.prepare_file(arguments.data, prep.read_parameters(arguments))
    except DataError as error:
        print(*(f"train_job: {fault}" for fault in error.faults), sep="\n", file=sys.stderr)
        return 2
    print(summary(prepared.report))
    train_rows = frame_of(prepared.table.take(prepared.train))
    test_rows = frame_of(prepared.table.take(prepared.test))

    parameters = train.read_parameters(arguments)
    training = train.train(train_rows, parameters)
    train.save(training.model, train_rows, arguments.model)
    saved = load_model(arguments.model)  # what is evaluated is what is registered
    scores, thresholds = {"challenger": score(saved, test_rows)}, {"challenger": saved.threshold}
    told = trained_with(arguments.model)
    evaluation = evaluate.write_evaluation(arguments.evaluation, test_rows, scores, thresholds, told)
    print(train.summary(training))
    print(evaluation_report.summary(evaluation))
    params, metrics = (
        {**prepared.report["parameters"], **asdict(parameters)},
        {**training.metrics, **tracked(evaluation)},
    )
    log_run(params, metrics, train.run_tags())
    return 0


if __name__ == "__main__":
    sys.exit(main())
