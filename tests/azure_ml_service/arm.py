"""The control plane: workspace, datastores, and assets by name and version."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from tests.azure_ml_service.blobs import ACCOUNT, DATASTORES, Blobs, signature
from tests.azure_ml_service.messages import API_HOST, ARM_HOST, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.state import Documents, now

LOCATION = "westeurope"
API = f"{LOCATION}.api.azureml.ms"
PROVIDER = "Microsoft.MachineLearningServices/workspaces"
WORKSPACE_GUID = "44444444-4444-4444-4444-444444444444"

# What of an asset cannot change once it has a version; None for an asset that can change altogether.
FIXED = {
    "codes": ("codeUri",),
    "data": ("dataUri", "dataType"),
    "environments": ("image", "condaFile"),
    "components": ("componentSpec",),
    "models": ("modelUri", "modelType"),
}


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
    """Answers management.azure.com, but for jobs and computes. ``page_size``: how many versions or jobs it lists.

    ``on_existing_version`` says what a PUT of a version of data or of an environment that there is already comes to, if
    it is the same one: the existing version, or a conflict. Another one is a conflict always. What Azure does is not
    known.
    """

    page_size = 100

    def __init__(self, workspace: Workspace, documents: Documents, blobs: Blobs) -> None:
        self.on_existing_version: Literal["same", "conflict"] = "same"
        self.workspace = workspace
        self._documents = documents
        self._blobs = blobs

    def routes(self) -> list[Route]:
        """Who answers what."""
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
            "provisioningState": "Succeeded",
            "publicNetworkAccess": "Enabled",
        }
        resource = {
            "id": workspace.path,
            "name": workspace.name,
            "type": PROVIDER,
            "location": LOCATION,
            "tags": {},
            "kind": "Default",
            "identity": {"type": "SystemAssigned"},
            "properties": properties,
            "systemData": system_data(now()),
        }
        return Answer.of(resource)

    def discovery(self, request: Request) -> Answer:
        base = f"https://{API}"
        return Answer.of(dict.fromkeys(("api", "history", "mlflow", "catalog", "metrics", "artifact"), base))

    def _datastore(self, name: str) -> Json:
        if name not in DATASTORES:
            raise Refused(404, "UserError", f"Could not find datastore with name '{name}'.")
        properties = {
            "datastoreType": "AzureBlob",
            "accountName": ACCOUNT,
            "containerName": DATASTORES[name],
            "endpoint": "core.windows.net",
            "protocol": "https",
            "isDefault": name == "workspaceblobstore",
            "credentials": {"credentialsType": "Sas", "secrets": {"secretsType": "Sas"}},
            "serviceDataAccessAuthIdentity": "None",
            "properties": {},
            "tags": {},
        }
        return {**self.resource("datastores", name, properties), "systemData": system_data(now())}

    def list_datastores(self, request: Request) -> Answer:
        found = [self._datastore(name) for name in DATASTORES]
        if request.query.get("isDefault", "").lower() == "true":
            found = found[:1]
        return Answer.of({"value": found})

    def get_datastore(self, request: Request, name: str) -> Answer:
        return Answer.of(self._datastore(name))

    def list_secrets(self, request: Request, name: str) -> Answer:
        self._datastore(name)
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
        if found is None:
            text = f"Could not find asset with ID: {self.workspace.path}/{kind}/{name}/versions/{version}"
            raise Refused(404, "UserError", text)
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
            raise Refused(404, "UserError", f"Could not find asset container {name} among the {kind}.")
        numbers = [int(found["name"]) for found in versions if found["name"].isdigit()]
        properties = {
            "latestVersion": versions[0]["name"],
            "nextVersion": str(max(numbers, default=0) + 1),
            "isArchived": False,
            "tags": {},
            "properties": {},
        }
        if kind == "data":
            properties["dataType"] = versions[0]["properties"]["dataType"]
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
            raise Refused(404, "UserError", f"Could not find asset container {name} among the {kind}.")
        if request.query.get("listViewType") == "ActiveOnly":
            found = [document for document in found if not document["properties"].get("isArchived")]
        start = int(request.query.get("$skip") or 0)
        size = int(request.query.get("$top") or 0) or self.page_size
        page: Json = {"value": found[start : start + size]}
        if len(found) > start + size and "$top" not in request.query:
            kept = {**request.query, "$skip": str(start + size)}
            text = "&".join(f"{key}={value}" for key, value in kept.items())
            page["nextLink"] = f"https://{request.host}{request.path}?{text}"
        return Answer.of(page)

    def _codes_by_hash(self, digest: str) -> Answer:
        return Answer.of(
            {
                "value": [
                    code
                    for code in self._documents.all("codes")
                    if (code["properties"].get("properties") or {}).get("hash_sha256") == digest
                ]
            }
        )

    def get_version(self, request: Request, kind: str, name: str, version: str) -> Answer:
        return Answer.of(self.version(kind, name, version))

    def put_version(self, request: Request, kind: str, name: str, version: str) -> Answer:
        asked: Json = {"isArchived": False, "isAnonymous": False, "tags": {}, "properties": {}}
        asked |= {key: value for key, value in request.json["properties"].items() if value is not None}
        asked["properties"] = {key: str(value) for key, value in asked["properties"].items()}
        self._complete(kind, asked)
        with self._documents.lock:
            present = self._documents.get(kind, f"{name}:{version}")
            if present is not None and not asked["isAnonymous"]:
                changed = [key for key in FIXED[kind] if asked.get(key) != present["properties"].get(key)]
                refuses_same = self.on_existing_version == "conflict" and kind in ("data", "environments")
                if changed or refuses_same:
                    text = f"A {kind} version with name {name} and version {version} already exists"
                    why = f": {', '.join(changed)} cannot change" if changed else ""
                    raise Refused(409, "UserError", f"{text}{why}.")
            created = present["systemData"]["createdAt"] if present else now()
            resource = {
                **self.resource(kind, version, asked, of=f"{name}/versions/"),
                "systemData": system_data(created),
            }
            self._documents.put(kind, f"{name}:{version}", resource)
        return Answer.of(resource, 200 if present else 201)

    def _complete(self, kind: str, properties: Json) -> None:
        """Add what the service knows of an asset that the client does not say."""
        if kind == "data":
            properties["dataUri"] = self.long_uri(properties["dataUri"])
        elif kind == "models":
            self._complete_model(properties)
        elif kind == "environments":
            properties.update(environmentType="UserCreated", osType="Linux")

    def _complete_model(self, properties: Json) -> None:
        match = re.fullmatch(r"azureml://jobs/([^/]+)/outputs/(?:artifacts/paths/)?([^/]+?)/?", properties["modelUri"])
        if match:
            uri = self.job_output(match[1], match[2])
            properties["jobName"] = match[1]
        else:
            uri = self.long_uri(properties["modelUri"])
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
        address = self._blobs.url(container, folder, signed=False)
        reference = {
            "blobUri": address,
            "storageAccountArmId": f"/storageAccounts/{ACCOUNT}",
            "credential": {"credentialType": "SAS", "sasUri": f"{address}?{signature()}"},
        }
        identifier = hashlib.sha256(json.dumps([kind, name, version]).encode()).hexdigest()[:32]
        return Answer.of(
            {
                "blobReferenceForConsumption": reference,
                "pendingUploadId": identifier,
                "pendingUploadType": "TemporaryBlobReference",
            }
        )


def system_data(created: str) -> Json:
    """Who made something, and when."""
    who = {"createdBy": "Loopback", "createdByType": "Application"}
    return {
        **who,
        "createdAt": created,
        "lastModifiedBy": "Loopback",
        "lastModifiedByType": "Application",
        "lastModifiedAt": created,
    }
