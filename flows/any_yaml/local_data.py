"""Replace the data of a job by local files and folders, or say why the job cannot run on this machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from flows.data.assets import resolve_data
from flows.data.given import GivenAssets
from flows.data.web import NotFetched, WebFiles
from flows.engines.local.parallel.command import mini_batch_data
from flows.engines.local.registered_models import registered_model
from flows.errors import CannotRunHere, DataAssetError, SpecError
from flows.settings import Settings
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import DataReference, JobSpec, Step
from flows.spec.text.locations import exists, is_remote
from flows.spec.text.words import counted
from flows.spec.values import source

MLTABLE = "MLTable"
MODEL_TYPES = frozenset({"mlflow_model", "custom_model", "triton_model"})
_FILES = frozenset({"uri_file", "custom_model"})  # types that one file may be


@dataclass(frozen=True, slots=True)
class _Lack:
    """Data that is not here: what the YAML names, which inputs ask for it, why it is not, and what to add."""

    path: str
    inputs: tuple[str, ...]
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} ({', '.join(self.inputs)}): {self.why}\n      {self.remedy}"


def check_runs_here(spec: JobSpec, lacks: str = "") -> None:
    """Check that every step of a job can run on this machine.

    Args:
        spec: The job.
        lacks: Data that is known to be missing, for the same message.

    Raises:
        CannotRunHere: One cannot; each that cannot is named, with its reason.
    """
    refused = [f"  {name} {why}" for name, why in spec.refusals.items()]
    parts: list[str] = []
    if refused:
        parts.append(
            "\n".join([f"This machine cannot run {counted(len(refused), 'step')} of {_called(spec)}:", *refused])
        )
        if any(step.component.reference and step.refusal for step in spec.steps.values()):
            parts.append("  A registered component runs from its YAML file: --asset NAME=COMPONENT.yml")
    if lacks:
        parts.append(lacks)
    if parts:
        raise CannotRunHere("\n".join([*parts, "Nothing was run."]))


def with_local_data(spec: JobSpec, assets: GivenAssets, settings: Settings) -> JobSpec:
    """The job with every data input at a local path: given, registered here, or fetched.

    Args:
        spec: The job, bound.
        assets: What stands for data that is elsewhere.
        settings: Where the data assets are, and the files that were fetched.

    Raises:
        CannotRunHere: Data is missing, or a step cannot run here. All that is missing is listed, with what to add.
    """
    finder = _Finder(assets, settings, fetches=not spec.refusals)
    asked = dict(_asked(spec))
    for key, reference in asked.items():
        finder.find(reference, key)
    lacking = finder.lacking()
    lacks = ""
    if lacking:
        lines = [f"  {lack}" for lack in lacking]
        lacks = "\n".join([f"{counted(len(lacking), 'data input')} of {_called(spec)} cannot be found:", *lines])
    check_runs_here(_with_uncut_refused(spec, finder.found), lacks)
    return _with_paths(spec, finder.found)


def as_far_as_local(spec: JobSpec, assets: GivenAssets, settings: Settings) -> JobSpec:
    """The job with every data input that is here at its local path, for a plan.

    A step that reads data which is not here is refused as one that cannot run, with what to add.
    """
    finder = _Finder(assets, settings, fetches=True)
    for key, reference in _asked(spec):
        finder.find(reference, key)
    lacking = {lack.path: lack for lack in finder.lacking()}

    def refused(step: Step) -> Step:
        values = (source(spec, binding) for binding in step.inputs.values())
        read = dict.fromkeys(value.path for value in values if isinstance(value, DataReference))
        reasons = [
            f"reads {path}: {lacking[path].why.rstrip('.')}. {lacking[path].remedy}" for path in read if path in lacking
        ]
        return replace(step, refusal=step.refusal or "; it ".join(reasons) or None)

    steps = {name: refused(step) for name, step in spec.steps.items()}
    spec = _with_uncut_refused(replace(spec, steps=MappingProxyType(steps)), finder.found)
    return _with_paths(spec, finder.found)


def _with_uncut_refused(spec: JobSpec, found: Mapping[DataReference, Path]) -> JobSpec:
    """The job with every parallel step refused whose data is here and cannot be cut into mini-batches."""

    def refused(step: Step) -> Step:
        value = None if step.parallel is None else source(spec, step.inputs.get(step.parallel.input_data))
        if step.refusal is None and isinstance(value, DataReference) and value in found:
            try:
                mini_batch_data(step, str(found[value]))
            except DataAssetError as error:
                return replace(step, refusal=f"cannot cut its input into mini-batches: {error}")
        return step

    return replace(spec, steps=MappingProxyType({name: refused(step) for name, step in spec.steps.items()}))


def _with_paths(spec: JobSpec, found: Mapping[DataReference, Path]) -> JobSpec:
    def here(reference: DataReference) -> DataReference:
        return replace(reference, path=str(found.get(reference, reference.path)))

    inputs = {
        name: replace(given, value=here(given.value)) if isinstance(given.value, DataReference) else given
        for name, given in spec.inputs.items()
    }
    steps: dict[str, Step] = {}
    for name, step in spec.steps.items():
        bound = {key: here(value) if isinstance(value, DataReference) else value for key, value in step.inputs.items()}
        steps[name] = replace(step, inputs=MappingProxyType(bound))
    return replace(spec, inputs=MappingProxyType(inputs), steps=MappingProxyType(steps))


def _asked(spec: JobSpec) -> Iterator[tuple[str, DataReference]]:
    """Every input that is given data, by its dotted key; with the type of the component's where the job says none."""
    for name, given in spec.inputs.items():
        if isinstance(given.value, DataReference):
            yield f"inputs.{name}", given.value
    for step in spec.steps.values():
        for name, value in step.inputs.items():
            if isinstance(value, DataReference):
                yield f"jobs.{step.name}.inputs.{name}", value


