"""Long-running operations: endpoints and deployments being made, changed and deleted, each in a thread of its own.

An operation is told as the real service was recorded to tell it: ``Azure-AsyncOperation`` (signed, and long),
``Location`` and ``x-ms-async-operation-timeout`` with the answer, no ``Retry-After``, ``Updating`` until it is over.
Those of online endpoints have an end in the year 1 until then, and never a percentage; those of batch endpoints have
no times at all, and what they change does not tell their address.
"""

import threading
import time
import uuid
from collections.abc import Callable

from tests.azure_ml_service.arm import LOCATION, WORKSPACE_GUID, Arm
from tests.azure_ml_service.faults import EndpointFault, Faults
from tests.azure_ml_service.messages import ARM_HOST, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.state import Documents, now

PROVIDER = "Microsoft.MachineLearningServices"
OPERATIONS = f"/subscriptions/{{subscription}}/providers/{PROVIDER}/locations/{{location}}"
CHANGES = frozenset({"Creating", "Updating", "Scaling", "Deleting"})
_NO_END = "0001-01-01T00:00:00+00:00"
# Azure Resource Manager signs the address of an operation: a time, a certificate, a signature, a digest.
SIGNATURE = f"t=639081658795753059&c=MII{'A' * 2600}&s={'B' * 342}&h={'C' * 43}"


class OperationFailed(Exception):
    """An operation that did not succeed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Operations:
    """Answers for operations.

    ``seconds`` is how long each takes beside its work. ``retry_after``, in seconds, is told with each look where it is
    given; the real service told none, and so the SDK looks every 5 or 30 s.
    """

    def __init__(self, arm: Arm, documents: Documents, faults: Faults) -> None:
        self.seconds = 0.05
        self.retry_after: float | None = None
        self._arm = arm
        self._documents = documents
        self._faults = faults
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def routes(self) -> list[Route]:
        """Who answers what."""
        return [
            route("GET", ARM_HOST, f"{OPERATIONS}/mfeOperationsStatus/{{name}}", self.status),
            route("GET", ARM_HOST, f"{OPERATIONS}/mfeOperationResults/(?P<name>(?!jc:)[^/]+)", self.result),
        ]

    def reset(self) -> None:
        """Be quick again."""
        self.seconds = 0.05
        self.retry_after = None

    def stop(self) -> None:
        """Give up what is under way; it stays as it is written down."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(10)

    def change(self, request: Request, prefix: str, kind: str, key: str, work: Callable[[], None]) -> Answer:
        """Change a document in the background, and answer as to a PUT: 201, whether it is new or not."""
        with self._documents.lock:  # so that the answer tells how it was when it began
            address = self._begin(request, prefix, kind, key, work)
            answer = Answer.of(self._documents.get(kind, key), 201)
        answer.headers["Azure-AsyncOperation"] = address
        answer.headers["Location"] = f"https://{request.host}{request.path}?api-version={request.api_version}"
        answer.headers["x-ms-async-operation-timeout"] = "PT30M"
        return answer

    def delete(self, request: Request, prefix: str, kind: str, key: str, work: Callable[[], None]) -> Answer:
        """Delete a document in the background: 202, or 204 if there is none."""
        if self._documents.get(kind, key) is None:
            return Answer(204)

        def remove() -> None:
            work()
            self._documents.remove(kind, key)

        with self._documents.change(kind, key) as document:
            document["properties"]["provisioningState"] = "Deleting"
        address = self._begin(request, prefix, kind, key, remove)
        answer = Answer.of(None, 202)
        answer.headers["Azure-AsyncOperation"] = address
        answer.headers["Location"] = address.replace("mfeOperationsStatus", "mfeOperationResults")
        answer.headers["x-ms-async-operation-timeout"] = "PT30M"
        return answer

    def _begin(self, request: Request, prefix: str, kind: str, key: str, work: Callable[[], None]) -> str:
        operation = str(uuid.uuid4())
        name = f"{prefix}:{WORKSPACE_GUID}:{operation}"
        region = OPERATIONS.format(subscription=self._arm.workspace.subscription, location=LOCATION)
        address = f"https://{request.host}{region}/mfeOperationsStatus/{name}?api-version={request.api_version}"
        self._documents.put("operations", operation, {"status": "Updating", "startTime": now()})
        self._documents.put("last-operations", f"{kind}/{key}", {"operation": operation})
        if not _is_of_batch(name):
            with self._documents.change(kind, key) as document:
                properties = document["properties"]
                properties["properties"] = {**(properties.get("properties") or {}), "AzureAsyncOperationUri": address}
        thread = threading.Thread(target=self._run, args=(operation, kind, key, work), daemon=True)
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()
        return f"{address}&{SIGNATURE}"

    def _run(self, operation: str, kind: str, key: str, work: Callable[[], None]) -> None:
        error: Json | None = None
        self._stopping.wait(self.seconds)
        try:
            work()
        except OperationFailed as failure:
            error = {"code": failure.code, "message": str(failure)}
        except Exception as failure:
            error = {"code": "InternalServerError", "message": f"{type(failure).__name__}: {failure}"}
        if self._stopping.is_set():
            return
        state = "Failed" if error else "Succeeded"
        with self._documents.lock:
            # What was put again, or deleted, in the meantime has an operation of its own.
            found, last = self._documents.get(kind, key), self._documents.get("last-operations", f"{kind}/{key}")
            if found is not None and last == {"operation": operation}:
                found["properties"]["provisioningState"] = state
                self._documents.put(kind, key, found)
            told = self._documents.get("operations", operation)
            if told is not None:  # nobody has forgotten everything in the meantime
                self._documents.put(
                    "operations", operation, {**told, "status": state, "endTime": now(), "error": error}
                )

    def hold(self, fault: EndpointFault, there: Callable[[], bool]) -> None:
        """Wait as long as a fault is in force and what it holds is there."""
        end = time.monotonic() + (fault.seconds or float("inf"))
        while self._faults.holds(fault) and there() and time.monotonic() < end and not self._stopping.wait(0.02):
            pass

    def status(self, request: Request, subscription: str, location: str, name: str) -> Answer:
        found = self._documents.get("operations", name.rpartition(":")[2])
        if found is None:
            raise Refused(404, "NotFound", f"There is no operation {name}.")
        told: Json = {"id": request.path, "name": name, "status": found["status"]}
        if not _is_of_batch(name):
            times = {"startTime": found["startTime"], "endTime": found.get("endTime") or _NO_END}
            told |= {**times, "percentComplete": 0.0}
        if found.get("error"):
            told["error"] = found["error"]
        answer = Answer.of(told)
        if self.retry_after is not None:
            answer.headers["Retry-After"] = f"{self.retry_after:g}"
        return answer

    def result(self, request: Request, subscription: str, location: str, name: str) -> Answer:
        found = self._documents.get("operations", name.rpartition(":")[2])
        if found is None:
            raise Refused(404, "NotFound", f"There is no operation {name}.")
        return Answer(200 if found["status"] == "Succeeded" else 202)


def _is_of_batch(name: str) -> bool:
    return name.startswith("b")


def refuse_while_changing(found: Json | None, what: str) -> None:
    """Refuse a change of what another operation is changing.

    Raises:
        Refused: With 409.
    """
    state = found and found["properties"]["provisioningState"]
    if state in CHANGES:
        raise Refused(409, "UserError", f"There is an ongoing operation on {what}: it is {state}.")
