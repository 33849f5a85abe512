"""Fingerprint of a promotion decision; unchanged means that retraining can be skipped.

Retraining on the same data, with the same code, parameters and environment, can only come to the same decision.
"""

from dataclasses import astuple, dataclass, fields
from pathlib import Path

from flows.data.assets import ResolvedData
from flows.data.snapshot import Snapshot
from flows.engines.plan.environment import defined_environment, environment_part
from flows.engines.plan.fingerprint import canonical_digest, component_part
from flows.spec.model.job import JobSpec, Literal, Step
from flows.training.gate import GatePolicy

SHORT = 12


@dataclass(frozen=True, slots=True)
class Basis:
    """Four short digests, each equal as long as nothing of its kind that matters has changed.

    Attributes:
        data: The data asset's version, and the content of its files where that is known.
        code: The components: commands, ports, code files, and how the pipeline ties them together.
        parameters: The literal inputs, and every field of the gate's policy.
        environment: The environment's definition.
    """

    data: str
    code: str
    parameters: str
    environment: str

    def __str__(self) -> str:
        """As it is kept in a tag: ``data=…;code=…;parameters=…;environment=…``."""
        return ";".join(f"{part.name}={getattr(self, part.name)}" for part in fields(self))


def basis_of(spec: JobSpec, data: ResolvedData, gate: GatePolicy, environments: Path) -> Basis:
    """What a decision on this job would rest on.

    Args:
        spec: The job, with its inputs bound.
        data: The data that it is bound to.
        gate: What decides.
        environments: The folder of environment definitions.
    """
    steps = spec.steps.values()
    code = [
        [step.name, dict(component_part(step)), Snapshot.of(*_code(step)).digest(), _bindings(step)] for step in steps
    ]
    literals = {name: given.value.text for name, given in spec.inputs.items() if isinstance(given.value, Literal)}
    wanted = {step.component.environment for step in steps if step.component.environment}
    defined = [defined_environment(one, environments) for one in wanted]
    return Basis(
        data=_short([data.label, data.sha256]),
        code=_short(code),
        parameters=_short([literals, astuple(gate)]),
        environment=_short(sorted(canonical_digest(dict(environment_part(one))) for one in defined)),
    )


def changes(now: str, earlier: str | None) -> tuple[str, ...]:
    """The parts of a basis that differ from an earlier one's, both as text; all of them if there is none."""
    known = (earlier or "").split(";")
    return tuple(part.partition("=")[0] for part in now.split(";") if part not in known)


def nothing_new(now: str, promoted: str | None, rejected: str | None) -> str:
    """Why training again would change nothing, in words; empty if it might.

    Args:
        now: What a decision would rest on now, as text.
        promoted: What the champion's promotion rested on.
        rejected: What the last rejection against it rested on.
    """
    if not changes(now, promoted):
        return "data, code, parameters and environment are those of the champion"
    if not changes(now, rejected):
        return "with this data, code, parameters and environment, the champion was challenged before, and kept"
    return ""


def short_digest(basis: str) -> str:
    """A basis as 12 hex digits, where its text has no room."""
    return _short(basis)


def _code(step: Step) -> tuple[Path | None, tuple[Path, ...]]:
    return step.component.code, step.component.additional_includes


def _bindings(step: Step) -> list[str]:
    # A champion is another one each time: it is no part of the code.
    return sorted(f"{name}={type(binding).__name__}" for name, binding in step.inputs.items() if name != "champion")


def _short(value: object) -> str:
    return canonical_digest(value)[:SHORT]
