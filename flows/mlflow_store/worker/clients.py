"""MLflow clients that repeat a call: once with a new token of a workspace, a few times where a server failed.

MLflow itself would repeat every request, also those that create something: if only the answer was lost, the server
would do it twice. So MLflow's own repetitions are off for a server, and only calls that may be made twice are repeated.
Before the creation of a run or a version is repeated, it is looked for (:func:`made_once`).
"""

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from flows.mlflow_store.worker.errors import is_refused_token, is_transient

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
PAUSES_SECONDS = (1.0, 3.0)
# Not to be repeated blindly. (A registered model or an experiment has a unique name: the second time it is there.)
_CREATES = ("create_run", "create_model_version")
_TRANSFERS = ("log_artifacts", "log_artifact")


@dataclass(slots=True)
class Patience:
    """How long and how often a server is asked.

    Attributes:
        call_seconds: What each request of a call may take; MLflow's default is 120.
        transfer_seconds: What a request may take that moves a file, which a server answers when it has passed it on.
        tries: How often a call is made that may be made twice.
    """

    call_seconds: int = 10
    transfer_seconds: int = 60
    tries: int = 3

    def limit_mlflow(self) -> None:
        """Set MLflow's time limit in this process, and end its own repetitions; what a person has set counts here."""
        if (retries := os.environ.get(RETRIES, "")).isdecimal():
            self.tries = int(retries) + 1
        if (seconds := os.environ.get(TIMEOUT, "")).isdecimal():
            self.call_seconds = self.transfer_seconds = int(seconds)
        os.environ.update({RETRIES: "0", TIMEOUT: str(self.call_seconds)})


PATIENCE = Patience()


class TokenRenewing:
    """A client of a workspace's MLflow that makes a call once more, with a new token, if its token was refused.

    A token that was revoked is refused long before it ends; until then azureml-mlflow would go on to use it.
    """

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*values: Any, **named: Any) -> Any:
            try:
                return method(*values, **named)
            except Exception as error:
                if not is_refused_token(error):
                    raise
            self._renew()
            return method(*values, **named)

        return call

    @staticmethod
    def _renew() -> None:
        loader: Any = importlib.import_module("azureml.mlflow._internal.service_context_loader")
        # One for each address, made when the first store asks for it, and kept as long as the process lives.
        for uri, context in loader._AzureMLServiceContextLoader._tracking_uri_to_service_context.items():
            context._auth = loader.get_service_context_from_tracking_url_default_auth(urlsplit(uri)).auth


class Repeating:
    """A client of an MLflow server that repeats a call if the server failed and the call may be made twice."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name in _CREATES:
            return method

        def call(*values: Any, **named: Any) -> Any:
            with transferring() if name in _TRANSFERS else contextlib.nullcontext():
                return repeated(lambda: method(*values, **named))

        return call


@contextlib.contextmanager
def transferring() -> Generator[None]:
    """Let each HTTP request of MLflow take as long as a file may take; it reads the variable each time."""
    os.environ[TIMEOUT] = str(PATIENCE.transfer_seconds)
    try:
        yield
    finally:
        os.environ[TIMEOUT] = str(PATIENCE.call_seconds)


def repeated(call: Callable[[], T]) -> T:
    """Make a call that may be made twice, and repeat it, after a pause, if it failed for a while only."""
    for number in range(PATIENCE.tries):
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or number == PATIENCE.tries - 1:
                raise
        time.sleep(PAUSES_SECONDS[min(number, len(PAUSES_SECONDS) - 1)])
    raise AssertionError


def made_once(make: Callable[[], T], find: Callable[[], T | None]) -> T:
    """Make something that a server must not make twice: after a failure, look whether it was made all the same.

    Args:
        make: Sends the one request that makes it.
        find: Finds it by what nothing else has.
    """
    for number in range(PATIENCE.tries):
        try:
            return make()
        except Exception as error:
            if not is_transient(error):
                raise
            if (found := find()) is not None:
                return found
            # After a time-out the server may still be at it, and what it makes later would not be found now.
            if number == PATIENCE.tries - 1 or "timeout" in str(error).lower() or "timed out" in str(error).lower():
                raise
        time.sleep(PAUSES_SECONDS[min(number, len(PAUSES_SECONDS) - 1)])
    raise AssertionError
