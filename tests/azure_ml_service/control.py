"""Control of the service by hand, over HTTP: ``http://127.0.0.1:PORT/_control/…``."""

import threading
from dataclasses import asdict
from typing import Any, Protocol

from tests.azure_ml_service.faults import EndpointFault, Fault, Faults, JobFault
from tests.azure_ml_service.messages import LOOPBACK, Answer, Json, Refused, Request, Route, route

HOLD_SECONDS = 120.0  # no request is held longer, whoever forgets it


class Controlled(Protocol):
    """What can be controlled."""

    faults: Faults
    requests: list[Any]

    @property
    def violations(self) -> list[str]: ...

    @property
    def jobs(self) -> dict[str, Json]: ...

    @property
    def models(self) -> dict[str, Json]: ...


class Control:
    """Answers for faults, requests, violations, jobs and models."""

    def __init__(self, service: Controlled) -> None:
        self._service = service
        self._held = 0
        self._lock = threading.Lock()
        self._released = threading.Event()

    def routes(self) -> list[Route]:
        """The routes of this part."""
        return [
            route("POST", LOOPBACK, "/_control/faults", self.add),
            route("POST", LOOPBACK, "/_control/job-faults", self.add_for_jobs),
            route("POST", LOOPBACK, "/_control/endpoint-faults", self.add_for_endpoints),
            route("DELETE", LOOPBACK, "/_control/faults", self.clear),
            route("POST", LOOPBACK, "/_control/holds", self.hold),
            route("GET", LOOPBACK, "/_control/holds", self.held),
            route("DELETE", LOOPBACK, "/_control/holds", self.release),
            route("GET", LOOPBACK, "/_control/requests", self.requests),
            route("GET", LOOPBACK, "/_control/violations", self.violations),
            route("GET", LOOPBACK, "/_control/jobs", self.jobs),
            route("GET", LOOPBACK, "/_control/models", self.models),
        ]

    def requests(self, request: Request) -> Answer:
        return Answer.of([asdict(recorded) for recorded in self._service.requests])

    def violations(self, request: Request) -> Answer:
        return Answer.of(self._service.violations)

    def jobs(self, request: Request) -> Answer:
        return Answer.of(self._service.jobs)

    def models(self, request: Request) -> Answer:
        return Answer.of(self._service.models)

    def add(self, request: Request) -> Answer:
        try:
            self._service.faults.add(Fault(**request.json))
        except TypeError as error:
            raise Refused(400, "ValidationError", str(error)) from error
        return Answer.of(request.json, 201)

    def add_for_jobs(self, request: Request) -> Answer:
        try:
            self._service.faults.add(JobFault(**request.json))
        except TypeError as error:
            raise Refused(400, "ValidationError", str(error)) from error
        return Answer.of(request.json, 201)

    def add_for_endpoints(self, request: Request) -> Answer:
        try:
            self._service.faults.add(EndpointFault(**request.json))
        except TypeError as error:
            raise Refused(400, "ValidationError", str(error)) from error
        return Answer.of(request.json, 201)

    def hold(self, request: Request) -> Answer:
        """Hold requests as a fault says, each from when it comes until all are released."""
        try:
            self._service.faults.add(Fault(**request.json, kind="hold", action=self._wait))
        except TypeError as error:
            raise Refused(400, "ValidationError", str(error)) from error
        return Answer.of(request.json, 201)

    def held(self, request: Request) -> Answer:
        return Answer.of({"held": self._held})

    def release(self, request: Request) -> Answer:
        self._service.faults.clear()
        with self._lock:
            self._released.set()
            self._released, self._held = threading.Event(), 0
        return Answer(204)

    def _wait(self) -> None:
        with self._lock:
            self._held += 1
            released = self._released
        released.wait(HOLD_SECONDS)

    def clear(self, request: Request) -> Answer:
        self._service.faults.clear()
        return Answer(204)
