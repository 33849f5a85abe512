"""Which steps would run and which would be reused. Reads files, runs nothing; imports neither Prefect nor MLflow."""

import hashlib
import os
import site
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.data_assets import resolve_reference
from flows.engines.preload import imported_modules, plain_script
from flows.engines.snapshot import Snapshot, data_digest
from flows.engines.store import StepRecord, StepStore, key_of
from flows.settings import Settings
from flows.spec.assets import read_environment
from flows.spec.graph import order
from flows.spec.model import Component, DataReference, Environment, JobSpec, Step, StepOutput
from flows.spec.render import render_command
from flows.spec.values import data_source, literal_text


@dataclass(frozen=True, slots=True)
class StepInput:
    """What an input of a step receives: a literal's text, or the path of data with the digest of its content."""

    text: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step whose inputs are all known: what it depends on, and the earlier run that it repeats, if any."""

    step: Step
    inputs: Mapping[str, StepInput | None]
    fingerprint: Mapping[str, Any]
    key: str
    record: StepRecord | None

    @property
    def reused(self) -> bool:
        """Whether the outputs of an earlier run will be delivered."""
        return self.record is not None


class Planner:
    """Plans the steps of one job, each as soon as what it reads is known. Digests are taken once."""

    def __init__(self, spec: JobSpec, settings: Settings, force_rerun: bool = False) -> None:
        self.spec = spec
        self.store = StepStore(settings.home)
        self._settings = settings
        self._force_rerun = force_rerun or spec.force_rerun
        self._digests: dict[Path, str] = {}
        self._interpreter = interpreter_digest()

    def known(self) -> dict[str, StepPlan]:
        """Plan every step that can be planned before anything runs: all of whose upstream steps are reused."""
        plans: dict[str, StepPlan] = {}
        for name in order(self.spec):
            step = self.spec.steps[name]
            if step.upstream <= {upstream for upstream, plan in plans.items() if plan.reused}:
                plans[name] = self.plan(step, self.delivered(plans))
        return plans

    def delivered(self, plans: Mapping[str, StepPlan]) -> dict[StepOutput, Path]:
        """The outputs that reused steps deliver."""
        return {
            StepOutput(name, output): self.store.path(stored)
            for name, plan in plans.items()
            if plan.record is not None
            for output, stored in plan.record.outputs.items()
        }

    def plan(self, step: Step, delivered: Mapping[StepOutput, Path]) -> StepPlan:
        """Plan one step, given what its upstream steps delivered. An optional input of a failed step has no value."""
        inputs = {name: self._input(step, name, delivered) for name in step.component.inputs}
        fingerprint = self._fingerprint(step, inputs)
        key = key_of(fingerprint)
        reusable = step.component.is_deterministic and not self._force_rerun
        return StepPlan(step, inputs, fingerprint, key, self.store.find(key) if reusable else None)

    def _input(self, step: Step, name: str, delivered: Mapping[StepOutput, Path]) -> StepInput | None:
        if step.component.inputs[name].is_literal:
            text = literal_text(self.spec, step, name)
            return None if text is None else StepInput(text)
        source = data_source(self.spec, step, name)
        if isinstance(source, StepOutput):
            path = delivered.get(source)
        elif isinstance(source, DataReference):
            path = resolve_reference(source, self._settings.data_assets)
        else:
            path = None
        return None if path is None else StepInput(str(path), self._digest(path))

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = data_digest(path)
        return self._digests[path]

    def _fingerprint(self, step: Step, inputs: Mapping[str, StepInput | None]) -> dict[str, Any]:
        component = step.component
        snapshot = Snapshot.of(component.code, component.additional_includes)
        return {
            "component": _definition(component),
            "code": {name: data_digest(path) for name, path in snapshot.files},
            "environment": self._environment(component.environment),
            "interpreter": self._interpreter,
            "environment_variables": {**component.environment_variables, **step.environment_variables},
            "inputs": {
                name: None if value is None else value.digest or f"={value.text}" for name, value in inputs.items()
            },
        }

    def _environment(self, environment: Environment | None) -> dict[str, str | None]:
        if environment is None:
            return {}
        reference = environment.reference
        if reference is not None:
            environment = find_environment(reference, self._settings.environments) or environment
        return {"reference": reference, "image": environment.image, "conda": environment.conda}


def find_environment(reference: str, folder: Path) -> Environment | None:
    """Return the definition that ``azureml:name:version`` or ``azureml:name@latest`` has in ``folder``, if any."""
    file = find_environment_file(reference, folder)
    found = None if file is None else read_environment(file)
    return None if found is None else found.environment


def find_environment_file(reference: str, folder: Path) -> Path | None:
    """Return the YAML file in ``folder`` that defines the environment of this name, if any."""
    name = reference.removeprefix("azureml:").partition("@")[0].partition(":")[0]
    for path in sorted(folder.glob("*.y*ml")):
        found = read_environment(path)
        if found is not None and found.name == name:
            return path
    return None


def modules_to_preload(spec: JobSpec, plans: Mapping[str, StepPlan]) -> list[str]:
    """What the scripts of the steps that (may) run import, in the order in which the steps run."""
    found: dict[str, None] = {}
    for name in order(spec):
        plan, component = plans.get(name), spec.steps[name].component
        any_value = dict.fromkeys([*component.inputs, *component.outputs], "x")
        script = plain_script(render_command(component.command, any_value, any_value))
        if script and component.code is not None and not (plan is not None and plan.reused):
            found.update(dict.fromkeys(imported_modules(component.code / script[0])))
    return list(found)


def interpreter_digest() -> str:
    """The digest of this interpreter: its version and the distributions that are installed for it."""
    folders = {folder for folder in (*site.getsitepackages(), *sys.path) if folder.endswith("site-packages")}
    installed = sorted(
        name
        for folder in folders
        if os.path.isdir(folder)
        for name in os.listdir(folder)
        if name.endswith(".dist-info") and not name.startswith("tandem_ml-")
    )
    return hashlib.sha256("\n".join([sys.version, *installed]).encode()).hexdigest()


def _definition(component: Component) -> dict[str, Any]:
    """What of a component's YAML makes a difference when it runs. Comments, order and descriptions do not."""
    return {
        "name": component.name,
        "version": component.version,
        "command": component.command,
        "inputs": {
            name: [port.type, port.optional, port.default, list(port.enum), port.minimum, port.maximum]
            for name, port in component.inputs.items()
        },
        "outputs": {name: port.type for name, port in component.outputs.items()},
    }
