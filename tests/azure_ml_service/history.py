"""The data planes on *.api.azureml.ms: run history, artifacts of runs, addresses of data."""

import re
import uuid
from datetime import datetime, timedelta

from tests.azure_ml_service.arm import API, LOCATION, WORKSPACE_GUID, Arm
from tests.azure_ml_service.blobs import DATASTORES, Blobs
from tests.azure_ml_service.identity import CLIENT, TENANT
from tests.azure_ml_service.jobs import children_of
from tests.azure_ml_service.messages import API_HOST, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.state import Documents

_MODEL_TYPES = {"mlflow_model": "MLFlowModel", "custom_model": "CustomModel", "triton_model": "TritonModel"}
_TYPES = {"uri_folder": "UriFolder", "uri_file": "UriFile", "mltable": "MLTable", **_MODEL_TYPES}
_NULL = (
    *("token", "tokenExpiryTimeUtc", "warnings", "lastStartTimeUtc", "currentComputeTime", "effectiveStartTimeUtc"),
    *("cancelationReason", "description", "scriptName", "runDefinition", "jobSpecification"),
    *("primaryMetricName", "createdFrom", "completeUri", "diagnosticsUri", "computeRequest", "compute"),
    *("retainForLifetimeOfWorkspace", "queueingInfo", "inputs", "outputs"),
)
_WHO = {
    **dict.fromkeys(("userIdp", "userAltSecId", "upn")),
    "userPuId": CLIENT,
    "userIss": f"https://sts.windows.net/{TENANT}/",
    "userObjectId": CLIENT,
    "userTenantId": TENANT,
    "userName": "Loopback",
}
_TRAITS_OF_STEP = ["azureml.StepRun", "scriptRun", "remote", "AlmostCommonRuntime", "OsType:Linux", "CommonRuntime"]
ARTIFACTS = DATASTORES["workspaceartifactstore"]


def artifact_folder(run: str) -> str:
    """Where the logs and artifacts of a run are in the artifact container."""
    return f"ExperimentRun/dcid.{run}"


