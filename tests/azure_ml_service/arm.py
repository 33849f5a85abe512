"""The control plane: workspace, datastores, and assets by name and version."""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import yaml

from tests.azure_ml_service.blobs import ACCOUNT, DATASTORES, Blobs, signature
from tests.azure_ml_service.messages import API_HOST, ARM_HOST, LOCATION, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.shown import as_text, conda_as_json, system_data
from tests.azure_ml_service.state import Documents, now

API = f"{LOCATION}.api.azureml.ms"
PROVIDER = "Microsoft.MachineLearningServices/workspaces"
WORKSPACE_GUID = "44444444-4444-4444-4444-444444444444"

# What of an asset cannot change once it has a version.
FIXED = {
    "codes": ("codeUri",),
    "data": ("dataUri", "dataType"),
    "environments": ("image", "condaFile"),
    "components": ("command", "code", "environment", "type", "inputs", "outputs", "jobs", "is_deterministic"),
    "models": ("modelUri", "modelType"),
}
# What a version or a container that is not there is called, in codes from the outermost to the innermost.
_NOT_THERE = {"components": ("NotFound", "ComponentNotFound"), "environments": ("NotFoundError",)}
_TIMESTAMPED = ("components", "environments")  # whose next version is a timestamp
ANONYMOUS = "azureml_anonymous"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Which workspace the service is."""

    subscription: str = "00000000-0000-0000-0000-000000000001"
    resource_group: str = "loopback-rg"
    name: str = "loopback-ws"

    @property
    def path(self) -> str:
        """The workspace's ARM id."""
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/{PROVIDER}/{self.name}"

    @property
    def mlflow_path(self) -> str:
        """Where its MLflow API is, below the API's host."""
        return f"/mlflow/v2.0{self.path}"

    def datastore_uri(self, datastore: str, path: str) -> str:
        """The long form of an address on a datastore."""
        group = f"subscriptions/{self.subscription}/resourcegroups/{self.resource_group}"
        return f"azureml://{group}/workspaces/{self.name}/datastores/{datastore}/paths/{path}"


