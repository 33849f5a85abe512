"""Measure the model on the test part."""

# scikit-learn and MLflow ship no types.
# pyright: basic, reportPrivateImportUsage=false, reportOptionalMemberAccess=false

import argparse
import json
from pathlib import Path

import mlflow
import mlflow.sklearn
import pandas as pd
from sklearn.metrics import accuracy_score, roc_auc_score


def evaluate(model: str, test_data: str, evaluation: str) -> None:
    """Score the model on ``data.parquet`` in the folder ``test_data``; write ``metrics.json`` into ``evaluation``.

    The metrics, accuracy and AUC (0 to 1, higher is better), are logged to the active MLflow run too.
    """
    frame = pd.read_parquet(Path(test_data) / "data.parquet")
    features, labels = frame.drop(columns="Diabetic"), frame["Diabetic"]
    classifier = mlflow.sklearn.load_model(model)
    scores = classifier.predict_proba(features)[:, 1]
    metrics = {
        "accuracy": float(accuracy_score(labels, scores > 0.5)),
        "auc": float(roc_auc_score(labels, scores)),
    }
    (Path(evaluation) / "metrics.json").write_text(json.dumps(metrics))
    mlflow.log_metrics(metrics)


def main() -> None:
    """Read the command line, make the output folder; evaluate within an MLflow run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--test_data", required=True)
    parser.add_argument("--evaluation", required=True)
    args = parser.parse_args()
    Path(args.evaluation).mkdir(parents=True, exist_ok=True)
    with mlflow.start_run():
        evaluate(args.model, args.test_data, args.evaluation)


if __name__ == "__main__":
    main()
