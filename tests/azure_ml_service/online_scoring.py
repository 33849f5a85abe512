"""The address of an online endpoint: who may ask, which deployment answers, and what is answered if it cannot."""

import http.client
import random
import re
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.azure_ml_service.faults import REQUEST_FAULTS, Faults
from tests.azure_ml_service.identity import check_token, claims
from tests.azure_ml_service.messages import SCORING_HOST, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.online import DEPLOYMENTS, ENDPOINTS, KEYS, SUBMITTED, Online
from tests.azure_ml_service.online_processes import OnlineProcesses, Worker, WorkerFiles
from tests.azure_ml_service.state import Documents

DEPLOYMENT_HEADER = "azureml-model-deployment"
ML_AUDIENCE = "https://ml.azure.com"


@dataclass(frozen=True, slots=True)
class Scored:
    """A request that a deployment was chosen for: which, the status that was answered, and whether it was a copy."""

    endpoint: str
    deployment: str
    status: int
    mirrored: bool = False


class OnlineScoring:
    """Answers for scoring addresses. ``scored`` are the requests that came as far as a deployment."""

    def __init__(self, documents: Documents, online: Online, processes: OnlineProcesses, faults: Faults) -> None:
        self.scored: list[Scored] = []
        self._documents = documents
        self._online = online
        self._processes = processes
        self._faults = faults
        self._under_way = Counter[str]()
        self._lock = threading.Lock()
        self._random = random.Random(1)

    def routes(self) -> list[Route]:
        """Who answers what."""
        return [route("POST", SCORING_HOST, "/score", self.score)]

    def score(self, request: Request) -> Answer | None:
        name = request.host.partition(".")[0]
        endpoint = next((found for found in self._documents.all(ENDPOINTS) if found["name"].lower() == name), None)
        if endpoint is None:
            return _text(404, "There is no endpoint at this address.")
        if not self._may_ask(request, endpoint):
            return _text(401, "The key or token is not accepted.")
        deployment = self._choose(request, endpoint)
        if deployment is None:
            return _text(404, "There is no deployment with traffic, or none of the name that was asked for.")
        answer = self._ask(request, endpoint["name"], deployment)
        mirror: dict[str, int] = endpoint["properties"]["mirrorTraffic"] or {}
        for copy, share in mirror.items() if DEPLOYMENT_HEADER not in request.headers else ():
            if self._random.random() * 100 < share:
                threading.Thread(target=self._ask, args=(request, endpoint["name"], copy, True), daemon=True).start()
        return answer

    def _may_ask(self, request: Request, endpoint: Json) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            return False
        name: str = endpoint["name"]
        match endpoint["properties"]["authMode"]:
            case "Key":
                return token in (self._documents.get(KEYS, name) or {}).values()
            case "AMLToken":
                try:
                    found = claims(token)
                except ValueError:
                    return False
                return found["aud"] == f"aml:{name}" and found["exp"] > time.time()
            case _:
                try:
                    check_token(request, (ML_AUDIENCE,))
                except Refused:
                    return False
                return True

    def _choose(self, request: Request, endpoint: Json) -> str | None:
        """The deployment that answers: the one that is named, or one by its share."""
        named = request.headers.get(DEPLOYMENT_HEADER)
        if named is not None:
            found = self._documents.get(SUBMITTED, f"{endpoint['name']}/{named}")
            return named if found else None
        traffic: dict[str, int] = {name: share for name, share in endpoint["properties"]["traffic"].items() if share}
        return self._random.choices(list(traffic), list(traffic.values()))[0] if traffic else None

    def _ask(self, request: Request, endpoint: str, name: str, mirrored: bool = False) -> Answer | None:
        answer = self._answer(request, endpoint, name)
        self.scored.append(Scored(endpoint, name, answer.status if answer else 0, mirrored))
        if answer is not None:
            answer.headers[DEPLOYMENT_HEADER] = name
            answer.headers["x-request-id"] = request.headers.get("x-request-id") or str(uuid.uuid4())
        return answer

    def _answer(self, request: Request, endpoint: str, name: str) -> Answer | None:
        fault = self._faults.take_for_endpoint(REQUEST_FAULTS, endpoint, name)
        if fault is not None and fault.kind == "reset":
            return None
        if fault is not None and fault.kind == "answer":
            answer = _text(fault.code, fault.message)
            if fault.code == 424:
                answer.headers["ms-azureml-model-error-statuscode"] = "500"
            return answer
        key = f"{endpoint}/{name}"
        settings: Json = (self._documents.get(DEPLOYMENTS, key) or {"properties": {}})["properties"]
        submitted = self._documents.get(SUBMITTED, key) or {"capacity": 1}
        limits: Json = settings.get("requestSettings") or {}
        at_once = int(limits.get("maxConcurrentRequestsPerInstance") or 1) * int(submitted["capacity"] or 1)
        with self._counted(key) as under_way:
            if under_way > 2 * at_once:
                refused = _text(429, "")
                refused.headers["ms-azureml-model-error-reason"] = "too_many_pending_request"
                return refused
            if fault is not None:
                time.sleep(fault.seconds or 0.0)
            files = self._online.files(key)
            return (
                _text(502, "The deployment is gone.") if files is None else self._forward(request, key, files, limits)
            )

    @contextmanager
    def _counted(self, key: str) -> Generator[int]:
        with self._lock:
            self._under_way[key] += 1
            count = self._under_way[key]
        try:
            yield count
        finally:
            with self._lock:
                self._under_way[key] -= 1

    def _forward(self, request: Request, key: str, files: WorkerFiles, limits: Json) -> Answer:
        worker = self._processes.find(key) or self._processes.start(key, files)  # none: the service was started anew
        if worker is None or not worker.alive:
            threading.Thread(target=self._processes.start, args=(key, files), daemon=True).start()
            return _text(502, "The container of the deployment does not answer.")
        try:
            status, body = _post(worker, request.body, seconds(limits.get("requestTimeout")) or 5.0)
        except TimeoutError:
            return _text(408, "The deployment did not answer within its time limit.")
        except (OSError, http.client.HTTPException):
            return _text(502, "The container of the deployment does not answer.")
        if status == 200:
            return Answer(200, body, {"Content-Type": "application/json", "x-ms-run-function-failed": "False"})
        headers = {"ms-azureml-model-error-reason": "model_error", "ms-azureml-model-error-statuscode": str(status)}
        return Answer(424, body, {"Content-Type": "application/json", **headers})


def _post(worker: Worker, body: bytes, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=timeout)
    try:
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.request("POST", "/score", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def seconds(duration: str | None) -> float:
    """``PT5S``, ``PT1M30S`` or ``PT0.5S`` in seconds; 0 for none."""
    match = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?", duration or "")
    hours, minutes, rest = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    return 3600 * hours + 60 * minutes + rest


def _text(status: int, text: str) -> Answer:
    return Answer(status, text.encode(), {"Content-Type": "text/plain"})
