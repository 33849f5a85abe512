"""Checks of the workspace. Each asks one thing, and starts when the checks that it depends on have ended."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flows.cli.compute import COMPUTE_FILE, described
from flows.cli.doctor.findings import Finding, Status, fail, ok, skip, warn
from flows.cli.doctor.identity import identity_finding, principal
from flows.cli.doctor.network import way_remedy
from flows.cli.doctor.quota import quota_finding
from flows.data.assets import resolve_data
from flows.engines.azureml.sdk.computes import ComputeTarget, defined_target
from flows.engines.azureml.sdk.connection import Connection, NotFoundError, RefusedError, TokenRefusedError
from flows.engines.azureml.sdk.identity import SignIn, sign_in
from flows.engines.azureml.sdk.quotas import Quotas
from flows.engines.azureml.sdk.retries import TRIES_FOR_A_PERSON, persistently
from flows.engines.azureml.sdk.workspace import Workspace
from flows.engines.plan.environment import environment_version, find_environment_file
from flows.errors import ServiceError, TandemError
from flows.settings import WORKSPACE_VARIABLES, Settings
from flows.training.parameters import PipelineParameters

B = TypeVar("B")
T = TypeVar("T")

# Nothing is waited for as long as the SDK would: up to four tries, and any Retry-After.
IMPATIENT = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 7}
SIGN_IN_SECONDS = 40.0  # three command line tools in turn may be asked, for 10 s each
CHECK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Checked(Generic[T]):
    """A finding, and what the checks that build on it need; None if they cannot be made."""

    finding: Finding
    value: T | None = None


class WorkspaceChecks:
    """The checks of one workspace, all under way from the start; ``close`` when they have been awaited."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = Connection(settings, **IMPATIENT)
        self._workspace = Workspace(self._connection)
        identity = asyncio.create_task(within("identity", SIGN_IN_SECONDS, self._check_identity()))
        region = asyncio.create_task(_after("workspace", identity, self._check_workspace))
        compute = asyncio.create_task(_after("compute", region, self._check_compute))
        self.checks: tuple[asyncio.Task[Checked[Any]], ...] = (
            identity,
            region,
            compute,
            asyncio.create_task(_after("quota", compute, self._check_quota)),
            asyncio.create_task(_after("environment", region, self._check_environment)),
            asyncio.create_task(_after("data asset", region, self._check_data)),
        )

    async def close(self) -> None:
        """Let the connection go."""
        await asyncio.to_thread(self._connection.close)

    async def _check_identity(self) -> Checked[SignIn]:
        found = await sign_in(self._connection)
        finding = identity_finding(found, os.environ)
        return Checked(finding, None if finding.status is Status.FAIL else found)

    async def _check_workspace(self, identity: SignIn) -> Checked[str]:
        try:
            region = await _asked(self._workspace.location)
        except NotFoundError as error:
            return Checked(fail("workspace", _brief(error), "See which there are", self._list_workspaces()))
        except TandemError as error:
            if _status_code(error) != 403:
                raise
            remedy = f"Let an owner of the workspace grant it to {principal(identity)}"
            told = f"this identity may not read it: {_brief(error).partition(': ')[2]}"
            return Checked(fail("workspace", told, remedy, self._grant(identity)))
        return Checked(ok("workspace", f"{self._workspace.name}, in {region}"), region)

    async def _check_compute(self, region: str) -> Checked[tuple[str, ComputeTarget]]:
        name: str = PipelineParameters.model_fields["compute_name"].default
        found = await _asked(lambda: self._workspace.computes.find(name))
        if found is None:
            known = ", ".join(await _asked(self._workspace.computes.names)) or "none"
            told = f"there is no {name}; the workspace has: {known}"
            defined = defined_target(self._settings.environments / COMPUTE_FILE)
            return Checked(fail("compute", told, command=f"tandem compute create {name}"), (region, defined))
        told = f"{name}: {described(found)}"
        if found.is_ready:
            finding = ok("compute", told)
        elif found.is_being_made:
            finding = warn(
                "compute", f"{told}; {found.state}", "Wait until it is ready", f"tandem compute create {name}"
            )
        else:
            told = f"{told}; making it ended as {found.state}{f' ({found.error})' if found.error else ''}"
            finding = fail("compute", told, "Delete it in studio, then make it again", f"tandem compute create {name}")
        return Checked(finding, (region, found))

    async def _check_quota(self, where: tuple[str, ComputeTarget]) -> Checked[None]:
        region, target = where
        quotas = Quotas(self._connection, region)
        try:
            size, rows = await asyncio.gather(_asked(lambda: quotas.size(target.size or "")), _asked(quotas.cores))
        except TandemError as error:  # whoever may use a workspace need not be allowed to ask in its subscription
            return Checked(skip("quota", f"cannot be asked: {_brief(error)}"))
        return Checked(quota_finding(target, size, rows))

    async def _check_environment(self, region: str) -> Checked[None]:
        name: str = PipelineParameters.model_fields["environment_name"].default
        file = await asyncio.to_thread(find_environment_file, name, self._settings.environments)
        if file is None:
            told = f"no YAML file in {self._settings.environments} defines {name}"
            return Checked(fail("environment", told, "Restore environment/environment.yml"))
        version = await asyncio.to_thread(environment_version, file)
        if await _asked(lambda: self._workspace.assets.has_environment(name, version)):
            return Checked(ok("environment", f"{name}:{version}, as it is defined here"))
        return Checked(ok("environment", f"{name}:{version} is not there yet; the first run makes it"))

    async def _check_data(self, region: str) -> Checked[None]:
        name: str = PipelineParameters.model_fields["data_asset_name"].default
        found = await _asked(lambda: self._workspace.assets.find_data(name, None))
        if found is not None:
            return Checked(ok("data asset", f"{name}:{found[0]} ({found[1]}) is the newest"))
        local = await asyncio.to_thread(resolve_data, name, self._settings.data_assets)
        return Checked(ok("data asset", f"{local.label} is not there yet; the first run makes it from data/"))

    def _list_workspaces(self) -> str:
        subscription, group, _ = (self._settings.workspace[variable] for variable in WORKSPACE_VARIABLES)
        return f"az ml workspace list --subscription {subscription} --resource-group {group}"

    def _grant(self, identity: SignIn) -> str:
        subscription, group, name = (self._settings.workspace[variable] for variable in WORKSPACE_VARIABLES)
        provider = f"providers/Microsoft.MachineLearningServices/workspaces/{name}"
        scope = f"/subscriptions/{subscription}/resourceGroups/{group}/{provider}"
        assignee = identity.claims.get("oid", "OBJECT_ID")
        return f'az role assignment create --assignee {assignee} --role "AzureML Data Scientist" --scope {scope}'


