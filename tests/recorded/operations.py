"""Names of operations: a method, a kind of host, and a path in which everything that is a name is left out."""

import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

WORKSPACE = re.compile(
    r"/subscriptions/[^/?]+/resourceGroups/[^/?]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/?]+",
    re.IGNORECASE,
)
_HOSTS = (
    ("management", re.compile(r"([\w-]+\.)*management\.azure\.com|sanitized\.azure\.com")),
    ("api", re.compile(r"[\w-]+\.api\.azureml(-test)?\.ms")),
    ("scoring", re.compile(r"[\w-]+(\.[\w-]+)?\.inference\.ml\.azure\.com")),
    ("blob", re.compile(r"[\w-]+\.blob\.core\.windows\.net")),
    ("login", re.compile(r"login\.microsoftonline\.com")),
)
_WORD = re.compile(r"[A-Za-z]+")
_BELOW = re.compile(r"/[a-z]+/v\d\.\d")
_COMP = frozenset({"list", "metadata", "block", "blocklist", "properties"})
_LOGIN = frozenset({"token", "openid-configuration", "instance"})
# Words that stand where else a name would.
_CALLS = frozenset({"batch", "metadata", "contentinfo", "batchGetResolvedUris", "getByHash"})


class Operation(NamedTuple):
    """What a request asks for: ``W`` in its path is a workspace, ``{}`` a name."""

    method: str
    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.host} {self.path}"


def kind_of(host: str) -> str:
    """The kind of a host; ``other`` for one that the service does not stand for."""
    return next((kind for kind, pattern in _HOSTS if pattern.fullmatch(host)), "other")


def operation(method: str, host: str, target: str) -> Operation:
    """The operation that a request asks for."""
    kind, parts = kind_of(host), urlsplit(target)
    path = re.sub("/{2,}", "/", unquote(parts.path))
    match kind:
        case "blob":
            return Operation(method, kind, _of_blob(path, parts.query))
        case "login":
            last = path.rpartition("/")[2]
            return Operation(method, kind, f"…/{last if last in _LOGIN else '{}'}")
        case "other":
            return Operation(method, kind, "…")
        case _:
            return Operation(method, kind, _of_resource(path))


def _of_blob(path: str, query: str) -> str:
    container, _, blob = path.strip("/").partition("/")
    comp = parse_qs(query).get("comp", [""])[0]
    found = "/{}/{}" if container and blob else "/{}"
    return f"{found}?comp={comp}" if comp in _COMP else found


def _of_resource(path: str) -> str:
    match = WORKSPACE.search(path)
    if match is None:
        return "/" + "/".join(_named(path))
    before, after = path[: match.start()], path[match.end() :]
    below = before if _BELOW.fullmatch(before) else "/{}" if before else ""
    if after.startswith("/api/"):  # MLflow's, whose paths are words
        return f"{below}/W/" + "/".join(
            part if _WORD.fullmatch(part.replace("-", "")) else "{}" for part in after[1:].split("/")
        )
    return "/".join((f"{below}/W", *_named(after)))


def _named(path: str) -> list[str]:
    """The segments of a path, which are in turn a kind and a name."""
    parts = [part for part in path.split("/") if part]
    return [
        part if part in _CALLS or (index % 2 == 0 and _WORD.fullmatch(part)) else "{}"
        for index, part in enumerate(parts)
    ]
