"""Comparison of two answers by status, headers and shape: keys, types, null or not, words of enums; not by values."""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from tests.azure_ml_service.messages import Json
from tests.recorded.operations import operation
from tests.recorded.recording import NO_BODY, OPAQUE

Kind: TypeAlias = Literal["more", "less", "different"]

# What the SDK reads of an answer, or shows when it fails.
HEADERS = (
    "location",
    "azure-asyncoperation",
    "operation-location",
    "retry-after",
    "x-ms-error-code",
    "x-ms-async-operation-timeout",
    "x-ms-response-type",
    "etag",
    "last-modified",
    "accept-ranges",
    "content-range",
    "x-ms-blob-type",
    "x-ms-creation-time",
    "x-ms-meta-name",
    "x-ms-meta-version",
    "x-ms-meta-upload_status",
)
_ADDRESSES = ("location", "azure-asyncoperation", "operation-location")
_KEY = re.compile(r"[$_A-Za-z][A-Za-z_$.-]*|_?azureml\.[\w.]+|hash_(sha256|version)")
# Below these, whoever uses the service chooses the keys.
_CHOSEN = frozenset(
    {"tags", "inputs", "outputs", "jobs", "environmentVariables", "environment_variables", "flavors", "values"}
    | {"logFiles", "parameters", "InputBindings", "OutputBindings", "Jobs", "Inputs", "Outputs", "Tags"}
)
_WORDS = frozenset(
    {"jobType", "jobOutputType", "jobInputType", "job_input_type", "mode", "jobServiceType", "type", "runType"}
    | {"secretsType", "credentialsType", "credentialType", "pendingUploadType", "datastoreType", "dataType"}
    | {"modelType", "environmentType", "osType", "computeType", "StepType", "kind"}
)
_VERSIONS = frozenset({"name", "nextVersion", "latestVersion", "runId"})
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_STAMP = re.compile(r"\d{4}(-\d\d){5}-\d+")


class Difference(NamedTuple):
    """One difference: ours has ``more`` or ``less`` than the recorded answer, or something ``different``."""

    kind: Kind
    where: str
    what: str


class Told(NamedTuple):
    """An answer as it is compared."""

    status: int
    headers: Mapping[str, str]
    body: Any


def compare(recorded: Told, ours: Told) -> list[Difference]:
    """Every difference of our answer to the recorded one."""
    found: list[Difference] = []
    if recorded.status != ours.status:
        found.append(Difference("different", "status", f"{recorded.status} recorded, {ours.status} here"))
    _headers(recorded.headers, ours.headers, found)
    if OPAQUE not in (recorded.body, ours.body):
        _body(recorded.body, ours.body, "body", found)
    return list(dict.fromkeys(found))


def _headers(recorded: Mapping[str, str], ours: Mapping[str, str], found: list[Difference]) -> None:
    for name in HEADERS:
        where = f"header {name}"
        if name in recorded and name not in ours:
            found.append(Difference("less", where, "only recorded"))
        elif name in ours and name not in recorded:
            found.append(Difference("more", where, "only here"))
        elif name in _ADDRESSES and name in recorded and _leads_to(recorded[name]) != _leads_to(ours[name]):
            found.append(Difference("different", where, "leads to another operation"))
        elif name in ("x-ms-error-code", "x-ms-response-type") and recorded.get(name) != ours.get(name):
            found.append(Difference("different", where, "another word"))


def _leads_to(address: str) -> tuple[str, ...]:
    parts = urlsplit(address)
    return operation("", parts.hostname or "", parts.path)


def _body(recorded: Any, ours: Any, where: str, found: list[Difference]) -> None:
    if isinstance(recorded, dict) and isinstance(ours, dict):
        _objects(recorded, ours, where, found)
    elif isinstance(recorded, list) and isinstance(ours, list):
        if bool(recorded) != bool(ours):
            kind: Kind = "less" if recorded else "more"
            found.append(Difference(kind, f"{where}[]", "empty here" if recorded else "empty in the recording"))
        for one, other in zip(recorded, ours, strict=False):
            _body(one, other, f"{where}[]", found)
    elif _type(recorded, where) != _type(ours, where):
        what = f"{_type(recorded, where)} recorded, {_type(ours, where)} here"
        found.append(Difference("different", where, what))


def _objects(recorded: Json, ours: Json, where: str, found: list[Difference]) -> None:
    for key in recorded.keys() | ours.keys():
        place = f"{where}.{_shown(where, key)}"
        if key not in ours:
            found.append(Difference("less", place, f"{_type(recorded[key], place)} recorded"))
        elif key not in recorded:
            found.append(Difference("more", place, f"{_type(ours[key], place)} here"))
        else:
            _body(recorded[key], ours[key], place, found)
            is_word = key in _WORDS or (key == "code" and "rror" in where)
            if is_word and _is_other_word(recorded[key], ours[key]):
                found.append(Difference("different", place, "another word"))


def _shown(where: str, key: str) -> str:
    """A key as it is printed: only one that is sure to belong to the service's own schema."""
    if where.rpartition(".")[2] in _CHOSEN:
        return "*"
    return key if _KEY.fullmatch(key) else "*"


def _is_other_word(recorded: Any, ours: Any) -> bool:
    return isinstance(recorded, str) and isinstance(ours, str) and recorded != ours


def _type(value: Any, where: str) -> str:
    """The type of a value, of text also what it is the text of."""
    if value is NO_BODY:
        return "nothing"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return _type_of_text(value, where.rpartition(".")[2])
    return "object" if isinstance(value, dict) else "list"


def _type_of_text(text: str, key: str) -> str:
    if text.lower() in ("true", "false"):
        return "True or False as text" if text[0].isupper() else "true or false as text"
    if key in _VERSIONS:
        return "timestamp as text" if _STAMP.fullmatch(text) else "GUID as text" if _GUID.fullmatch(text) else "text"
    if text[:1] in ("{", "["):
        try:
            json.loads(text)
        except ValueError:
            return "text"
        return "JSON as text"
    return "text"
