"""A request, an answer, and which function answers which request."""

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

Json: TypeAlias = dict[str, Any]

LOCATION = "westeurope"

ARM_HOST = r"management\.azure\.com"
API_HOST = r"[\w-]+\.api\.azureml\.ms"
BLOB_HOST = r"[\w-]+\.blob\.core\.windows\.net"
SCORING_HOST = r"[\w-]+\.[\w-]+\.inference\.ml\.azure\.com"
LOGIN_HOST = r"login\.microsoftonline\.com"
LOOPBACK = r"127\.0\.0\.1(?::\d+)?|localhost(?::\d+)?"

_WORKSPACE = (
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<resource_group>[^/]+)"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/(?P<workspace>[^/]+)"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent. Header names are in lower case; ``path`` is decoded, ``query`` has the last of each name."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @classmethod
    def read(cls, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes) -> "Request":
        """Take the target of a request line apart."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        lower = {name.lower(): value for name, value in headers.items()}
        return cls(method, parts.netloc or host, re.sub("/{2,}", "/", unquote(parts.path)), query, lower, body)

    @property
    def json(self) -> Json:
        """The body, which is a JSON object."""
        return json.loads(self.body or b"{}")

    @property
    def api_version(self) -> str:
        """The ``api-version`` that the client speaks; empty where it names none."""
        return self.query.get("api-version", "")


@dataclass(slots=True)
class Answer:
    """What the service answers."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, payload: object, status: int = 200, **headers: str) -> "Answer":
        """An answer in JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(payload).encode(), {"Content-Type": "application/json", **named})

    @classmethod
    def error(cls, status: int, code: str, message: str) -> "Answer":
        """An error in the form that all of Azure uses."""
        return cls.of({"error": {"code": code, "message": message}}, status)

    @classmethod
    def workspace_error(
        cls,
        status: int,
        code: str,
        message: str,
        inner: Sequence[str] = (),
        details: Sequence[tuple[str, str]] = (),
    ) -> "Answer":
        """An error in the form of Azure ML: its cause is a chain of inner codes, the innermost last, or in details.

        Args:
            status: The status code.
            code: The outermost code, mostly ``UserError``.
            message: What happened.
            inner: The codes below it.
            details: Codes and messages of each thing that is wrong.
        """
        told: Json | None = None
        for cause in reversed(inner):
            told = {"code": cause, "innerError": told}
        values: Json = {
            "ComponentName": "managementfrontend",
            "Correlation": {"operation": uuid.uuid4().hex, "request": uuid.uuid4().hex[:16]},
            "Environment": LOCATION,
            "Location": LOCATION,
            "Time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}+00:00",
        }
        if told is not None:
            values["InnerError"] = told
        if told is not None and details:
            values["MessageFormat"] = message
        more = [{"type": name, "info": {"value": value}} for name, value in values.items()]
        each = [{"code": what, "message": text, "details": [], "additionalInfo": []} for what, text in details]
        error = {"code": code, "message": message, "details": each, "additionalInfo": more}
        return cls.of({"error": error}, status, x_ms_response_type="error")


class Refused(Exception):
    """A request that is answered with an error; with inner codes, or code ``NotFound``, in the form of Azure ML."""

    def __init__(
        self, status: int, code: str, message: str, *inner: str, details: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        told = (status, code, message)
        is_ours = bool(inner) or code in ("UserError", "NotFound")
        self.answer = Answer.workspace_error(*told, inner, details) if is_ours else Answer.error(*told)


Handler: TypeAlias = Callable[..., Answer | None]  # None: the connection is cut


@dataclass(frozen=True, slots=True)
class Route:
    """Requests of some shape, and who answers them.

    In ``path``, ``W`` at the start or after a prefix stands for a workspace's path, ``{x}`` for one segment, which the
    handler gets as ``x``, and ``{x*}`` for the rest.
    """

    method: str
    host: re.Pattern[str]
    path: re.Pattern[str]
    handler: Handler


def route(method: str, host: str, path: str, handler: Handler) -> Route:
    """Make a route."""
    pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.*)", path)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern).replace("W/", _WORKSPACE + "/")
    pattern = re.sub(r"W$", lambda match: _WORKSPACE, pattern)
    return Route(method, re.compile(host, re.IGNORECASE), re.compile(pattern, re.IGNORECASE), handler)