class _Finder:
    """Finds data, and remembers what it has not found."""

    def __init__(self, assets: GivenAssets, settings: Settings, *, fetches: bool) -> None:
        self._assets = assets
        self._settings = settings
        self._fetches = fetches
        self._web = WebFiles(settings.web_files)
        self._lacking: dict[str, tuple[list[str], str, str]] = {}
        self.found: dict[DataReference, Path] = {}

    def find(self, reference: DataReference, key: str) -> None:
        """Find what a reference names, or note that it is not here."""
        if reference in self.found:
            return
        if reference.path in self._lacking:
            self._lacking[reference.path][0].append(key)
            return
        try:
            self.found[reference] = self._checked(reference, self._look(reference))
        except (_NotHere, NotFetched) as error:
            self._lacking[reference.path] = ([key], str(error), f"Add {_flag(reference, key)}")

    def lacking(self) -> list[_Lack]:
        """The data that was not found."""
        return [_Lack(path, tuple(keys), why, add) for path, (keys, why, add) in self._lacking.items()]

    def _look(self, reference: DataReference) -> Path:
        given = self._assets.path(reference.path)
        if given is not None:
            if not exists(given):
                raise _NotHere(f"given as {given}, which is not there")
            return given
        path = reference.path
        if not is_remote(path):
            place = Path(path)
            if not exists(place):
                raise _NotHere("there is no such file or folder")
            return place
        if path.startswith(("https://", "http://")):
            if reference.type not in _FILES:
                raise _NotHere(f"only a file can be fetched, and a {reference.type} is a folder")
            return self._web.file(path) if self._fetches else Path(path)
        if path.startswith("azureml:") and not path.startswith("azureml:/"):
            return self._registered(reference)
        raise _NotHere("it is elsewhere, out of this machine's reach")

    def _registered(self, reference: DataReference) -> Path:
        text, is_model = reference.path.removeprefix("azureml:"), reference.type in MODEL_TYPES
        folders = self._settings.models if is_model else self._settings.data_assets
        try:
            here = resolve_data(text, folders, reference.type)
        except (DataAssetError, SpecError) as error:
            model = registered_model(text, self._settings) if is_model else None
            if model is None:
                raise _NotHere(str(error).rpartition(" A path to a CSV")[0] or str(error)) from error
            return model.folder
        if here.path is None:
            raise _NotHere("it has no file on this machine")
        asked = AssetReference.short(text)
        if is_model and asked is not None and asked.version is None:  # the newest of both
            model = registered_model(text, self._settings)
            if model is not None and (not str(here.version).isdigit() or model.version > int(str(here.version))):
                return model.folder
        return here.path

    @staticmethod
    def _checked(reference: DataReference, place: Path) -> Path:
        if reference.type == "mltable" and not (place / MLTABLE).is_file():
            raise _NotHere(f"an mltable is a folder with a file {MLTABLE}, and {place.name} is none")
        return place


class _NotHere(Exception):
    """Data is not on this machine. The text says why."""


def _flag(reference: DataReference, key: str) -> str:
    what = "FILE" if reference.type == "uri_file" else "FOLDER"
    if not is_remote(reference.path):
        return f"it, or another path: --set {key}={what}"
    named = reference.path.partition("?")[0] if "://" in reference.path else reference.path
    quoted = f"'{named}={what}'" if any(sign in named for sign in " &;$()*?'") else f"{named}={what}"
    return f"--asset {quoted}"


def _called(spec: JobSpec) -> str:
    return spec.display_name or spec.name
