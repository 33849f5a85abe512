"""Copy the outputs of a job to the paths that its YAML gives, and to the folder of ``--output-dir``."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from flows.any_yaml.local_data import MODEL_TYPES
from flows.any_yaml.outcome import FileOutcome, outcome_as_json
from flows.data.store import DataStore
from flows.engines.plan.output_places import OutputFolders, local_path
from flows.engines.runs import RunOutcome, RunStatus, StepOutcome
from flows.errors import SettingsError
from flows.machine.own_folders import claim, discard
from flows.machine.private import hand_out, hand_out_text, make_folder
from flows.settings import Settings
from flows.spec.model.job import JobSpec, OutputPort
from flows.spec.text.locations import is_remote
from flows.spec.text.names import inside

OUTCOME = "job.json"
_NOTHING: Mapping[str, str] = MappingProxyType({})


def deliver(outcome: RunOutcome, spec: JobSpec, folders: OutputFolders) -> Mapping[str, str]:
    """Copy every output to the local path that the YAML gives for it; one whose path is elsewhere stays where it is.

    Returns:
        Where the outputs of the job that were copied are now, by name.

    Raises:
        SettingsError: A path cannot be written, or is in none of the folders that may be.
    """
    copied: dict[str, str] = {}
    for port, source in _delivered(outcome, spec):
        path = local_path(port)
        if path is not None:
            _copy(source, path, folders)
            if spec.outputs.get(port.name) is port:
                copied[port.name] = os.path.abspath(path)
    return copied


def register_outputs(outcome: RunOutcome, spec: JobSpec, settings: Settings) -> Mapping[str, str]:
    """Register the outputs that the YAML names as assets, so that a later job can take them by name.

    As on Azure ML, only those of a job that has completed.

    Returns:
        The ``name:version`` of each output that was registered.

    Raises:
        SettingsError: The local state cannot be written.
    """
    if outcome.status is not RunStatus.COMPLETED:
        return {}
    data = DataStore(settings.registered_data, settings.data_assets[:1])
    models = DataStore(settings.registered_models)
    registered: dict[str, str] = {}
    for port, source in _delivered(outcome, spec):
        if port.asset_name is not None:
            store = models if port.type in MODEL_TYPES else data
            found = store.register(source, port.asset_name, port.type, port.asset_version).asset
            registered[port.name] = f"{found.name}:{found.version}"
    return registered


def lay_out(
    outcome: RunOutcome, folder: Path, folders: OutputFolders, registered: Mapping[str, str] = _NOTHING
) -> RunOutcome:
    """Copy all that a job has left, complete or not, to a folder a person looks into.

    ``outputs/<name>`` has the outputs of the job, ``steps/<step>/outputs`` those of a step and what it wrote to its own
    ``./outputs``, ``steps/<step>/logs/std_log.txt`` its log, ``job.json`` the outcome. What an earlier job has laid out
    there goes; anything else stays. An output that could not be brought to this machine keeps its address.

    Returns:
        The outcome, with the paths of the copies.

    Raises:
        SettingsError: The folder cannot be written.
    """
    for name, found in (("outputs", outcome.outputs), ("steps", outcome.steps)):
        _begin(folder / name, bool(found))
    steps = tuple(_lay_out_step(step, inside(folder / "steps", step.name), folders) for step in outcome.steps)
    outputs: dict[str, str] = {}
    for name, source in outcome.outputs.items():
        if is_remote(source):
            outputs[name] = source
            continue
        target = inside(folder / "outputs", name)
        _copy(Path(source), target, folders)
        outputs[name] = str(target)
    outcome = replace(outcome, steps=steps, outputs=outputs)
    try:
        make_folder(folder)
        hand_out_text(outcome_as_json(FileOutcome(outcome, registered)) + "\n", folder / OUTCOME)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return outcome


def _delivered(outcome: RunOutcome, spec: JobSpec) -> Iterator[tuple[OutputPort, Path]]:
    """The outputs that steps have delivered: each as its step has it, and as the job has it that delivers it too."""
    for done in outcome.steps:
        step = spec.steps.get(done.name)
        if step is None:
            continue  # an iteration, whose loop delivers what it has
        for name, path in done.outputs.items() if done.status is RunStatus.COMPLETED else ():
            own, target = step.component.outputs[name], step.outputs.get(name)
            of_job = None if target is None else spec.outputs.get(target.name)
            if of_job is not None:
                yield of_job, path
            if of_job is None or (own.path, own.asset_name) != (of_job.path, of_job.asset_name):
                yield own, path


def _begin(folder: Path, is_needed: bool) -> None:
    """Take the place of what an earlier job has laid out; a folder that has anything else in it is only added to."""
    with suppress(SettingsError):
        discard(folder)
        if is_needed:
            claim(folder)


def _lay_out_step(step: StepOutcome, folder: Path, folders: OutputFolders) -> StepOutcome:
    outputs: dict[str, Path] = dict(step.outputs)
    ran_in = None if step.log is None else step.log.parents[1]
    if step.status is not RunStatus.COMPLETED and ran_in is not None:  # what it had written when it failed
        outputs = {path.name: path for path in _within(ran_in / "outputs")}
    for path in () if ran_in is None else _within(ran_in / "code" / "outputs"):
        if path.name not in outputs:
            _copy(path, folder / "outputs" / path.name, folders)
    for name, path in outputs.items():
        _copy(path, inside(folder / "outputs", name), folders)
    log = None
    if step.log is not None and step.log.is_file():
        log = folder / "logs" / step.log.name
        _copy(step.log, log, folders)
    copies: Mapping[str, Path] = {name: folder / "outputs" / name for name in step.outputs}
    return replace(step, outputs=copies, log=log)


def _within(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _copy(source: Path, target: Path, folders: OutputFolders) -> None:
    """Copy a file, or a folder with what it holds, links as what they lead to; what lies there under a name goes."""
    if os.path.realpath(source) == os.path.realpath(target):
        return
    try:
        if source.is_dir():
            for path, place in _below(source, target):
                if path.is_dir():
                    make_folder(_checked(place, folders))
                else:
                    hand_out(path, _checked(place, folders))
        elif source.is_file():  # neither a pipe nor a link to nothing
            place = _checked(target / source.name if target.is_dir() else target, folders)
            make_folder(place.parent)
            hand_out(source, place)
    except OSError as error:
        raise _unwritable(target, error) from error


def _below(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """A folder, and every folder and file below it, each with the place of its copy; a folder before what it holds."""
    waiting = [(source, target, frozenset[tuple[int, int]]())]
    while waiting:
        folder, place, above = waiting.pop()
        state = folder.stat()
        if (state.st_dev, state.st_ino) in above:
            continue  # a link to a folder that it lies in would never end
        yield folder, place
        for path in _within(folder):
            if path.is_dir():
                waiting.append((path, place / path.name, above | {(state.st_dev, state.st_ino)}))
            elif path.is_file():
                yield path, place / path.name


def _checked(place: Path, folders: OutputFolders) -> Path:
    """A place that may be written, wherever links on its way lead."""
    if not folders.hold(place):
        raise SettingsError(
            f"An output of the job cannot be written: {folders.why_not(place)}. The steps are kept and reused. "
            f"Allow it: --allow-output {shlex.quote(os.path.realpath(place))}"
        )
    return place


def _unwritable(place: Path, error: Exception) -> SettingsError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SettingsError(f"An output of the job cannot be written to {place}: {reason}. The steps are kept and reused.")
