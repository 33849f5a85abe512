"""The jobs of the workspace as ARM shows them: submit, get, list, cancel."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Protocol

from tests.azure_ml_service.arm import LOCATION, WORKSPACE_GUID, Arm, page_of
from tests.azure_ml_service.identity import claims
from tests.azure_ml_service.messages import ARM_HOST, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.state import Documents, now

TERMINAL = frozenset({"Completed", "Failed", "Canceled"})
# What a PUT changes of a job that is there; the rest is its definition.
_CHANGEABLE = frozenset({"tags", "properties", "displayName", "description", "isArchived", "services"})
_CLUSTER = {"_azureml.ComputeTargetType": "amlctrain"}
_PROCESS = {
    "ProcessInfoFile": "azureml-logs/process_info.json",
    "ProcessStatusFile": "azureml-logs/process_status.json",
}
# Every property of a job is told, unset ones as null.
_UNSET: Json = {
    "description": None,
    "computeId": None,
    "isArchived": False,
    "identity": None,
    "componentId": None,
    "notificationSetting": None,
}
_UNSET_OF: dict[str, Json] = {
    "Pipeline": {"settings": None, "jobs": None, "sourceJobId": None},
    "Command": {
        "codeId": None,
        "distribution": None,
        "limits": None,
        "environmentVariables": None,
        "parameters": {},
        "queueSettings": {"jobTier": "Null"},
    },
}
_RESOURCES = {"instanceCount": 1, "instanceType": None, "properties": None, "shmSize": "2g", "dockerArgs": None}


class Executor(Protocol):
    """What runs the jobs."""

    def submit(self, name: str) -> None:
        """Run a job, which is in the documents."""
        ...

    def cancel(self, name: str) -> None:
        """Cancel a job."""
        ...


_FIRST_OF_2025 = "2025-01-01"  # the version of the API by which the SDK sends command jobs


def new_job(name: str, submitted: Json, parent: Json | None = None, step: str | None = None) -> Json:
    """The document of a new job; of a child, if there is a parent."""
    is_command = submitted.get("jobType") == "Command"
    return {
        "name": name,
        "parent": parent and parent["name"],
        "root": parent["root"] if parent else name,
        "step": step,
        "submitted": submitted,
        "experiment": parent["experiment"] if parent else submitted.get("experimentName") or "Default",
        "status": "Starting" if is_command else "NotStarted",
        "history": [],
        "created": now(),
        "started": None,
        "ended": None,
        "error": None,
        "outputs": {},
        "tags": submitted.get("tags") or {},
        "properties": {
            **(_cluster(submitted) if is_command else {}),
            **(_snapshot(submitted["codeId"]) if is_command and submitted.get("codeId") else {}),
            **{key: str(value) for key, value in (submitted.get("properties") or {}).items()},
        },
        "display_name": step or submitted.get("displayName") or name,
        "container": name,
    }


def started_properties(job: Json) -> dict[str, str]:
    """The properties that the service gives a job of the workspace when it begins to work on it."""
    submitted: Json = job["submitted"]
    if submitted.get("jobType") != "Pipeline":
        return _PROCESS
    settings: Json = submitted.get("settings") or {}
    literals = {
        name: str(given.get("value"))
        for name, given in (submitted.get("inputs") or {}).items()
        if given.get("jobInputType") == "literal"
    }
    compute = str(submitted.get("computeId") or settings.get("default_compute") or "")
    return {
        **({"azureml.SourceComponentId": submitted["componentId"]} if submitted.get("componentId") else {}),
        "azureml.DevPlatv2": "true",
        "azureml.DatasetAccessMode": "Asset",
        "azureml.runsource": "azureml.PipelineRun",
        "runSource": "MFE",
        "runType": "HTTP",
        "azureml.parameters": json.dumps(literals),
        "azureml.continue_on_step_failure": str(settings.get("continue_on_step_failure", True)),
        "azureml.continue_on_failed_optional_input": "True",
        "azureml.enforceRerun": str(settings.get("force_rerun", False)),
        "azureml.defaultComputeName": compute.rpartition("/")[2],
        "azureml.defaultDataStoreName": "workspaceblobstore",
        "azureml.pipelineComponent": "pipelinerun",
    }


def ended_properties(job: Json) -> dict[str, str]:
    """The properties that the service gives a job when it has ended."""
    if job["submitted"].get("jobType") != "Pipeline":
        return {}
    status = "Finished" if job["status"] == "Completed" else job["status"]
    stage = {"StartTime": job["started"], "EndTime": job["ended"], "Status": status}
    return {"azureml.pipelines.stages": json.dumps({"Initialization": None, "Execution": stage})}


def new_child(name: str, node: Json, parent: Json, step: str, code: str | None = None) -> Json:
    """The document of a pipeline's step; ``code`` is the id of its component's code, if it has any."""
    above: Json = parent["submitted"]
    default = (above.get("settings") or {}).get("default_compute")
    compute = node.get("computeId") or above.get("computeId") or default
    job = new_job(name, {"node": node, "computeId": compute}, parent, step)
    component, version = _name_and_version(node["componentId"])
    job["component"] = component
    nodeid = hashlib.sha256(name.encode()).hexdigest()[:8]
    job["properties"] |= {
        "azureml.runsource": "azureml.StepRun",
        "azureml.nodeid": nodeid,
        **(_snapshot(code) if code else {}),
        "StepType": "PythonScriptStep",
        "ComputeTargetType": "AmlCompute",
        "azureml.moduleid": version if component == "azureml_anonymous" else node["componentId"],
        "azureml.moduleName": component,
        "azureml.moduleVersion": "1" if component == "azureml_anonymous" else version,
        "azureml.moduleFamilyId": "0",
        "azureml.DatasetAccessMode": "Asset",
        "azureml.rootpipelinerunid": parent["root"],
        "azureml.pipeline": parent["name"],
        "azureml.pipelinerunid": parent["name"],
        "azureml.DevPlatv2": "true",
        "azureml.pipelineComponent": "masterescloud",
        **_cluster({"computeId": compute}),
        **_PROCESS,
    }
    job["tags"] = {"azureml.nodeid": nodeid, "azureml.pipeline": parent["name"]}
    return job


def _snapshot(code: str) -> dict[str, str]:
    return {"ContentSnapshotId": str(uuid.uuid5(uuid.NAMESPACE_URL, code))}


def _cluster(submitted: Json) -> dict[str, str]:
    compute = str(submitted.get("computeId") or "").rpartition("/")[2]
    return {**_CLUSTER, **({"_azureml.ClusterName": compute} if compute else {})}


def mark_reused(job: Json, earlier: Json) -> None:
    """Mark a step as reused: it has the outputs and logs of an earlier one."""
    job["properties"] |= {
        "azureml.isreused": "true",
        "azureml.reusedrunid": earlier["name"],
        "azureml.reusednodeid": earlier["properties"].get("azureml.nodeid", ""),
        "azureml.reusedpipeline": earlier["parent"],
        "azureml.reusedpipelinerunid": earlier["parent"],
        "azureml.rootpipelinerunid": earlier["root"],
    }
    job["container"] = earlier["container"]
    job["outputs"] = earlier["outputs"]


def _name_and_version(component: str) -> tuple[str, str]:
    """The name and the version in the id of a component."""
    if "/versions/" in component:
        before, _, version = component.partition("/versions/")
        return before.rpartition("/")[2], version
    name, _, version = component.removeprefix("azureml:").partition(":")
    return name, version


def children_of(documents: Documents, name: str) -> list[Json]:
    """The children of a job, the oldest first."""
    found = [job for job in documents.all("jobs") if job["parent"] == name]
    return sorted(found, key=lambda job: job["created"])


class Jobs:
    """Answers for jobs. A PUT of a job that is there changes its tags; what comes of another definition is unknown."""

    def __init__(self, arm: Arm, documents: Documents, executor: Executor) -> None:
        self._arm = arm
        self._documents = documents
        self._executor = executor

    def routes(self) -> list[Route]:
        """The routes of this part."""
        operations = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
        return [
            route("GET", ARM_HOST, "W/jobs", self.list),
            route("GET", ARM_HOST, "W/jobs/{name}", self.get),
            route("PUT", ARM_HOST, "W/jobs/{name}", self.put),
            route("POST", ARM_HOST, "W/jobs/{name}/cancel", self.cancel),
            route("GET", ARM_HOST, f"{operations}/mfeOperationResults/jc:{{name}}", self.canceling),
        ]

    def _job(self, name: str) -> Json:
        found = self._documents.get("jobs", name)
        if found is None:
            raise Refused(404, "UserError", f"Not found job with the name {name}.", "NotFound")
        return found

    def resource(self, job: Json, api_version: str = "") -> Json:
        """A job as ARM shows it by a version of the API; of a pipeline's child it shows no properties."""
        made = {"createdAt": job["created"], "createdBy": "Loopback", "createdByType": "Application"}
        resource = {**self._arm.resource("jobs", job["name"], None), "systemData": made}
        if job["parent"]:
            del resource["properties"]
            return resource
        submitted: Json = job["submitted"]
        kind: str = submitted["jobType"]
        workspace = self._arm.workspace
        group, _, provider = workspace.path.partition("/providers/")
        studio = f"{group.replace('resourceGroups', 'resourcegroups')}/workspaces/{provider.rpartition('/')[2]}"
        tracking = f"azureml://{LOCATION}.api.azureml.ms/mlflow/v1.0{workspace.path}?"
        properties = {
            **_UNSET,
            **_UNSET_OF[kind],
            **submitted,
            "experimentName": job["experiment"],
            "displayName": job["display_name"],
            "status": job["status"],
            "inputs": _inputs(submitted),
            "outputs": _outputs(job),
            "tags": job["tags"],
            "properties": job["properties"],
            "services": {
                "Tracking": _service("Tracking", tracking),
                "Studio": _service("Studio", f"https://ml.azure.com/runs/{job['name']}?wsid={studio}"),
            },
        }
        if kind == "Command":
            newer = {"dockerArgsList": None} if api_version >= _FIRST_OF_2025 else {}
            properties["resources"] = {**_RESOURCES, **newer, **(submitted.get("resources") or {})}
        if job.get("batch_endpoint"):
            properties |= dict.fromkeys(("settings", "jobs", "inputs", "outputs"))
        return {**resource, "properties": properties}

    def list(self, request: Request) -> Answer:
        found = [job for job in self._documents.all("jobs") if not job["parent"]]
        found.sort(key=lambda job: job["created"], reverse=True)
        if kind := request.query.get("jobType"):
            found = [job for job in found if job["submitted"]["jobType"] == kind]
        if tag := request.query.get("tag"):
            key, _, value = tag.partition("=")
            found = [job for job in found if key in job["tags"] and value in ("", job["tags"][key])]
        return page_of(request, [self.resource(job) for job in found], self._arm.page_size)

    def get(self, request: Request, name: str) -> Answer:
        return Answer.of(self.resource(self._job(name), request.api_version))

    def put(self, request: Request, name: str) -> Answer:
        submitted = request.json["properties"]
        if submitted["jobType"] not in ("Command", "Pipeline"):
            raise Refused(400, "UserError", f"A job of type {submitted['jobType']} cannot be run here.")
        if submitted["jobType"] == "Pipeline":
            _check_second_token(request.headers)
        elif request.api_version >= _FIRST_OF_2025:
            _check_members(submitted)
        with self._documents.lock:
            if self._documents.get("jobs", name) is not None:
                return Answer.of(self.resource(self._changed(name, submitted), request.api_version))
            self._check_references(submitted)
            job = new_job(name, submitted)
            self._documents.put("jobs", name, job)
        self._executor.submit(name)
        address = f"https://{request.host}{request.path}?api-version={request.api_version}"
        return Answer.of(self.resource(job, request.api_version), 201, Location=address)

    def _changed(self, name: str, submitted: Json) -> Json:
        """Change a job that is there as a second PUT does: tags, properties, display name, description."""
        with self._documents.change("jobs", name) as job:
            if _definition(job["submitted"]) != _definition(submitted):
                raise Refused(409, "UserError", f"A job with the name {name} already exists.")
            job["tags"] = submitted.get("tags") or {}
            job["display_name"] = submitted.get("displayName") or job["display_name"]
            job["properties"] |= {key: str(value) for key, value in (submitted.get("properties") or {}).items()}
            job["submitted"]["description"] = submitted.get("description")
        return job

    def _check_references(self, submitted: Json) -> None:
        """Refuse what Azure refuses on arrival: code, components and computes that are not there."""
        computes = [submitted.get("computeId"), (submitted.get("settings") or {}).get("default_compute")]
        for node in (submitted.get("jobs") or {}).values():
            if "componentId" not in node:
                continue  # a choice or a loop
            self._check_component(node["componentId"])
            computes.append(node.get("computeId"))
        if submitted.get("codeId"):
            self._arm.by_id("codes", submitted["codeId"])
        for compute in filter(None, computes):
            if self._documents.get("computes", compute.rpartition("/")[2]) is None:
                raise Refused(400, "UserError", f"Unknown compute target '{compute.rpartition('/')[2]}'.")

    def _check_component(self, identifier: str) -> None:
        try:
            self._arm.by_id("components", identifier)
        except Refused as refused:
            if refused.answer.status != 404:
                raise
            name, version = _name_and_version(identifier)
            text = f"key: {identifier}, Message: Not found component {name} (version: {version})."
            raise Refused(404, "NotFound", text) from refused

    def cancel(self, request: Request, name: str) -> Answer:
        """Cancel a job. A pipeline that has ended refuses; for an ended command job the cancel has no effect.

        A command job was answered 200 without a body in 2022, since 2023 as a pipeline is.
        """
        job = self._job(name)
        is_pipeline = job["submitted"].get("jobType") == "Pipeline"
        if is_pipeline and job["status"] in TERMINAL:
            text = f"The pipeline run {name} is in terminal status, it can't be canceled."
            causes = ("BadArgument", "ArgumentInvalid", "CancelPipelineRunInTerminalStatus")
            raise Refused(400, "UserError", text, *causes)
        self._executor.cancel(name)
        operations = f"/subscriptions/{self._arm.workspace.subscription}/providers/Microsoft.MachineLearningServices"
        result = f"{operations}/locations/{LOCATION}/mfeOperationResults/jc:{WORKSPACE_GUID}:{name}"
        location = f"https://{request.host}{result}?api-version={request.api_version}"
        return Answer.of(None, 202, Location=location, x_ms_async_operation_timeout="PT1H")

    def canceling(self, request: Request, subscription: str, location: str, name: str) -> Answer:
        status = self._job(name.rpartition(":")[2])["status"]
        if status in TERMINAL:
            return Answer(200)
        again = f"https://{request.host}{request.path}?api-version={request.api_version}"
        return Answer.of({}, 202, Location=again)


