"""Outcome of ``tandem run``, as text for a terminal and as JSON. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from flows.engines.runs import RunOutcome, RunStatus
from flows.plain_text.table import aligned


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """How the job of a YAML file ended, and the ``name:version`` of each output that was registered on this machine."""

    job: RunOutcome
    registered: Mapping[str, str]


def outcome_as_text(outcome: FileOutcome) -> str:
    """The outcome as aligned lines for a terminal."""
    job, registered = outcome.job, outcome.registered
    rows = [["step", "state", "seconds"], *([step.name, step.state, f"{step.seconds:.1f}"] for step in job.steps)]
    outputs = [
        [name, address, *([f"registered as {registered[name]}"] if name in registered else [])]
        for name, address in job.outputs.items()
    ]
    look = [f"  Look at it:  {job.url}"] if job.url else []
    is_begun = any(step.status is RunStatus.COMPLETED for step in job.steps)
    is_resumable = is_begun and job.status is RunStatus.FAILED
    go_on = [f"  Go on after it:  tandem run --resume {job.job_name}"] if is_resumable else []
    return "\n".join(["", *aligned(rows), "", *aligned(outputs), f"  job: {job.where}", *look, *go_on, ""])


def outcome_as_json(outcome: FileOutcome) -> str:
    """The outcome for machines."""
    return json.dumps({**asdict(outcome.job), "registered": dict(outcome.registered)}, default=str, indent=2)
