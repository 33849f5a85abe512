"""Register the model folder as a new model version."""

# MLflow ships no types.
# pyright: basic

import argparse
import json
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode


def register(run: Run, model: str, evaluation: str, model_name: str, registration: str) -> None:
    """Log the folder ``model`` to the MLflow run and make it a new version of ``model_name``.

    The metrics in the folder ``evaluation`` become its tags; ``registration.json`` says which version it is.
    """
    client = MlflowClient()
    client.log_artifacts(run.info.run_id, model, "model")
    try:
        client.create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    metrics = json.loads((Path(evaluation) / "metrics.json").read_text())
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version(model_name, source, run.info.run_id, tags=metrics)
    registered = {"name": model_name, "version": version.version}
    (Path(registration) / "registration.json").write_text(json.dumps(registered))


def main() -> None:
    """Read the command line, make the output folder; register within an MLflow run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--evaluation", required=True)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--registration", required=True)
    args = parser.parse_args()
    Path(args.registration).mkdir(parents=True, exist_ok=True)
    with mlflow.start_run() as run:
        register(run, args.model, args.evaluation, args.model_name, args.registration)


if __name__ == "__main__":
    main()
