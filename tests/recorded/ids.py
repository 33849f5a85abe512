"""Ids of a recording as the loopback service has them: workspace, hosts, container, and what either side makes up."""

import re
from typing import Any

from tests.azure_ml_service.arm import API, LOCATION, WORKSPACE_GUID, Workspace
from tests.azure_ml_service.blobs import DATASTORES
from tests.recorded.operations import WORKSPACE, kind_of

_LONG_ADDRESS = re.compile(
    r"azureml://subscriptions/[^/]+/resourcegroups/[^/]+(?:/providers/Microsoft\.MachineLearningServices)?"
    r"/workspaces/[^/]+/datastores/",
    re.IGNORECASE,
)
_ASSET_ADDRESS = re.compile(r"azureml://locations/[^/]+/workspaces/[^/]+/")
_CONTAINER = re.compile(r"azureml-blobstore-[\w-]+")
_PART = re.compile(r"[\w.~-]+")
# What a service makes up: GUIDs, timestamps as versions. Names in zeros are replacements, and stand for many things.
_MADE_UP = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}(-\d\d){5}-\d+", re.IGNORECASE)
_ZEROS = re.compile(r"[0-]+")


class Ids:
    """Translates what is sent, and learns from each pair of answers which names stand for the same thing."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._ours: dict[str, str] = {}
        self._certain = frozenset(_PART.findall(workspace.path))

    def host(self, host: str) -> str:
        """The host of the service for one of the recording."""
        match kind_of(host):
            case "management":
                return "management.azure.com"
            case "api":
                return API
            case "scoring":
                return f"{host.partition('.')[0]}.{LOCATION}.inference.ml.azure.com"
            case _:
                return host

    def text(self, text: str) -> str:
        """A path, a query or a body with our ids in place of the recorded ones."""
        if self._ours:
            text = _PART.sub(self._part, text)
        text = WORKSPACE.sub(self._workspace.path, text)
        text = _LONG_ADDRESS.sub(self._workspace.datastore_uri("", "").removesuffix("/paths/"), text)
        text = _ASSET_ADDRESS.sub(f"azureml://locations/{LOCATION}/workspaces/{WORKSPACE_GUID}/", text)
        return _CONTAINER.sub(DATASTORES["workspaceblobstore"], text)

    def _part(self, match: re.Match[str]) -> str:
        """A name of ours for a recorded one; a run's may be within that of its output."""
        whole = self._ours.get(match[0])
        return whole or _MADE_UP.sub(lambda within: self._ours.get(within[0], within[0]), match[0])

    def addresses(self, body: Any) -> Any:
        """A body in which our addresses stand where addresses are keys."""
        if isinstance(body, list):
            return [self.addresses(each) for each in body]
        if not isinstance(body, dict):
            return body
        return {
            self.text(key) if key.startswith("azureml://") else key: self.addresses(each) for key, each in body.items()
        }

    def rename(self, recorded: str, ours: str) -> None:
        """Have another name for what is named so from here on."""
        self._ours[recorded] = ours

    def learn(self, recorded: Any, ours: Any) -> None:
        """Learn from two answers to the same request."""
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for key in recorded.keys() & ours.keys():
                self.learn(recorded[key], ours[key])
        elif isinstance(recorded, list) and isinstance(ours, list):
            for one, other in zip(recorded, ours, strict=False):
                self.learn(one, other)
        elif isinstance(recorded, str) and isinstance(ours, str):
            self._learn_text(recorded, ours)

    def _learn_text(self, recorded: str, ours: str) -> None:
        recorded, ours = recorded.partition("?")[0], ours.partition("?")[0]  # queries are signed in some years only
        parts, others = _PART.findall(self.text(recorded)), _PART.findall(ours)
        if len(parts) != len(others):
            return
        for part, other in zip(parts, others, strict=True):
            is_made_up = _MADE_UP.fullmatch(part) and not _ZEROS.fullmatch(part)
            if part != other and is_made_up and part not in self._certain:
                self._ours.setdefault(part, other)


def is_replaced(name: str) -> bool:
    """Whether a name is one that was put in the place of another, and may stand for several."""
    return _ZEROS.fullmatch(name) is not None and len(name) > 8
