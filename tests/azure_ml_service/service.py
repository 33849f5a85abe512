"""The service: applies faults to a request, checks its token, has it answered by a part, and records it."""

import json
import re
import threading
import time
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.azure_ml_service.arm import Arm, Workspace
from tests.azure_ml_service.batch import Batch
from tests.azure_ml_service.blobs import Blobs
from tests.azure_ml_service.certificates import authority_file, server_context
from tests.azure_ml_service.computes import Computes
from tests.azure_ml_service.contract import Contract
from tests.azure_ml_service.control import Control
from tests.azure_ml_service.faults import Fault, Faults
from tests.azure_ml_service.history import History
from tests.azure_ml_service.identity import CLIENT, IDENTITY_PATH, SECRET, TENANT, Identity, check_token
from tests.azure_ml_service.job_process import JobProcesses
from tests.azure_ml_service.jobs import Executor, Jobs, children_of
from tests.azure_ml_service.messages import API_HOST, ARM_HOST, Answer, Json, Refused, Request, Route
from tests.azure_ml_service.mlflow_part import Mlflow
from tests.azure_ml_service.online import Online
from tests.azure_ml_service.online_processes import OnlineProcesses
from tests.azure_ml_service.online_scoring import OnlineScoring
from tests.azure_ml_service.operations import Operations
from tests.azure_ml_service.proxy import Proxy
from tests.azure_ml_service.runner import Runner
from tests.azure_ml_service.state import Documents

