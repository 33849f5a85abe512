"""Error answers of Azure ML, read from their bodies, and one sentence with a remedy for a person.

Azure ML answers mostly with the code ``UserError`` and tells the cause in codes below it, of which the innermost says
most. What it is about (a component, a compute target) stands in the message, or only in the address that was asked:
such an answer has no body at all. A gateway on the way, or a proxy, answers with a page. Pure: takes and returns text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any, NamedTuple, cast

OVER = "CancelPipelineRunInTerminalStatus"  # what a pipeline job that is over answers when it is canceled
LONGEST = 600  # characters of a message that are shown
_IMMUTABLE = "UpdateComponentFailed"
_ABSENT = re.compile(r"\w*NotFound(Error)?")
# The kinds of resources as they stand in addresses: what a person calls one, and the command that lists them.
_NOUNS = {
    "codes": ("code asset", ""),
    "components": ("component", "az ml component list --name {name}"),
    "computes": ("compute target", ""),
    "data": ("data asset", "az ml data list --name {name}"),
    "datastores": ("datastore", "az ml datastore list"),
    "environments": ("environment", "az ml environment list --name {name}"),
    "jobs": ("job", ""),
    "models": ("model", "az ml model list --name {name}"),
    "resourcegroups": ("resource group", ""),
    "runs": ("job", ""),
    "schedules": ("schedule", "az ml schedule list"),
    "workspaces": ("workspace", ""),
}
_AROUND = ("workspaces", "resourcegroups")
_ADDRESS = re.compile(r"(/subscriptions/|azureml://)[^\s,'\"?]+", re.IGNORECASE)
_RESOURCE = re.compile(
    rf"/(?P<kind>{'|'.join(_NOUNS)})/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?", re.IGNORECASE
)
# What Azure Resource Manager says of a workspace, and Azure ML of what has no address in its message.
_IN_WORDS = (
    re.compile(r"(?P<kind>component) (?P<name>[\w.-]+)(?: \(version: (?P<version>[\w.-]+)\))?"),
    re.compile(r"no registered (?P<kind>model) in .* with id (?P<name>[\w.-]+):(?P<version>[\w.-]+)"),
    re.compile(r"(?P<kind>Model) container with name: (?P<name>[\w.-]+) not found"),
    re.compile(r"No (?P<kind>environment) exists for name: (?P<name>[\w.-]+)(?:, version: (?P<version>[\w.-]+))?"),
    re.compile(r"Resource 'Microsoft\.MachineLearningServices/(?P<kind>workspace)s/(?P<name>[\w.-]+)'"),
    re.compile(r"(?P<kind>Resource group) '(?P<name>[^']+)'"),
)
_KIND_OF_NOUN = {noun: kind for kind, (noun, _) in _NOUNS.items() if kind != "runs"}
_TITLE = re.compile(r"<(title|h1)[^>]*>(?P<text>.*?)</\1", re.IGNORECASE | re.DOTALL)
_OF_STORAGE = re.compile(r"<Code>(?P<code>\w+)</Code>\s*<Message>(?P<message>[^<]*)", re.DOTALL)


class Resource(NamedTuple):
    """Something in Azure that an answer is about: its kind as in addresses (``components``), name and version."""

    kind: str
    name: str
    version: str | None = None

    def __str__(self) -> str:
        noun, _ = _NOUNS[self.kind]
        return f"{noun} {self.name}" if self.version is None else f"{noun} {self.name}:{self.version}"


class Told(NamedTuple):
    """What a person is told of an error: what happened, as a sentence; and what to do, which may be empty."""

    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".rstrip()


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An answer with an error.

    Attributes:
        status: The status code of HTTP.
        codes: The error codes, the outermost first; empty if the answer has none.
        message: What it says, in one line; may be empty.
        about: What it is about, as the message says, or else the address that was asked.
        is_page: Whether it is a page for a browser, which Azure ML never sends.
    """

    status: int
    codes: tuple[str, ...] = ()
    message: str = ""
    about: Resource | None = None
    is_page: bool = False

    @property
    def says_absent(self) -> bool:
        """Whether something is said not to be there."""
        return not self.is_page and (self.status == 404 or any(map(_ABSENT.fullmatch, self.codes)))

    @property
    def says_no_workspace(self) -> bool:
        """Whether the workspace itself, or what it is in, is said not to be there."""
        return self.says_absent and self.about is not None and self.about.kind in _AROUND

    def told(self, flags: str = "") -> Told:
        """What a person is told; ``flags`` are those that name the workspace to ``az ml``."""
        if self.is_page:
            page = f" with a page “{self.message}”" if self.message else " with a page"
            remedy = "Look at what stands between: a proxy, a firewall or a gateway."
            return Told(f"Not Azure ML but something on the way to it answered {self.status}{page}.", remedy)
        if self.says_absent and self.about is not None:
            where = "" if self.says_no_workspace else " in the workspace"
            return Told(f"The {self.about} was not found{where}.", _remedy_of_absence(self.about, flags))
        said = self.message.rstrip(".") or f"no reason was given (HTTP {self.status})"
        codes = [code for code in self.codes[-1:] if code not in said]
        remedy = (
            "Write another version in its file, or leave it as it is registered." if _IMMUTABLE in self.codes else ""
        )
        return Told(f"{said}{f' ({codes[0]})' if codes else ''}.", remedy)


