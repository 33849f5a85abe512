"""Prefect API of a command: the one that is configured, the one that ``make ui`` started, or a temporary one.

Nothing here imports Prefect: the address must be in the environment before that.
"""

import atexit
import json
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.errors import ServiceError, TandemError
from flows.machine.child import Child, wait_until
from flows.machine.faults import cause_in, told
from flows.prefect_api.access import (
    API_URL,
    AUTH_STRING,
    SERVER_AUTH_STRING,
    active_profile,
    check_access,
    split_credential,
)
from flows.settings import PROJECT, Settings

SAY_SECONDS = 4.0  # a person who sees nothing for longer than this asks what goes on
WAITING = "Waiting for a temporary Prefect server to start; while `tandem ui` runs, none is needed."
START_SECONDS = 180.0  # several that start at once on a new state wait for each other
DATABASE = "prefect.db"
DATABASE_URL = "PREFECT_API_DATABASE_CONNECTION_URL"
STARTING = ".starting.lock"  # beside the database: held while a server makes it, or starts on it
LOG = "server.log"  # beside the database: what temporary servers say
SERVED = "served.json"  # beside the Prefect database: where the two servers of ``make ui`` listen
# A server that lives as long as one run has nobody to show pages to and nothing to schedule, which saves 0.6 s.
_TEMPORARY = {
    "PREFECT_UI_ENABLED": "false",
    **{
        f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
        for service in ("SCHEDULER", "LATE_RUNS", "TRIGGERS", "FOREMAN", "CANCELLATION_CLEANUP", "PAUSE_EXPIRATIONS")
    },
}


@dataclass(frozen=True, slots=True)
class PrefectApi:
    """Where the Prefect API is, and how it was found: ``configured``, ``served`` or ``temporary``.

    A configured address may have a name and a password in it. ``url`` is without them, since it is printed and kept.
    """

    url: str
    origin: str
    child: Child | None = None
    credential: str = field(default="", repr=False)  # NAME:PASSWORD, where its address had one or we chose it

    def to_environment(self) -> None:
        """Put the address and its credential into the environment, for Prefect to read when it is imported."""
        os.environ[API_URL] = self.url
        if self.credential:
            os.environ[AUTH_STRING] = self.credential

    @contextmanager
    def said_if_slow(self, say: Callable[[str], object], after_seconds: float = SAY_SECONDS) -> Generator[None]:
        """A block in which a temporary server starts: a person is told what is waited for, if it takes long."""
        if self.origin != "temporary":
            yield
            return
        timer = threading.Timer(after_seconds, say, [WAITING])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def wait_until_ready(self) -> None:
        """Return when the API answers. A configured or served one was asked before.

        Raises:
            ServiceError: The temporary server ended, or did not answer in time.
            StateError: It ended because of the disk or its database.
        """
        child = self.child
        if child is None:
            return
        try:
            is_ready = wait_until(lambda: answers(self.url), [child], START_SECONDS)
        except ServiceError as error:
            raise _why_ended(child, error) from None
        if not is_ready:
            raise ServiceError(f"{child.name} did not answer within {START_SECONDS:g} s; see {child.log}.")

    @contextmanager
    def end_with_server(self, before_that: Callable[[], object]) -> Generator[None]:
        """End this process when its temporary server ends within the block: nothing could be recorded any more.

        Prefect's client would ask the server that is gone for minutes. What this process has started ends with it, and
        the same command goes on from where it was.

        Args:
            before_that: What to call before the message is printed.
        """
        child, over = self.child, False
        if child is None:
            yield
            return

        def wait() -> None:
            child.process.wait()
            if over or child.is_ending:
                return
            before_that()
            error = _why_ended(child, child.failure())
            print(
                f"Error: {error}\nEvery step was stopped; finished steps are kept, and a job on Azure ML goes on. "
                "Start the same command again to go on from there.",
                file=sys.stderr,
                flush=True,
            )
            os._exit(error.exit_code)

        threading.Thread(target=wait, daemon=True).start()
        try:
            yield
        finally:
            over = True


