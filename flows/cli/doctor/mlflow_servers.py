"""Checks of the MLflow servers that MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI name, without importing MLflow.

Nothing is written: that runs may be created is seen by a request without a name, which a server refuses as such only
after it has let the user in.
"""

import asyncio
import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urlsplit

from flows.cli.doctor.findings import Finding, Status, fail, ok, skip, warn
from flows.cli.doctor.network import way_remedy
from flows.errors import SettingsError
from flows.mlflow_store.places import MlflowPlace, is_http, mlflow_place, sign_in_variables
from flows.settings import Settings

SECONDS = 10.0
SIGN_IN = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
SERVE = "Start it with --serve-artifacts and --artifacts-destination, or with --default-artifact-root on storage"
_TRUE = ("true", "1")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str


async def check_mlflow(settings: Settings) -> list[Finding]:
    """Ask the MLflow servers that a run would use: reachable, version, sign-in, writing, artifacts."""
    try:
        place = mlflow_place(settings)
    except SettingsError as error:
        return [fail("mlflow", str(error)), skip("artifacts", "mlflow failed")]
    if not place.is_server:
        where = "the local state" if place.is_own else str(place)
        return [ok("mlflow", f"runs and models are kept in {where}"), ok("artifacts", str(settings.mlflow_artifacts))]
    servers = [uri for uri in dict.fromkeys((place.tracking, place.registry)) if is_http(uri)]
    found = await asyncio.to_thread(lambda: [finding for uri in servers for finding in _server(uri, place)])
    if any(finding.status is Status.FAIL for finding in found):
        return [*found, skip("artifacts", "mlflow failed")]
    return [*found, await asyncio.to_thread(_artifacts_of, place)]


def _server(uri: str, place: MlflowPlace) -> Iterator[Finding]:
    """What is to be said of a server: the first fault, or its version."""
    ask = _Asking(uri, sign_in_variables(place))
    try:
        told = ask.get("/version")
        search = ask.post("/api/2.0/mlflow/experiments/search", {"max_results": 1})
        create = ask.post("/api/2.0/mlflow/experiments/create", {})
    except OSError as error:
        said = str(getattr(error, "reason", error)) or type(error).__name__
        remedy = way_remedy(said, os.environ) or "Start that server, or correct MLFLOW_TRACKING_URI"
        yield fail("mlflow", f"{uri} does not answer: {said}", remedy, "unset MLFLOW_TRACKING_URI")
        return
    if search.status == 401:
        yield fail("mlflow", f"{uri} does not let us in: 401", SIGN_IN)
    elif search.status == 403:
        yield fail("mlflow", f"{uri} lets nobody with this sign-in read experiments: 403", "Ask who runs it")
    elif search.status != 200:
        said = f"{uri} is no MLflow server, or is out of order: status {search.status}"
        yield fail("mlflow", said, "Correct MLFLOW_TRACKING_URI, or see its log")
    elif create.status in (401, 403, 405):
        said = f"{uri} does not let us create experiments and runs: {create.status}"
        yield fail("mlflow", said, "Ask who runs it for the permission to edit")
    else:
        yield _version(uri, told.text.strip() if told.status == 200 else "")


def _version(uri: str, theirs: str) -> Finding:
    ours = version("mlflow")
    if not theirs or theirs.split(".")[0] == ours.split(".")[0]:
        return ok("mlflow", f"{uri}, MLflow {theirs or 'of a version that it does not tell'}")
    told = f"{uri} is MLflow {theirs}, and this client {ours}"
    return warn("mlflow", told, f"Have the server run MLflow {ours}")


def _artifacts_of(place: MlflowPlace) -> Finding:
    """Where the server has runs keep their artifacts, and whether it serves them."""
    ask = _Asking(place.tracking, sign_in_variables(place))
    try:
        served = ask.get("/api/2.0/mlflow-artifacts/artifacts?path=")
        default = ask.get("/api/2.0/mlflow/experiments/get?experiment_id=0")
    except OSError as error:
        return fail("artifacts", f"{place.tracking} does not answer: {error}")
    root = ""
    if default.status == 200:
        root = str(json.loads(default.text).get("experiment", {}).get("artifact_location") or "")
    scheme = urlsplit(root).scheme
    if scheme in ("", "file") and root:
        told = f"{place.tracking} has runs keep their artifacts in a folder of its own machine, {root}"
        return fail("artifacts", f"{told}, and serves none", SERVE)
    if served.status == 200 or scheme not in ("", "mlflow-artifacts", "http", "https"):
        return ok("artifacts", f"served by {place.tracking}" if served.status == 200 else f"kept in {root}")
    return fail("artifacts", f"{place.tracking} serves no artifacts: status {served.status}", SERVE)


class _Asking:
    """Requests to one server, signed in to as MLflow's client would."""

    def __init__(self, uri: str, variables: Mapping[str, str]) -> None:
        self._uri = uri
        self._headers = {"Content-Type": "application/json", **_authorization(variables)}
        context = ssl.create_default_context(cafile=variables.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
        if variables.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in _TRUE:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate := variables.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
            context.load_cert_chain(certificate)
        self._open = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context)).open

    def get(self, path: str) -> _Answer:
        return self._ask(urllib.request.Request(f"{self._uri}{path}", headers=self._headers))

    def post(self, path: str, body: Mapping[str, object]) -> _Answer:
        data = json.dumps(body).encode()
        return self._ask(urllib.request.Request(f"{self._uri}{path}", data, self._headers, method="POST"))

    def _ask(self, request: urllib.request.Request) -> _Answer:
        try:
            with self._open(request, timeout=SECONDS) as answer:
                return _Answer(answer.status, answer.read(1 << 20).decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, "")


def _authorization(variables: Mapping[str, str]) -> Mapping[str, str]:
    name, password = (variables.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    if name and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
    token = variables.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