async def _after(
    check: str, before: "asyncio.Task[Checked[B]]", ask: Callable[[B], Coroutine[Any, Any, Checked[T]]]
) -> Checked[T]:
    """Make a check that builds on another one; skip it if that one failed, or was skipped itself."""
    found = await before
    if found.value is None:
        failed = found.finding.status is Status.FAIL
        return Checked(skip(check, f"{found.finding.check} failed" if failed else found.finding.message))
    return await within(check, CHECK_SECONDS, ask(found.value))


async def within(check: str, seconds: float, asking: Coroutine[Any, Any, Checked[T]]) -> Checked[T]:
    """Make a check, but for no longer than this; what it raises is what it has found."""
    try:
        async with asyncio.timeout(seconds):
            return await asking
    except TimeoutError:
        told = f"no answer within {seconds:g} s"
        return Checked(fail(check, told, way_remedy(told, os.environ)))
    except TandemError as error:
        if isinstance(error, TokenRefusedError):
            remedy = "Sign in again, and see that this machine's clock is right"
        else:
            passing = "Try again in a while" if isinstance(error, ServiceError) else ""
            remedy = way_remedy(str(error), os.environ) or passing
        return Checked(fail(check, _brief(error), remedy))


async def _asked(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call that may be repeated: once more, after passing trouble."""
    return await persistently(call, TRIES_FOR_A_PERSON)


def _status_code(error: TandemError) -> int | None:
    return getattr(error.__cause__, "status_code", None)


def _brief(error: TandemError) -> str:
    """What an error says, without what to do about it."""
    return error.told.what if isinstance(error, RefusedError) else str(error).partition("\n")[0]