def read_error(status: int, body: str, url: str = "", content_type: str = "") -> ErrorAnswer:
    """Read an answer with an error.

    Args:
        status: The status code of HTTP.
        body: The body of the answer; may be empty, or anything.
        url: The address of what was asked for; empty where the request was to make it.
        content_type: The header of that name.
    """
    text = body.strip().removeprefix("\N{BYTE ORDER MARK}")
    if "html" in content_type.lower() or re.match(r"<(!doctype html|html)", text, re.IGNORECASE):
        title = _TITLE.search(text)
        return ErrorAnswer(status, (), one_line(unescape(title["text"])) if title else "", _asked(url), is_page=True)
    codes, message = _parts(text)
    return ErrorAnswer(status, codes, message, _about(message) or _asked(url))


def codes_of(error: Any) -> tuple[str, ...]:
    """The codes of an error, given as the plain values of its JSON, the outermost first, without repetitions."""
    return tuple(dict.fromkeys(_codes(error)))


def one_line(text: str) -> str:
    """A message as it is shown: in one line, and cut where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def _parts(text: str) -> tuple[tuple[str, ...], str]:
    """Codes and message of a body that is no page."""
    if of_storage := _OF_STORAGE.search(text):
        return (of_storage["code"],), one_line(of_storage["message"].partition("RequestId:")[0])
    try:
        found: Any = json.loads(text)
    except ValueError:
        return (), one_line(text)
    if isinstance(found, str):
        return (), one_line(found)
    if not isinstance(found, Mapping):
        return (), ""
    values = cast("Mapping[str, Any]", found)
    error: Any = values.get("error") or values
    if not isinstance(error, Mapping):
        return (), one_line(str(error))
    return _parts_of(cast("Mapping[str, Any]", error))


def _parts_of(error: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    message = str(error.get("message") or error.get("Message") or "").strip()
    inner: tuple[str, ...] = ()
    if message.startswith("{"):  # Azure Resource Manager hands on what another service said as JSON in its message
        inner, message = _parts(message)
    details = error.get("details")
    more = [_parts_of(each)[1] for each in details if isinstance(each, Mapping)] if isinstance(details, list) else []
    said = dict.fromkeys(one_line(each).rstrip(".") for each in (message, *more) if each)
    return (*codes_of(error), *inner), one_line("; ".join(said))


def _codes(error: Any) -> Iterator[str]:
    """The codes of an error: its own, those of the errors in it, and those that are attached as further information."""
    if not isinstance(error, Mapping):
        return
    values = cast("Mapping[str, Any]", error)
    if code := values.get("code") or values.get("Code"):
        yield str(code)
    for name in ("innerError", "innererror", "inner_error"):
        yield from _codes(values.get(name))
    attached = values.get("additionalInfo")
    for each in cast("list[Any]", attached) if isinstance(attached, list) else ():
        if isinstance(each, Mapping) and each.get("type") == "InnerError":
            info: Any = each.get("info")
            yield from _codes(info.get("value") if isinstance(info, Mapping) else None)


def _about(message: str) -> Resource | None:
    """What a message names, by an address or in words."""
    for address in _ADDRESS.finditer(message):
        if found := _asked(address[0]):
            return found
    for words in _IN_WORDS:
        if match := words.search(message):
            named = match.groupdict()
            return Resource(_KIND_OF_NOUN[match["kind"].lower()], match["name"], named.get("version"))
    return None


def _asked(url: str) -> Resource | None:
    """The innermost thing that an address names; a workspace only where nothing that is in it is named."""
    address = _ADDRESS.search(url)
    resource = address[0].partition("/paths/")[0] if address else ""
    found = list(_RESOURCE.finditer(resource))
    if not found or (found[-1]["kind"].lower() in _AROUND and found[-1].end() < len(resource)):
        return None
    version = found[-1]["version"]
    return Resource(found[-1]["kind"].lower(), found[-1]["name"].rstrip("."), version and version.rstrip("."))


def _remedy_of_absence(about: Resource, flags: str) -> str:
    if about.kind == "computes":
        return f"`tandem compute create {about.name}` makes it; or choose another one."
    if about.kind in _AROUND:
        return "See the three variables that name the workspace (AZUREML_ARM_…): `tandem doctor` looks at each."
    _, command = _NOUNS[about.kind]
    return f"See which there are: `{command.format(name=about.name)}{flags}`." if command else ""