class History:
    """Answers for runs: jobs, children of pipelines, and runs that MLflow made."""

    def __init__(self, arm: Arm, documents: Documents, blobs: Blobs) -> None:
        self._arm = arm
        self._documents = documents
        self._blobs = blobs

    def routes(self) -> list[Route]:
        """The routes of this part."""
        history, experiment = "/history/v1.0W", "/history/v1.0W/experiments/{experiment}/runs/{name}"
        return [
            route("GET", API_HOST, f"{history}/runs/{{name}}", self.get),
            route("GET", API_HOST, f"{history}/runs/{{name}}/children", self.children),
            route("GET", API_HOST, f"{history}/runs/{{name}}/details", self.details),
            route("POST", API_HOST, f"{history}/rundata", self.run_data),
            route("PATCH", API_HOST, experiment, self.change),
            route("POST", API_HOST, f"{experiment}/artifacts/batch/metadata", self.make_artifacts),
            route("GET", API_HOST, f"{experiment}/artifacts", self.list_artifacts),
            route("GET", API_HOST, f"{experiment}/artifacts/contentinfo", self.artifact),
            route("POST", API_HOST, "/data/v1.0W/dataversion/batchGetResolvedUris", self.resolve),
        ]

    def _job(self, name: str) -> Json:
        found = self._documents.get("jobs", name)
        if found is None:
            raise Refused(404, "UserError", f"Run {name} was not found")
        return found

    def run(self, job: Json) -> Json:
        """A job as run history shows it, without its outputs, which only ``rundata`` tells."""
        is_pipeline, parent, root = job["submitted"].get("jobType") == "Pipeline", job["parent"], job["root"]
        kind = "azureml.StepRun" if parent else "azureml.PipelineRun" if is_pipeline else "azureml.scriptrun"
        compute = (job["submitted"].get("computeId") or "").rpartition("/")[2]
        cancel = f"https://{API}/studioservice/apiv2{self._arm.workspace.path}/runs/{job['name']}/Cancel"
        duration = _duration(job["started"], job["ended"])
        runs = parent and "azureml.isreused" not in job["properties"]  # a reused step runs nowhere
        return {
            **dict.fromkeys(_NULL),
            "runNumber": 1,
            "revision": 1,
            "statusRevision": 0,
            "runId": job["name"],
            "runUuid": _guid(job["name"]),
            "parentRunId": parent,
            "parentRunUuid": parent and _guid(parent),
            "rootRunId": root,
            "rootRunUuid": _guid(root),
            "experimentId": _guid(job["experiment"]),
            "createdUtc": job["created"],
            "createdBy": _WHO,
            "userId": CLIENT,
            "lastModifiedBy": _WHO,
            "lastModifiedUtc": job["ended"] or job["started"] or job["created"],
            "startTimeUtc": job["started"],
            "endTimeUtc": job["ended"],
            "duration": duration,
            "computeDuration": duration,
            "status": job["status"],
            "error": _error(job),
            "warnings": _warnings(job),
            "displayName": job["display_name"],
            "name": job.get("component"),
            "dataContainerId": f"dcid.{job['container']}",
            "hidden": False,
            "description": job["submitted"].get("description"),
            "retainForLifetimeOfWorkspace": False if is_pipeline else None,
            "runType": kind,
            "runTypeV2": {
                "orchestrator": "Pipeline" if is_pipeline else None,
                "traits": [kind],
                "attribution": None,
                "computeType": None,
            },
            **(_of_step(compute) if runs else {}),
            "tags": job["tags"],
            "properties": job["properties"],
            "parameters": {},
            "settings": {},
            "services": {},
            "actionUris": {"Cancel": cancel, **({"Diagnose": ""} if runs else {})},
            "cancelUri": cancel,
            "target": None if is_pipeline else compute or None,
            "uniqueChildRunComputeTargets": [compute] if is_pipeline and compute else [],
            "inputDatasets": [],
            "outputDatasets": [],
        }

    def _run_data(self, job: Json) -> Json:
        """A job as ``rundata`` shows it: with the assets of its outputs, a pipeline's too."""
        outputs = {
            name: {"assetId": self.asset_id(output), "type": _TYPES.get(output["type"], output["type"])}
            for name, output in job["outputs"].items()
        }
        return {**self.run(job), "inputs": None if job["parent"] else {}, "outputs": outputs or None}

    def asset_id(self, output: Json) -> str:
        """The id of the data (or model) asset that an output is."""
        match = re.search(r"azureml/([^/]+)/([^/]+)/?$", output["uri"])
        name = f"azureml_{match[1]}_output_data_{match[2]}" if match else output["uri"].replace("/", "_")
        kind = "models" if output["type"] in _MODEL_TYPES else "data"
        identifier = f"azureml://locations/{LOCATION}/workspaces/{WORKSPACE_GUID}/{kind}/{name}/versions/1"
        if self._documents.get("output-assets", identifier) is None:
            self._documents.put("output-assets", identifier, output)
        return identifier

    def get(self, request: Request, name: str) -> Answer:
        return Answer.of(self.run(self._job(name)))

    def children(self, request: Request, name: str) -> Answer:
        self._job(name)
        return Answer.of({"value": [self.run(child) for child in children_of(self._documents, name)]})

    def details(self, request: Request, name: str) -> Answer:
        job = self._job(name)
        folder = self._blobs.path(ARTIFACTS, artifact_folder(name))
        logs = {
            path.relative_to(folder).as_posix(): self._blobs.url(
                ARTIFACTS, f"{artifact_folder(name)}/{path.relative_to(folder).as_posix()}"
            )
            for path in sorted(folder.glob("user_logs/*"))
        }
        return Answer.of(
            {
                "runId": name,
                "parentRunId": job["parent"],
                "rootRunId": job["root"],
                "status": job["status"],
                "startTimeUtc": job["started"],
                "endTimeUtc": job["ended"],
                "error": _error(job),
                "properties": job["properties"],
                "logFiles": logs,
                "warnings": [],
            }
        )

    def run_data(self, request: Request) -> Answer:
        told = self._run_data(self._job(request.json["runId"]))
        return Answer.of({"runMetadata": told, "runDefinition": None, "jobSpecification": None})

    def change(self, request: Request, experiment: str, name: str) -> Answer:
        asked = request.json
        with self._documents.lock:
            self._job(name)
            with self._documents.change("jobs", name) as job:
                job["display_name"] = asked.get("displayName") or job["display_name"]
                job["tags"] |= asked.get("tags") or {}
                job["properties"] |= asked.get("properties") or {}
        return Answer.of(self.run(job))

    def resolve(self, request: Request) -> Answer:
        values: Json = {}
        for identifier in request.json["values"]:
            output = self._documents.get("output-assets", identifier)
            if output is not None:
                kind = _TYPES.get(output["type"], output["type"])
                values[identifier] = {"uri": self._arm.long_uri(output["uri"]), "type": kind}
        return Answer.of({"values": values})

    # Artifacts, as azureml-mlflow reads and writes them

    def _content(self, run: str, path: str) -> Json:
        uri = self._blobs.url(ARTIFACTS, f"{artifact_folder(run)}/{path}")
        return {"contentUri": uri, "origin": "ExperimentRun", "container": f"dcid.{run}", "path": path, "tags": {}}

    def make_artifacts(self, request: Request, experiment: str, name: str) -> Answer:
        contents = {entry["path"]: self._content(name, entry["path"]) for entry in request.json["paths"]}
        artifacts = {path: _artifact(name, path) for path in contents}
        return Answer.of({"artifacts": artifacts, "artifactContentInformation": contents, "errors": {}})

    def list_artifacts(self, request: Request, experiment: str, name: str) -> Answer:
        folder = self._blobs.path(ARTIFACTS, artifact_folder(name))
        paths = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
        return Answer.of({"value": [_artifact(name, path) for path in paths]})

    def artifact(self, request: Request, experiment: str, name: str) -> Answer:
        path = request.query["path"]
        if not self._blobs.path(ARTIFACTS, f"{artifact_folder(name)}/{path}").is_file():
            raise Refused(404, "UserError", f"The artifact {path} was not found in dcid.{name}.")
        return Answer.of(self._content(name, path))


