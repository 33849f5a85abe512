"""Compute targets of a workspace."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.ai.ml import load_compute

from flows.engines.azureml.sdk.connection import Connection
from flows.engines.azureml.sdk.retries import persistently
from flows.errors import RunError, SettingsError, UserError

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ComputeTarget:
    """A compute target: one of the workspace, or one that a YAML file defines.

    What only a cluster (``type`` ``amlcompute``) has is None for others. ``state`` is Azure ML's own word for how far
    the making of it has come (empty if it is only defined), ``error`` the code of what went wrong with that.
    """

    name: str
    type: str
    size: str | None = None
    tier: str | None = None
    min_instances: int | None = None
    max_instances: int | None = None
    idle_seconds: float | None = None
    state: str = ""
    error: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether jobs can be sent to it."""
        return self.state == "Succeeded"

    @property
    def is_being_made(self) -> bool:
        """Whether it may become ready without anybody doing something."""
        return self.state in ("Creating", "Updating", "Unknown")


class Computes:
    """Finds compute targets, and makes clusters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def names(self) -> tuple[str, ...]:
        """The names of the compute targets of the workspace."""
        found = await self._connection.call(lambda client: list(client.compute.list()))
        return tuple(str(compute.name) for compute in found)

    async def has(self, name: str) -> bool:
        """Whether there is a compute target of this name."""
        return await self.find(name) is not None

    async def find(self, name: str) -> ComputeTarget | None:
        """The compute target of this name, if there is one."""
        found = await self._connection.look(lambda client: client.compute.get(name))
        return None if found is None else _target(found)

    async def create(self, file: Path, changes: Mapping[str, object], progress: Callable[[str], None]) -> ComputeTarget:
        """Make what :func:`defined_target` tells, and return when it is ready; ``progress`` is told its state.

        Raises:
            UserError: The service refuses it.
            RunError: Making it has failed.
        """
        entity = _entity(file, changes)
        poller: Any = await self._connection.call(lambda client: client.compute.begin_create_or_update(entity))
        return await self.until_ready(str(entity.name), progress, poller)

    async def until_ready(self, name: str, progress: Callable[[str], None], poller: Any = None) -> ComputeTarget:
        """Wait until a compute target that is being made is ready.

        Raises:
            RunError: Making it has failed.
            ServiceError: The service does not answer any more; making it goes on.
        """
        pause = FIRST_SECONDS
        while True:
            try:
                if poller is not None and poller.done():  # it polls only every 30 s, but it knows why the making failed
                    await persistently(lambda: self._connection.call(lambda client: poller.result()))
                found = await persistently(lambda: self.find(name))
            except UserError as error:
                raise RunError(f"The compute target {name} could not be made: {error}") from error
            if found is not None and found.is_ready:
                return found
            if found is None and (poller is None or poller.done()):
                raise RunError(f"The compute target {name} is gone: somebody has deleted it, or it was refused.")
            if found is not None and not found.is_being_made:
                raise RunError(
                    f"The compute target {name} could not be made: {found.state}"
                    f"{f' ({found.error})' if found.error else ''}."
                )
            progress("Creating" if found is None else found.state)
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_SECONDS)


def defined_target(file: Path, changes: Mapping[str, object] | None = None) -> ComputeTarget:
    """The compute target that an Azure ML compute YAML defines, some of its keys changed.

    Raises:
        SettingsError: It is no such file.
    """
    return _target(_entity(file, changes or {}))


def _entity(file: Path, changes: Mapping[str, object]) -> Any:
    try:
        return load_compute(file, params_override=[{key: value} for key, value in changes.items()])  # type: ignore[list-item]
    except Exception as error:  # its kinds have no base in common
        reason = " ".join(str(error).partition("Visit this link")[0].split())
        raise SettingsError(f"{file} does not define a compute target: {reason}") from error


def _target(entity: Any) -> ComputeTarget:
    def of(name: str) -> Any:
        return getattr(entity, name, None)

    return ComputeTarget(
        name=str(entity.name),
        type=str(entity.type),
        size=of("size"),
        tier=of("tier"),
        min_instances=of("min_instances"),
        max_instances=of("max_instances"),
        idle_seconds=of("idle_time_before_scale_down"),
        state=str(getattr(entity.provisioning_state, "value", entity.provisioning_state) or ""),
        error=entity.provisioning_errors or "",
    )
