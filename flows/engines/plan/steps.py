"""Planner of steps: which ones run and why, and which are reused. Reads files, and runs nothing."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from flows.data.assets import resolve_reference
from flows.data.digests import data_digest
from flows.data.snapshot import Snapshot
from flows.engines.plan.environment import defined_environment, environment_part
from flows.engines.plan.fingerprint import Fingerprint, component_part, interpreter_part, variables_part
from flows.engines.plan.interpreter import interpreter
from flows.engines.plan.reasons import Reason, ReasonKind, differences
from flows.engines.plan.store import StepRecord, StepStore
from flows.errors import DataAssetError, SettingsError
from flows.settings import Settings
from flows.spec.graph import order
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import DataReference, Environment, JobSpec, Step, StepOutput
from flows.spec.values import data_source, literal_text


@dataclass(frozen=True, slots=True)
class StepInput:
    """What an input of a step receives: a literal's text, or the path of data with the digest of its content."""

    text: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class JobData:
    """Data that a job is given: by which input, what a person calls it, where it is, and the digest of its content."""

    input: str
    label: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step, what it depends on, and the earlier run that it repeats, or else why it runs.

    Attributes:
        step: The step.
        inputs: What each input receives.
        fingerprint: All that it depends on.
        key: The content key of that.
        record: The earlier run whose outputs will be delivered; None if the step runs.
        reasons: Why it runs; empty if it does not.
        compared: The earlier run that the reasons compare it with, if there is one.
        pending: The upstream steps that will run first. What they deliver is not known, and neither is ``record``.
    """

    step: Step
    inputs: Mapping[str, StepInput | None]
    fingerprint: Fingerprint
    key: str
    record: StepRecord | None
    reasons: tuple[Reason, ...] = ()
    compared: StepRecord | None = None
    pending: tuple[str, ...] = ()

    @property
    def reused(self) -> bool:
        """Whether the outputs of an earlier run will be delivered."""
        return self.record is not None

    @property
    def may_be_reused(self) -> bool:
        """Whether all that is known is as it was, so that what the pending upstream steps deliver will decide."""
        return bool(self.pending) and all(reason.cause is ReasonKind.UPSTREAM for reason in self.reasons)

    def as_json(self) -> dict[str, Any]:
        """The decision and what it rests on, for machines."""
        compared = self.record or self.compared
        return {
            "reused": self.reused,
            "reasons": [reason.as_json() for reason in self.reasons],
            "compared": None if compared is None else {"job": compared.job_name, "ended": compared.ended},
        }


@dataclass(frozen=True, slots=True)
class Baseline:
    """Records of steps to compare with instead of the earlier runs: their state folder, and what they are called."""

    home: Path
    name: str


class Planner:
    """Plans the steps of one job, each as soon as what it reads is known. Everything is read and digested once.

    Args:
        spec: The job.
        settings: Where the state, the data assets and the environments are.
        force_rerun: Whether nothing is reused, as the job itself may say too.
        python: The interpreter of the steps; that of this process if it is left out.
        baseline: What the steps are compared with, where that is not the earlier runs on this machine.
    """

    def __init__(
        self,
        spec: JobSpec,
        settings: Settings,
        force_rerun: bool = False,
        python: Path | None = None,
        baseline: Baseline | None = None,
    ) -> None:
        self.spec = spec
        self.store = StepStore(settings.home if baseline is None else baseline.home)
        self._baseline = "" if baseline is None else baseline.name
        self.interpreter = interpreter(python)
        self._decisions: dict[str, StepPlan] = {}
        self._forced_by = "--force-rerun" if force_rerun else "settings.force_rerun" if spec.force_rerun else None
        self._interpreter_part = self.store.keep(interpreter_part(self.interpreter))
        self._path = cache(partial(resolve_reference, folders=settings.data_assets))
        self._digest = cache(_digest)
        self._code_part = cache(self._kept_code)
        self._defined = cache(partial(defined_environment, folder=settings.environments))
        self._environment_part = cache(self._kept_environment)

    def known(self) -> dict[str, StepPlan]:
        """Plan every step that can be planned before anything runs: all of whose upstream steps are reused."""
        plans: dict[str, StepPlan] = {}
        delivered: dict[StepOutput, Path] = {}
        for name in order(self.spec):
            step = self.spec.steps[name]
            runs_itself = step.refusal is None and step.control is None and step.when.loop is None
            if runs_itself and all(before in plans and plans[before].reused for before in step.upstream):
                plans[name] = self.plan(step, delivered)
                delivered.update(self.delivered({name: plans[name]}))
        return plans

    def data(self) -> list[JobData]:
        """The data that the inputs of the job name; what is not there is left to the step that reads it."""
        found: list[JobData] = []
        for name, given in self.spec.inputs.items():
            if isinstance(given.value, DataReference) and not given.value.type.endswith("_model"):
                with suppress(DataAssetError):
                    path = self._path(given.value)
                    asset = AssetReference.read(given.value.path) if given.value.path.startswith("azureml:") else None
                    found.append(JobData(name, path.name if asset is None else str(asset), path, self._digest(path)))
        return found

    def delivered(self, plans: Mapping[str, StepPlan]) -> dict[StepOutput, Path]:
        """The outputs that reused steps deliver."""
        return {
            StepOutput(name, output): self.store.path(stored)
            for name, plan in plans.items()
            if plan.record is not None
            for output, stored in plan.record.outputs.items()
        }

    def plan(self, step: Step, delivered: Mapping[StepOutput, Path], pending: frozenset[str] = frozenset()) -> StepPlan:
        """Plan one step.

        Args:
            step: The step.
            delivered: What its upstream steps delivered. An optional input of a step that failed has no value.
            pending: The upstream steps that will run first, whose outputs are not known yet.

        Raises:
            DataAssetError: Data that it reads is not there.
            SettingsError: Its code cannot be read.
        """
        inputs = {name: self.received(step, name, delivered) for name in step.component.inputs}
        unknown = {
            name: binding.step
            for name, binding in step.inputs.items()
            if isinstance(binding, StepOutput) and binding.step in pending
        }
        fingerprint = self._fingerprint(step, inputs)
        record = None if unknown else self.store.read(fingerprint.key)
        compared = record or self.store.nearest(fingerprint, frozenset(unknown))
        reasons = (*self._not_reusable(step, record), *self._changes(fingerprint, compared, unknown))
        plan = StepPlan(
            step=step,
            inputs=inputs,
            fingerprint=fingerprint,
            key=fingerprint.key,
            record=None if reasons else record,
            reasons=reasons,
            compared=compared,
            pending=tuple(dict.fromkeys(unknown.values())),
        )
        self._decisions.setdefault(step.name, plan)  # a trial of a sweep has the name of the sweep, which comes first
        return plan

    def _not_reusable(self, step: Step, record: StepRecord | None) -> Iterator[Reason]:
        """Why a step runs even if nothing that it depends on has changed."""
        if self._forced_by is not None:
            yield Reason(ReasonKind.FORCED, self._forced_by)
        elif not step.component.is_deterministic:
            yield Reason(ReasonKind.NOT_DETERMINISTIC)
        elif record is not None:
            for output, became in self.store.lost(record).items():
                yield Reason(ReasonKind.OUTPUT, output, after=became)

    def _changes(
        self, fingerprint: Fingerprint, compared: StepRecord | None, unknown: Mapping[str, str]
    ) -> Iterator[Reason]:
        """What has changed since the earlier run that is compared with, or will have."""
        if compared is None:
            yield Reason(ReasonKind.FIRST_RUN, self._baseline)
            return
        yield from differences(compared.fingerprint, fingerprint, self.store.part, frozenset(unknown))
        yield from (Reason(ReasonKind.UPSTREAM, name) for name in dict.fromkeys(unknown.values()))

    def received(self, step: Step, name: str, delivered: Mapping[StepOutput, Path]) -> StepInput | None:
        """What an input of a step receives; None for an optional one without a value.

        Raises:
            DataAssetError: It is not there, or cannot be read.
        """
        port = step.component.inputs[name]
        if port.is_literal:
            text = literal_text(self.spec, step, name)
            if isinstance(written := step.inputs.get(name), StepOutput) and written in delivered:
                text = literal_in(delivered[written], port.type)
            return None if text is None else StepInput(text)
        source = data_source(self.spec, step, name)
        if isinstance(source, StepOutput):
            path = delivered.get(source)
        elif isinstance(source, DataReference):
            path = self._path(source)
        else:
            path = None
        return None if path is None else StepInput(str(path), self._digest(path))

    def _fingerprint(self, step: Step, inputs: Mapping[str, StepInput | None]) -> Fingerprint:
        return Fingerprint(
            step=step.name,
            source=str(self.spec.source),
            parts={
                "component": self.store.keep(component_part(step)),
                "code": self._code(step),
                "environment": self._environment_part(step.component.environment),
                "interpreter": self._interpreter_part,
                "variables": self.store.keep(variables_part(step)),
            },
            inputs={
                name: None if value is None else value.digest or f"={value.text}" for name, value in inputs.items()
            },
        )

    def _code(self, step: Step) -> str:
        try:
            return self._code_part(step.component.code, step.component.additional_includes)
        except OSError as error:
            raise SettingsError(
                f"The code of the step {step.name} cannot be read: {error.strerror}: {error.filename}."
            ) from error

    def _kept_code(self, code: Path | None, includes: tuple[Path, ...]) -> str:
        return self.store.keep(Snapshot.of(code, includes).digests())

    def _kept_environment(self, environment: Environment | None) -> str:
        part = environment_part(self.defined(environment))
        if environment is not None and environment.reference is not None:
            part = {"the reference": environment.reference, **part}
        return self.store.keep(part)

    def decisions(self) -> dict[str, Any]:
        """What was decided about every step that was planned, and why, to be written down with the job."""
        return {name: plan.as_json() for name, plan in self._decisions.items()}

    def defined(self, environment: Environment | None) -> Environment | None:
        """What an environment's name stands for on this machine; itself where there is no definition of that name."""
        return None if environment is None else self._defined(environment)


def literal_in(path: Path, kind: str) -> str:
    """The value that a step has written to a literal output, as text.

    The client's own wrapper of Python functions (mldesigner) writes ``str(value)``. What a shell adds is taken off:
    the line break at the end of a string, all white space around a value of another type.

    Raises:
        DataAssetError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataAssetError(f"The value in {path} cannot be read: {error}.") from error
    return text.removesuffix("\n") if kind == "string" else text.strip()


def _digest(path: Path) -> str:
    try:
        return data_digest(path)
    except OSError as error:
        raise DataAssetError(f"The data {path} cannot be read: {error.strerror}: {error.filename}.") from error
