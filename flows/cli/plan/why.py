"""Explanation why a step of an earlier job was run or reused, from the record of that job."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

from flows.any_yaml.selection.part import successor_name
from flows.cli.plan.text import WIDTH, reason_lines, when
from flows.engines.plan.reasons import Reason
from flows.errors import ParameterError
from flows.settings import Settings
from flows.tags import RESUMES

DESCRIPTION = "job.json"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of a step in a job, and why.

    ``decision`` is what the job recorded when it planned the step (see
    :meth:`flows.engines.plan.steps.StepPlan.as_json`); None if it ended before that. ``asked`` is the job that was
    asked about, where that goes on after this one; ``resumed_by`` is the job that goes on after this one, if there is
    one on this machine.
    """

    job: str
    folder: Path
    outcome: Mapping[str, Any]
    decision: Mapping[str, Any] | None
    asked: str | None = None
    resumed_by: str | None = None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the step ran; empty if it did not."""
        return tuple(Reason.from_json(reason) for reason in (self.decision or {}).get("reasons", ()))

    def as_json(self) -> dict[str, Any]:
        """The explanation for machines."""
        known = ("name", "status", "reused", "seconds", "message", "log")
        step = {key: self.outcome.get(key) for key in known}
        links = {"asked": self.asked, "resumed_by": self.resumed_by}
        return {"job": self.job, "folder": str(self.folder), "step": step, **links, **(self.decision or {})}


def explain(settings: Settings, step: str, job: str | None = None) -> Explanation:
    """Explain a step of a job; without a job, of the one that ended last.

    Raises:
        ParameterError: There is no such job or step.
    """
    folder = _job_folder(settings.jobs, job)
    description = _description(folder)
    steps = {str(outcome.get("name")): outcome for outcome in description.get("steps", ())}
    before = (description.get("tags") or {}).get(RESUMES)
    if step not in steps and before is not None and (settings.jobs / before / DESCRIPTION).is_file():
        return replace(explain(settings, step, before), asked=folder.name)
    if step not in steps:
        near = difflib.get_close_matches(step, steps, 3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Its steps are: {', '.join(steps)}."
        raise ParameterError(f"The job {folder.name} has no step {step}. {hint}")
    decisions = description.get("decisions") or {}
    after = successor_name(folder.name)
    resumed_by = after if (settings.jobs / after).is_dir() else None
    return Explanation(folder.name, folder, steps[step], decisions.get(step), resumed_by=resumed_by)


def explanation_as_text(found: Explanation) -> str:
    """The explanation for a person."""
    wrapper = TextWrapper(WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(wrapper.fill, _lines(found)))


def _lines(found: Explanation) -> Iterator[str]:
    outcome, compared = found.outcome, (found.decision or {}).get("compared")
    name, status = outcome["name"], str(outcome.get("status"))
    earlier = None if compared is None else f"{compared['job']}, {when(compared['ended'])}"
    if found.asked is not None:
        yield f"{name} had finished before {found.asked}, which goes on after {found.job}."
    if outcome.get("reused"):
        yield f"{name} was reused in {found.job}: what it depends on is the same as in {earlier or 'an earlier run'}."
    elif status == "Completed" and found.decision is None and outcome.get("message"):
        yield f"{name} ran no command in {found.job}, but decided what runs."
        yield f"  {outcome.get('message')}"
    elif status == "NotStarted":
        yield f"{name} did not run in {found.job}."
        yield f"  {outcome.get('message')}"
    else:
        yield f"{name} ran in {found.job} ({status} after {float(outcome.get('seconds') or 0):.1f} s), because:"
        yield from (f"  {line}" for line in reason_lines(found.reasons) or ["the reason was not recorded"])
        if earlier is not None:
            yield f"compared with its run in {earlier}."
    if outcome.get("log"):
        yield f"Its log: {outcome['log']}"
    if found.resumed_by is not None and found.asked is None:
        yield f"The job {found.resumed_by} goes on after {found.job}."


def _job_folder(jobs: Path, name: str | None) -> Path:
    """The folder of a job by its name or the beginning of it, or of the job that ended last."""
    ended = {file.parent.name: file.stat().st_mtime_ns for file in jobs.glob(f"*/{DESCRIPTION}")}
    if not ended:
        raise ParameterError(f"No job has ended here yet: {jobs} has none. Run one: tandem run FILE.yml")
    newest = sorted(ended, key=lambda job: -ended[job])
    if name is None:
        return jobs / newest[0]
    if name in ended:
        return jobs / name
    begun = [job for job in newest if job.startswith(name)]
    if len(begun) == 1:
        return jobs / begun[0]
    near = begun[:3] or difflib.get_close_matches(name, newest, 3) or newest[:3]
    what = "more than one job begins with" if begun else "there is no job"
    raise ParameterError(f"--job {name}: {what} {name}. There are: {', '.join(near)}.")


def _description(folder: Path) -> dict[str, Any]:
    file = folder / DESCRIPTION
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ParameterError(f"The record of the job {folder.name} cannot be read: {file}: {error}.") from error
    return found if isinstance(found, dict) else {}
