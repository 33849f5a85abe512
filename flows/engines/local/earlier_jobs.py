"""Jobs that have ended on this machine, read from the ``job.json`` in their folders. Imports no Prefect."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flows.engines.earlier import EarlierJob
from flows.engines.plan.definition import file_label
from flows.engines.runs import RunOutcome, RunStatus, StepOutcome
from flows.settings import Settings
from flows.spec.model.job import JobSpec, StepOutput
from flows.spec.text.names import unfit
from flows.tags import FILE

DESCRIPTION = "job.json"
SUBMITTED = "submitted.json"


class LocalJobs:
    """The jobs of one local state, as :meth:`flows.engines.engine.Engine.earlier_jobs` asks for them."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.jobs

    async def earlier_jobs(self, spec: JobSpec, name: str | None = None) -> AsyncIterator[EarlierJob]:
        """See :meth:`flows.engines.engine.Engine.earlier_jobs`."""
        for job in self._named(name) if name is not None else self._of_file(file_label(spec.source)):
            yield job

    def _named(self, name: str) -> Iterator[EarlierJob]:
        if unfit(name) is not None:
            return
        outcome = ended_outcome(self._folder / name)
        if outcome is not None:
            yield _earlier_job(outcome)
        elif _was_submitted(self._folder / name):
            yield EarlierJob(name, "Running", MappingProxyType(dict[str, str]()))

    def _of_file(self, label: str) -> Iterator[EarlierJob]:
        ended = {file: file.stat().st_mtime_ns for file in self._folder.glob(f"*/{DESCRIPTION}")}
        for file in sorted(ended, key=lambda file: -ended[file]):
            outcome = ended_outcome(file.parent)
            if outcome is not None and outcome.tags.get(FILE) == label:
                yield _earlier_job(outcome)


def ended_outcome(folder: Path) -> RunOutcome | None:
    """How the job of a folder ended; None if it has not, or if that was not written down in a way that is known here.

    An output that is not there any more is left out.
    """
    try:
        values = json.loads((folder / DESCRIPTION).read_bytes())
        steps = tuple(map(_step, values.pop("steps")))
        status = RunStatus(values.pop("status"))
        values.pop("decisions", None)
        return RunOutcome(steps=steps, status=status, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _was_submitted(folder: Path) -> bool:
    """Whether the job of a folder was submitted to this machine; of one in a workspace, there is a record here too."""
    try:
        return json.loads((folder / SUBMITTED).read_bytes())["engine"] == "local"
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _step(values: Mapping[str, Any]) -> StepOutcome:
    known = dict(values)
    status, log = RunStatus(known.pop("status")), known.pop("log")
    places = {name: Path(path) for name, path in known.pop("outputs").items()}
    outputs = {name: path for name, path in places.items() if path.exists()}
    return StepOutcome(status=status, log=None if log is None else Path(log), outputs=outputs, **known)


def _earlier_job(outcome: RunOutcome) -> EarlierJob:
    outputs = {
        StepOutput(step.name, name): str(path)
        for step in outcome.steps
        if step.status is RunStatus.COMPLETED
        for name, path in step.outputs.items()
    }
    steps = {step.name: step for step in outcome.steps}
    return EarlierJob(
        outcome.job_name, str(outcome.status), outcome.tags, MappingProxyType(steps), MappingProxyType(outputs)
    )
