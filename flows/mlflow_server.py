"""MLflow's server over the local store: its web interface, and where an MLflow of another version may log."""

import sys
from collections.abc import Mapping, Sequence

from flows.settings import Settings

# Else it starts eight more processes of some 270 MB each, which judge the traces of language models.
VARIABLES: Mapping[str, str] = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def server_command(settings: Settings, port: int) -> Sequence[str]:
    """The command that serves the local store on a port of this machine, in the foreground."""
    return (
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", settings.mlflow_uri),
        *("--default-artifact-root", settings.mlflow_artifacts.as_uri()),
    )
