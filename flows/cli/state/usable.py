"""Check that the local state can be used, before a run starts and again when one has failed.

A full disk or a broken database shows as different errors in this process, in Prefect's server, in MLflow and in steps.
So when a run fails and something is wrong with the state, the message tells that.
"""

import os
import shutil
from pathlib import Path

from flows.cli.state.databases import databases, look_at, read_through
from flows.errors import RunCanceled, RunError, ServiceError, StateError, StepFailed, TandemError, UserError
from flows.machine.faults import Cause, cause_in, cause_of, state_error, told
from flows.settings import Settings

PROBE_BYTES = 1 << 16
LEAST_BYTES = 16 << 20  # with less, a server may have failed for want of space, though some was free again afterwards


def check_usable(settings: Settings) -> None:
    """Look at the databases before anything is started.

    Raises:
        StateError: One of them cannot be used.
    """
    for database in databases(settings).values():
        if (trouble := look_at(database)) is not None and not _is_unused(database, settings):
            raise told(str(database), trouble.cause, trouble.detail)


def explained(error: Exception, settings: Settings) -> Exception:
    """The error that a person is told of a run that failed: what is wrong with the state, where that explains it."""
    if isinstance(error, UserError | RunCanceled | StateError | ImportError):
        return error
    if cause_of(error) is not None:
        return state_error(error, settings.home)
    found = _fault_now(settings)
    if found is None and not isinstance(error, StepFailed):  # whose own files may be meant
        cause = cause_in(str(error))
        if cause is None and not isinstance(error, RunError) and free_bytes(settings.home) < LEAST_BYTES:
            cause = Cause.FULL
        found = None if cause is None else told(str(settings.home), cause)
    if found is not None:
        return StateError(f"{found}\nIt ended the run: {_first_line(error)}")
    if not isinstance(error, TandemError) and (_is_of_transport(error) or _is_of_prefect(error)):
        return ServiceError(
            f"The Prefect API at {os.environ.get('PREFECT_API_URL')} failed in the middle of the run: "
            f"{_first_line(error).rstrip('.')}. Finished steps are kept, and a job on Azure ML goes on. Start the same "
            "command again to go on from there."
        )
    return error


def _fault_now(settings: Settings) -> StateError | None:
    """The first thing that is wrong with the state as it is."""
    try:
        probe(settings.home)
    except FileNotFoundError:
        return None  # nothing has been run here yet
    except OSError as error:
        return state_error(error, settings.home)
    for database in databases(settings).values():
        if (trouble := read_through(database)) is not None:
            return told(str(database), trouble.cause, trouble.detail)
    return None


def probe(home: Path) -> None:
    """Write a small file and delete it again.

    Raises:
        OSError: It cannot be written.
    """
    place = home / f".probe.{os.getpid()}"
    try:
        place.write_bytes(bytes(PROBE_BYTES))
    finally:
        place.unlink(missing_ok=True)


def _is_unused(database: Path, settings: Settings) -> bool:
    """Whether an empty file is all that came of a database that was about to be made, so that nothing is lost."""
    try:
        if database.stat().st_size > 0 or not database.is_file():
            return False
        artifacts = settings.mlflow_artifacts
        return database == databases(settings)["MLflow"] and not (artifacts.is_dir() and any(artifacts.iterdir()))
    except OSError:
        return False


def free_bytes(place: Path) -> int:
    """How much can be written in the file system of a place, which need not be there yet."""
    found = next(each for each in (place, *place.parents) if each.exists())
    return shutil.disk_usage(found).free


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(" - For more information")[0] or type(error).__name__


def is_told_at_the_end(error: BaseException) -> bool:
    """Whether an error is of a kind that :func:`explained` tells better than a traceback."""
    return cause_of(error) is not None or type(error).__name__ == "PrefectHTTPStatusError" or _is_of_transport(error)


def _is_of_transport(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("httpx", "httpcore")


def _is_of_prefect(error: BaseException) -> bool:
    return type(error).__module__.startswith("prefect.exceptions")
