"""Translate MLflow's errors into the worker's answers: a kind of error, and a text for a person."""

import re
from typing import Any

# MLflow's codes for a server that does not answer, fails, or refuses the token: the call may be repeated later.
NOT_NOW = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "UNAUTHENTICATED")
SIGN_IN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
_CAUSES = (
    (re.compile(r"timed? ?out", re.IGNORECASE), "no answer in time"),
    (re.compile(r"refused", re.IGNORECASE), "connection refused"),
    (re.compile(r"resolve|name or service not known", re.IGNORECASE), "its name is not known"),
    (re.compile(r"certificate|\bssl", re.IGNORECASE), "its certificate is not trusted"),
    (re.compile(r"reset|aborted|disconnected|closed|incomplete|broken", re.IGNORECASE), "the connection was cut"),
    (re.compile(r"unreachable|no route", re.IGNORECASE), "it cannot be reached"),
)
_STATUS = re.compile(r"too many (5\d\d) error|error code (\d{3}) !=|\b(5\d\d) Server Error")


class Refused(Exception):
    """The call cannot be done as asked. The text says what to do."""


class Away(Exception):
    """A server did not do a call, and may do it later. The text says which server, and how it failed."""


def status_of(error: Exception) -> int | None:
    """The HTTP status that caused an error of MLflow or of ``requests``; None if none did."""
    response: Any = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    code = getattr(error, "error_code", None)
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return 401 if code == "UNAUTHENTICATED" else 403
    found = _STATUS.search(str(error))
    return None if found is None else int(next(filter(None, found.groups())))


def is_transient(error: Exception) -> bool:
    """Whether a call of a server failed because of the way to it or of its state, and may succeed when repeated."""
    if type(error).__module__.partition(".")[0] in ("requests", "urllib3", "botocore"):
        status = status_of(error)
        return status is None or status >= 500 or status == 429
    return getattr(error, "error_code", None) in NOT_NOW[:3]


def cause(error: Exception) -> str:
    """Why a server failed, in a few words, such as ``no answer in time``."""
    text = str(error)
    if (status := status_of(error)) is not None:
        return f"HTTP status {status}"
    return next((said for pattern, said in _CAUSES if pattern.search(text)), " ".join(text.split())[:200])


def answer_of(error: Exception, uri: str, *, in_workspace: bool, is_server: bool) -> dict[str, str]:
    """An exception as the protocol's error.

    Args:
        error: What was raised.
        uri: Where the runs are kept.
        in_workspace: Whether that is a workspace of Azure ML.
        is_server: Whether it is an MLflow server.
    """
    if isinstance(error, Refused):
        return {"kind": "run", "message": str(error)}
    if isinstance(error, Away):
        return {"kind": "service", "message": str(error)}
    if is_server and not in_workspace and (told := _of_server(error, uri)) is not None:
        return told
    if isinstance(error, OSError):
        return {"kind": "run", "message": f"The MLflow store {uri} cannot be used: {error}"}
    from mlflow import MlflowException
    from sqlalchemy.exc import OperationalError

    code = error.error_code if isinstance(error, MlflowException) else None
    if in_workspace and (code in NOT_NOW or _is_of_azure(error)):
        text = " ".join(str(error).split())
        remedy = "To track the runs on this machine, write --tracking local."
        return {"kind": "service", "message": f"The workspace's MLflow does not take the runs: {text} {remedy}"}
    if isinstance(error, OperationalError) or code == "TEMPORARILY_UNAVAILABLE":
        return {
            "kind": "service",
            "message": f"The MLflow store {uri} is busy or away: {getattr(error, 'orig', error)}",
        }
    if code is not None:
        return {"kind": "run", "message": str(error)}
    return {"kind": "bug", "message": f"{type(error).__name__}: {error}"}


def _of_server(error: Exception, uri: str) -> dict[str, str] | None:
    status = status_of(error)
    if status == 401:
        return {"kind": "settings", "message": f"The MLflow server {uri} does not let us in (401): {SIGN_IN}."}
    if status == 403:
        told = f"The MLflow server {uri} does not allow this (403): {' '.join(str(error).split())[:300]}"
        return {"kind": "settings", "message": f"{told} Ask who runs it for the permission to edit."}
    if is_transient(error):
        return {"kind": "service", "message": away(uri, error)}
    return None


def away(uri: str, error: Exception) -> str:
    """The message that a server does not answer as it should."""
    return f"The MLflow server {uri} does not answer as it should: {cause(error)}. `tandem doctor` looks at it."


def _is_of_azure(error: Exception) -> bool:
    """Whether it comes of the credential or of blob storage, whose libraries only azureml-mlflow imports."""
    return any(kind.__module__ == "azure.core.exceptions" for kind in type(error).__mro__)


def is_refused_token(error: Exception) -> bool:
    """Whether it is a 401, which MLflow tells in words only where the workspace has said more than that."""
    refused = ("ExpiredAuthenticationToken", "InvalidAuthenticationToken", "AuthenticationFailed")
    codes = getattr(error, "status_code", None), getattr(error, "error_code", None)
    return 401 in codes or "UNAUTHENTICATED" in codes or any(word in str(error) for word in refused)
