"""Checks of this machine: the folder of the local state, the disk, the variables of the workspace."""

import shutil
import tempfile
import uuid

from flows.cli.doctor.findings import Finding, fail, ok, skip, warn
from flows.machine.faults import nearest_there
from flows.machine.private import is_open
from flows.settings import WORKSPACE_VARIABLES, Settings

CLIENT_IDS = "az identity list --query '[].[name,clientId]'"
ENOUGH_BYTES = 2 * 2**30
LEAST_BYTES = 200 * 2**20


def check_state(settings: Settings) -> Finding:
    """Whether the folder of the local state can be written, or made."""
    folder = nearest_there(settings.home)
    if not folder.is_dir():
        return fail("state", f"{folder} is not a folder", "Move it away, or set TANDEM_HOME to another folder")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return fail("state", f"{folder} cannot be written: {error.strerror}", "Set TANDEM_HOME to a folder that can be")
    if is_open(settings.home):
        told = f"other users of this machine may enter {settings.home}, which has the data of runs"
        return warn("state", told, "Set TANDEM_HOME to a folder that is yours alone")
    return ok("state", f"{settings.home}" + ("" if settings.home.exists() else ", made by the first run"))


def check_disk(settings: Settings) -> Finding:
    """Whether there is room for the outputs of runs."""
    free = shutil.disk_usage(nearest_there(settings.home)).free
    told = f"{free / 2**30:.1f} GiB free"
    remedy = "`tandem state clean` deletes the local state; TANDEM_HOME puts it elsewhere"
    if free < LEAST_BYTES:
        return fail("disk", told, remedy)
    return ok("disk", told) if free >= ENOUGH_BYTES else warn("disk", told, remedy)


def check_variables(settings: Settings) -> Finding:
    """Whether the workspace's variables are set: all, some (a mistake), or none (local runs only)."""
    missing = settings.missing_workspace
    if len(missing) == len(WORKSPACE_VARIABLES):
        return skip("variables", f"local only: {', '.join(missing)} are not set")
    if missing:
        told = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
        return fail("variables", told, "Set all three for Azure ML, or none for local runs only")
    subscription, group, name = (settings.workspace[variable] for variable in WORKSPACE_VARIABLES)
    identity = settings.managed_identity_client_id
    if not _is_guid(subscription):
        told = f"AZUREML_ARM_SUBSCRIPTION is {subscription!r}, which is no subscription id"
        return warn("variables", told, "Set it to the id, not the name", "az account show --query id")
    if identity and not _is_guid(identity):
        told = f"MANAGED_IDENTITY_CLIENT_ID is {identity!r}, which is no client id"
        return warn("variables", told, "Set it to the client id of the identity", CLIENT_IDS)
    managed = f", managed identity {identity}" if identity else ""
    return ok("variables", f"workspace {name}, resource group {group}, subscription {subscription}{managed}")


def _is_guid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
