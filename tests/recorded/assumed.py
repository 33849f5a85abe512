"""What a recording takes for granted, put into the service just before the request that needs it.

A recording begins in a workspace that has computes, assets, jobs and blobs, and while it goes on jobs run. None of that
is in the recording but by the answers: what was answered 200 was there, and a job had the status that was told. What is
put there has the service's own form, so that the form of its answer is not that of the recording.
"""

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.azure_ml_service.faults import EndpointFault
from tests.azure_ml_service.identity import make_token
from tests.azure_ml_service.jobs import TERMINAL, ended_properties, mark_reused, new_child, new_job, started_properties
from tests.azure_ml_service.messages import Json, Refused, Request
from tests.azure_ml_service.operations import CHANGES
from tests.azure_ml_service.service import Service
from tests.azure_ml_service.state import now
from tests.recorded.recording import Entry

_ASSET = re.compile(r".*/(codes|data|environments|components|models)/([^/]+)(?:/versions(?:/([^/]+))?)?", re.IGNORECASE)
_REFERENCE = re.compile(r"/(codes|components|computes|data|models)/([\w.-]+)(?:/versions/([\w.-]+))?\"")
_NEEDED: dict[str, Json] = {
    "codes": {"codeUri": "azureml://datastores/workspaceblobstore/paths/assumed/code"},
    "data": {"dataType": "uri_folder", "dataUri": "azureml://datastores/workspaceblobstore/paths/assumed/data"},
    "environments": {"image": "assumed"},
    "components": {"componentSpec": {"type": "command", "command": "true", "environment": "azureml:assumed:1"}},
    "models": {"modelType": "custom_model", "modelUri": "azureml://datastores/workspaceblobstore/paths/assumed/model"},
}
_SERVED = re.compile(r"/(codes|environments|models)/([\w.-]+)/versions/([\w.-]+)\"")
_SHORT = re.compile(r"azureml:([\w.-]+):([\w.-]+)")
_ENDPOINT = re.compile(r".*/((?:online|batch)Endpoints)/([^/]+)(/deployments(?:/([^/]+))?)?.*")
_PATIENCE_SECONDS = 5.0  # a change of an endpoint takes some hundredths
_A_PIPELINE: Json = {"jobType": "Pipeline", "jobs": {}, "computeId": "/computes/assumed"}
_ONLY_TOLD = frozenset({"status", "services", "provisioningState", "stage", "flavors", "jobName"})


class NothingRuns:
    """Stands in for what runs jobs: commands of a recording are never executed."""

    def submit(self, name: str) -> None:
        """Leave the job as it is."""

    def cancel(self, name: str) -> None:
        """Leave the job as it is."""