def use_prefect_api(settings: Settings, *, is_needed: bool = False) -> PrefectApi:
    """Find or start a Prefect API, and put it into the environment for Prefect to find. Call before importing Prefect.

    Args:
        settings: Where the local state is.
        is_needed: As of :func:`flows.prefect_api.access.check_access`.

    Raises:
        ServiceError: One is configured or served, but does not answer.
        SettingsError: It refuses the credential that is set, or asks for one and none is set.
    """
    os.environ.update(past_proxies(os.environ))
    found = find_prefect_api(settings)
    if found is not None:
        check_access(found.url, found.credential, is_needed=is_needed)
        found.to_environment()
        if found.origin == "configured":
            return found
    home = settings.prefect_home
    home.mkdir(parents=True, exist_ok=True)
    api = found or start_temporary(home)
    api.to_environment()
    os.environ["PREFECT_HOME"] = str(home)
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    return api


def past_proxies(
    environment: Mapping[str, str], hosts: Sequence[str] = ("127.0.0.1", "localhost")
) -> Mapping[str, str]:
    """``NO_PROXY`` in both spellings, with this machine added: programs then reach it without a proxy."""
    found: dict[str, str] = {}
    for name in ("NO_PROXY", "no_proxy"):
        listed = [each.strip() for each in environment.get(name, "").split(",") if each.strip()]
        if "*" not in listed:
            found[name] = ",".join([*listed, *(host for host in hosts if host not in listed)])
    return found


def find_prefect_api(settings: Settings) -> PrefectApi | None:
    """The Prefect API that is configured or that ``make ui`` started; None where a command starts one of its own."""
    configured = os.environ.get(API_URL) or active_profile().get(API_URL)
    if configured:
        url, credential = split_credential(configured)
        return PrefectApi(url, "configured", credential=credential)
    served = _served_url(settings.prefect_home)
    return PrefectApi(served, "served") if served else None


def answers(url: str) -> bool:
    """Whether a Prefect API answers at ``url``."""
    try:
        with _opener.open(f"{url}/health", timeout=2) as response:
            return response.status == 200
    except (OSError, ValueError):
        return False


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback goes past every proxy


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_temporary(home: Path) -> PrefectApi:
    """Start a server on the local state, which ends with this process at the latest."""
    port = free_port()
    child = Child(
        "The temporary Prefect server",
        [sys.executable, "-P", "-m", "flows.prefect_api.temporary_server", str(port)],
        {**os.environ, **server_environment(home), **_TEMPORARY, "PYTHONPATH": python_path()},
        log=home / LOG,  # not to the terminal: its errors are reported in one message
        ends_with_us=True,
    )
    atexit.register(child.end)  # registered before Prefect's own exit hooks, so it runs after them
    credential = os.environ.get(SERVER_AUTH_STRING, "")  # a setting that is the server's, too
    return PrefectApi(f"http://127.0.0.1:{port}/api", "temporary", child, credential)


def _why_ended(child: Child, error: ServiceError) -> TandemError:
    """Why a server has ended: a problem of the disk or the database if its log shows one, else ``error``."""
    for line in reversed(child.said()):
        if child.log is not None and (cause := cause_in(line)) is not None:
            return told(str(child.log.with_name(DATABASE)), cause, " ".join(line.split()))
    return error


def python_path() -> str:
    """The ``PYTHONPATH`` by which a process of ours finds this package, wherever it works."""
    return os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))


def server_environment(home: Path) -> Mapping[str, str]:
    """The settings of a Prefect server on the local state."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # In memory, a limit of concurrency would stay used up when the server is killed.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        DATABASE_URL: f"sqlite+aiosqlite:///{home / DATABASE}",
    }


def served_mlflow(home: Path) -> str | None:
    """Where ``make ui`` shows the local MLflow store; None if it does not run."""
    return _served(home, "mlflow")


def elsewhere(api: str | None, home: Path) -> str | None:
    """The address of an API, without a credential; None for that of the local state, which is another each time."""
    url = split_credential(api)[0] if api else ""
    return None if not url or url.rstrip("/") == (_served(home, "url") or "").rstrip("/") else url


def _served_url(home: Path) -> str | None:
    url = _served(home, "url")
    return url if url and answers(url) else None


def _served(home: Path, what: str) -> str | None:
    return served_addresses(home).get(what)


def served_addresses(home: Path) -> Mapping[str, str]:
    """The addresses ``url`` (Prefect's API) and ``mlflow`` that ``make ui`` has written down; empty if it has not.

    One that was killed leaves them behind.
    """
    try:
        found = json.loads((home / SERVED).read_bytes())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
