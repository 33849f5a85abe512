"""Faults to inject: into the answers to requests, and into jobs."""

import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.azure_ml_service.messages import Request

FaultKind: TypeAlias = Literal["status", "reset", "slow", "expired", "empty", "overtaken", "call", "answer", "hold"]
EndpointFaultKind: TypeAlias = Literal["fail", "hang", "build", "probe", "quota", "taken", "answer", "slow", "reset"]
JobFaultKind: TypeAlias = Literal[
    "fail", "fail_silently", "hang", "preempt", "held", "stuck_queued", "not_responding", "paused", "slow_cancel"
]


@dataclass(slots=True)
class Fault:
    """What happens to the next ``times`` requests (None: to all) whose method and ``host/path`` match.

    ``status`` answers ``code``, as the storage account would with its own word ``error``, and with ``Retry-After`` if
    ``retry_after`` is given; ``reset`` cuts the connection;
    ``slow`` waits ``seconds`` and then answers as ever; ``expired`` answers 401, as for a token that is no longer good;
    ``empty`` answers a list that has nothing in it; ``overtaken``: somebody else asks the same a moment before, so that
    it is there already; ``answer`` answers 200 with ``body``; ``hold`` calls ``action``, which may take its time, and
    answers as ever. With ``after_work`` the service does what was asked and only then fails, or holds its answer.
    """

    method: str
    path: str
    kind: FaultKind = "status"
    times: int | None = 1
    code: int = 503
    error: str | None = None
    retry_after: float | None = None
    seconds: float = 0.0
    after_work: bool = False
    action: Callable[[], object] | None = None
    body: object = None
    skip: int = 0
    hits: int = 0

    def matches(self, request: Request) -> bool:
        """Whether this fault hits this request, which is then one less to skip."""
        if self.times is not None and self.hits >= self.times:
            return False
        if not (re.fullmatch(self.method, request.method) and re.search(self.path, request.host + request.path)):
            return False
        self.skip -= 1
        return self.skip < 0


@dataclass(slots=True)
class JobFault:
    """What happens to the next ``times`` jobs (None: to all) that run step ``step``, or whose name matches ``job``.

    ``fail``: the code exits with 1; ``fail_silently``: the job fails, and nothing says why; ``hang``: it runs until it
    is canceled; ``preempt``: the job fails because its machine was taken away; ``held``: the status stays at
    ``status``, whatever word that is, for ``seconds``, or until the job is canceled or the fault is taken back;
    ``stuck_queued``, ``not_responding``, ``paused``: the same with that status; ``slow_cancel``: once it is to be
    canceled, that takes ``seconds`` more. Several that hit one job hit it one after the other.
    """

    kind: JobFaultKind
    step: str | None = None
    job: str | None = None
    times: int | None = 1
    status: str = ""
    seconds: float | None = None
    hits: int = 0

    def matches(self, job: str, step: str | None) -> bool:
        """Whether this fault is for this job."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.step is not None:
            return self.step == step
        return self.job is not None and re.fullmatch(self.job, job) is not None


@dataclass(slots=True)
class EndpointFault:
    """What happens to the next ``times`` (None: to all) changes or requests of an endpoint, or of a deployment of it.

    Of what is put: ``fail``: the making fails, with ``error`` and ``message``; ``hang``: it goes on for ``seconds``, or
    until the fault is taken back or it is deleted; ``build``: the image cannot be built; ``probe``: the code never
    answers; ``quota``: too few cores are left; ``taken``: somebody else has an endpoint of this name. Of what is
    scored: ``answer``: the answer is ``code``, with ``message``, and the model is not asked; ``slow``: the answer takes
    ``seconds`` more; ``reset``: the connection is cut. ``endpoint`` and ``deployment`` are patterns; without
    ``deployment``, changes are those of the endpoint itself, and requests those to any deployment.
    """

    kind: EndpointFaultKind
    endpoint: str = ".*"
    deployment: str | None = None
    times: int | None = 1
    code: int = 500
    error: str = "InternalServerError"
    message: str = "An injected fault."
    seconds: float | None = None
    hits: int = 0

    def matches(self, kinds: Collection[str], endpoint: str, deployment: str | None) -> bool:
        """Whether this fault is for this change (``kinds`` are those of a change) or request."""
        if self.kind not in kinds or (self.times is not None and self.hits >= self.times):
            return False
        if self.deployment is None:
            fits = deployment is None or self.kind in REQUEST_FAULTS
        else:
            fits = deployment is not None and re.fullmatch(self.deployment, deployment) is not None
        return fits and re.fullmatch(self.endpoint, endpoint) is not None


REQUEST_FAULTS = ("answer", "slow", "reset")


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._job_faults: list[JobFault] = []
        self._endpoint_faults: list[EndpointFault] = []

    def add(self, fault: Fault | JobFault | EndpointFault) -> None:
        """Put a fault in force."""
        with self._lock:
            match fault:
                case Fault():
                    self._faults.append(fault)
                case JobFault():
                    self._job_faults.append(fault)
                case EndpointFault():
                    self._endpoint_faults.append(fault)

    def clear(self) -> None:
        """Take all faults back; jobs and deployments that they hold go on."""
        with self._lock:
            self._faults.clear()
            self._job_faults.clear()
            self._endpoint_faults.clear()

    def take(self, request: Request) -> Fault | None:
        """The fault that hits this request, counted."""
        with self._lock:
            for fault in self._faults:
                if fault.matches(request):
                    fault.hits += 1
                    return fault
        return None

    def take_for_job(self, job: str, step: str | None) -> list[JobFault]:
        """The faults that hit this job, counted, in the order in which they were put in force."""
        with self._lock:
            found = [fault for fault in self._job_faults if fault.matches(job, step)]
            for fault in found:
                fault.hits += 1
            return found

    def take_for_endpoint(
        self, kinds: Collection[str], endpoint: str, deployment: str | None = None
    ) -> EndpointFault | None:
        """The fault of one of these kinds that hits this change or request, counted."""
        with self._lock:
            for fault in self._endpoint_faults:
                if fault.matches(kinds, endpoint, deployment):
                    fault.hits += 1
                    return fault
        return None

    def holds(self, fault: JobFault | EndpointFault) -> bool:
        """Whether a fault that hit a job, or something of an endpoint, is still in force."""
        with self._lock:
            return any(fault is other for other in (*self._job_faults, *self._endpoint_faults))
