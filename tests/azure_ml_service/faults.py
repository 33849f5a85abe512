"""Faults to inject: into the answers to requests, and into jobs."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.azure_ml_service.messages import Request

FaultKind: TypeAlias = Literal["status", "reset", "slow", "expired", "empty", "overtaken", "call", "answer", "hold"]
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

    def take_for_job(self, job: str, step: str | None) -> list[JobFault]:
        """The faults that hit this job, counted, in the order in which they were put in force."""
        with self._lock:
            found = [fault for fault in self._job_faults if fault.matches(job, step)]
            for fault in found:
                fault.hits += 1
            return found

    def holds(self, fault: JobFault) -> bool:
        """Whether a fault that hit a job is still in force."""
        with self._lock:
            return any(fault is other for other in self._job_faults)
