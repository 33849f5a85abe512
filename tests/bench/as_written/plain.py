"""The four steps in one plain process: what Tandem is measured against.

Everything is written into the current folder; MLflow goes where ``MLFLOW_TRACKING_URI`` says.
"""

import argparse
import shutil
from pathlib import Path

from helper import evaluate, fit, register, split

parser = argparse.ArgumentParser()
parser.add_argument("--data")
parser.add_argument("--reg_rate", type=float)
args = parser.parse_args()
shutil.rmtree("outputs", ignore_errors=True)
for folder in ("train_data", "test_data", "model", "evaluation", "registration"):
    Path("outputs", folder).mkdir(parents=True)
split(args.data, "outputs/train_data", "outputs/test_data")
fit("outputs/train_data", args.reg_rate, "outputs/model")
evaluate("outputs/model", "outputs/test_data", "outputs/evaluation")
register("outputs/model", "outputs/evaluation", "bench-diabetes", "outputs/registration")