def _error(job: Json) -> Json | None:
    """Why a run has failed, as run history tells it: of a step what is not known is null, its time in the year 1."""
    if not job["error"]:
        return None
    unset = ("severity", "messageFormat", "referenceCode", "detailsUri", "target", "innerError", "additionalInfo")
    root = {**dict.fromkeys(unset), "messageParameters": {}, "details": [], **job["error"]}
    around = {**dict.fromkeys(("correlation", "environment", "location")), "time": "0001-01-01T00:00:00+00:00"}
    if job["submitted"].get("jobType") != "Pipeline":
        return {"error": root, **around, "componentName": "CommonRuntime"}
    root |= {"messageFormat": "Pipeline has failed child jobs. {0}", "referenceCode": "PipelineHasStepJobFailed"}
    around |= {"environment": LOCATION, "location": LOCATION, "time": job["ended"] or job["created"]}
    return {"error": root, **around, "componentName": ""}


def _warnings(job: Json) -> list[Json] | None:
    if not job["error"] or job["submitted"].get("jobType") == "Pipeline":
        return None
    return [{"source": "Loopback", "message": "AzureMLCompute job failed"}]


def _of_step(compute: str) -> Json:
    """What is told of the run of a pipeline's step alone: where it runs."""
    kind = {"orchestrator": "Execution", "attribution": "Aether", "computeType": "AmlcTrain"}
    unset = dict.fromkeys(("vmSize", "priority", "region"))
    return {
        "runTypeV2": {**kind, "traits": _TRAITS_OF_STEP},
        "compute": {**unset, "target": compute, "targetType": "amlcompute", "instanceCount": 1, "gpuCount": 0},
        "computeRequest": {"nodeCount": 1, "gpuCount": 0},
        "diagnosticsUri": "",
    }


def _guid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _duration(started: str | None, ended: str | None) -> str | None:
    """How long a run took, as hours, minutes and seconds; None while that is not known."""
    if started is None or ended is None:
        return None
    took = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    return f"{timedelta(days=took.days)}" if took.days else f"0{took}" + ("" if took.microseconds else ".000000")


def _artifact(run: str, path: str) -> Json:
    container = f"dcid.{run}"
    return {
        "artifactId": f"ExperimentRun/{container}/{path}",
        "origin": "ExperimentRun",
        "container": container,
        "path": path,
    }