def _definition(submitted: Json) -> Json:
    return {key: value for key, value in submitted.items() if key not in _CHANGEABLE}


def _service(name: str, endpoint: str) -> Json:
    unset = dict.fromkeys(("port", "status", "errorMessage", "properties", "nodes"))
    return {"jobServiceType": name, **unset, "endpoint": endpoint}


def _inputs(submitted: Json) -> Json | None:
    """The inputs of a job as ARM shows them; null if none were sent."""
    if submitted.get("inputs") is None:
        return None
    return {name: _input(given) for name, given in submitted["inputs"].items()}


def _input(given: Json) -> Json:
    mode = {} if given["jobInputType"] == "literal" else {"mode": "ReadOnlyMount"}
    return {"description": None, **mode, **given}


def _outputs(job: Json) -> Json:
    """The outputs of a job as ARM shows them: of a pipeline without their addresses."""
    submitted: Json = job["submitted"]
    is_command = submitted["jobType"] == "Command"
    unset: Json = {"description": None, "uri": None, "assetName": None, "mode": "ReadWriteMount"}
    outputs: Json = {}
    for name, output in (submitted.get("outputs") or {}).items():
        outputs[name] = {**unset, **output}
        if is_command and name in job["outputs"]:
            outputs[name]["uri"] = job["outputs"][name]["uri"]
    if is_command:
        default = f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{job['name']}"
        outputs["default"] = {**unset, "uri": default, "jobOutputType": "uri_folder"}
    return outputs


def _check_members(submitted: Json) -> None:
    """Refuse what the version of the API by which command jobs are sent does not know: the version of an output."""
    kinds = [
        output["jobOutputType"] for output in (submitted.get("outputs") or {}).values() if output.get("assetVersion")
    ]
    if kinds:
        details = [
            (
                "RequestInvalid",
                f"Could not find member 'assetVersion' on object of type '{_class_of(kind)}JobOutput'."
                " Path 'assetVersion'.",
            )
            for kind in kinds
        ]
        text = "Request is invalid and/or missing fields."
        raise Refused(400, "UserError", text, "RequestInvalid", details=details)


def _class_of(kind: str) -> str:
    return "".join(part.capitalize() for part in kind.split("_"))


def _check_second_token(headers: Mapping[str, str]) -> None:
    try:
        audience = claims(headers.get("x-azureml-token", ""))["aud"]
    except ValueError:
        audience = None
    if audience != "https://ml.azure.com":
        raise Refused(401, "UserError", "A pipeline job needs a token for https://ml.azure.com in x-azureml-token.")