_AUDIENCES = {
    ARM_HOST: ("https://management.azure.com", "https://management.core.windows.net"),
    API_HOST: ("https://management.azure.com", "https://management.core.windows.net", "https://ml.azure.com"),
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request that came, and the status that it was answered with (0: the connection was cut).

    ``body`` is what was to be made or changed; other requests have none here.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    status: int
    body: Json | None = None

    @property
    def api_version(self) -> str:
        """The ``api-version`` that the client spoke."""
        return self.query.get("api-version", "")


class Service:
    """A workspace on this machine, reached through ``environment``. Its state is in a folder and outlives it.

    An ``executor`` stands in for what runs the jobs.
    """

    def __init__(
        self, folder: Path, port: int = 0, workspace: Workspace | None = None, executor: Executor | None = None
    ) -> None:
        self.workspace = workspace or Workspace()
        self.faults = Faults()
        self.requests: list[Recorded] = []
        self.contract = Contract()
        self.identity = Identity()
        self.documents = Documents(folder / "documents")
        self.blobs = Blobs(folder / "blobs", self.documents)
        self.arm = Arm(self.workspace, self.documents, self.blobs)
        self.computes = Computes(self.arm, self.documents)
        self.mlflow = Mlflow(folder / "mlflow", self.workspace)
        self._proxy = Proxy(port, server_context(folder / "tls"), self._respond)
        self.port: int = self._proxy.server_address[1]
        self.authority = authority_file(folder / "tls")
        processes = JobProcesses(folder / "work", self.documents, self.arm, self.blobs, self.mlflow, self._way_in())
        self.runner = Runner(self.documents, self.arm, processes, self.mlflow, self.faults)
        self.job_routes = Jobs(self.arm, self.documents, executor or self.runner)
        self.operations = Operations(self.arm, self.documents, self.faults)
        self.online_processes = OnlineProcesses(folder / "online")
        self.online = Online(self.arm, self.documents, self.operations, self.online_processes, self.faults)
        self.scoring = OnlineScoring(self.documents, self.online, self.online_processes, self.faults)
        self.batch = Batch(self.arm, self.documents, self.blobs, self.operations, executor or self.runner, self.faults)
        self._thread = threading.Thread(target=self._proxy.serve_forever, name="azure-ml-service", daemon=True)
        parts = (
            self.identity,
            self.arm,
            self.computes,
            self.job_routes,
            History(self.arm, self.documents, self.blobs),
            self.mlflow,
            self.blobs,
            self.operations,
            self.online,
            self.scoring,
            self.batch,
            Control(self),
        )
        self._routes: list[Route] = [found for part in parts for found in part.routes()]

    def start(self, *, with_mlflow: bool = True) -> "Service":
        """Start, and go on with the jobs of the state that have not ended. Without MLflow, no job runs to its end."""
        if with_mlflow:
            self.mlflow.start()
        self.computes.add("cpu-cluster-01")
        self._thread.start()
        self.runner.start()
        return self

    def stop(self) -> None:
        """Stop, with every process that was started. Jobs that have not ended go on with the next start."""
        self.runner.stop()
        self.operations.stop()
        self.online_processes.stop_all()
        self._proxy.shutdown()
        self._proxy.server_close()
        self._thread.join(10)
        self.mlflow.stop()

    # For tests

    def _way_in(self) -> dict[str, str]:
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(self.authority),
        }

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that point a client at this service: proxy, login, workspace."""
        return {
            **self._way_in(),
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_CLIENT_SECRET": SECRET,
            **self._workspace_variables(),
        }

    @property
    def managed_identity_environment(self) -> dict[str, str]:
        """The same with a managed identity in place of the service principal."""
        return {
            **self._way_in(),
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.port}{IDENTITY_PATH}",
            "IDENTITY_HEADER": SECRET,
            "MANAGED_IDENTITY_CLIENT_ID": CLIENT,
            **self._workspace_variables(),
        }

    def _workspace_variables(self) -> dict[str, str]:
        return {
            "AZUREML_ARM_SUBSCRIPTION": self.workspace.subscription,
            "AZUREML_ARM_RESOURCEGROUP": self.workspace.resource_group,
            "AZUREML_ARM_WORKSPACE_NAME": self.workspace.name,
        }

    def reset(self) -> None:
        """Take back the faults and forget what was recorded; jobs and assets stay."""
        self.faults.clear()
        self.requests.clear()
        self.contract.clear()
        self.identity.token_seconds = 3600.0
        self.runner.step_seconds = 0.05
        self.arm.page_size = 100
        self.arm.by_identity = False
        self.computes.reset()
        self.operations.reset()
        self.scoring.scored.clear()
        self.batch.job_names = "given"

    def forget_all(self) -> None:
        """Delete every asset, job and blob, and forget what was recorded."""
        self.reset()
        self.documents.clear()
        self.blobs.clear()

    @property
    def violations(self) -> list[str]:
        """Requests that nothing answers, and bodies that do not fit the models of the API."""
        return self.contract.problems()

    @property
    def jobs(self) -> dict[str, Json]:
        """The jobs that were submitted, by name, as they are written down."""
        return {job["name"]: job for job in self.documents.all("jobs") if job["parent"] is None}

    def children(self, job: str) -> dict[str, Json]:
        """The children of a pipeline job, by step."""
        return {child["step"]: child for child in children_of(self.documents, job)}

    @property
    def models(self) -> dict[str, Json]:
        """The registered models, by ``name:version``."""
        return {key: found for key in self.documents.keys("models") if (found := self.documents.get("models", key))}

    def count(self, method: str, path: str) -> int:
        """How many requests matched: a method, and a pattern searched for in ``host/path``."""
        found = [one for one in self.requests if re.fullmatch(method, one.method)]
        return sum(1 for one in found if re.search(path, one.host + one.path))

    # Requests

    def knows(self, request: Request) -> bool:
        """Whether the operation is one that the service has."""
        return self._find(request) is not None

    def answer(self, request: Request) -> Answer:
        """The answer to a request of this process, which is not recorded and hit by no fault."""
        answer = self._work(request)
        assert answer is not None, "only a fault cuts a connection"
        return _with_common_headers(request, answer)

    def _respond(self, request: Request) -> Answer | None:
        answer = self._handle(request)
        if answer is not None:
            answer = _with_common_headers(request, answer)
        if not request.path.startswith("/_control"):
            status = answer.status if answer else 0
            body = request.json if request.method == "PUT" and re.fullmatch(ARM_HOST, request.host) else None
            self.requests.append(Recorded(request.method, request.host, request.path, request.query, status, body))
        return answer

    def _handle(self, request: Request) -> Answer | None:
        fault = None if request.path.startswith("/_control") else self.faults.take(request)
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
            fault = None
        if fault is not None and fault.kind == "overtaken":
            self._work(request)
            fault = None
        if fault is not None and fault.kind == "hold":
            assert fault.action is not None
            answer = self._work(request) if fault.after_work else None
            fault.action()
            return answer or self._work(request)
        if fault is not None and not fault.after_work:
            return _failure(fault)
        answer = self._work(request)
        return answer if fault is None else _failure(fault)

    def _work(self, request: Request) -> Answer | None:
        found = self._find(request)
        if found is None:
            self.contract.report(f"nothing answers {request.method} https://{request.host}{request.path}")
            return Answer.error(501, "NotImplemented", f"{request.method} {request.host}{request.path} is not served.")
        way, groups = found
        try:
            self._check_access(request, groups)
            self._observe(request, True, request.body)
            answer = way.handler(request, **groups)
            if answer is not None and answer.status in (200, 201):
                self._observe(request, False, answer.body)
        except Refused as refused:
            return refused.answer
        except Exception:
            self.contract.report(f"{request.method} https://{request.host}{request.path}\n{traceback.format_exc()}")
            return Answer.error(500, "InternalServerError", traceback.format_exc(limit=-3))
        return answer

    def _find(self, request: Request) -> tuple[Route, dict[str, Any]] | None:
        for way in self._routes:
            if re.fullmatch(way.method, request.method) and way.host.fullmatch(request.host):
                match = way.path.fullmatch(request.path)
                if match is not None:
                    return way, match.groupdict()
        return None

    def _check_access(self, request: Request, groups: dict[str, Any]) -> None:
        for host, audiences in _AUDIENCES.items():
            if re.fullmatch(host, request.host) and not request.path.startswith("/discovery"):
                check_token(request, audiences)
                self.identity.check(request)
        if "workspace" in groups:
            asked = (groups.pop("subscription"), groups.pop("resource_group").lower(), groups.pop("workspace").lower())
            ours = (
                self.workspace.subscription,
                self.workspace.resource_group.lower(),
                self.workspace.name.lower(),
            )
            if asked != ours:
                raise Refused(404, "ResourceNotFound", f"The workspace {asked[2]} was not found.")

    def _observe(self, request: Request, is_request: bool, body: bytes) -> None:
        if body and not request.path.startswith("/mlflow") and re.fullmatch(f"{ARM_HOST}|{API_HOST}", request.host):
            self.contract.observe(request.method, request.path, is_request, json.loads(body))


def _with_common_headers(request: Request, answer: Answer) -> Answer:
    """An answer with the headers that every one of the workspace has."""
    if re.fullmatch(API_HOST, request.host) and not request.path.startswith("/mlflow"):
        answer.headers.setdefault("x-ms-response-type", "standard")
    if re.fullmatch(ARM_HOST, request.host):
        left = ("reads", "11999") if request.method in ("GET", "HEAD") else ("writes", "1199")
        answer.headers.setdefault("x-ms-response-type", "standard")
        answer.headers |= {
            "x-ms-correlation-request-id": str(uuid.uuid4()),
            f"x-ms-ratelimit-remaining-subscription-{left[0]}": left[1],
        }
    return answer


def _failure(fault: Fault) -> Answer | None:
    match fault.kind:
        case "reset":
            return None
        case "call":
            assert fault.action is not None
            fault.action()
            return None
        case "empty":
            return Answer.of({"value": []})
        case "answer":
            return Answer.of(fault.body)
        case "expired":
            answer = Answer.error(401, "ExpiredAuthenticationToken", "The access token expiry UTC time is in the past.")
            answer.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
            return answer
        case _:
            answer = Answer.error(fault.code, fault.error or f"Injected{fault.code}", "An injected fault.")
            if fault.error is not None:
                answer.headers["x-ms-error-code"] = fault.error
            if fault.retry_after is not None:
                answer.headers["Retry-After"] = f"{fault.retry_after:g}"
            return answer
