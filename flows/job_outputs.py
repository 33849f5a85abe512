"""What a local job leaves behind: its outputs where the YAML wants them, and in a folder for a person to look at."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from flows.data_store import DataStore
from flows.errors import SettingsError
from flows.local_job import MODEL_TYPES
from flows.private import hand_out, hand_out_text, make_folder
from flows.runs import RunOutcome, RunStatus, StepOutcome
from flows.settings import Settings
from flows.spec.locations import is_remote
from flows.spec.model import JobSpec, OutputPort
from flows.summary import outcome_as_json

OUTCOME = "job.json"


def deliver(outcome: RunOutcome, spec: JobSpec) -> None:
    """Copy every output to the local path that the YAML gives for it; one whose path is elsewhere stays where it is.

    Raises:
        SettingsError: A path cannot be written.
    """
    for port, source in _delivered(outcome, spec):
        if port.path is not None and not is_remote(port.path):
            _copy(
                source, Path(port.path) / port.name if port.path.endswith("/") and source.is_file() else Path(port.path)
            )


def register(outcome: RunOutcome, spec: JobSpec, settings: Settings) -> RunOutcome:
    """Register the outputs that the YAML names as assets, so that a later job can take them by name.

    As on Azure ML, only those of a job that has completed.

    Raises:
        SettingsError: The local state cannot be written.
    """
    if outcome.status is not RunStatus.COMPLETED:
        return outcome
    data = DataStore(settings.registered_data, settings.data_assets[:1])
    models = DataStore(settings.registered_models)
    registered: dict[str, str] = {}
    for port, source in _delivered(outcome, spec):
        if port.asset_name is not None:
            store = models if port.type in MODEL_TYPES else data
            found = store.register(source, port.asset_name, port.type, port.asset_version).asset
            registered[port.name] = f"{found.name}:{found.version}"
    return replace(outcome, registered=registered)


def lay_out(outcome: RunOutcome, folder: Path) -> RunOutcome:
    """Copy all that a local job has left, complete or not, to a folder a person looks into.

    ``outputs/<name>`` has the outputs of the job, ``steps/<step>/outputs`` those of a step and what it wrote to its own
    ``./outputs``, ``steps/<step>/logs/std_log.txt`` its log, ``job.json`` the outcome.

    Returns:
        The outcome, with the paths of the copies.

    Raises:
        SettingsError: The folder cannot be written.
    """
    if (folder / OUTCOME).is_file():  # the layout of an earlier job, which this one takes the place of
        for name in ("outputs", "steps"):
            shutil.rmtree(folder / name, ignore_errors=True)
    steps = tuple(_lay_out_step(step, outcome.folder, folder / "steps" / step.name) for step in outcome.steps)
    outputs: dict[str, str] = {}
    for name, source in outcome.outputs.items():
        _copy(Path(source), folder / "outputs" / name)
        outputs[name] = str(folder / "outputs" / name)
    return write_outcome(replace(outcome, steps=steps, outputs=outputs), folder)


def write_outcome(outcome: RunOutcome, folder: Path) -> RunOutcome:
    """Write the whole outcome to ``job.json`` of a folder, and return it.

    Raises:
        SettingsError: The folder cannot be written.
    """
    try:
        make_folder(folder)
        hand_out_text(outcome_as_json(outcome) + "\n", folder / OUTCOME)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return outcome


def _delivered(outcome: RunOutcome, spec: JobSpec) -> Iterator[tuple[OutputPort, Path]]:
    """The outputs that steps have delivered: each as its step has it, and as the job has it that delivers it too."""
    for done in outcome.steps:
        step = spec.steps[done.name]
        for name, path in done.outputs.items() if done.status is RunStatus.COMPLETED else ():
            own, target = step.component.outputs[name], step.outputs.get(name)
            of_job = None if target is None else spec.outputs.get(target.name)
            if of_job is not None:
                yield of_job, path
            if of_job is None or (own.path, own.asset_name) != (of_job.path, of_job.asset_name):
                yield own, path


def _lay_out_step(step: StepOutcome, job: Path | None, folder: Path) -> StepOutcome:
    outputs: dict[str, Path] = dict(step.outputs)
    if step.status is not RunStatus.COMPLETED and job is not None:  # what it had written when it failed
        outputs = {path.name: path for path in _within(job / "steps" / step.name / "outputs")}
    own = None if step.log is None else step.log.parents[1] / "code" / "outputs"
    for path in () if own is None else _within(own):
        if path.name not in outputs:
            _copy(path, folder / "outputs" / path.name)
    for name, path in outputs.items():
        _copy(path, folder / "outputs" / name)
    log = None
    if step.log is not None and step.log.is_file():
        log = folder / "logs" / step.log.name
        _copy(step.log, log)
    copies: Mapping[str, Path] = {name: folder / "outputs" / name for name in step.outputs}
    return replace(step, outputs=copies, log=log)


def _within(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _copy(source: Path, target: Path) -> None:
    if os.path.realpath(source) == os.path.realpath(target):
        return
    try:
        make_folder(target.parent)
        hand_out(source, target)
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(place: Path, error: Exception) -> SettingsError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SettingsError(f"An output of the job cannot be written to {place}: {reason}. The steps are kept and reused.")
