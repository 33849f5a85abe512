"""Checks of the MLflow servers that MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI name, without importing MLflow.

Nothing is written: that runs may be created is seen by a request without a name, which a server refuses as such only
after it has let the user in.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from http.client import HTTPException
from importlib.metadata import version
from urllib.parse import urlsplit

from flows.cli.doctor.findings import Finding, Status, fail, ok, skip, warn
from flows.cli.doctor.network import way_remedy
from flows.errors import ServerFault, ServiceError, SettingsError
from flows.mlflow_store.access import MlflowRequests, fault_of_server, servers_of, silent_server
from flows.mlflow_store.places import MlflowPlace, mlflow_place
from flows.settings import Settings

SECONDS = 10.0
SERVE = "Start it with --serve-artifacts and --artifacts-destination, or with --default-artifact-root on storage"


async def check_mlflow(settings: Settings) -> list[Finding]:
    """Ask the MLflow servers that a run would use: reachable, version, sign-in, writing, artifacts."""
    try:
        place = mlflow_place(settings)
    except SettingsError as error:
        return [fail("mlflow", str(error)), skip("artifacts", "mlflow failed")]
    if not place.is_server:
        where = "the local state" if place.is_own else str(place)
        return [ok("mlflow", f"runs and models are kept in {where}"), ok("artifacts", str(settings.mlflow_artifacts))]
    servers = servers_of(place)
    found = await asyncio.to_thread(lambda: [finding for uri in servers for finding in _server(uri, place)])
    if any(finding.status is Status.FAIL for finding in found):
        return [*found, skip("artifacts", "mlflow failed")]
    return [*found, await asyncio.to_thread(_artifacts_of, place)]


def _server(uri: str, place: MlflowPlace) -> Iterator[Finding]:
    """What is to be said of a server: the first fault, or its version."""
    server = MlflowRequests(uri, place, SECONDS)
    fault = fault_of_server(server, place)
    if fault is not None:
        yield _failed(uri, fault)
        return
    try:
        told = server.get("/version")
        create = server.post("/api/2.0/mlflow/experiments/create", {})
    except (OSError, HTTPException) as error:
        yield _failed(uri, silent_server(error))
        return
    if create.status in (401, 403, 405):
        said = f"{uri} does not let us create experiments and runs: {create.status}"
        yield fail("mlflow", said, "Ask who runs it for the permission to edit")
    else:
        yield _version(uri, told.text.strip() if told.status == 200 else "")


def _failed(uri: str, fault: ServerFault) -> Finding:
    """A fault of a server, with what to do about the network if that is to blame."""
    remedy = way_remedy(fault.does, os.environ) if fault.error is ServiceError else ""
    return fail("mlflow", f"{uri} {fault.does}", remedy or fault.remedy, fault.command)


def _version(uri: str, theirs: str) -> Finding:
    ours = version("mlflow")
    if not theirs or theirs.split(".")[0] == ours.split(".")[0]:
        return ok("mlflow", f"{uri}, MLflow {theirs or 'of a version that it does not tell'}")
    told = f"{uri} is MLflow {theirs}, and this client {ours}"
    return warn("mlflow", told, f"Have the server run MLflow {ours}")


def _artifacts_of(place: MlflowPlace) -> Finding:
    """Where the server has runs keep their artifacts, and whether it serves them."""
    ask = MlflowRequests(place.tracking, place, SECONDS)
    try:
        served = ask.get("/api/2.0/mlflow-artifacts/artifacts?path=")
        default = ask.get("/api/2.0/mlflow/experiments/get?experiment_id=0")
    except (OSError, HTTPException) as error:
        return fail("artifacts", f"{place.tracking} {silent_server(error).does}")
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
