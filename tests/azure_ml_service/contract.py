"""Check of bodies by the SDK's own models of the API: unknown properties, wrong types, values that no enum has.

The models are the TypeSpec ones in azure-ai-ml (``azure.ai.ml._restclient``), which are made from Azure's definition of
its API. Importing them takes seconds, so bodies are collected, and checked when somebody asks.
"""

import importlib
import re
import sys
import threading
import types
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

_ASSETS = {
    "codes": "Code",
    "data": "Data",
    "environments": "Environment",
    "components": "Component",
    "models": "Model",
}


@dataclass(frozen=True, slots=True)
class Bodies:
    """Which models the requests and answers of a path are; ``package`` is the one below ``_restclient`` they are in."""

    path: str
    answer: str
    request: str | None = None
    package: str = "arm_ml_service"


_BODIES = (
    Bodies("", "Workspace"),
    *(
        Bodies(rf"/{kind}/[^/]+/versions/[^/]+", f"{name}VersionBase" if kind == "data" else f"{name}Version")
        for kind, name in _ASSETS.items()
    ),
    *(Bodies(rf"/{kind}/[^/]+", f"{name}Container") for kind, name in _ASSETS.items()),
    Bodies(r"/datastores/[^/]+", "Datastore"),
    Bodies(r"/datastores/[^/]+/listSecrets", "DatastoreSecrets", "SecretExpiry"),
    Bodies(r"/[^/]+/[^/]+/versions/[^/]+/startPendingUpload", "PendingUploadResponseDto", "PendingUploadRequestDto"),
    Bodies(r"/computes/[^/]+", "ComputeResource"),
    Bodies(r"/jobs/[^/]+", "JobBase"),
    Bodies(r"/onlineEndpoints/[^/]+", "OnlineEndpoint"),
    Bodies(r"/onlineEndpoints/[^/]+/deployments/[^/]+", "OnlineDeployment"),
    Bodies(r"/onlineEndpoints/[^/]+/listKeys", "EndpointAuthKeys"),
    Bodies(r"/onlineEndpoints/[^/]+/token", "EndpointAuthToken"),
    Bodies(r"/onlineEndpoints/[^/]+/deployments/[^/]+/getLogs", "DeploymentLogs", "DeploymentLogsRequest"),
    Bodies(r"/batchEndpoints/[^/]+", "BatchEndpoint"),
    Bodies(r"/batchEndpoints/[^/]+/deployments/[^/]+", "BatchDeployment"),
    Bodies(r"region:/usages/[^/]+", "Usage"),
    Bodies(r"region:/vmSizes", "VirtualMachineSizeListResult"),
    Bodies(r"history:/rundata", "GetRunDataResult", "GetRunDataRequest", "runhistory"),
    Bodies(r"history:/runs/[^/]+", "Run", package="runhistory"),
    Bodies(r"history:/runs/[^/]+/children", "PaginatedRunList", package="runhistory"),
    Bodies(r"history:/runs/[^/]+/details", "RunDetails", package="runhistory"),
    Bodies(
        r"data:/dataversion/batchGetResolvedUris", "BatchDataUriResponse", "BatchGetResolvedURIs", "dataset_dataplane"
    ),
)
_WORKSPACE = re.compile(r"(?:/(history|data)/v1\.0)?/subscriptions/.*?/workspaces/[^/]+(/.*)?", re.IGNORECASE)
_REGION = re.compile(r"/subscriptions/[^/]+/providers/[^/]+/locations/[^/]+(/[^/]+)", re.IGNORECASE)
_NULLABLE = {
    ("JobBase", "properties"),  # a pipeline's child has none
    ("AccountKeyDatastoreCredentials", "secrets"),  # handed out by listSecrets alone
}
_KNOWN = (
    r"CodeVersion.*properties\.properties\.hash_version: ",  # a number of the SDK itself, see the notes on the wire
    r"PUT /onlineEndpoints/[^/]+ \(answer\): .* needs location$",  # of a change, as recorded
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A body that is to be checked."""

    method: str
    path: str
    is_request: bool
    body: Any


class Contract:
    """Collects the bodies of requests and answers, and tells which do not fit the models."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Exchange] = []
        self._problems: list[str] = []

    def observe(self, method: str, path: str, is_request: bool, body: Any) -> None:
        """Remember a body."""
        with self._lock:
            self._waiting.append(Exchange(method, path, is_request, body))

    def report(self, problem: str) -> None:
        """Remember a problem that was seen at once."""
        with self._lock:
            self._problems.append(problem)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._waiting.clear()
            self._problems.clear()

    def problems(self) -> list[str]:
        """Check what has been exchanged since, and return all problems so far."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            if waiting:
                seen: dict[str, None] = {}
                for exchange in waiting:
                    seen.update(dict.fromkeys(_check(exchange)))
                self._problems += [text for text in seen if not any(re.search(known, text) for known in _KNOWN)]
            return list(self._problems)


def _model(package: str, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(f"azure.ai.ml._restclient.{package}.models"), name)


def _find(path: str) -> Bodies | None:
    return next((bodies for bodies in _BODIES if re.fullmatch(bodies.path, path)), None)


def _check(exchange: Exchange) -> list[str]:
    if match := _REGION.fullmatch(exchange.path):
        inner = f"region:{match[1]}"
    elif match := _WORKSPACE.fullmatch(exchange.path):
        inner = (f"{match[1]}:" if match[1] else "") + (match[2] or "")
    else:
        return []
    bodies, items = _find(inner), [exchange.body]
    if bodies is None and isinstance(exchange.body, dict) and "value" in exchange.body:
        bodies, items = _find(f"{inner}/x"), exchange.body["value"]
    if bodies is None:
        return []
    name = (bodies.request or bodies.answer) if exchange.is_request else bodies.answer
    side = "request" if exchange.is_request else "answer"
    found: list[str] = []
    for item in items:
        _compare(_model(bodies.package, name), item, name, found)
    return [f"{exchange.method} {inner} ({side}): {problem}" for problem in found]


def _compare(hint: Any, value: Any, where: str, found: list[str]) -> None:
    """Compare a value with a type; what does not fit is added to ``found``."""
    origin = get_origin(hint)
    if value is None or hint is Any:
        return
    if origin in (Union, types.UnionType):
        _compare_union(get_args(hint), value, where, found)
    elif origin is Literal:
        if value not in [_plain(choice) for choice in get_args(hint)]:
            found.append(f"{where}: {value!r} is not {' or '.join(str(_plain(choice)) for choice in get_args(hint))}")
    elif origin in (list, tuple):
        if not isinstance(value, list):
            found.append(f"{where}: {type(value).__name__} in place of a list")
        else:
            for index, item in enumerate(value):
                _compare(get_args(hint)[0], item, f"{where}[{index}]", found)
    elif origin in (dict, Mapping):
        if not isinstance(value, dict):
            found.append(f"{where}: {type(value).__name__} in place of a map")
        else:
            for key, item in value.items():
                _compare(get_args(hint)[1], item, f"{where}.{key}", found)
    elif hasattr(hint, "_attr_to_rest_field") or hasattr(hint, "_deserialize"):
        _compare_model(hint, value, where, found)
    elif not _fits(hint, value):
        found.append(f"{where}: {value!r} is no {getattr(hint, '__name__', hint)}")


def _compare_union(hints: tuple[Any, ...], value: Any, where: str, found: list[str]) -> None:
    first: list[str] | None = None
    # Where the models say "a string, among them these", only these are taken.
    closed = any(isinstance(hint, type) and issubclass(hint, Enum) for hint in hints)
    for hint in hints:
        if hint is type(None) or (closed and hint is str):
            continue
        problems: list[str] = []
        _compare(hint, value, where, problems)
        if not problems:
            return
        first = first or problems
    found += first or []


def _compare_model(model: Any, value: Any, where: str, found: list[str]) -> None:
    if not isinstance(value, dict):
        found.append(f"{where}: {type(value).__name__} in place of {model.__name__}")
        return
    model = _most_special(model, value, where, found)
    fields = _fields(model)
    hints = _hints(model)
    for key, item in value.items():
        if key not in fields:
            found.append(f"{where}: {model.__name__} has no {key}")
        else:
            _compare(hints.get(fields[key], Any), item, f"{where}.{key}", found)
    for key, attribute in fields.items():
        hint = hints.get(attribute, Any)
        optional = hint is Any or type(None) in get_args(hint)
        if not optional and value.get(key) is None and (model.__name__, key) not in _NULLABLE:
            found.append(f"{where}: {model.__name__} needs {key}")


def _most_special(model: Any, value: Mapping[str, Any], where: str, found: list[str]) -> Any:
    """The model that the discriminators of a value select."""
    seen: list[str] = []
    while hasattr(model, "__mapping__"):
        discriminator = model._get_discriminator(seen)
        if discriminator is None:
            return model
        seen.append(discriminator._rest_name)
        kind = value.get(discriminator._rest_name)
        special = model.__mapping__.get(kind)
        if special is None:
            found.append(f"{where}: {model.__name__} knows no {discriminator._rest_name} {kind!r}")
            return model
        model = special
    return model


def _fields(model: Any) -> dict[str, str]:
    """The names on the wire, and the attributes that stand for them."""
    if not hasattr(model, "_attr_to_rest_field"):
        model.__new__(model)  # the names are worked out when the first is made
    return {field._rest_name: attribute for attribute, field in model._attr_to_rest_field.items()}


def _hints(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(model.__mro__):
        module = sys.modules[base.__module__]
        package = sys.modules.get(base.__module__.rpartition(".")[0])
        for name, annotation in vars(base).get("__annotations__", {}).items():
            scope = {**vars(typing), **vars(module), "_models": package, "_types": package}
            try:
                found[name] = eval(annotation, scope) if isinstance(annotation, str) else annotation
                found[name] = _evaluate(found[name], scope)
            except (NameError, AttributeError, TypeError):
                found[name] = Any
    return found


def _evaluate(hint: Any, scope: dict[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={"x": hint})
    return typing.get_type_hints(holder, scope)["x"]


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _fits(hint: Any, value: Any) -> bool:
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if hint in (datetime, date, time, timedelta):
        return isinstance(value, str) and (value[:1] == "P" if hint is timedelta else value[:1].isdigit())
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value in [choice.value for choice in hint]
    return True