class Arm:
    """Answers management.azure.com, but for jobs and computes.

    ``page_size`` is how many versions or jobs it lists; with ``by_identity`` it hands out no secrets of its storage,
    which is then used by the identity of whoever asks.
    """

    page_size = 100
    by_identity = False

    def __init__(self, workspace: Workspace, documents: Documents, blobs: Blobs) -> None:
        self.workspace = workspace
        self._documents = documents
        self._blobs = blobs

    def routes(self) -> list[Route]:
        """The routes of this part."""
        kinds = "|".join(FIXED)
        assets = f"W/(?P<kind>{kinds})"
        return [
            route("GET", ARM_HOST, "W", self.get_workspace),
            route("GET", API_HOST, "/discovery(?:/.*)?", self.discovery),
            route("GET", ARM_HOST, "W/datastores", self.list_datastores),
            route("GET", ARM_HOST, "W/datastores/{name}", self.get_datastore),
            route("POST", ARM_HOST, "W/datastores/{name}/listSecrets", self.list_secrets),
            route("POST", ARM_HOST, f"{assets}/{{name}}/versions/{{version}}/startPendingUpload", self.pending_upload),
            route("GET", ARM_HOST, assets, self.list_containers),
            route("GET", ARM_HOST, f"{assets}/{{name}}", self.get_container),
            route("GET", ARM_HOST, f"{assets}/{{name}}/versions", self.list_versions),
            route("GET", ARM_HOST, f"{assets}/{{name}}/versions/{{version}}", self.get_version),
            route("PUT", ARM_HOST, f"{assets}/{{name}}/versions/{{version}}", self.put_version),
        ]

    # Workspace, datastores

    def resource(self, kind: str, name: str, properties: Json | None, of: str = "") -> Json:
        """A resource of the workspace, as ARM shows it; ``of`` is what stands between kind and name."""
        return {
            "id": f"{self.workspace.path}/{kind}/{of}{name}",
            "name": name,
            "type": f"{PROVIDER}/{kind}" + ("/versions" if of else ""),
            "properties": properties,
        }

    def get_workspace(self, request: Request) -> Answer:
        workspace = self.workspace
        group = workspace.path.partition("/providers/")[0]
        properties = {
            "workspaceId": WORKSPACE_GUID,
            "friendlyName": workspace.name,
            "discoveryUrl": f"https://{API}/discovery",
            "mlFlowTrackingUri": f"azureml://{API}/mlflow/v1.0{workspace.path}",
            "storageAccount": f"{group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}",
            "description": "",
            "keyVault": f"{group}/providers/Microsoft.Keyvault/vaults/loopback",
            "applicationInsights": f"{group}/providers/Microsoft.insights/components/loopback",
            "containerRegistry": f"{group}/providers/Microsoft.ContainerRegistry/registries/loopback",
            "notebookInfo": {
                "resourceId": WORKSPACE_GUID,
                "fqdn": f"loopback.{LOCATION}.notebooks.azure.net",
                "isPrivateLinkEnabled": False,
                "notebookPreparationError": None,
            },
            "hbiWorkspace": False,
            "imageBuildCompute": None,
            "privateLinkCount": 0,
            "provisioningState": "Succeeded",
            "publicNetworkAccess": "Enabled",
            "storageHnsEnabled": False,
            "tenantId": WORKSPACE_GUID,
            "v1LegacyMode": False,
            "enableDataIsolation": False,
            "enableServiceSideCMKEncryption": False,
            "managedNetwork": {"isolationMode": "Disabled", "enableNetworkMonitor": False},
            "serverlessComputeSettings": None,
            "systemDatastoresAuthMode": "Identity" if self.by_identity else "AccessKey",
        }
        resource = {
            "id": workspace.path,
            "name": workspace.name,
            "type": PROVIDER,
            "location": LOCATION,
            "tags": {},
            "kind": "Default",
            "identity": {"type": "SystemAssigned", "principalId": WORKSPACE_GUID, "tenantId": WORKSPACE_GUID},
            "sku": {"name": "Basic", "tier": "Basic"},
            "properties": properties,
            "systemData": system_data(now()),
        }
        return Answer.of(resource)

    def discovery(self, request: Request) -> Answer:
        base = f"https://{API}"
        known = ("api", "catalog", "experimentation", "history", "hyperdrive", "labeling")
        return Answer.of(dict.fromkeys((*known, "modelmanagement", "pipelines", "studio"), base))

    def _datastore(self, name: str) -> Json:
        if name not in DATASTORES:
            raise Refused(404, "UserError", f"Could not find datastore with name '{name}'.", "NotFoundError")
        is_default = name == "workspaceblobstore"
        properties = {
            "datastoreType": "AzureBlob",
            "accountName": ACCOUNT,
            "containerName": DATASTORES[name],
            "endpoint": "core.windows.net",
            "protocol": "https",
            "isDefault": is_default,
            "credentials": {"credentialsType": "None" if self.by_identity else "AccountKey"},
            "subscriptionId": self.workspace.subscription if is_default else None,
            "resourceGroup": self.workspace.resource_group if is_default else None,
            "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity" if is_default else "None",
            "description": None,
            "properties": None,
            "tags": None,
        }
        made = {key: value for key, value in system_data(now()).items() if not key.startswith("createdBy")}
        return {**self.resource("datastores", name, properties), "systemData": made}

    def list_datastores(self, request: Request) -> Answer:
        found = [self._datastore(name) for name in DATASTORES]
        if request.query.get("isDefault", "").lower() == "true":
            found = found[:1]
        return Answer.of({"value": found})

    def get_datastore(self, request: Request, name: str) -> Answer:
        return Answer.of(self._datastore(name))

    def list_secrets(self, request: Request, name: str) -> Answer:
        self._datastore(name)
        if self.by_identity:
            raise Refused(400, "UserError", "No secrets for credentials of type None.")
        return Answer.of({"secretsType": "Sas", "sasToken": signature()})

    # Assets

    def _versions(self, kind: str, name: str) -> list[Json]:
        """The versions of an asset, the newest first."""
        keys = [key for key in self._documents.keys(kind) if key.rpartition(":")[0] == name]
        found = [document for key in keys if (document := self._documents.get(kind, key)) is not None]
        return sorted(found, key=lambda document: document["systemData"]["createdAt"], reverse=True)

    def version(self, kind: str, name: str, version: str) -> Json:
        """One version of an asset.

        Raises:
            Refused: There is none.
        """
        found = self._documents.get(kind, f"{name}:{version}")
        if found is None and kind == "models":
            details = [("NoSuchModelRegistered", f"There is no registered model here with id {name}:{version}")]
            raise Refused(404, "UserError", "The specified resource was not found.", details=details)
        if found is None:
            text = f"Could not find asset with ID: {self.workspace.path}/{kind}/{name}/versions/{version}"
            raise Refused(404, "UserError", text, *_NOT_THERE.get(kind, ("NotFoundError",)))
        return found

    def by_id(self, kind: str, identifier: str) -> Json:
        """The asset that ``…/kind/name/versions/version`` or ``azureml:name:version`` names."""
        match = re.search(rf"/{kind}/([^/]+)/versions/([^/]+)$", identifier) or re.fullmatch(
            r"(?:azureml:)?([^:/]+):([^:/]+)", identifier
        )
        if match is None:
            raise Refused(400, "ValidationError", f"Not the id of one of the {kind}: {identifier}")
        return self.version(kind, match[1], match[2])

    def _container(self, kind: str, name: str) -> Json:
        versions = self._versions(kind, name)
        if not versions:
            raise _no_container(kind, name)
        numbers = [int(found["name"]) for found in versions if found["name"].isdigit()]
        properties = {
            "description": "",
            "latestVersion": None if kind == "components" else versions[0]["name"],
            "nextVersion": _timestamp() if kind in _TIMESTAMPED else str(max(numbers, default=0) + 1),
            "isArchived": False,
            "tags": {},
            "properties": {},
        }
        if kind == "data":
            properties["dataType"] = versions[0]["properties"]["dataType"]
        else:
            properties["provisioningState"] = "Succeeded"
        return {**self.resource(kind, name, properties), "systemData": versions[-1]["systemData"]}

    def list_containers(self, request: Request, kind: str) -> Answer:
        names = dict.fromkeys(key.rpartition(":")[0] for key in self._documents.keys(kind))
        return Answer.of({"value": [self._container(kind, name) for name in names]})

    def get_container(self, request: Request, kind: str, name: str) -> Answer:
        return Answer.of(self._container(kind, name))

    def list_versions(self, request: Request, kind: str, name: str) -> Answer:
        if "hash" in request.query:
            return self._codes_by_hash(request.query["hash"])
        found = self._versions(kind, name)
        if not found:
            raise _no_container(kind, name)
        if request.query.get("listViewType") == "ActiveOnly":
            found = [document for document in found if not document["properties"].get("isArchived")]
        answer = page_of(request, [self._shown(kind, document) for document in found], self.page_size)
        if kind == "environments" and "$top" in request.query:  # as recorded: nothing tells that there are more
            return Answer.of({"value": json.loads(answer.body)["value"]})
        return answer

    def _codes_by_hash(self, digest: str) -> Answer:
        return Answer.of(
            {
                "value": [
                    self._shown("codes", code)
                    for code in self._documents.all("codes")
                    if (code["properties"].get("properties") or {}).get("hash_sha256") == digest
                ]
            }
        )

    def get_version(self, request: Request, kind: str, name: str, version: str) -> Answer:
        return Answer.of(self._shown(kind, self.version(kind, name, version)))

    def put_version(self, request: Request, kind: str, name: str, version: str) -> Answer:
        """Make a version, or change what can change of one; an anonymous component gets an id by its content."""
        asked: Json = request.json["properties"]
        if kind == "components" and name == ANONYMOUS:
            version = content_id(asked["componentSpec"])
        present, resource = self.keep(kind, name, version, asked)
        if present and not (kind == "environments" or name == ANONYMOUS):
            return Answer.of(self._shown(kind, resource))
        address = f"https://{request.host}{request.path}?api-version={request.api_version}"
        return Answer.of(self._shown(kind, resource), 201, Location=address)

    def keep(self, kind: str, name: str, version: str, asked: Json) -> tuple[bool, Json]:
        """Write down a version of an asset; whether it was there already.

        Raises:
            Refused: It is there, and what cannot change would.
        """
        kept: Json = {"description": None, "isArchived": False, "isAnonymous": False, "tags": {}, "properties": {}}
        kept |= {key: value for key, value in asked.items() if value is not None}
        kept["properties"] = {key: str(value) for key, value in kept["properties"].items()}
        self._complete(kind, name, version, kept)
        with self._documents.lock:
            present = self._documents.get(kind, f"{name}:{version}")
            if present is not None:
                _check_fixed(kind, f"{name}:{version}", present["properties"], kept)
            moment = now()
            resource = {
                **self.resource(kind, version, kept, of=f"{name}/versions/"),
                "systemData": system_data(present["systemData"]["createdAt"] if present else moment, moment),
            }
            if present is not None and name == ANONYMOUS:
                return True, present
            self._documents.put(kind, f"{name}:{version}", resource)
        return present is not None, resource

    def _shown(self, kind: str, resource: Json) -> Json:
        """A version as it is answered, which is not quite as it was sent."""
        if kind == "data":
            system = {
                key: resource["systemData"][key]
                for key in ("createdAt", "createdBy", "createdByType", "lastModifiedAt")
            }
            return {**resource, "systemData": system}
        properties: Json = {**resource["properties"], "provisioningState": "Succeeded"}
        if kind in ("models", "environments"):
            properties["stage"] = "Logged" if properties.get("isAnonymous") else "Development"
        if kind == "codes":
            properties["isAnonymous"] = False
        elif kind == "environments":
            properties |= {"condaFile": conda_as_json(properties.get("condaFile")), "autoRebuild": "Disabled"}
            name = resource["id"].split("/")[-3]
            is_latest = not properties.get("isAnonymous") and self._versions(kind, name)[0]["name"] == resource["name"]
            properties["properties"] = {
                **(properties.get("properties") or {}),
                "azureml.labels": "latest" if is_latest else "",
            }
        elif kind == "components":
            properties |= {"description": None, "componentSpec": as_text(properties["componentSpec"])}
        return {**resource, "properties": properties}

    def _complete(self, kind: str, name: str, version: str, properties: Json) -> None:
        """Add what the service knows of an asset that the client does not say."""
        if kind == "data":
            properties["dataUri"] = self.long_uri(properties["dataUri"])
        elif kind == "models":
            self._complete_model(properties)
        elif kind == "environments":
            properties.update(environmentType="UserCreated", osType="Linux")
        elif kind == "components":
            properties["componentSpec"] = {**properties["componentSpec"], "name": name, "version": version}

    def _complete_model(self, properties: Json) -> None:
        match = re.fullmatch(r"azureml://jobs/([^/]+)/outputs/(?:artifacts/paths/)?([^/]+?)/?", properties["modelUri"])
        if match:
            uri = self.job_output(match[1], match[2])
        else:
            uri = self.long_uri(properties["modelUri"])
        properties["jobName"] = match[1] if match else properties.get("jobName")
        properties["modelUri"] = uri
        path = self.path_of(uri)
        if not path.exists():
            raise Refused(400, "UserError", f"Nothing lies at the path of the model: {uri}")
        description = path / "MLmodel"
        properties["flavors"] = {}
        if description.is_file():
            flavors: Mapping[str, Json] = yaml.safe_load(description.read_text(encoding="utf-8")).get("flavors", {})
            properties["flavors"] = {
                name: {"data": {key: str(value) for key, value in data.items()}} for name, data in flavors.items()
            }
        elif properties.get("modelType") == "mlflow_model":
            raise Refused(400, "UserError", f"There is no MLmodel file in the MLflow model at {uri}")

    def job_output(self, job: str, output: str) -> str:
        """The long address of a job's output.

        Raises:
            Refused: There is no such job or output.
        """
        found = self._documents.get("jobs", job)
        if found is None or output not in found["outputs"]:
            raise Refused(404, "UserError", f"The job {job} has no output {output}.")
        return self.long_uri(found["outputs"][output]["uri"])

    def long_uri(self, uri: str) -> str:
        """``azureml://datastores/…`` in the long form; anything else as it is."""
        match = re.fullmatch(r"azureml://datastores/([^/]+)/paths/(.*)", uri)
        return self.workspace.datastore_uri(match[1], match[2]) if match else uri

    def path_of(self, uri: str) -> Path:
        """The file or folder at an address of a datastore or of a blob."""
        match = re.search(r"/?datastores/([^/]+)/paths/(.*)$", uri)
        if match is None:
            return self._blobs.local(uri)
        if match[1] not in DATASTORES:
            raise Refused(404, "UserError", f"Could not find datastore with name '{match[1]}'.")
        return self._blobs.datastore_path(match[1], match[2])

    def pending_upload(self, request: Request, kind: str, name: str, version: str) -> Answer:
        folder = f"{kind}-{name}"
        container = DATASTORES["workspaceblobstore"]
        address = self._blobs.url(container, folder, signed=False).replace(".net/", ".net:443/", 1)
        group = self.workspace.path.partition("/providers/")[0]
        reference = {
            "blobUri": address,
            "storageAccountArmId": f"{group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}",
            "credential": {"credentialType": "SAS", "sasUri": f"{address}?{signature()}"},
        }
        identifier = hashlib.sha256(json.dumps([kind, name, version]).encode()).hexdigest()[:32]
        return Answer.of(
            {"blobReferenceForConsumption": reference, "pendingUploadId": identifier, "pendingUploadType": "None"}
        )


