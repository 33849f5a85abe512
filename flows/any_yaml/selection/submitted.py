"""Record of what a job was asked for, in its folder of the local state: the parameters, and the definition it had.

By it ``tandem run --resume JOB`` needs no more than the name of the job, and says what has changed since.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flows.data.atomic import atomic_write
from flows.engines.local.earlier_jobs import SUBMITTED
from flows.errors import SettingsError
from flows.settings import Settings
from flows.spec.text.names import inside, unfit


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a job was asked for.

    Attributes:
        engine: The name of the engine.
        parameters: Those of ``tandem run``, with absolute paths.
        definition: Its definition, as :func:`flows.engines.plan.definition.definition_parts` has it.
        source: The earlier job whose outputs it reads; None if it reads none.
    """

    engine: str
    parameters: Mapping[str, Any]
    definition: Mapping[str, str]
    source: str | None = None

    def changed(self, now: Mapping[str, str]) -> tuple[str, ...]:
        """The parts of the definition that are not as they were: files, code, values."""
        return tuple(sorted(part for part in {*self.definition, *now} if self.definition.get(part) != now.get(part)))


def write_submitted(settings: Settings, job: str, submitted: Submitted) -> None:
    """Write a record, before the job is submitted.

    Raises:
        SettingsError: The local state cannot be written.
    """
    place = inside(settings.jobs, job) / SUBMITTED
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(place, json.dumps(asdict(submitted), indent=1) + "\n")
    except OSError as error:
        raise SettingsError(
            f"The folder of local jobs cannot be written: {place.parent}: {error.strerror}. "
            "Free it, or set TANDEM_HOME to a folder of yours."
        ) from error


def read_submitted(settings: Settings, job: str) -> Submitted | None:
    """The record of a job; None if it was submitted from another machine, by another command, or not at all."""
    if unfit(job) is not None:
        return None
    try:
        return Submitted(**json.loads((settings.jobs / job / SUBMITTED).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
