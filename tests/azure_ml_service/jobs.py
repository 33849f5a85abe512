"""The jobs of the workspace as ARM shows them: submit, get, list, cancel."""

import uuid
from collections.abc import Mapping
from typing import Literal, Protocol

from tests.azure_ml_service.arm import LOCATION, Arm, system_data
from tests.azure_ml_service.identity import claims
from tests.azure_ml_service.messages import ARM_HOST, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.state import Documents, now

TERMINAL = frozenset({"Completed", "Failed", "Canceled"})


class Executor(Protocol):
    """What runs the jobs."""

    def submit(self, name: str) -> None:
        """Run a job, which is in the documents."""
        ...

    def cancel(self, name: str) -> None:
        """Cancel a job."""
        ...


def new_job(name: str, submitted: Json, parent: Json | None = None, step: str | None = None) -> Json:
    """The document of a new job; of a child, if there is a parent."""
    return {
        "name": name,
        "parent": parent and parent["name"],
        "root": parent["root"] if parent else name,
        "step": step,
        "submitted": submitted,
        "experiment": parent["experiment"] if parent else submitted.get("experimentName") or "Default",
        "status": "NotStarted",
        "history": [],
        "created": now(),
        "started": None,
        "ended": None,
        "error": None,
        "outputs": {},
        "tags": submitted.get("tags") or {},
        "properties": {key: str(value) for key, value in (submitted.get("properties") or {}).items()},
        "display_name": step or submitted.get("displayName") or name,
    }


def children_of(documents: Documents, name: str) -> list[Json]:
    """The children of a job, the oldest first."""
    found = [job for job in documents.all("jobs") if job["parent"] == name]
    return sorted(found, key=lambda job: job["created"])


