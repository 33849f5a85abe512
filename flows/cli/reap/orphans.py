"""Jobs that nobody waits for: how they are recognised, and how they are printed. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from flows.errors import ParameterError
from flows.plain_text.table import aligned

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Fate(StrEnum):
    """What may become of a job that is not over."""

    GOES = "goes"
    UNKNOWN = "unknown"
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job of ours that is not over. ``flow_run_id`` is the id that its name is derived from."""

    name: str
    status: str
    compute: str
    created: datetime | None
    flow_run_id: str

    def age(self, now: datetime) -> float | None:
        """Seconds since it was submitted; None if that is not told."""
        return None if self.created is None else max(0.0, (now - self.created).total_seconds())


@dataclass(frozen=True, slots=True)
class FlowRunFact:
    """What Prefect says of a flow run: its name, the name of its state, and whether that is a final one."""

    name: str
    state: str
    over: bool


@dataclass(frozen=True, slots=True)
class ReapDecision:
    """A job, the flow run that it belongs to if that is known, what may become of it, and why."""

    job: OpenJob
    flow_run: FlowRunFact | None
    fate: Fate
    reason: str


def judge(job: OpenJob, flow_runs: Sequence[FlowRunFact], process_gone: bool | None) -> ReapDecision:
    """Say what may become of a job.

    Args:
        job: The job.
        flow_runs: The flow runs that go by the job's id, as far as Prefect knows them: the one that submitted it, and
            those that were started after it to go on with it.
        process_gone: Whether the process that waits for the job is known to be gone, or known to be there; None if
            neither is known on this machine.
    """
    waiting = [run for run in flow_runs if not run.over]
    shown = next(iter((*waiting, *flow_runs)), None)
    if process_gone is False:
        return ReapDecision(job, shown, Fate.STAYS, "a process on this machine waits for it")
    if shown is None:
        return ReapDecision(job, None, Fate.UNKNOWN, "this Prefect API does not know its flow run")
    if not waiting:
        again = "; the same command, started again, would go on with it" if process_gone else ""
        return ReapDecision(job, shown, Fate.GOES, f"its flow run is over{again}")
    if process_gone:
        reason = "the process of its flow run is gone; the same command, started again, would go on with it"
        return ReapDecision(job, shown, Fate.GOES, reason)
    return ReapDecision(job, shown, Fate.STAYS, "its flow run is not over")


def to_cancel(findings: Iterable[ReapDecision], unknown_too: bool) -> list[ReapDecision]:
    """The findings whose jobs are to be canceled."""
    wanted = {Fate.GOES, Fate.UNKNOWN} if unknown_too else {Fate.GOES}
    return [finding for finding in findings if finding.fate in wanted]


def seconds_of(text: str) -> float:
    """Seconds, from a number and a unit: ``90s``, ``30m``, ``2h``, ``1.5d``.

    Raises:
        ParameterError: It is not written so.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise ParameterError(f"{text!r} is no length of time. Write a number and one of s, m, h, d, such as 30m.")
    return float(match[1]) * _UNITS[match[2]]


def orphans_as_text(findings: Sequence[ReapDecision], now: datetime) -> str:
    """The findings as one table, grouped by what may be done with the jobs and why."""
    order = list(Fate)
    parts = sorted({(order.index(finding.fate), finding.reason) for finding in findings})
    header = ("job", "status", "age", "compute", "flow run", "state")
    rows = {
        part: [_row(finding, now) for finding in findings if (order.index(finding.fate), finding.reason) == part]
        for part in parts
    }
    lines = iter(aligned([header, *(row for part in parts for row in rows[part])]))
    text = [next(lines)]
    for fate, reason in parts:
        text += [f"{order[fate]}: {reason}", *(next(lines) for _ in rows[fate, reason])]
    return "\n".join(text)


def as_data(findings: Iterable[ReapDecision], now: datetime, outcomes: Mapping[str, str]) -> list[dict[str, Any]]:
    """The findings for machines; ``outcomes`` is what became of the jobs that were canceled, by name."""
    return [
        {
            "name": finding.job.name,
            "status": finding.job.status,
            "age_seconds": finding.job.age(now),
            "compute": finding.job.compute,
            "flow_run": {
                "id": finding.job.flow_run_id,
                "name": finding.flow_run and finding.flow_run.name,
                "state": finding.flow_run and finding.flow_run.state,
            },
            "fate": finding.fate.value,
            "reason": finding.reason,
            "outcome": outcomes.get(finding.job.name),
        }
        for finding in findings
    ]


def _row(finding: ReapDecision, now: datetime) -> tuple[str, ...]:
    job, run = finding.job, finding.flow_run
    name, state = (job.flow_run_id, "not known") if run is None else (run.name, run.state)
    return job.name, job.status, age_as_text(job.age(now)), job.compute, name, state


def age_as_text(seconds: float | None) -> str:
    """For a person: ``2 h 5 min``; a question mark where it is not known."""
    if seconds is None:
        return "?"
    for unit, size, smaller, smaller_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} {seconds % size // smaller_size:.0f} {smaller}"
    return f"{seconds // 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
