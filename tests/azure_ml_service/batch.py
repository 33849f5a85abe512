"""Batch endpoints: endpoints and deployments, and jobs of one step that score files for real."""

import json
import re
import uuid
from pathlib import Path
from typing import Any, Literal

from tests.azure_ml_service.arm import API, LOCATION, PROVIDER, Arm, system_data
from tests.azure_ml_service.blobs import DATASTORES, Blobs
from tests.azure_ml_service.faults import Faults
from tests.azure_ml_service.identity import check_token
from tests.azure_ml_service.jobs import Executor, new_job
from tests.azure_ml_service.messages import (
    API_HOST,
    ARM_HOST,
    SCORING_HOST,
    Answer,
    Json,
    Refused,
    Request,
    Route,
    route,
)
from tests.azure_ml_service.online_scoring import DEPLOYMENT_HEADER, ML_AUDIENCE
from tests.azure_ml_service.operations import OperationFailed, Operations, refuse_while_changing
from tests.azure_ml_service.shown import endpoint_data
from tests.azure_ml_service.state import Documents, now

ENDPOINTS, DEPLOYMENTS = "batchEndpoints", "batchDeployments"
STEP = "batchscoring"
_DEFAULTS: Json = {
    "description": None,
    "environmentVariables": {},
    "outputAction": "AppendRow",
    "outputFileName": "predictions.csv",
    "miniBatchSize": 10,
    "errorThreshold": -1,
    "maxConcurrencyPerInstance": 1,
    "retrySettings": {"maxRetries": 3, "timeout": "PT30S"},
}
_NO_COMPUTE: Json = {
    **dict.fromkeys(("instanceCount", "location", "instanceType", "properties")),
    "isLocal": False,
}
_TAGS_OF_JOB = {"outputType": "output_data", "inputType": "input_data", "azureml.jobtype": "azureml.batchjob"}
_PROPERTIES_OF_JOB = {
    "azureml.runsource": "azureml.PipelineRun",
    "runSource": "Unavailable",
    "runType": "HTTP",
    "azureml.parameters": "{}",
    "azureml.continue_on_step_failure": "False",
    "azureml.continue_on_failed_optional_input": "False",
    "azureml.pipelineComponent": "pipelinerun",
}
_NO_RESOURCES: Json = {"instanceCount": 1, "instanceType": None, "properties": None}
DRIVER = Path(__file__).with_name("batch_driver.py")
COMPONENT = "azureml_batch_scoring"


