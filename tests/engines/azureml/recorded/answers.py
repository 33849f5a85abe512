"""Answers in the shape that Azure ML's were recorded in: its keys, types, nulls and words. All names are made up."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from tests.azure_ml_service.arm import API, LOCATION, PROVIDER, WORKSPACE_GUID, Workspace
from tests.azure_ml_service.blobs import ACCOUNT, DATASTORES, signature
from tests.azure_ml_service.messages import Answer, Json

MADE = "2026-03-01T10:00:00.1234567+00:00"


def told(body: object, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON, with the headers that every answer has."""
    answer = Answer.of(body, status, **headers)
    answer.headers |= {
        "Content-Type": "application/json; charset=utf-8",
        "x-ms-correlation-request-id": "00000000-0000-0000-0000-0000000000aa",
        "x-ms-ratelimit-remaining-subscription-reads": "11999",
        "x-ms-ratelimit-remaining-subscription-writes": "1199",
        "x-ms-response-type": "error" if status >= 400 else "standard",
        "x-request-time": "0.072",
    }
    return answer


def nothing(status: int = 200, **headers: str) -> Answer:
    """An answer without a body, and so without a content type."""
    return Answer(status, b"", {name.replace("_", "-"): value for name, value in headers.items()})


def page(status: int, title: str) -> Answer:
    """What a gateway or a proxy answers."""
    text = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Answer(status, text.encode(), {"content-type": "text/html; charset=utf-8"})


def refusal(status: int, message: str, *codes: str) -> Answer:
    """An error; the first code is the outermost. Only Azure ML's own have codes below it."""
    inner: Json | None = None
    for code in reversed(codes[1:]):
        inner = {"code": code, "innerError": inner}
    information = [
        {"type": "ComponentName", "info": {"value": "managementfrontend"}},
        {"type": "Correlation", "info": {"value": {"operation": "00aa", "request": "00bb"}}},
        {"type": "Environment", "info": {"value": LOCATION}},
        {"type": "Location", "info": {"value": LOCATION}},
        {"type": "Time", "info": {"value": MADE}},
        *([{"type": "InnerError", "info": {"value": inner}}] if inner else []),
    ]
    error = {"code": codes[0], "message": message, "details": [], "additionalInfo": information}
    return told({"error": error}, status)


def details_of(refused: Answer, *details: tuple[str, str]) -> Answer:
    """The same error, with a code and a message for each thing that is wrong."""
    body: Json = json.loads(refused.body)
    body["error"]["details"] = [
        {"code": code, "message": message, "details": [], "additionalInfo": []} for code, message in details
    ]
    return Answer(refused.status, json.dumps(body).encode(), refused.headers)


def made_by(*, modified: bool = False) -> Json:
    """``systemData``; that of a job never says when it was last modified."""
    created = {"createdAt": MADE, "createdBy": "somebody", "createdByType": "User"}
    changed = {"lastModifiedAt": MADE, "lastModifiedBy": "somebody", "lastModifiedByType": "User"}
    return created | changed if modified else created


# The workspace and its storage


def workspace(place: Workspace) -> Json:
    return {
        "id": place.path,
        "name": place.name,
        "type": PROVIDER,
        "location": LOCATION,
        "tags": {},
        "etag": None,
        "properties": {
            "friendlyName": place.name,
            "description": "",
            "storageAccount": f"{_group(place)}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}",
            "hbiWorkspace": False,
            "imageBuildCompute": None,
            "provisioningState": "Succeeded",
            "workspaceId": WORKSPACE_GUID,
            "linkedModelInventoryArmId": None,
            "publicNetworkAccess": "Enabled",
            "discoveryUrl": f"https://{API}/discovery",
            "mlFlowTrackingUri": f"azureml://{API}/mlflow/v1.0{place.path}",
        },
        "identity": {"type": "SystemAssigned", "principalId": WORKSPACE_GUID, "tenantId": WORKSPACE_GUID},
        "kind": "Default",
        "sku": {"name": "Basic", "tier": "Basic"},
        "systemData": made_by(modified=True),
    }


