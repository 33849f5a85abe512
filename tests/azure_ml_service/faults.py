"""Faults to inject: into the answers to requests, and into jobs."""

import re
import threading
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.azure_ml_service.messages import Request

FaultKind: TypeAlias = Literal["status", "reset", "slow", "expired"]
JobFaultKind: TypeAlias = Literal["fail", "hang", "preempt", "stuck_queued", "not_responding", "paused"]


@dataclass(slots=True)
class Fault:
    """What happens to the next ``times`` requests (None: to all) whose method and ``host/path`` match.

    ``status`` answers ``code``, with ``Retry-After`` if ``retry_after`` is given; ``reset`` cuts the connection;
    ``slow`` waits ``seconds`` and then answers as ever; ``expired`` answers 401, as for a token that is no longer good.
    With ``after_work`` the service does what was asked and only then fails.
    """

    method: str
    path: str
    kind: FaultKind = "status"
    times: int | None = 1
    code: int = 503
    retry_after: float | None = None
    seconds: float = 0.0
    after_work: bool = False
    hits: int = 0

    def matches(self, request: Request) -> bool:
        """Whether this fault is for this request."""
        return bool(
            (self.times is None or self.hits < self.times)
            and re.fullmatch(self.method, request.method)
            and re.search(self.path, request.host + request.path)
        )


@dataclass(slots=True)
class JobFault:
    """What happens to the next ``times`` jobs (None: to all) that run step ``step``, or whose name matches ``job``.

    ``fail``: the code exits with 1; ``hang``: it runs until it is canceled; ``preempt``: the job fails because its
    machine was taken away; ``stuck_queued``, ``not_responding``, ``paused``: the status stays at that until the job is
    canceled or the fault is taken back.
    """

    kind: JobFaultKind
    step: str | None = None
    job: str | None = None
    times: int | None = 1
    hits: int = 0

    def matches(self, job: str, step: str | None) -> bool:
        """Whether this fault is for this job."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.step is not None:
            return self.step == step
        return self.job is not None and re.fullmatch(self.job, job) is not None


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._job_faults: list[JobFault] = []

    def add(self, fault: Fault | JobFault) -> None:
        """Put a fault in force."""
        with self._lock:
            if isinstance(fault, Fault):
                self._faults.append(fault)
            else:
                self._job_faults.append(fault)

    def clear(self) -> None:
        """Take all faults back; jobs that they hold go on."""
        with self._lock:
            self._faults.clear()
            self._job_faults.clear()

    def take(self, request: Request) -> Fault | None:
        """The fault that hits this request, counted."""
        with self._lock:
            for fault in self._faults:
                if fault.matches(request):
                    fault.hits += 1
                    return fault
        return None

    def take_for_job(self, job: str, step: str | None) -> JobFault | None:
        """The fault that hits this job, counted."""
        with self._lock:
            for fault in self._job_faults:
                if fault.matches(job, step):
                    fault.hits += 1
                    return fault
        return None

    def holds(self, fault: JobFault) -> bool:
        """Whether a fault that hit a job is still in force."""
        with self._lock:
            return any(fault is other for other in self._job_faults)