class Jobs:
    """Answers for jobs.

    ``on_existing_job`` says what a PUT of a name that there is already comes to, if the definition is the same one:
    the existing job, or a conflict. Another definition is a conflict always. What Azure does is not known.
    """

    def __init__(self, arm: Arm, documents: Documents, executor: Executor) -> None:
        self.on_existing_job: Literal["same", "conflict"] = "same"
        self._arm = arm
        self._documents = documents
        self._executor = executor

    def routes(self) -> list[Route]:
        """Who answers what."""
        operations = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
        return [
            route("GET", ARM_HOST, "W/jobs", self.list),
            route("GET", ARM_HOST, "W/jobs/{name}", self.get),
            route("PUT", ARM_HOST, "W/jobs/{name}", self.put),
            route("POST", ARM_HOST, "W/jobs/{name}/cancel", self.cancel),
            route("GET", ARM_HOST, f"{operations}/mfeOperationResults/{{name}}", self.canceling),
        ]

    def _job(self, name: str) -> Json:
        found = self._documents.get("jobs", name)
        if found is None:
            raise Refused(404, "UserError", f"Not found job with the name {name}.")
        return found

    def resource(self, job: Json) -> Json:
        """A job as ARM shows it; of a pipeline's child it shows no properties."""
        resource = {**self._arm.resource("jobs", job["name"], None), "systemData": system_data(job["created"])}
        if job["parent"]:
            return resource
        submitted: Json = job["submitted"]
        outputs = {
            name: {**output, "uri": job["outputs"].get(name, output).get("uri")}
            for name, output in (submitted.get("outputs") or {}).items()
        }
        outputs["default"] = {
            "jobOutputType": "uri_folder",
            "uri": f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{job['name']}",
            "mode": "ReadWriteMount",
        }
        workspace = self._arm.workspace
        studio = f"https://ml.azure.com/runs/{job['name']}?wsid={workspace.path}"
        tracking = f"azureml://{LOCATION}.api.azureml.ms/mlflow/v1.0{workspace.path}"
        properties = {
            **submitted,
            "experimentName": job["experiment"],
            "displayName": job["display_name"],
            "status": job["status"],
            "outputs": outputs,
            "tags": job["tags"],
            "properties": job["properties"],
            "services": {
                "Studio": {"jobServiceType": "Studio", "endpoint": studio},
                "Tracking": {"jobServiceType": "Tracking", "endpoint": tracking},
            },
        }
        return {**resource, "properties": properties}

    def list(self, request: Request) -> Answer:
        found = [job for job in self._documents.all("jobs") if not job["parent"]]
        found.sort(key=lambda job: job["created"], reverse=True)
        if kind := request.query.get("jobType"):
            found = [job for job in found if job["submitted"]["jobType"] == kind]
        if tag := request.query.get("tag"):
            key, _, value = tag.partition("=")
            found = [job for job in found if key in job["tags"] and value in ("", job["tags"][key])]
        start, size = int(request.query.get("$skip") or 0), self._arm.page_size
        page: Json = {"value": [self.resource(job) for job in found[start : start + size]]}
        if len(found) > start + size:
            kept = {**request.query, "$skip": str(start + size)}
            text = "&".join(f"{key}={value}" for key, value in kept.items())
            page["nextLink"] = f"https://{request.host}{request.path}?{text}"
        return Answer.of(page)

    def get(self, request: Request, name: str) -> Answer:
        return Answer.of(self.resource(self._job(name)))

    def put(self, request: Request, name: str) -> Answer:
        submitted = request.json["properties"]
        if submitted["jobType"] not in ("Command", "Pipeline"):
            raise Refused(400, "UserError", f"A job of type {submitted['jobType']} cannot be run here.")
        if submitted["jobType"] == "Pipeline":
            _check_second_token(request.headers)
        with self._documents.lock:
            present = self._documents.get("jobs", name)
            if present is not None:
                if self.on_existing_job == "conflict" or present["submitted"] != submitted:
                    raise Refused(409, "UserError", f"A job with the name {name} already exists.")
                return Answer.of(self.resource(present))
            self._check_references(submitted)
            job = new_job(name, submitted)
            self._documents.put("jobs", name, job)
        self._executor.submit(name)
        return Answer.of(self.resource(job), 201)

    def _check_references(self, submitted: Json) -> None:
        """Refuse what Azure refuses on arrival: code, components and computes that are not there."""
        computes = [submitted.get("computeId"), (submitted.get("settings") or {}).get("default_compute")]
        for node in (submitted.get("jobs") or {}).values():
            self._arm.by_id("components", node["componentId"])
            computes.append(node.get("computeId"))
        if submitted.get("codeId"):
            self._arm.by_id("codes", submitted["codeId"])
        for compute in filter(None, computes):
            if self._documents.get("computes", compute.rpartition("/")[2]) is None:
                raise Refused(400, "UserError", f"Unknown compute target '{compute.rpartition('/')[2]}'.")

    def cancel(self, request: Request, name: str) -> Answer:
        self._job(name)
        self._executor.cancel(name)
        operations = f"/subscriptions/{self._arm.workspace.subscription}/providers/Microsoft.MachineLearningServices"
        result = f"{operations}/locations/{LOCATION}/mfeOperationResults/jc:{uuid.uuid4()}:{name}"
        location = f"https://{request.host}{result}?api-version={request.api_version}"
        return Answer(202, b"", {"Location": location, "Retry-After": "1"})

    def canceling(self, request: Request, subscription: str, location: str, name: str) -> Answer:
        status = self._job(name.rpartition(":")[2])["status"]
        if status in TERMINAL:
            return Answer.of(None)
        again = f"https://{request.host}{request.path}?api-version={request.api_version}"
        return Answer(202, b"", {"Location": again, "Retry-After": "1"})


def _check_second_token(headers: Mapping[str, str]) -> None:
    try:
        audience = claims(headers.get("x-azureml-token", ""))["aud"]
    except ValueError:
        audience = None
    if audience != "https://ml.azure.com":
        raise Refused(401, "UserError", "A pipeline job needs a token for https://ml.azure.com in x-azureml-token.")
