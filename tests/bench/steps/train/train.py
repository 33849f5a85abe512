"""Fit a scaled logistic regression, track it with MLflow, save it as an MLflow model."""

# scikit-learn and MLflow ship no types.
# pyright: basic, reportPrivateImportUsage=false

import argparse
from pathlib import Path

import mlflow
import mlflow.sklearn
import pandas as pd
import sklearn
import skops
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

REQUIREMENTS = [
    f"mlflow=={mlflow.__version__}",
    f"scikit-learn=={sklearn.__version__}",
    f"skops=={skops.__version__}",
]


def train(train_data: str, reg_rate: float, model: str) -> None:
    """Fit on ``data.parquet`` in the folder ``train_data``; save the model to the folder ``model``.

    Parameters and the training accuracy are logged to the active MLflow run.
    """
    frame = pd.read_parquet(Path(train_data) / "data.parquet")
    features, labels = frame.drop(columns="Diabetic"), frame["Diabetic"]
    classifier: Pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1 / reg_rate))
    classifier.fit(features, labels)
    mlflow.log_params({"reg_rate": reg_rate, "train_rows": len(frame)})
    mlflow.log_metric("train_accuracy", float(classifier.score(features, labels)))
    mlflow.sklearn.save_model(classifier, model, pip_requirements=REQUIREMENTS)


def main() -> None:
    """Read the command line; train within an MLflow run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train_data", required=True)
    parser.add_argument("--reg_rate", type=float, default=0.01)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    with mlflow.start_run():
        train(args.train_data, args.reg_rate, args.model)


if __name__ == "__main__":
    main()
