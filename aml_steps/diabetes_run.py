"""Log the params and metrics of a step to its MLflow run.

Each component that logs names this file under ``additional_includes``. It is apart from ``diabetes_steps``, because
MLflow takes seconds to import, and prep and profile log nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import mlflow
from mlflow.exceptions import MlflowException

# MLflow's codes for a server that does not answer or fails.
AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


def log_run(params: Mapping[str, object], metrics: Mapping[str, float], tags: Mapping[str, str] | None = None) -> None:
    """Log to the MLflow run of the step. Called when all that the step delivers is written.

    MLflow tries for a while to reach its server. If that stays away, a warning says so, and the step completes: what it
    has made is worth more than these figures, and would have to be made again.

    Raises:
        MlflowException: MLflow refuses what is logged, or who logs it; or a file that keeps the runs cannot be used.
    """
    _use_identity_of_job()
    try:
        with mlflow.start_run():
            try:
                mlflow.log_params(dict(params))
                mlflow.log_metrics(dict(metrics))
                if tags:
                    mlflow.set_tags(dict(tags))
            except MlflowException:
                os.environ[RETRIES] = "0"  # MLflow has waited long enough; it need not, to end the run
                raise
    except MlflowException as error:
        if error.error_code not in AWAY or mlflow.get_tracking_uri().startswith("sqlite:"):
            raise
        said = " ".join(str(error).split())[:300]
        print(f"warning: MLflow does not have all params and metrics of this step: {said}", file=sys.stderr)


def _use_identity_of_job() -> None:
    """Let MLflow log in as the job's managed identity, where it has no token.

    Azure ML names that identity in ``DEFAULT_IDENTITY_CLIENT_ID``; azure-identity reads ``AZURE_CLIENT_ID``.
    """
    if identity := os.environ.get("DEFAULT_IDENTITY_CLIENT_ID"):
        os.environ["AZURE_CLIENT_ID"] = os.environ.get("AZURE_CLIENT_ID") or identity