class Assumed:
    """Puts into a service what the recorded answers say was there."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._documents = service.documents

    def prepare(self, request: Request, entry: Entry) -> None:
        """See to it that a request finds what it found when it was recorded."""
        path, method, is_done = request.path, request.method, entry.status < 300
        body: Json = entry.body if isinstance(entry.body, dict) else {}
        if ".blob." in request.host:
            self._blob(request, entry)
        elif match := re.fullmatch(r".*/computeOperationsStatus/([^/]+)", path):
            self._making(match[1], body.get("status"))
        elif "/datastores/" in path:
            self._datastore(entry, body)
        elif match := re.fullmatch(r".*/computes/([^/]+)", path):
            if is_done and (method != "PUT" or entry.status == 200):
                self._service.computes.add(match[1])
        elif match := re.fullmatch(r".*/jobs/([^/]+)(/cancel)?", path):
            self._job(request, entry, match[1], body)
        elif match := re.fullmatch(r".*/mfeOperationsStatus/[^/]*:([^/:]+)", path):
            self._operation(match[1], body.get("status"))
        elif match := _ENDPOINT.fullmatch(path):
            self._endpoint(request, entry, match, body)
        elif match := re.fullmatch(r".*/mfeOperationResults/jc:[^/]*:([^/:]+)", path):
            self._status(match[1], "CancelRequested" if entry.status == 202 else "Canceled")
        elif "/history/" in path and is_done:
            self._history(request, body)
        elif (match := _ASSET.fullmatch(path)) and is_done:
            self._asset(request, entry, match[1].lower(), match[2], match[3], body)

    def _datastore(self, entry: Entry, body: Json) -> None:
        """Whether the storage goes by identity, as its credentials tell, and that there are no secrets of it."""
        told = ((body.get("properties") or {}).get("credentials") or {}).get("credentialsType")
        if told == "None" or (entry.status == 400 and entry.path.endswith("/listSecrets")):
            self._service.arm.by_identity = True

    def _making(self, operation: str, told: str | None) -> None:
        """A compute target that is still in the making, or made, as was told."""
        for name in self._documents.keys("computeOperations"):
            with self._documents.change("computeOperations", name) as making:
                if making["operation"] == operation:
                    making["looks"] = 1 if told == "InProgress" else 0

    # Assets

    def _asset(self, request: Request, entry: Entry, kind: str, name: str, version: str | None, body: Json) -> None:
        if request.method == "PUT" and version is not None:
            if entry.status == 200 and self._documents.get(kind, f"{name}:{version}") is None:
                self._place_of_model(kind, request.json.get("properties") or {})
                self._service.answer(request)
            self._place_of_model(kind, (request.json.get("properties") or {}))
        elif request.method == "GET" and version is not None:
            self._version(kind, name, version, body.get("properties"))
        elif request.method == "GET" and "hash" in request.query:
            if body.get("value") and not any(
                (code["properties"].get("properties") or {}).get("hash_sha256") == request.query["hash"]
                for code in self._documents.all("codes")
            ):
                hashes = {"hash_sha256": request.query["hash"], "hash_version": request.query.get("hashVersion", "")}
                self._version("codes", "assumed", request.query["hash"], {"properties": hashes})
        elif request.method == "GET" and not any(key.rpartition(":")[0] == name for key in self._documents.keys(kind)):
            listed: list[Json] = body.get("value") or [{"name": (body.get("properties") or {}).get("latestVersion")}]
            for found in reversed(listed):
                self._version(kind, name, found.get("name") or "1", found.get("properties"))
            if body.get("nextLink"):
                self._version(kind, name, "assumed", listed[0].get("properties"))

    def _version(self, kind: str, name: str, version: str, told: Json | None = None) -> None:
        if self._documents.get(kind, f"{name}:{version}") is not None:
            return
        properties = {key: value for key, value in (told or {}).items() if value and key not in _ONLY_TOLD}
        properties = {**_NEEDED[kind], **properties}
        self._place_of_model(kind, properties)
        self._service.arm.keep(kind, name, version, properties)

    def _place_of_model(self, kind: str, properties: Json) -> None:
        if kind != "models" or not properties.get("modelUri"):
            return
        try:
            path = self._service.arm.path_of(self._service.arm.long_uri(properties["modelUri"]))
        except Refused:
            properties["modelUri"] = _NEEDED["models"]["modelUri"]
            path = self._service.arm.path_of(properties["modelUri"])
        if not path.exists():
            path.mkdir(parents=True)
            (path / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")

    # Jobs

    def _job(self, request: Request, entry: Entry, name: str, body: Json) -> None:
        if request.method == "PUT" and entry.status < 300:
            for kind, asset, version in _REFERENCE.findall(request.body.decode()):
                if kind == "computes":
                    self._service.computes.add(asset)
                elif version:
                    self._version(kind, asset, version)
            if entry.status == 200 and self._documents.get("jobs", name) is None:
                self._service.answer(request)
        elif request.method == "GET" and entry.status == 200:
            told: Json | None = body.get("properties")
            self._ensure_job(name, told)
            if told:
                self._status(name, told.get("status") or "Running")
        elif request.path.endswith("/cancel"):
            self._ensure_job(name, None)
            self._status(name, "Completed" if entry.status >= 400 else "Running")

    def _ensure_job(self, name: str, told: Json | None) -> None:
        if self._documents.get("jobs", name) is not None:
            return
        if told is None:  # a child, which has no properties
            told, parent = _A_PIPELINE, f"above-{name}"
            self._documents.put("jobs", parent, new_job(parent, told))
            self._child(parent, name, {"displayName": "assumed"})
            return
        submitted = {key: value for key, value in told.items() if value is not None and key not in _ONLY_TOLD}
        (submitted.get("outputs") or {}).pop("default", None)
        job = new_job(name, submitted)
        if "azureml.batchrun" in job["tags"]:
            job["batch_endpoint"] = told.get("experimentName")
        self._documents.put("jobs", name, job)

    def _status(self, name: str, status: str) -> None:
        if self._documents.get("jobs", name) is None:
            return
        with self._documents.change("jobs", name) as job:
            job["status"] = status
            if status not in ("NotStarted", "Starting", "Preparing"):
                job["started"] = job["started"] or now()
                job["properties"] |= {} if job["parent"] or job.get("batch_endpoint") else started_properties(job)
                if job["submitted"].get("jobType") != "Pipeline":
                    job["tags"] |= {"_aml_system_ComputeTargetStatus": json.dumps({"AllocationState": "steady"})}
            if status in TERMINAL:
                job["ended"] = job["ended"] or now()
                job["properties"] |= ended_properties(job)

    def _child(self, parent: str, name: str, run: Json) -> None:
        code = "assumed" if (run.get("properties") or {}).get("ContentSnapshotId") else None
        if self._documents.get("jobs", name) is not None:
            if code is not None:
                with self._documents.change("jobs", name) as known:
                    known["properties"].setdefault("ContentSnapshotId", code)
            return
        above = self._documents.get("jobs", parent)
        assert above is not None
        step = str(run.get("displayName"))
        node: Json = (above["submitted"].get("jobs") or {}).get(step) or {}
        node.setdefault("componentId", f"{self._service.workspace.path}/components/azureml_anonymous/versions/assumed")
        child = new_child(name, node, above, step, code)
        if (run.get("properties") or {}).get("azureml.isreused"):
            earlier = new_child(str(uuid.uuid5(uuid.NAMESPACE_URL, name)), node, above, step, code)
            mark_reused(child, earlier)
        if run.get("error"):
            child["error"] = {"code": "UserError", "message": "assumed"}
        self._documents.put("jobs", name, child)
        self._status(name, run.get("status") or "Completed")

    def _history(self, request: Request, body: Json) -> None:
        run: Json = body.get("runMetadata") or body
        if match := re.fullmatch(r".*/runs/([^/]+)/children", request.path):
            self._ensure_job(match[1], _A_PIPELINE)
            for child in body.get("value") or []:
                self._child(match[1], child["runId"], child)
            return
        match = re.fullmatch(r".*/runs/([^/]+)(/details)?", request.path)
        name = match[1] if match else request.json.get("runId") if request.path.endswith("/rundata") else None
        if name is None:
            return
        if parent := run.get("parentRunId"):
            self._ensure_job(parent, _A_PIPELINE)
            self._child(parent, name, run)
        else:
            pipeline = run.get("runType") == "azureml.PipelineRun"
            self._ensure_job(name, _A_PIPELINE if pipeline else {"jobType": "Command"})
        self._status(name, run.get("status") or "Completed")
        with self._documents.change("jobs", name) as job:
            if run.get("error") and not job["error"]:
                job["error"] = {"code": "UserError", "message": "assumed"}
            for output in run.get("outputs") or {}:
                uri = f"azureml://datastores/workspaceblobstore/paths/azureml/{name}/{output}/"
                job["outputs"].setdefault(output, {"type": "uri_folder", "uri": uri})

    # Endpoints

    def _operation(self, operation: str, told: str | None) -> None:
        """An operation that has come as far as was told. What it works on is waited for."""
        if told is None:
            return
        if told not in CHANGES:
            self._until(lambda: (self._documents.get("operations", operation) or {}).get("status") not in CHANGES)
        found = self._documents.get("operations", operation) or {"startTime": now()}
        ended = {"endTime": None if told in CHANGES else found.get("endTime") or now()}
        error = {} if told != "Succeeded" else {"error": None}
        self._documents.put("operations", operation, {**found, "status": told, **ended, **error})

    def _endpoint(self, request: Request, entry: Entry, match: re.Match[str], body: Json) -> None:
        kind, name, deployment = match[1], match[2], match[4]
        deployments = kind.replace("Endpoints", "Deployments")
        key = f"{name}/{deployment}" if deployment else name
        of = deployments if deployment else kind
        if entry.status == 404:
            self._until(lambda: not self._changes(of, key))
            self._documents.remove(of, key)
        elif request.method == "PUT" and deployment and entry.status < 300:
            if self._documents.get(kind, name) is None:
                self._make_endpoint(kind, name, {})
            for referred, asset, version in _SERVED.findall(request.body.decode()):
                self._version(referred, asset, version)
            if environment := _SHORT.fullmatch(str(request.json["properties"].get("environmentId"))):
                self._version("environments", environment[1], environment[2])
            if compute := request.json["properties"].get("compute"):
                self._service.computes.add(str(compute).rpartition("/")[2])
            self._service.faults.add(EndpointFault("fail", name, deployment))  # nothing that was recorded is run
        elif request.method != "PUT" and entry.status < 300:
            if self._documents.get(kind, name) is None:
                self._make_endpoint(kind, name, {} if match[3] else body)
            if (told := body.get("properties") or {}).get("traffic"):
                with self._documents.change(kind, name) as endpoint:
                    endpoint["properties"]["traffic"] = told["traffic"]
            if (described := (body.get("properties") or {}).get("description")) and not match[3]:
                with self._documents.change(kind, name) as endpoint:
                    endpoint["properties"]["description"] = described
            for made in body.get("value") or ([body] if deployment and body else []):
                self._make_deployment(kind, name, made)
            if (body.get("properties") or {}).get("provisioningState") not in CHANGES:
                self._until(lambda: not self._changes(of, key))

    def _make_endpoint(self, kind: str, name: str, told: Json) -> None:
        given: Json = told.get("properties") or {}
        properties = {"authMode": given.get("authMode") or "AMLToken", "description": given.get("description")}
        sent = json.dumps({"location": "westeurope", "properties": properties}).encode()
        address = f"{self._service.workspace.path}/{kind}/{name}"
        headers = {"Authorization": f"Bearer {make_token('https://management.azure.com')}"}
        asked = Request.read("PUT", "management.azure.com", f"{address}?api-version=2023-10-01", headers, sent)
        self._service.answer(asked)
        self._until(lambda: not self._changes(kind, name))

    def _make_deployment(self, kind: str, endpoint: str, told: Json) -> None:
        key = f"{endpoint}/{told['name']}"
        deployments = kind.replace("Endpoints", "Deployments")
        if self._documents.get(deployments, key) is not None:
            return
        given: Json = {name: value for name, value in told["properties"].items() if name not in _ONLY_TOLD}
        if kind == "onlineEndpoints":
            made = self._service.online.new_deployment(endpoint, told["name"], {**told, "properties": given}, None)
        else:
            made = self._service.batch.new_deployment(endpoint, told["name"], {**told, "properties": given}, None)
        made["properties"]["provisioningState"] = "Succeeded"
        self._documents.put(deployments, key, made)

    def _changes(self, kind: str, key: str) -> bool:
        found = self._documents.get(kind, key)
        return found is not None and found["properties"]["provisioningState"] in CHANGES

    def _until(self, settled: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not settled() and time.monotonic() < end:
            time.sleep(0.01)

    # Blobs

    def _blob(self, request: Request, entry: Entry) -> None:
        container, _, name = request.path.strip("/").partition("/")
        blobs = self._service.blobs
        if not container or ".." in request.path:
            return
        folder = blobs.path(container, "")
        folder.mkdir(parents=True, exist_ok=True)
        if not name:
            listed = isinstance(entry.body, dict) and (entry.body.get("EnumerationResults") or {}).get("Blobs")
            if listed and request.query.get("comp") == "list":
                path = blobs.path(container, f"{request.query.get('prefix', '')}assumed")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"blob")
            return
        path = blobs.path(container, name)
        if request.method in ("GET", "HEAD") and entry.status in (200, 206, 416) and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\0" * min(int(_length(entry)), 4096))
            told = {header.removeprefix("x-ms-meta-"): "assumed" for header in entry.headers if "x-ms-meta-" in header}
            self._documents.put("blob-metadata", f"{container}/{name}", told)
        elif entry.status == 404 or (request.method == "PUT" and entry.status == 201):
            path.unlink(missing_ok=True)


def _length(entry: Entry) -> str:
    whole = entry.headers.get("content-range", "").rpartition("/")[2] or entry.headers.get("content-length", "1")
    return whole if whole.isdecimal() else "1"


def sent_bytes(entry: Entry) -> bytes:
    """The body that was sent; bytes of a blob, which are nobody's business here, by a stand-in."""
    sent: Any = entry.sent
    if ".blob." in entry.host:
        return b"" if sent is None else b"blob"
    if sent is None:
        return b""
    return sent.encode(errors="replace") if isinstance(sent, str) else json.dumps(sent).encode()
