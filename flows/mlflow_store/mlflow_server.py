"""MLflow server over the local store: its web interface, and where an MLflow of another version may log.

Does what ``mlflow server`` does, in one process instead of two, behind the check of :mod:`flows.machine.own_pages`:
MLflow's own check lets in any page at localhost, and does not look at the origin of what is posted to ``/graphql``.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence

from flows.machine.child import end_with_standard_input
from flows.machine.hidden_memory import hide_memory
from flows.machine.own_pages import listen
from flows.settings import Settings

# Else it starts eight more processes of some 270 MB each, which judge the traces of language models.
VARIABLES: Mapping[str, str] = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def server_command(settings: Settings, port: int, descriptor: int | None = None) -> Sequence[str]:
    """The command that serves the local store in the foreground.

    Args:
        settings: Where the store is.
        port: The port of this machine where it is served.
        descriptor: A socket that listens there already, which the server inherits.
    """
    store = (settings.mlflow_uri, settings.mlflow_artifacts.as_uri())
    inherited = () if descriptor is None else (str(descriptor),)
    return (sys.executable, "-P", "-m", "flows.mlflow_store.mlflow_server", str(port), *store, *inherited)


def main(port: int, uri: str, artifacts: str, descriptor: str | None = None) -> None:
    """Serve a store, which is made first if need be; ``artifacts`` is the folder for what runs leave, as a URI."""
    import uvicorn  # first: where it is loaded, MLflow's own check of the Host is on

    assert uvicorn
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    store = {constants.BACKEND_STORE_URI_ENV_VAR: uri, constants.REGISTRY_STORE_URI_ENV_VAR: uri}
    os.environ.update({**store, constants.ARTIFACT_ROOT_ENV_VAR: artifacts})
    initialize_backend_stores(uri, uri, artifacts)
    from mlflow.server.fastapi_app import app  # when the store is known: it reads the environment

    listen(app, port, None if descriptor is None else socket.socket(fileno=int(descriptor)))


if __name__ == "__main__":
    hide_memory()
    end_with_standard_input()
    main(int(sys.argv[1]), *sys.argv[2:])