def discovery() -> Json:
    return {"api": f"https://{API}", "catalog": "https://catalog.invalid", "studio": "https://ml.azure.com"}


def datastore(place: Workspace, name: str = "workspaceblobstore") -> Json:
    return {
        "id": f"{place.path}/datastores/{name}",
        "name": name,
        "type": f"{PROVIDER}/datastores",
        "properties": {
            "description": None,
            "tags": None,
            "properties": None,
            "isDefault": True,
            "credentials": {"credentialsType": "AccountKey"},
            "datastoreType": "AzureBlob",
            "accountName": ACCOUNT,
            "containerName": DATASTORES[name],
            "endpoint": "core.windows.net",
            "protocol": "https",
            "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity",
        },
        "systemData": made_by(modified=True),
    }


def secrets() -> Json:
    return {"secretsType": "Sas", "sasToken": signature()}


def compute(place: Workspace, name: str) -> Json:
    return {
        "id": f"{place.path}/computes/{name}",
        "name": name,
        "type": f"{PROVIDER}/computes",
        "location": LOCATION,
        "tags": {},
        "properties": {
            "createdOn": MADE,
            "modifiedOn": MADE,
            "disableLocalAuth": False,
            "description": None,
            "resourceId": None,
            "computeType": "AmlCompute",
            "computeLocation": LOCATION,
            "provisioningState": "Succeeded",
            "provisioningErrors": None,
            "isAttachedCompute": False,
            "properties": {
                "vmSize": "STANDARD_DS2_V2",
                "vmPriority": "Dedicated",
                "scaleSettings": {"maxNodeCount": 4, "minNodeCount": 0, "nodeIdleTimeBeforeScaleDown": "PT2M"},
                "subnet": None,
                "currentNodeCount": 3,
                "targetNodeCount": 1,
                "nodeStateCounts": {"preparingNodeCount": 0, "runningNodeCount": 0, "idleNodeCount": 3},
                "allocationState": "Resizing",
                "allocationStateTransitionTime": MADE,
                "errors": None,
                "remoteLoginPortPublicAccess": "Enabled",
                "osType": "Linux",
                "virtualMachineImage": None,
                "isolatedNetwork": False,
                "propertyBag": {},
            },
        },
    }


# Jobs


def command_job(place: Workspace, name: str, status: str, **properties: Any) -> Json:
    """A command job: the one kind, with sweeps, that has an output ``default``."""
    logs = f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{name}"
    outputs = {"default": {"description": None, "uri": logs, "mode": "ReadWriteMount", "jobOutputType": "uri_folder"}}
    special = {
        "jobType": "Command",
        "computeId": f"{place.path}/computes/cpu-cluster-01",
        "resources": {
            "instanceCount": 1,
            "instanceType": None,
            "properties": None,
            "shmSize": "2g",
            "dockerArgs": None,
        },
        "codeId": None,
        "command": "true",
        "environmentId": f"{place.path}/environments/plain/versions/1",
        "inputs": {},
        "outputs": {**properties.pop("outputs", {}), **outputs},
        "distribution": None,
        "autologgerSettings": None,
        "limits": None,
        "environmentVariables": None,
        "parameters": {},
        "properties": {"_azureml.ComputeTargetType": "amlctrain"},
    }
    return _job(place, name, status, {**special, **properties})


def pipeline_job(place: Workspace, name: str, status: str, outputs: Sequence[str] = (), **properties: Any) -> Json:
    """A pipeline job: no output ``default``, and its own outputs have no address, even when it is over."""
    added = {
        "azureml.DevPlatv2": "true",
        "azureml.runsource": "azureml.PipelineRun",
        "runSource": "MFE",
        "runType": "HTTP",
        "azureml.parameters": "{}",
        "azureml.continue_on_step_failure": "True",
        "azureml.defaultComputeName": "cpu-cluster-01",
        "azureml.pipelineComponent": "pipelinerun",
    }
    special = {
        "jobType": "Pipeline",
        "computeId": None,
        "settings": {"default_compute": f"{place.path}/computes/cpu-cluster-01", "_source": "YAML.JOB"},
        "jobs": {},
        "inputs": {},
        "outputs": {
            output: {"description": None, "uri": None, "mode": "ReadWriteMount", "jobOutputType": "uri_folder"}
            for output in outputs
        },
        "sourceJobId": None,
        "properties": {} if status == "NotStarted" else added,
    }
    return _job(place, name, status, {**special, **properties})