class Batch:
    """Answers for batch endpoints.

    ``job_names`` says whose name a job gets: ``given`` is that of the request, ``own`` one that the service makes, with
    the request's as the display name. Without a name in the request it is ``own``, as recorded; what Azure does with
    one is not recorded.
    """

    def __init__(
        self,
        arm: Arm,
        documents: Documents,
        blobs: Blobs,
        operations: Operations,
        executor: Executor,
        faults: Faults,
    ) -> None:
        self.job_names: Literal["given", "own"] = "given"
        self._arm = arm
        self._documents = documents
        self._blobs = blobs
        self._operations = operations
        self._executor = executor
        self._faults = faults

    def routes(self) -> list[Route]:
        """Who answers what."""
        endpoint = f"W/{ENDPOINTS}/{{name}}"
        deployment = f"W/{ENDPOINTS}/{{endpoint}}/deployments/{{name}}"
        listed = f"/mferp/managementfrontendW/{ENDPOINTS}/{{name}}/jobs"
        return [
            route("GET", ARM_HOST, f"W/{ENDPOINTS}", self.list_endpoints),
            route("GET", ARM_HOST, endpoint, self.get_endpoint),
            route("PUT", ARM_HOST, endpoint, self.put_endpoint),
            route("DELETE", ARM_HOST, endpoint, self.delete_endpoint),
            route("GET", ARM_HOST, f"{endpoint}/deployments", self.list_deployments),
            route("GET", ARM_HOST, deployment, self.get_deployment),
            route("PUT", ARM_HOST, deployment, self.put_deployment),
            route("DELETE", ARM_HOST, deployment, self.delete_deployment),
            route("POST", SCORING_HOST, "/jobs", self.invoke),
            route("GET", API_HOST, listed, self.jobs),
        ]

    # Endpoints and deployments

    def _endpoint(self, name: str) -> Json:
        found = self._documents.get(ENDPOINTS, name)
        if found is None:
            text = f"An endpoint with the name '{name}' does not exist in the workspace."
            raise Refused(404, "UserError", text, "NotFound", "EndpointNotFound")
        return found

    def list_endpoints(self, request: Request) -> Answer:
        return Answer.of({"value": self._documents.all(ENDPOINTS)})

    def get_endpoint(self, request: Request, name: str) -> Answer:
        return Answer.of(self._endpoint(name))

    def put_endpoint(self, request: Request, name: str) -> Answer:
        asked, before = request.json, self._documents.get(ENDPOINTS, name)
        refuse_while_changing(before, f"the batch endpoint {name}")
        given: Json = asked["properties"]
        chosen = (given.get("defaults") or {}).get("deploymentName")
        if chosen and self._documents.get(DEPLOYMENTS, f"{name}/{chosen}") is None:
            raise Refused(400, "UserError", f"The default deployment {chosen} is not there.")
        base = f"https://{name.lower()}.{LOCATION}.inference.ml.azure.com"
        about = {
            "BatchEndpointCreationApiVersion": request.api_version,
            "azureml.onlineendpointid": f"{self._arm.workspace.path}/{ENDPOINTS}/{name}",
        }
        properties = {
            "authMode": "AADToken",
            "description": given.get("description"),
            "properties": {**(given.get("properties") or {}), **about},
            "defaults": given.get("defaults") or {"deploymentName": None},
            "scoringUri": before and before["properties"]["scoringUri"],
            "swaggerUri": None,
            "provisioningState": "Updating" if before else "Creating",
        }
        fault = self._faults.take_for_endpoint(("fail", "hang"), name)
        resource = {
            **self._arm.resource(ENDPOINTS, name, properties),
            "location": asked["location"],
            "tags": asked.get("tags") or {},
            "systemData": endpoint_data(before),
        }
        self._documents.put(ENDPOINTS, name, resource)

        def work() -> None:
            if fault is not None and fault.kind == "hang":
                self._operations.hold(fault, lambda: self._documents.get(ENDPOINTS, name) is not None)
            elif fault is not None:
                raise OperationFailed(fault.error, fault.message)
            with self._documents.change(ENDPOINTS, name) as made:
                made["properties"]["scoringUri"] = f"{base}/jobs"

        return self._operations.change(request, "bebes", ENDPOINTS, name, work)

    def delete_endpoint(self, request: Request, name: str) -> Answer:
        def work() -> None:
            for key in self._documents.keys(DEPLOYMENTS):
                if key.partition("/")[0] == name:
                    self._documents.remove(DEPLOYMENTS, key)

        return self._operations.delete(request, "bebes", ENDPOINTS, name, work)

    def list_deployments(self, request: Request, name: str) -> Answer:
        self._endpoint(name)
        keys = [key for key in self._documents.keys(DEPLOYMENTS) if key.partition("/")[0] == name]
        return Answer.of({"value": [found for key in keys if (found := self._documents.get(DEPLOYMENTS, key))]})

    def _deployment(self, endpoint: str, name: str) -> Json:
        self._endpoint(endpoint)
        found = self._documents.get(DEPLOYMENTS, f"{endpoint}/{name}")
        if found is None:
            raise Refused(404, "UserError", f"The deployment {name} of the batch endpoint {endpoint} was not found.")
        return found

    def get_deployment(self, request: Request, endpoint: str, name: str) -> Answer:
        return Answer.of(self._deployment(endpoint, name))

    def put_deployment(self, request: Request, endpoint: str, name: str) -> Answer:
        self._endpoint(endpoint)
        asked, key = request.json, f"{endpoint}/{name}"
        before = self._documents.get(DEPLOYMENTS, key)
        refuse_while_changing(before, f"the deployment {name}")
        given: Json = asked["properties"]
        self._arm.by_id("models", given["model"]["assetId"])
        if configuration := given.get("codeConfiguration"):
            self._arm.by_id("codes", configuration["codeId"])
            self._arm.by_id("environments", given["environmentId"])
        if self._documents.get("computes", str(given.get("compute")).rpartition("/")[2]) is None:
            raise Refused(400, "UserError", f"Unknown compute target {given.get('compute')}.")
        self._documents.put(DEPLOYMENTS, key, self.new_deployment(endpoint, name, asked, before))
        fault = self._faults.take_for_endpoint(("fail", "hang"), endpoint, name)

        def work() -> None:
            if fault is not None and fault.kind == "hang":
                self._operations.hold(fault, lambda: self._documents.get(DEPLOYMENTS, key) is not None)
            elif fault is not None:
                raise OperationFailed(fault.error, fault.message)

        return self._operations.change(request, "bdbes", DEPLOYMENTS, key, work)

    def new_deployment(self, endpoint: str, name: str, asked: Json, before: Json | None) -> Json:
        """The document of a deployment that is being made; ``before`` is what was there."""
        given: Json = asked["properties"]
        level = str(given.get("loggingLevel") or "info").capitalize()
        properties = {
            **_DEFAULTS,
            **{name: value for name, value in given.items() if value is not None},
            "properties": given.get("properties") or {},
            "resources": {**_NO_RESOURCES, **_without_empty(given.get("resources") or {})},
            "loggingLevel": level,
            "provisioningState": "Updating",  # as recorded, when it is new too
        }
        return {
            "id": f"{self._arm.workspace.path}/{ENDPOINTS}/{endpoint}/deployments/{name}",
            "name": name,
            "type": f"{PROVIDER}/{ENDPOINTS}/deployments",
            "location": asked["location"],
            "tags": asked.get("tags") or {},
            "properties": properties,
            "systemData": endpoint_data(before),
        }

    def delete_deployment(self, request: Request, endpoint: str, name: str) -> Answer:
        found = self._documents.get(ENDPOINTS, endpoint)
        if found and found["properties"]["defaults"].get("deploymentName") == name:
            raise Refused(400, "UserError", f"The deployment {name} is the default one of {endpoint}.")
        return self._operations.delete(request, "bdbes", DEPLOYMENTS, f"{endpoint}/{name}", lambda: None)

    # Jobs

    def invoke(self, request: Request) -> Answer:
        check_token(request, (ML_AUDIENCE,))
        host = request.host.partition(".")[0]
        endpoint = next((found for found in self._documents.all(ENDPOINTS) if found["name"].lower() == host), None)
        if endpoint is None:
            raise Refused(404, "UserError", "There is no batch endpoint at this address.")
        named = request.headers.get(DEPLOYMENT_HEADER) or endpoint["properties"]["defaults"].get("deploymentName")
        if not named:
            raise Refused(400, "UserError", f"The batch endpoint {endpoint['name']} has no default deployment.")
        deployment = self._deployment(endpoint["name"], named)
        asked: Json = request.json["properties"]
        own = f"batchjob-{uuid.uuid4()}"
        name = asked.get("name") or own if self.job_names == "given" else own
        if self._documents.get("jobs", name) is not None:
            raise Refused(409, "UserError", f"A job with the name {name} already exists.")
        job = new_job(name, self._pipeline(endpoint["name"], deployment, asked))
        job["display_name"] = asked.get("name") or f"careful_bulb_{uuid.uuid4().hex[:8]}"
        job["batch_endpoint"] = endpoint["name"]
        job["tags"] = {"azureml.batchrun": "true", "azureml.deploymentname": named, **_TAGS_OF_JOB}
        job["properties"] |= {**_PROPERTIES_OF_JOB, "azureml.pipelineid": str(uuid.uuid4())}
        self._documents.put("jobs", name, job)
        self._executor.submit(name)
        answer = Answer.of(self._started(job, deployment, asked), 201)
        path = f"/mferp/managementfrontend{deployment['id']}"
        answer.headers["Location"] = f"https://{API}{path}?api-version=2020-09-01-dataplanepreview"
        answer.headers |= {DEPLOYMENT_HEADER: named, "x-ms-response-type": "standard"}
        return answer

    def _started(self, job: Json, deployment: Json, asked: Json) -> Json:
        """A job as it is answered to the request that has started it: below its deployment, in its own form."""
        settings: Json = deployment["properties"]
        address = f"https://ml.azure.com/runs/{job['name']}?wsid={self._arm.workspace.path}"
        unset: Json = {"description": None, "mode": "ReadOnlyMount"}
        properties: Json = {
            "provisioningState": "Succeeded",
            "inputData": {name: {**unset, **given} for name, given in asked["inputData"].items()},
            "compute": {**_NO_COMPUTE, "target": settings["compute"]},
            "output": {"datastoreId": None, "path": None},
            "retrySettings": settings["retrySettings"],
            "status": "Preparing",
            "interactionEndpoints": {
                kind: {"jobEndpointType": kind, "port": None, "endpoint": address, "properties": None}
                for kind in ("Tracking", "Studio")
            },
            "tags": job["tags"],
            "properties": job["properties"],
            "name": job["display_name"],
        }
        return {
            "id": f"{deployment['id']}/jobs/{job['name']}",
            "name": job["name"],
            "type": f"{PROVIDER}/{ENDPOINTS}/deployments/jobs",
            "properties": properties,
            "systemData": {**endpoint_data(None), "lastModifiedBy": "Loopback"},
        }

    def jobs(self, request: Request, name: str) -> Answer:
        found = [job for job in self._documents.all("jobs") if job.get("batch_endpoint") == name]
        found.sort(key=lambda job: job["created"], reverse=True)
        return Answer.of({"value": [self._listed(job) for job in found]})

    def _listed(self, job: Json) -> Json:
        properties = {"name": job["display_name"], "status": job["status"]}
        return {**self._arm.resource("jobs", job["name"], properties), "systemData": system_data(job["created"])}

    def _pipeline(self, endpoint: str, deployment: Json, asked: Json) -> Json:
        """The pipeline of one step that a request comes to."""
        properties: Json = deployment["properties"]
        (data,) = asked["inputData"].values()
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", data["jobInputType"]).lower()
        inputs: Json = {
            "model": {"job_input_type": "custom_model", "uri": properties["model"]["assetId"]},
            "data": {"job_input_type": kind, "uri": data["uri"]},
            "settings": {
                "job_input_type": "literal",
                "value": json.dumps(
                    {
                        "mini_batch_size": properties["miniBatchSize"],
                        "error_threshold": properties["errorThreshold"],
                        "file_name": properties["outputFileName"],
                        "variables": properties.get("environmentVariables") or {},
                        "script": (properties.get("codeConfiguration") or {}).get("scoringScript"),
                    }
                ),
            },
        }
        if configuration := properties.get("codeConfiguration"):
            code = self._arm.by_id("codes", configuration["codeId"])["properties"]["codeUri"]
            inputs["code"] = {"job_input_type": "uri_folder", "uri": code}
        output = (asked.get("outputData") or {}).get("score")
        node: Json = {
            "type": "command",
            "componentId": self._component(),
            "computeId": properties["compute"],
            "inputs": inputs,
            "outputs": {"score": {"uri": output["uri"]}} if output else {},
        }
        experiment = (asked.get("properties") or {}).get("experimentName") or endpoint
        said = f"Pipeline submission for endpoint: {endpoint}, deployment: {deployment['name']}."
        return {
            "description": said,
            "jobType": "Pipeline",
            "experimentName": experiment,
            "jobs": {STEP: node},
            "inputs": {},
            "outputs": {},
            "settings": {"default_compute": properties["compute"]},
            "computeId": None,
        }

    def _component(self) -> str:
        """The id of the component that scores, which is registered when it is first needed."""
        if self._documents.get("components", f"{COMPONENT}:1") is None:
            folder = self._blobs.path(DATASTORES["workspaceblobstore"], COMPONENT)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / DRIVER.name).write_bytes(DRIVER.read_bytes())
            address = self._blobs.url(DATASTORES["workspaceblobstore"], COMPONENT, signed=False)
            code = self._arm.resource("codes", "1", {"codeUri": address}, of=f"{COMPONENT}/versions/")
            self._documents.put("codes", f"{COMPONENT}:1", {**code, "systemData": system_data(now())})
            spec: dict[str, Any] = {
                "command": "python batch_driver.py --model ${{inputs.model}} --data ${{inputs.data}}"
                " --settings '${{inputs.settings}}' --output ${{outputs.score}} $[[--code ${{inputs.code}}]]",
                "code": f"azureml:{COMPONENT}:1",
                "environment": "azureml:batch-scoring:1",
                "inputs": {
                    "model": {"type": "custom_model"},
                    "data": {"type": "uri_folder"},
                    "settings": {"type": "string"},
                    "code": {"type": "uri_folder", "optional": True},
                },
                "outputs": {"score": {"type": "uri_folder"}},
                "is_deterministic": False,
            }
            made = self._arm.resource("components", "1", {"componentSpec": spec}, of=f"{COMPONENT}/versions/")
            self._documents.put("components", f"{COMPONENT}:1", {**made, "systemData": system_data(now())})
        return f"{self._arm.workspace.path}/components/{COMPONENT}/versions/1"


def _without_empty(settings: Json) -> Json:
    return {name: value for name, value in settings.items() if value}
