"""A service that plays back answers to the unmodified SDK, over the proxy and the TLS of the loopback service.

Tokens, the workspace and its storage are there from the start; every other answer is given by the test.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.azure_ml_service.arm import Workspace
from tests.azure_ml_service.blobs import Blobs
from tests.azure_ml_service.certificates import authority_file, server_context
from tests.azure_ml_service.identity import CLIENT, SECRET, TENANT, Identity
from tests.azure_ml_service.messages import Answer, Json, Refused, Request, Route
from tests.azure_ml_service.proxy import Proxy
from tests.azure_ml_service.state import Documents
from tests.engines.azureml.recorded.answers import datastore, discovery, nothing, secrets, told, workspace


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came. ``path`` is what follows the workspace; ``body`` that of a PUT."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Json = field(default_factory=dict[str, object])


class Player:
    """Plays back answers by method and path, in order; the last one of each is repeated."""

    def __init__(self, folder: Path, tls: Path) -> None:
        self.workspace = Workspace("00000000-0000-0000-0000-00000000abcd", "lab-rg", "lab")
        self.asked: list[Asked] = []
        self.unplayed: list[str] = []
        self.blobs = Blobs(folder / "blobs", Documents(folder / "documents"))
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str], list[Answer]] = {}
        self._routes: list[Route] = [*Identity().routes(), *self.blobs.routes()]
        self._proxy = Proxy(0, server_context(tls), self._respond)
        self._authority = authority_file(tls)
        self._thread = threading.Thread(target=self._proxy.serve_forever, name="player", daemon=True)
        self.play("GET", "", told(workspace(self.workspace)))
        self.play("GET", "/datastores/workspaceblobstore", told(datastore(self.workspace)))
        self.play("GET", "/datastores", told({"value": [datastore(self.workspace)]}))
        self.play("POST", "/datastores/workspaceblobstore/listSecrets", told(secrets()))

    def play(self, method: str, path: str, *answers: Answer) -> None:
        """Give the answers to a method and a path, a pattern of what follows the workspace; those before are forgotten.

        Of what is not of the workspace, such as what a region has, it is a pattern of the whole path.
        """
        with self._lock:
            self._answers[method, path] = list(answers)

    def count(self, method: str, path: str) -> int:
        """How many requests matched: a method, and a pattern of the whole path after the workspace."""
        return sum(one.method == method and re.fullmatch(path, one.path) is not None for one in self.asked)

    def body(self, path: str) -> Json:
        """The body of the last PUT to a path after the workspace, a pattern."""
        return [one.body for one in self.asked if one.method == "PUT" and re.fullmatch(path, one.path)][-1]

    def start(self) -> "Player":
        """Listen on loopback."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening."""
        self._proxy.shutdown()
        self._proxy.server_close()
        self._thread.join(10)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client takes the player for Azure."""
        proxy = f"http://127.0.0.1:{self._proxy.server_address[1]}"
        return {
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
            "REQUESTS_CA_BUNDLE": str(self._authority),
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_CLIENT_SECRET": SECRET,
            "AZUREML_ARM_SUBSCRIPTION": self.workspace.subscription,
            "AZUREML_ARM_RESOURCEGROUP": self.workspace.resource_group,
            "AZUREML_ARM_WORKSPACE_NAME": self.workspace.name,
        }

    def _respond(self, request: Request) -> Answer | None:
        _, is_of_workspace, rest = request.path.partition(f"/workspaces/{self.workspace.name}")
        if request.path == "/discovery":
            return told(discovery())
        if is_of_workspace:
            return self._played(request, rest) or self._unplayed(request)
        for way in self._routes:
            found = way.path.fullmatch(request.path) if way.host.fullmatch(request.host) else None
            if found is not None and re.fullmatch(way.method, request.method):
                try:
                    return way.handler(request, **found.groupdict())
                except Refused as refused:
                    return refused.answer
        return self._played(request, request.path) or self._unplayed(request)

    def _played(self, request: Request, path: str) -> Answer | None:
        body = request.json if request.method == "PUT" else {}
        with self._lock:
            self.asked.append(Asked(request.method, path, request.query, body))
            for (method, pattern), answers in self._answers.items():
                if method == request.method and re.fullmatch(pattern, path):
                    return answers.pop(0) if len(answers) > 1 else answers[0]
        return None

    def _unplayed(self, request: Request) -> Answer:
        self.unplayed.append(f"{request.method} https://{request.host}{request.path}")
        return nothing(501)
