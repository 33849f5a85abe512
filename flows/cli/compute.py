"""``tandem compute create``: make the compute target of ``environment/compute.yml`` unless the workspace has it."""

import asyncio
import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import ServiceError, SettingsError, UserError
from flows.settings import WORKSPACE_VARIABLES, Settings

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.computes import ComputeTarget

COMPUTE_FILE = "compute.yml"
SAID_SECONDS = 10.0
_NAME = re.compile(r"[A-Za-z](?:-?[A-Za-z0-9])+")
_COMPARED = ("type", "size", "tier", "min_instances", "max_instances", "idle_seconds")


@dataclass(frozen=True, slots=True)
class Difference:
    """A property of the existing compute target that is not as asked for."""

    asked: object
    there: object


@dataclass(frozen=True, slots=True)
class ComputeResult:
    """The result: the compute target, whether it was made now, and where it differs from what was asked for."""

    target: "ComputeTarget"
    created: bool
    differences: Mapping[str, Difference]


def create_compute(changes: Mapping[str, object], as_json: bool) -> int:
    """Make the compute target that the project's file defines, with some of its keys changed; print the result.

    Raises:
        SettingsError: No workspace is set, or the file or a change is wrong.
        UserError: There is one of this name that is not what ``changes`` ask for; it stays as it is.
    """
    settings = Settings.from_environment()
    _check(settings, changes)
    file = settings.environments / COMPUTE_FILE
    try:
        made = asyncio.run(_create(settings, file, changes))
    except KeyboardInterrupt:
        print("\nInterrupted. What was being made goes on; the same command shows how far it is.", file=sys.stderr)
        return 130
    if as_json:
        told = {name: asdict(value) for name, value in made.differences.items()}
        print(json.dumps({**asdict(made.target), "created": made.created, "differences": told}, indent=2))
    else:
        print(compute_as_text(made))
    conflict = [name for name in made.differences if name in changes]
    if conflict:
        raise UserError(_conflict(settings, made.target.name, {name: changes[name] for name in conflict}))
    return 0


def compute_differences(asked: "ComputeTarget", there: "ComputeTarget") -> dict[str, Difference]:
    """The properties in which the existing compute target is not as asked for. Case is ignored."""
    pairs = {name: (getattr(asked, name), getattr(there, name)) for name in _COMPARED}
    return {name: Difference(*pair) for name, pair in pairs.items() if _folded(pair[0]) != _folded(pair[1])}


def compute_as_text(made: ComputeResult) -> str:
    """The result for a person: what there is, when it costs money, and what is not as asked."""
    target = made.target
    lines = [f"{target.name} {'is ready' if made.created else 'is there already'}: {described(target)}."]
    if target.min_instances == 0:
        lines.append("It has no node, and costs nothing, while no job needs one.")
    elif target.min_instances:
        lines.append(f"{target.min_instances} of its nodes run, and are paid for, even while no job needs them.")
    if target.tier == "low_priority":
        lines.append("Its nodes cost less than dedicated ones and can be taken away in the middle of a job.")
    if made.differences:
        said = (f"{name} is {value.there}, not {value.asked}" for name, value in made.differences.items())
        lines.append(f"It was left as it is, but {'; '.join(said)}.")
    return "\n".join(lines)


def described(target: "ComputeTarget") -> str:
    """A compute target in a few words: its size, tier, nodes and when an idle node goes."""
    if target.max_instances is None:
        return target.type + (f", {target.size}" if target.size else "")
    tier = "low priority" if target.tier == "low_priority" else target.tier or "dedicated"
    idle = f", idle nodes go after {target.idle_seconds:g} s" if target.idle_seconds else ""
    return f"{target.size}, {tier}, {target.min_instances} to {target.max_instances} nodes{idle}"


def _check(settings: Settings, changes: Mapping[str, object]) -> None:
    """Check what can be checked before the SDK is imported, which takes seconds."""
    missing = settings.missing_workspace
    if missing:
        raise SettingsError(
            f"A compute target is made in a workspace, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set. Nothing was made."
        )
    name = changes.get("name")
    if name is not None and not _NAME.fullmatch(str(name)):
        raise SettingsError(
            f"{name!r} cannot be the name of a compute target. It takes letters, digits and single hyphens, "
            "begins with a letter and ends with a letter or digit."
        )


def _conflict(settings: Settings, name: str, asked: Mapping[str, object]) -> str:
    if set(asked) == {"max_instances"}:
        group, workspace = (settings.workspace[variable] for variable in WORKSPACE_VARIABLES[1:])
        where = f"--name {name} --resource-group {group} --workspace-name {workspace}"
        remedy = f"Change it: az ml compute update {where} --max-instances {asked['max_instances']}"
    else:
        remedy = "What its nodes are cannot be changed: choose another name."
    return f"The compute target {name} is there, but not as asked ({', '.join(asked)}). Nothing was changed. {remedy}"


async def _create(settings: Settings, file: Path, changes: Mapping[str, object]) -> ComputeResult:
    from flows.engines.azureml.sdk.computes import defined_target
    from flows.engines.azureml.sdk.retries import TRIES_FOR_A_PERSON, persistently
    from flows.engines.azureml.sdk.workspace import open_workspace

    asked, progress = defined_target(file, changes), _Progress()
    async with open_workspace(settings) as workspace:
        there = await persistently(lambda: workspace.computes.find(asked.name), TRIES_FOR_A_PERSON)
        if there is None:
            progress.say(f"Making {asked.name} in the workspace {workspace.name}: {described(asked)}.")
            try:
                target = await workspace.computes.create(file, changes, progress.state)
            except ServiceError as error:
                raise ServiceError(
                    f"{error}\nThe compute target {asked.name} may be being made all the same. Type the command again: "
                    "it goes on from what is there."
                ) from error
            return ComputeResult(target, True, {})
        if there.is_being_made:
            progress.say(f"{asked.name} is being made already, in the workspace {workspace.name}.")
            there = await workspace.computes.until_ready(asked.name, progress.state)
        elif not there.is_ready:
            raise UserError(
                f"There is a compute target {asked.name}, but the making of it ended as {there.state}"
                f"{f' ({there.error})' if there.error else ''}. Nothing was changed. Delete it, then type the command "
                f"again: az ml compute delete --name {asked.name}"
            )
    return ComputeResult(there, False, compute_differences(asked, there))


class _Progress:
    """Lines on standard error while something is being made: at each change of its state, and now and then."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._said, self._said_at = "", self._began

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def state(self, state: str) -> None:
        now = time.monotonic()
        if state != self._said or now - self._said_at >= SAID_SECONDS:
            self.say(f"  {state}, {now - self._began:.0f} s")
            self._said, self._said_at = state, now


def _folded(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
