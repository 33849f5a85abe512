"""``tandem validate``: find every fault of YAML files at once.

Imports nothing that runs or submits a job, so that it answers within 0.3 s.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flows.cli.plan.keys import keys_as_json, keys_as_rows
from flows.data.given import given_assets
from flows.engines.local.keys.in_files import KeyUse, unlike_azure_ml
from flows.engines.open_engine import ENGINES
from flows.errors import Fault, Place
from flows.plain_text.table import aligned
from flows.spec.model.job import JobKind, JobSpec
from flows.spec.reading.reader import Examination, examine
from flows.spec.reading.served import ServedExamination, examine_served
from flows.spec.rules.lint import only_for_azure_ml
from flows.spec.text.words import counted

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in one file, under the name that it was given by.

    Attributes:
        file: The name.
        found: The findings.
        engine: Where it is to run, if that was asked for.
    """

    file: str
    found: Examination | ServedExamination
    engine: str | None = None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong."""
        return tuple(finding for finding in self.found.findings if not finding.warning)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What is valid, but probably not meant."""
        return tuple(finding for finding in self.found.findings if finding.warning)

    @property
    def is_valid(self) -> bool:
        """Whether Azure ML takes the file, as far as can be known here."""
        return not self.faults

    @property
    def job(self) -> JobSpec | None:
        """The job or component; None where the file is something else, or cannot be read."""
        return self.found.spec if isinstance(self.found, Examination) else None

    @property
    def what(self) -> str | None:
        """What the file is, such as ``pipeline, 4 steps``; None where that cannot be told."""
        if self.found.spec is None:
            return None
        return self.found.what if isinstance(self.found, ServedExamination) else what(self.found.spec)

    @property
    def refusals(self) -> dict[str, str]:
        """Why steps do not run on this machine, by name; empty where the file is to run elsewhere."""
        is_asked = self.engine is None or ENGINES[self.engine].runs_here
        return dict(self.job.refusals) if is_asked and self.job is not None else {}

    @property
    def keys(self) -> tuple[KeyUse, ...]:
        """The keys that this machine ignores or emulates, where the file is to run here."""
        is_asked = self.engine is not None and ENGINES[self.engine].runs_here
        return unlike_azure_ml(self.job) if is_asked and self.job is not None else ()


def validate(files: Sequence[str], as_json: bool = False, pairs: Sequence[str] = (), engine: str | None = None) -> int:
    """Examine files and print what is wrong or doubtful in each.

    Args:
        files: The files.
        as_json: Whether a program reads it.
        pairs: ``NAME=PATH`` for registered components that have a file on this machine.
        engine: Where the files are to run: what only Azure ML needs is then a fault there, and keys that are treated
            otherwise on this machine are told here.

    Returns:
        The exit code: 0 where every file is valid, 2 where one is not. A warning changes nothing.

    Raises:
        ParameterError: A pair is wrong.
    """
    verdicts = [Verdict(file, _examined(file, pairs, engine), engine) for file in dict.fromkeys(files)]
    if as_json:
        print(json.dumps({"files": [verdict_as_json(verdict) for verdict in verdicts]}, indent=2))
    else:
        for verdict in verdicts:
            print(verdict_as_text(verdict))
        if len(verdicts) > 1:
            print(_total(verdicts))
    return 0 if all(verdict.is_valid for verdict in verdicts) else 2


def verdict_as_text(verdict: Verdict) -> str:
    """The findings line by line; below them, or alone, that the file is valid and what it is."""
    lines = [str(finding) for finding in verdict.found.findings]
    if verdict.is_valid and verdict.what is not None:
        lines.append(f"ok {verdict.file}: {verdict.what}")
    if verdict.is_valid and verdict.job is not None:
        lines += [f"    {name} {why}: it does not run on this machine" for name, why in verdict.refusals.items()]
        lines += aligned(list(keys_as_rows(verdict.keys, verdict.job.source)), indent="    ", width=WIDTH)
    return "\n".join(lines)


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """The same for a program."""
    keys = {} if verdict.engine is None else {"keys": keys_as_json(verdict.keys)}
    return {
        "file": verdict.file,
        "valid": verdict.is_valid,
        "what": verdict.what,
        "steps": [] if verdict.job is None else list(verdict.job.steps),
        "faults": [_as_json(fault) for fault in verdict.faults],
        "warnings": [_as_json(warning) for warning in verdict.warnings],
        "refusals": verdict.refusals,
        **keys,
    }


def what(spec: JobSpec) -> str:
    """What a file is: ``pipeline, 4 steps``, ``command component``, ``sweep job``."""
    if spec.kind is JobKind.PIPELINE:
        name = "pipeline component" if spec.is_component else "pipeline"
        return f"{name}, {counted(len(spec.steps), 'step')}"
    (step,) = spec.steps.values()
    return f"{step.kind} {'component' if spec.is_component else 'job'}"


def _examined(file: str, pairs: Sequence[str], engine: str | None) -> Examination | ServedExamination:
    path = Path(file)
    if os.path.isdir(path):  # False, not an error, for a name that no file can have
        remedy = f"Name the files in it: tandem validate {path / '*.yml'}"
        return Examination(None, (Fault(Place(path, None, ""), "this is a folder", remedy),))
    if served := examine_served(path):
        return served
    found = examine(path, given_assets(pairs, path).components)
    if engine is None or ENGINES[engine].runs_here or found.spec is None:
        return found
    needed = set(only_for_azure_ml(found.spec))
    return replace(
        found, findings=tuple(replace(each, warning=each.warning and each not in needed) for each in found.findings)
    )


def _total(verdicts: Sequence[Verdict]) -> str:
    invalid = sum(not verdict.is_valid for verdict in verdicts)
    faults = sum(len(verdict.faults) for verdict in verdicts)
    warnings = sum(len(verdict.warnings) for verdict in verdicts)
    found = f"{counted(faults, 'fault')} in {counted(invalid, 'file')}" if invalid else "no faults"
    return f"{counted(len(verdicts), 'file')}: {found}, {counted(warnings, 'warning')}."


def _as_json(fault: Fault) -> dict[str, Any]:
    place = fault.place
    return {
        "file": str(place.file),
        "line": place.line,
        "key": place.key,
        "message": fault.message,
        "remedy": fault.remedy,
    }