def _job(place: Workspace, name: str, status: str, special: Mapping[str, Any]) -> Json:
    tracking = f"azureml://{API}/mlflow/v1.0{place.path}?"
    studio = f"https://ml.azure.com/runs/{name}?wsid={_group(place).lower()}/workspaces/{place.name}"
    services = {
        kind: {
            "jobServiceType": kind,
            "port": None,
            "endpoint": endpoint,
            "status": None,
            "errorMessage": None,
            "properties": None,
            "nodes": None,
        }
        for kind, endpoint in (("Tracking", tracking), ("Studio", studio))
    }
    properties = {
        "description": None,
        "tags": {},
        "displayName": name,
        "status": status,
        "experimentName": "lab-experiment",
        "services": services,
        "isArchived": False,
        "identity": None,
        "componentId": None,
        "notificationSetting": None,
        "secretsConfiguration": None,
        **special,
    }
    return {
        "id": f"{place.path}/jobs/{name}",
        "name": name,
        "type": f"{PROVIDER}/jobs",
        "properties": properties,
        "systemData": made_by(),
    }


def run_id(step: str) -> str:
    """The id of a child: a GUID, always the same for a step."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, step))


def child(parent: str, node: str, status: str, *, reused_from: str = "", name: str = "", **values: Any) -> Json:
    """A child in the run history: its display name is that of its node, its name that of its component."""
    name = name or run_id(node)
    over = status in ("Completed", "Failed", "Canceled")
    reuse = {
        "azureml.isreused": "true",
        "azureml.reusedrunid": reused_from,
        "azureml.reusednodeid": "aaaa0001",
        "azureml.reusedpipeline": "an-earlier-pipeline",
        "azureml.reusedpipelinerunid": "an-earlier-pipeline",
    }
    properties = {
        "azureml.runsource": "azureml.StepRun",
        "azureml.nodeid": "bbbb0002",
        "ContentSnapshotId": WORKSPACE_GUID,
        "StepType": "PythonScriptStep",
        "ComputeTargetType": "AmlCompute",
        "azureml.moduleid": WORKSPACE_GUID,
        "azureml.moduleName": "azureml_anonymous",
        "azureml.moduleVersion": "1",
        "azureml.pipeline": parent,
        "azureml.pipelinerunid": parent,
        "azureml.DevPlatv2": "true",
        "ProcessInfoFile": "azureml-logs/process_info.json",
        "ProcessStatusFile": "azureml-logs/process_status.json",
        **(reuse if reused_from else {}),
    }
    somebody = {"userObjectId": WORKSPACE_GUID, "userPuId": None, "userIdp": None, "userName": "somebody", "upn": None}
    return {
        "runNumber": 1700000000,
        "rootRunId": parent,
        "createdUtc": "2026-03-01T10:00:05.5+00:00",
        "createdBy": somebody,
        "userId": WORKSPACE_GUID,
        "token": None,
        "tokenExpiryTimeUtc": None,
        "error": None,
        "warnings": None,
        "revision": 2,
        "statusRevision": 0,
        "runUuid": run_id(f"uuid of {name}"),
        "parentRunUuid": run_id(f"uuid of {parent}"),
        "rootRunUuid": run_id(f"uuid of {parent}"),
        "lastStartTimeUtc": None,
        "currentComputeTime": None if over else "00:00:00",
        "computeDuration": "00:00:07.5000000" if over else None,
        "effectiveStartTimeUtc": None,
        "lastModifiedBy": somebody,
        "lastModifiedUtc": MADE,
        "duration": "00:00:07.5000000" if over else None,
        "cancelationReason": None,
        "currentAttemptId": 1,
        "runId": name,
        "parentRunId": parent,
        "experimentId": WORKSPACE_GUID,
        "status": status,
        "startTimeUtc": "2026-03-01T10:00:06.0000000+00:00" if over or status == "Running" else None,
        "endTimeUtc": "2026-03-01T10:00:13.5000000+00:00" if over else None,
        "scheduleId": None,
        "displayName": node,
        "name": "azureml_anonymous",
        "dataContainerId": f"dcid.{reused_from or name}",
        "description": None,
        "hidden": False,
        "runType": "azureml.StepRun",
        "runTypeV2": {"orchestrator": None, "traits": ["azureml.StepRun"], "attribution": None, "computeType": None},
        "properties": properties,
        "parameters": {},
        "actionUris": {},
        "scriptName": None,
        "target": "cpu-cluster-01",
        "uniqueChildRunComputeTargets": [],
        "tags": {"azureml.nodeid": "bbbb0002", "azureml.pipeline": parent},
        "settings": {},
        "services": {},
        "inputDatasets": [],
        "outputDatasets": [],
        "runDefinition": None,
        "jobSpecification": None,
        "primaryMetricName": None,
        "createdFrom": None,
        "cancelUri": None,
        "completeUri": None,
        "diagnosticsUri": None,
        "computeRequest": None,
        "compute": None,
        "retainForLifetimeOfWorkspace": None,
        "queueingInfo": None,
        "inputs": None,
        "outputs": None,
        **values,
    }


def failed(code: str, message: str | None, *inner: str) -> Json:
    """The error of a run; of a step that failed what is not known is null, and its time is in the year 1."""
    below: Json | None = None
    for each in reversed(inner):
        below = {"code": each, "innerError": below}
    unset = ("severity", "messageFormat", "referenceCode", "detailsUri", "target", "debugInfo", "additionalInfo")
    error = {**dict.fromkeys(unset), "code": code, "message": message, "messageParameters": {}, "details": []}
    around = {**dict.fromkeys(("correlation", "environment", "location")), "time": "0001-01-01T00:00:00+00:00"}
    return {"error": {**error, "innerError": below}, **around, "componentName": "CommonRuntime"}


def job_of_child(place: Workspace, name: str) -> Json:
    """A child as a job: without properties."""
    return {
        "id": f"{place.path}/jobs/{name}",
        "name": name,
        "type": f"{PROVIDER}/jobs",
        "systemData": made_by(),
    }


# Assets


def version(place: Workspace, kind: str, name: str, number: str, properties: Mapping[str, Any]) -> Json:
    """A version of an asset."""
    common = {"description": None, "tags": {}, "properties": {}, "isArchived": False, "isAnonymous": False}
    return {
        "id": f"{place.path}/{kind}/{name}/versions/{number}",
        "name": number,
        "type": f"{PROVIDER}/{kind}/versions",
        "properties": {**common, **properties},
        "systemData": made_by(modified=True),
    }


def container(place: Workspace, kind: str, name: str, latest: str | None, following: str) -> Json:
    """An asset with what its latest and its next version are. That of components never tells the latest."""
    properties = {"description": "", "tags": {}, "properties": {}, "isArchived": False}
    return {
        "id": f"{place.path}/{kind}/{name}",
        "name": name,
        "type": f"{PROVIDER}/{kind}",
        "properties": {**properties, "latestVersion": latest, "nextVersion": following},
        "systemData": made_by(modified=True),
    }


def component_version(place: Workspace, name: str, number: str, **spec: Any) -> Json:
    """A component: booleans and numbers of its spec are text, and its description is in the spec alone."""
    whole = {
        "name": name,
        "version": number,
        "display_name": name,
        "is_deterministic": "True",
        "type": "command",
        "description": "what it does",
        "inputs": {},
        "outputs": {},
        "code": f"azureml:{place.path}/codes/{WORKSPACE_GUID}/versions/1",
        "environment": f"azureml:{place.path}/environments/plain/versions/1",
        "resources": {"instance_count": "1"},
        "command": "true",
        "$schema": "https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json",
        **spec,
    }
    return version(
        place, "components", name, number, {"isAnonymous": name == "azureml_anonymous", "componentSpec": whole}
    )


def _group(place: Workspace) -> str:
    return place.path.partition("/providers/")[0]