def page_of(request: Request, found: list[Json], size: int) -> Answer:
    """One page of a list, as the request asks for it, with the address of the next if there are more."""
    start = int(request.query.get("$skipToken") or 0)
    size = int(request.query.get("$top") or 0) or size
    page: Json = {"value": found[start : start + size]}
    if len(found) > start + size:
        query = urlencode({**request.query, "$skipToken": str(start + size)}, safe="$")
        page["nextLink"] = f"https://{request.host}{request.path}?{query}"
    return Answer.of(page)


def _no_container(kind: str, name: str) -> Refused:
    if kind == "models":
        details = [("ModelNotFound", f"Model container with name: {name} not found.")]
        return Refused(404, "UserError", "The specified resource was not found.", details=details)
    text = f"Could not find asset container {name} among the {kind}."
    return Refused(404, "UserError", text, *_NOT_THERE.get(kind, ("NotFoundError",)))


def _check_fixed(kind: str, name: str, present: Json, asked: Json) -> None:
    """Refuse a change of what cannot change. What Azure answers for an environment is not known."""
    inner = "componentSpec" if kind == "components" else None
    before, after = (present[inner], asked[inner]) if inner else (present, asked)
    changed = next((key for key in FIXED[kind] if before.get(key) != after.get(key)), None)
    if changed is None:
        return
    match kind:
        case "components":
            text = (
                f'Failed to update component {name} since field "{changed}" is immutable, try specifying a new version.'
            )
            raise Refused(400, "UserError", text, "BadArgument", "ArgumentInvalid", "UpdateComponentFailed")
        case "environments":
            raise Refused(409, "UserError", f"The environment {name} already exists: {changed} cannot change.")
        case _:
            raise Refused(400, "UserError", "Asset paths cannot be updated.")


def content_id(spec: Json) -> str:
    """The id of an anonymous component: the same for the same content, whatever version the client gave it."""
    content = {key: value for key, value in spec.items() if key not in ("version", "_source")}
    return str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True)))


def _timestamp() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d-%H-%M-%S-%f}0"
