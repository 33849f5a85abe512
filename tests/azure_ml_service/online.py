"""Online endpoints and their deployments, as Azure Resource Manager shows them."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

from tests.azure_ml_service.arm import LOCATION, PROVIDER, WORKSPACE_GUID, Arm
from tests.azure_ml_service.computes import SIZES
from tests.azure_ml_service.faults import EndpointFault, Faults
from tests.azure_ml_service.identity import make_token
from tests.azure_ml_service.messages import ARM_HOST, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.online_collector import Collecting
from tests.azure_ml_service.online_processes import OnlineProcesses, WorkerFiles
from tests.azure_ml_service.operations import OperationFailed, Operations, refuse_while_changing
from tests.azure_ml_service.shown import endpoint_data
from tests.azure_ml_service.state import Documents

ENDPOINTS, DEPLOYMENTS = "onlineEndpoints", "onlineDeployments"
SUBMITTED, KEYS, ASKED = "online-submitted", "online-keys", "online-asked"
MAKING_FAULTS = ("fail", "hang", "build", "probe", "quota")
_AUTH = {"key": "Key", "amltoken": "AMLToken", "aadtoken": "AADToken"}
_DEFAULT_PROBE = {
    "initialDelay": "PT10S",
    "period": "PT10S",
    "timeout": "PT2S",
    "successThreshold": 1,
    "failureThreshold": 30,
}
_UNSET_OF_DEPLOYMENT: Json = {
    "description": None,
    "modelMountPath": None,
    "appInsightsEnabled": False,
    "egressPublicNetworkAccess": "Enabled",
    "environmentVariables": {},
    "dataCollector": None,
}


class Online:
    """Answers for online endpoints and deployments."""

    def __init__(
        self, arm: Arm, documents: Documents, operations: Operations, processes: OnlineProcesses, faults: Faults
    ) -> None:
        self._arm = arm
        self._documents = documents
        self._operations = operations
        self._processes = processes
        self._faults = faults

    def routes(self) -> list[Route]:
        """Who answers what."""
        endpoint = f"W/{ENDPOINTS}/{{name}}"
        deployment = f"W/{ENDPOINTS}/{{endpoint}}/deployments/{{name}}"
        return [
            route("GET", ARM_HOST, f"W/{ENDPOINTS}", self.list_endpoints),
            route("GET", ARM_HOST, endpoint, self.get_endpoint),
            route("PUT", ARM_HOST, endpoint, self.put_endpoint),
            route("DELETE", ARM_HOST, endpoint, self.delete_endpoint),
            route("POST", ARM_HOST, f"{endpoint}/listKeys", self.list_keys),
            route("POST", ARM_HOST, f"{endpoint}/token", self.token),
            route("GET", ARM_HOST, f"{endpoint}/deployments", self.list_deployments),
            route("GET", ARM_HOST, deployment, self.get_deployment),
            route("PUT", ARM_HOST, deployment, self.put_deployment),
            route("DELETE", ARM_HOST, deployment, self.delete_deployment),
            route("POST", ARM_HOST, f"{deployment}/getLogs", self.logs),
        ]

    # Endpoints

    def endpoint(self, name: str) -> Json:
        """An endpoint.

        Raises:
            Refused: There is none.
        """
        found = self._documents.get(ENDPOINTS, name)
        if found is None:
            text = f"An endpoint with the name '{name}' does not exist in the workspace."
            raise Refused(404, "UserError", text, "NotFound", "EndpointNotFound")
        return found

    def list_endpoints(self, request: Request) -> Answer:
        return Answer.of({"value": self._documents.all(ENDPOINTS)})

    def get_endpoint(self, request: Request, name: str) -> Answer:
        return Answer.of(self.endpoint(name))

    def put_endpoint(self, request: Request, name: str) -> Answer:
        asked, before = request.json, self._documents.get(ENDPOINTS, name)
        _check_name(name)
        if before is None and self._faults.take_for_endpoint(("taken",), name):
            text = "There is already an endpoint with this name, Endpoint name needs to be unique within a region."
            raise Refused(400, "UserError", f"{text} Try some other name.")
        given: Json = asked["properties"]
        traffic, mirror = given.get("traffic") or {}, given.get("mirrorTraffic") or {}
        self._check_traffic(name, traffic, mirror)
        mode = _AUTH[str(given["authMode"]).lower()]
        identifier = f"{self._arm.workspace.path}/{ENDPOINTS}/{name}"
        properties = {
            "authMode": mode,
            "description": given.get("description"),
            "properties": {**(given.get("properties") or {}), "azureml.onlineendpointid": identifier.lower()},
            "compute": None,
            "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
            "scoringUri": before and before["properties"]["scoringUri"],
            "swaggerUri": before and before["properties"]["swaggerUri"],
            "traffic": before["properties"]["traffic"] if before else {},
            "mirrorTraffic": before["properties"]["mirrorTraffic"] if before else {},
            "provisioningState": "Updating" if before else "Creating",
        }
        with self._documents.lock:
            resource = {
                **self._arm.resource(ENDPOINTS, name, properties),
                "location": asked["location"],
                "tags": asked.get("tags") or {},
                "identity": {"type": "SystemAssigned", "principalId": WORKSPACE_GUID, "tenantId": WORKSPACE_GUID},
                "kind": "Managed",
                "systemData": endpoint_data(before),
            }
            self._documents.put(ENDPOINTS, name, resource)
            if before is None:
                self._documents.put(KEYS, name, {"primaryKey": _key(), "secondaryKey": _key()})
            fault = self._faults.take_for_endpoint(MAKING_FAULTS, name)

            asked_last = {"put": str(uuid.uuid4())}
            self._documents.put(ASKED, name, asked_last)

            def work() -> None:
                self._suffer(fault, ENDPOINTS, name)
                if self._documents.get(ASKED, name) != asked_last:
                    return  # as recorded: it was put again in the meantime, which is not refused
                base = f"https://{name.lower()}.{LOCATION}.inference.ml.azure.com"
                addresses = {"scoringUri": f"{base}/score", "swaggerUri": f"{base}/swagger.json"}
                with self._documents.change(ENDPOINTS, name) as made:
                    made["properties"] |= {"traffic": traffic, "mirrorTraffic": mirror, **addresses}

            answer = self._operations.change(request, "oeidp", ENDPOINTS, name, work)
            return answer if before is None else _changed(answer, traffic, mirror)

    def _check_traffic(self, endpoint: str, traffic: dict[str, int], mirror: dict[str, int]) -> None:
        for name in (*traffic, *mirror):
            found = self._documents.get(DEPLOYMENTS, f"{endpoint}/{name}")
            if found is None or found["properties"]["provisioningState"] in ("Creating", "Deleting"):
                raise Refused(400, "UserError", f"Traffic is given to {name}, which is no deployment that is made.")
        if sum(traffic.values()) not in (0, 100):
            raise Refused(400, "UserError", f"The traffic must sum to 0 or 100, not {sum(traffic.values())}.")
        if len(mirror) > 1 or any(share > 50 or traffic.get(name) for name, share in mirror.items()):
            text = "Traffic is mirrored to one deployment, at most 50 percent, and not to one with live traffic."
            raise Refused(400, "UserError", text)

    def delete_endpoint(self, request: Request, name: str) -> Answer:
        keys = [key for key in self._documents.keys(DEPLOYMENTS) if key.partition("/")[0] == name]

        def work() -> None:
            for key in keys:
                self._processes.stop(key)
                self._documents.remove(DEPLOYMENTS, key)
                self._documents.remove(SUBMITTED, key)
            self._documents.remove(KEYS, name)

        return self._operations.delete(request, "oeidp", ENDPOINTS, name, work)

    def list_keys(self, request: Request, name: str) -> Answer:
        if self.endpoint(name)["properties"]["authMode"] != "Key":
            raise Refused(400, "UserError", f"The endpoint {name} has no keys.")
        return Answer.of(self._documents.get(KEYS, name))

    def token(self, request: Request, name: str) -> Answer:
        if self.endpoint(name)["properties"]["authMode"] != "AMLToken":
            raise Refused(400, "UserError", f"The endpoint {name} hands out no tokens.")
        token, times = make_token(f"aml:{name}"), {"expiryTimeUtc": 4102444800, "refreshAfterTimeUtc": 4102444800}
        return Answer.of({"accessToken": token, "tokenType": "Bearer", **times})

    # Deployments

    def deployment(self, endpoint: str, name: str) -> Json:
        """A deployment.

        Raises:
            Refused: There is none.
        """
        self.endpoint(endpoint)
        found = self._documents.get(DEPLOYMENTS, f"{endpoint}/{name}")
        if found is None:
            raise Refused(404, "UserError", f"The deployment {name} of the endpoint {endpoint} was not found.")
        return found

    def list_deployments(self, request: Request, name: str) -> Answer:
        self.endpoint(name)
        keys = [key for key in self._documents.keys(DEPLOYMENTS) if key.partition("/")[0] == name]
        return Answer.of({"value": [found for key in keys if (found := self._documents.get(DEPLOYMENTS, key))]})

    def get_deployment(self, request: Request, endpoint: str, name: str) -> Answer:
        return Answer.of(self.deployment(endpoint, name))

    def put_deployment(self, request: Request, endpoint: str, name: str) -> Answer:
        self.endpoint(endpoint)
        _check_name(name)
        asked, key = request.json, f"{endpoint}/{name}"
        before = self._documents.get(DEPLOYMENTS, key)
        refuse_while_changing(before, f"the deployment {name}")
        given: Json = asked["properties"]
        size = str(given.get("instanceType")).upper()
        if not any(size in sizes for sizes in SIZES.values()):
            raise Refused(400, "UserError", f"The requested VM size {given.get('instanceType')} is not supported here.")
        files = self._files(key, given)
        with self._documents.lock:
            self._documents.put(DEPLOYMENTS, key, self.new_deployment(endpoint, name, asked, before))
            fault = self._faults.take_for_endpoint(MAKING_FAULTS, endpoint, name)

            def work() -> None:
                self._suffer(fault, DEPLOYMENTS, key)
                if self._processes.start(key, files) is None:
                    raise _not_ready(self._processes.log(key, "InferenceServer").read_text(errors="replace"))
                self._documents.put(SUBMITTED, key, {"given": given, "capacity": asked["sku"]["capacity"]})
                with self._documents.change(DEPLOYMENTS, key) as made:
                    made["properties"]["environmentVariables"] |= _told_variables(given)

            return self._operations.change(request, "odidp", DEPLOYMENTS, key, work)

    def new_deployment(self, endpoint: str, name: str, asked: Json, before: Json | None) -> Json:
        """The document of a deployment that is being made; ``before`` is what was there."""
        given: Json = asked["properties"]
        properties = {
            **_UNSET_OF_DEPLOYMENT,
            **given,
            **_with_defaults(given),
            "scaleSettings": given.get("scaleSettings") or {"scaleType": "Default"},
            "properties": given.get("properties") or {},
            "provisioningState": "Updating" if before else "Creating",
        }
        return {
            "id": f"{self._arm.workspace.path}/{ENDPOINTS}/{endpoint}/deployments/{name}",
            "name": name,
            "type": f"{PROVIDER}/{ENDPOINTS}/deployments",
            "location": asked["location"],
            "tags": asked.get("tags") or {},
            "kind": "Managed",
            "sku": {**asked["sku"], "tier": "Standard"},
            "properties": properties,
            "systemData": endpoint_data(before),
        }

    def files(self, key: str) -> WorkerFiles | None:
        """What the process of a deployment that was made works with."""
        submitted = self._documents.get(SUBMITTED, key)
        return None if submitted is None else self._files(key, submitted["given"])

    def _files(self, key: str, given: Json) -> WorkerFiles:
        configuration = given.get("codeConfiguration")
        if not configuration or not given.get("environmentId"):
            raise Refused(400, "UserError", "A deployment without code and environment cannot be made here.")
        code = self._arm.by_id("codes", configuration["codeId"])["properties"]["codeUri"]
        self._arm.by_id("environments", given["environmentId"])
        model, name = None, "none/1"
        if given.get("model"):
            found = self._arm.by_id("models", given["model"])
            model, name = self._arm.path_of(found["properties"]["modelUri"]), "/".join(_asset(found["id"]))
        own = _told_variables(given)  # which are sent back when a deployment is changed as it was told
        variables = {key: value for key, value in (given.get("environmentVariables") or {}).items() if key not in own}
        collecting = self._collecting(key, given.get("dataCollector"))
        script: str = configuration["scoringScript"]
        return WorkerFiles(self._arm.path_of(code), script, model, name, variables, collecting)

    def _collecting(self, key: str, given: Json | None) -> Collecting | None:
        """What is collected; whole bodies are not, here."""
        kept: dict[str, tuple[Path, float]] = {}
        for name, collection in (given or {}).get("collections", {}).items():
            if not collection.get("dataId"):
                raise Refused(400, "UserError", f"The collection {name} has no data asset.")
            uri = self._arm.by_id("data", collection["dataId"])["properties"]["dataUri"]
            if str(collection.get("dataCollectionMode")).lower() == "enabled":
                kept[name] = self._arm.path_of(uri), float(collection.get("samplingRate") or 1.0)
        endpoint, _, deployment = key.partition("/")
        source = f"{self._arm.workspace.path}/{ENDPOINTS}/{endpoint}/deployments/{deployment}"
        rolling = str((given or {}).get("rollingRate") or "Hour").capitalize()
        return Collecting(kept, rolling, source) if kept else None

    def _suffer(self, fault: EndpointFault | None, kind: str, key: str) -> None:
        """Let a fault of the making have its way; returns if it can go on."""
        if fault is None:
            return
        match fault.kind:
            case "hang":
                self._operations.hold(fault, lambda: self._documents.get(kind, key) is not None)
                if self._documents.get(kind, key) is None:
                    raise OperationFailed("Canceled", "It was deleted while it was made.")
            case "build":
                raise OperationFailed("ImageBuildFailure", "Image build failed: see the build log in the workspace.")
            case "probe":
                log = self._processes.log(key, "InferenceServer")
                log.write_text("ModuleNotFoundError: No module named 'azureml.ai'\n", encoding="utf-8")
                raise _not_ready("HTTP probe failed with statuscode: 502")
            case "quota":
                raise OperationFailed("OutOfQuota", "Not enough quota available for the size in this subscription.")
            case _:
                raise OperationFailed(fault.error, fault.message)

    def delete_deployment(self, request: Request, endpoint: str, name: str) -> Answer:
        found, key = self._documents.get(ENDPOINTS, endpoint), f"{endpoint}/{name}"
        if found is not None and self._documents.get(DEPLOYMENTS, key) is not None:
            properties = found["properties"]
            if (properties["traffic"] or {}).get(name) or (properties["mirrorTraffic"] or {}).get(name):
                text = f"The deployment {name} has traffic. Set its traffic to 0 before it is deleted."
                raise Refused(400, "UserError", text)

        def work() -> None:
            self._processes.stop(key)
            self._documents.remove(SUBMITTED, key)

        return self._operations.delete(request, "odidp", DEPLOYMENTS, key, work)

    def logs(self, request: Request, endpoint: str, name: str) -> Answer:
        self.deployment(endpoint, name)
        container = request.json.get("containerType") or "InferenceServer"
        log = self._processes.log(f"{endpoint}/{name}", container)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return Answer.of({"content": "\n".join(lines[-int(request.json.get("tail") or 100) :])})


def _with_defaults(given: Json) -> Json:
    """The settings of a deployment, with the defaults of what was not given; told at once, since 2025."""
    settings = {"requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0S"}
    probes = {probe: _DEFAULT_PROBE | _given(given.get(probe)) for probe in ("livenessProbe", "readinessProbe")}
    return {"requestSettings": settings | _given(given.get("requestSettings")), **probes}


def _told_variables(given: Json) -> dict[str, str]:
    """The variables that the service adds to those of a deployment when it is made."""
    match = re.search(r"([^/:]+)(?:/versions/|:)([^/:]+)$", given.get("model") or "none:1")
    name, version = match.groups() if match else ("none", "1")
    return {
        "AZUREML_MODEL_DIR": f"/var/azureml-app/azureml-models/{name}/{version}",
        "AZUREML_ENTRY_SCRIPT": given["codeConfiguration"]["scoringScript"],
        "AML_APP_ROOT": "/var/azureml-app/onlinescoring",
    }


def _changed(answer: Answer, traffic: Json, mirror: Json) -> Answer:
    """The answer to a change of an endpoint: as recorded, what was sent, and little of what was there."""
    endpoint: Json = json.loads(answer.body)
    told: Json = endpoint["properties"]
    told |= {"scoringUri": None, "swaggerUri": None, "provisioningState": "Creating"}
    told |= {"traffic": traffic, "mirrorTraffic": mirror}
    told["properties"].pop("azureml.onlineendpointid", None)
    kept = {key: value for key, value in endpoint.items() if key not in ("location", "identity")}
    modified = {"lastModifiedAt": endpoint["systemData"]["lastModifiedAt"]}
    return Answer(answer.status, json.dumps({**kept, "systemData": modified}).encode(), answer.headers)


def _not_ready(why: str) -> OperationFailed:
    tail = "\n".join(why.splitlines()[-5:])
    text = f"User container has crashed or terminated: Liveness probe failed. {tail}"
    return OperationFailed("ResourceNotReady", text)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-zA-Z]([-a-zA-Z0-9]{1,30}[a-zA-Z0-9])", name):
        raise Refused(400, "UserError", f"{name} cannot be a name: 3 to 32 letters, digits and hyphens.")


def _given(settings: Json | None) -> dict[str, Any]:
    return {key: value for key, value in (settings or {}).items() if value is not None}


def _asset(identifier: str) -> tuple[str, str]:
    match = re.search(r"/models/([^/]+)/versions/([^/]+)$", identifier)
    assert match is not None
    return match[1], match[2]


def _key() -> str:
    return uuid.uuid4().hex
