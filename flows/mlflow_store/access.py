"""Access to MLflow servers: whether they answer, let us in, and are MLflow servers at all.

Asked by one quick request before MLflow and Prefect are imported; a worker would find out half a minute later. No
message has a credential in it.
"""

import base64
import configparser
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from flows.errors import ServerFault, ServiceError, SettingsError
from flows.mlflow_store.places import PASSWORD, REGISTRY, TRACKING, USERNAME, MlflowPlace, is_http, sign_in_variables

SECONDS = 6.0  # to connect, and then to answer
_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"  # in seconds: what a person has set for a slow server
_TRUE = ("true", "1")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SIGN_IN = f"Set {USERNAME} and {PASSWORD}, or MLFLOW_TRACKING_TOKEN"
_SET_BOTH = f"export {USERNAME}=NAME {PASSWORD}=PASSWORD"


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """An HTTP status and a text; the text is empty where the status is an error."""

    status: int
    text: str


class MlflowRequests:
    """Requests to one server, signed in to as MLflow's client would.

    Raises:
        OSError: (each method) It does not answer, or a file of a certificate cannot be read.
        HTTPException: (each method) It answers with something else than HTTP.
    """

    def __init__(self, uri: str, place: MlflowPlace, seconds: float = SECONDS) -> None:
        self.uri = uri
        self._variables = sign_in_variables(place)
        self._seconds = seconds

    @property
    def signs_in_otherwise(self) -> bool:
        """Whether MLflow's client may sign in by what is not used here: a plugin, AWS's signature, or ``.netrc``."""
        plugins = self._variables.get("MLFLOW_TRACKING_AUTH"), self._variables.get("MLFLOW_TRACKING_AWS_SIGV4")
        netrc = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
        return any(plugins) or netrc.is_file()

    def get(self, path: str) -> ServerAnswer:
        """Ask for a path."""
        return self._ask(urllib.request.Request(f"{self.uri}{path}"))

    def post(self, path: str, body: Mapping[str, object]) -> ServerAnswer:
        """Send JSON to a path."""
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(f"{self.uri}{path}", data, headers, method="POST"))

    def search(self) -> ServerAnswer:
        """Ask for one experiment."""
        return self.post("/api/2.0/mlflow/experiments/search", {"max_results": 1})

    def _ask(self, request: urllib.request.Request) -> ServerAnswer:
        if header := _authorization(self._variables):
            request.add_unredirected_header("Authorization", header)
        try:
            with self._opener().open(request, timeout=self._seconds) as answer:
                return ServerAnswer(answer.status, answer.read(1 << 20).decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                return ServerAnswer(error.code, "")

    def _opener(self) -> urllib.request.OpenerDirector:
        parts, handlers = urlsplit(self.uri), list[urllib.request.BaseHandler]()
        if parts.hostname in _LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        if parts.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=self._trust()))
        return urllib.request.build_opener(*handlers)

    def _trust(self) -> ssl.SSLContext:
        """Whom MLflow's client trusts, as far as variables say it."""
        named = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        given = next(filter(None, (self._variables.get(name) or os.environ.get(name) for name in named)), None)
        is_folder = given is not None and Path(given).is_dir()
        context = ssl.create_default_context(cafile=None if is_folder else given, capath=given if is_folder else None)
        if self._variables.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in _TRUE:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate := self._variables.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
            context.load_cert_chain(certificate)
        return context


def check_mlflow_servers(place: MlflowPlace) -> None:
    """See that the servers which keep runs and models can be used; no request where there is none.

    Raises:
        ServiceError: One does not answer, or is out of order.
        SettingsError: It does not let us in, or there is no MLflow server at that address.
    """
    given = os.environ.get(_TIMEOUT, "")
    seconds = float(given) if given.isdecimal() else SECONDS
    for uri in servers_of(place):
        fault = fault_of_server(MlflowRequests(uri, place, seconds), place)
        if fault is not None and fault.certain:
            raise fault.raised(f"The MLflow server {uri}")


def servers_of(place: MlflowPlace) -> tuple[str, ...]:
    """The addresses of the servers that keep runs or models; empty where files of this machine do."""
    return tuple(uri for uri in dict.fromkeys((place.tracking, place.registry)) if is_http(uri))


def fault_of_server(server: MlflowRequests, place: MlflowPlace) -> ServerFault | None:
    """Ask a server for an experiment: why it cannot be used; None if it can. Writes nothing."""
    variable = TRACKING if server.uri == place.tracking else REGISTRY
    try:
        answer = server.search()
    except (OSError, HTTPException, ValueError) as error:
        return silent_server(error, variable)
    status = answer.status
    if status == 401:
        return ServerFault(
            "does not let us in: 401", _SIGN_IN, _SET_BOTH, SettingsError, certain=not server.signs_in_otherwise
        )
    if status == 403:
        does = "lets nobody with this sign-in read experiments: 403"
        return ServerFault(does, "Ask who runs it", "", SettingsError, certain=not server.signs_in_otherwise)
    if status >= 500 or status == 429:
        return ServerFault(f"is out of order: status {status}", "See its log", "", ServiceError)
    if status != 200 or not _is_object(answer.text):
        return ServerFault(f"is no MLflow server: status {status}", f"Correct {variable}", "", SettingsError)
    return None


def silent_server(error: Exception, variable: str = TRACKING) -> ServerFault:
    """That the server which a variable names does not answer, and why."""
    cause = getattr(error, "reason", error)
    said = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    remedy, command = "Start that server, or go without one", f"unset {variable}"
    return ServerFault(
        f"does not answer: {said}", remedy, command, ServiceError, certain=not isinstance(cause, ssl.SSLError)
    )


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _authorization(variables: Mapping[str, str]) -> str:
    """The header that signs in: from the variables, or from the file where ``mlflow`` keeps a name and a password."""
    kept = configparser.ConfigParser(interpolation=None)
    with suppress(OSError, ValueError, configparser.Error):
        kept.read(Path("~/.mlflow/credentials").expanduser(), encoding="utf-8")
    name, password = (variables.get(each) or kept.get("mlflow", each, fallback="") for each in (USERNAME, PASSWORD))
    if name and password:
        return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    token = variables.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else ""
