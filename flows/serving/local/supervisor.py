"""Supervisor of the local endpoints: starts, watches and ends the router and the instances.

``python -m flows.serving.local.supervisor HOME``. One lives for each local state, as long as there is an endpoint. It
compares what is wanted (:mod:`flows.serving.local.files`) with what runs, ten times a second, and tells in a file how
each deployment is. What it starts ends with it. Killed, it is started again by the next command that asks for an
endpoint, and finds what is wanted where it was.
"""

import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from flows.engines.local.step_variables import passed_on
from flows.machine.child import Child
from flows.machine.hidden_memory import hide_memory
from flows.machine.living import is_running, record_process
from flows.machine.own_folders import claim, discard
from flows.machine.private import keep_private
from flows.prefect_api.server import python_path
from flows.serving.endpoints import ServingState
from flows.serving.local import collector, files
from flows.serving.local.lifetime import ENDPOINTS
from flows.serving.local.restarts import next_start

LOOK_SECONDS = 0.1
_GRACE_SECONDS = 5.0  # beside the time of a request, for an instance to end
_LOCK_SECONDS = 2.0  # others try the lock to see whether somebody has it


@dataclass(eq=False)
class _Instance:
    """One process of a deployment, which may be started several times."""

    number: int
    child: Child | None = None
    socket: Path | None = None
    began: float = 0.0
    next_start: float = 0.0
    deaths: list[float] = field(default_factory=list)
    was_ready: bool = False

    @property
    def is_ready(self) -> bool:
        return self.child is not None and self.socket is not None and self.socket.exists()


class _Deployment:
    """A generation of a deployment, with its instances."""

    def __init__(self, folder: Path, endpoint: str, wanted: files.StoredDeployment, sockets: Path) -> None:
        self.folder = folder
        self.wanted = wanted
        self._endpoint = endpoint
        self._sockets = sockets
        self._instances: list[_Instance] = []
        self._failed = ""
        self._leaving: list[tuple[_Instance, float]] = []

    @property
    def is_gone(self) -> bool:
        """Whether nothing runs any more."""
        return not self._leaving and not any(each.child for each in self._instances)

    def step(self, now: float) -> None:
        """Look after the instances once: see who is ready or has ended, start and end what is to be."""
        for each in self._instances:
            self._watch(each, now)
        self._leave(now)
        if self._failed:
            self.retire(now)
            return
        while len(self._instances) > self.wanted.instances:
            self._end(self._instances.pop(), now)
        while len(self._instances) < self.wanted.instances:
            self._instances.append(_Instance(len(self._instances), next_start=now))
        for each in self._instances:
            if each.child is None and now >= each.next_start and not self._failed:
                self._start(each, now)

    def retire(self, now: float) -> None:
        """End all instances; what they have begun they finish."""
        while self._instances:
            self._end(self._instances.pop(), now)
        self._leave(now)

    def status(self) -> files.Status:
        """What runs."""
        generation, wanted = self.wanted.generation, self.wanted.instances
        if self._failed:
            return files.Status(generation, ServingState.FAILED, self._failed)
        ready = tuple(str(each.socket) for each in self._instances if each.is_ready)
        once = len(self._instances) == wanted and all(each.was_ready for each in self._instances)
        state = ServingState.SUCCEEDED if once else ServingState.CREATING
        if not once and any(each.was_ready for each in self._instances):
            state = ServingState.SCALING
        return files.Status(generation, state, "", len(self._instances), ready)

    def _watch(self, each: _Instance, now: float) -> None:
        child = each.child
        if child is None:
            return
        each.was_ready = each.was_ready or each.is_ready
        if child.process.poll() is None:
            if not each.was_ready and now - each.began > self.wanted.start_seconds:
                child.process.kill()
                self._failed = f"{child.name} was not ready within {self.wanted.start_seconds:g} s; see {child.log}."
            return
        told, code = str(child.failure()), child.process.returncode
        _forget(each)
        each.deaths.append(now)
        again = next_start(each.deaths, code, each.was_ready, now)
        if again is None:
            self._failed = told
        else:
            each.next_start = again

    def _start(self, each: _Instance, now: float) -> None:
        each.began = now
        code = self.folder / self.wanted.generation / "code"
        each.socket = self._sockets / f"{uuid.uuid4().hex[:12]}.sock"  # the path of a socket has 108 bytes at most
        words = [sys.executable, "-P", "-m", "flows.serving.local.worker", each.socket]
        each.child = Child(
            f"Instance {each.number} of deployment {self.wanted.name} of endpoint {self._endpoint}",
            words,
            self._environment(code),
            log=self.folder / f"instance-{each.number}.log",
            folder=code,
            ends_with_us=True,
        )

    def _environment(self, code: Path) -> Mapping[str, str]:
        """The variables of the script: those that a step would get, those of the deployment, and Azure ML's."""
        return {
            **passed_on(os.environ),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": python_path(),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **self.wanted.variables,
            **self._collector(),
            "AML_APP_ROOT": str(code),
            "AZUREML_ENTRY_SCRIPT": self.wanted.script,
            "AZUREML_MODEL_DIR": str(self.folder / self.wanted.generation / self.wanted.model_folder),
        }

    def _collector(self) -> Mapping[str, str]:
        """What is collected, and where; nothing where the deployment collects nothing."""
        config = self.folder / self.wanted.generation / files.COLLECTOR
        if not config.exists():
            return {}
        kept = self.folder.parent / files.COLLECTED / self.wanted.name
        source = f"onlineEndpoints/{self._endpoint}/deployments/{self.wanted.name}"
        return {collector.CONFIG: str(config), collector.FOLDER: str(kept), collector.SOURCE: source}

    def _end(self, each: _Instance, now: float) -> None:
        if each.child is None:
            return
        if each.is_ready:
            each.child.begin_end()
        else:
            each.child.process.kill()  # it imports, and has no request
        self._leaving.append((each, now + self.wanted.timeout_seconds + _GRACE_SECONDS))

    def _leave(self, now: float) -> None:
        for leaving in list(self._leaving):
            each, until = leaving
            if each.child is not None and each.child.process.poll() is None and now < until:
                continue
            self._leaving.remove(leaving)
            _forget(each)


def _forget(each: _Instance) -> None:
    """Clear away what is left of a process that has ended, or is to end now."""
    if each.child is not None:
        if each.child.process.poll() is None:
            each.child.process.kill()
        each.child.end()
    if each.socket is not None:
        each.socket.unlink(missing_ok=True)
    each.child = each.socket = None


class Supervisor:
    """What runs of all that is wanted."""

    def __init__(self, root: Path, listening: socket.socket, sockets: Path) -> None:
        self._root = root
        self._listening = listening
        self._sockets = sockets
        self._running: dict[Path, _Deployment] = {}
        self._retiring: list[_Deployment] = []
        self._told: dict[Path, files.Status] = {}
        self._router: Child | None = None
        self._router_start = 0.0
        self._watched: dict[Path, files.Watched[files.StoredDeployment]] = {}

    def step(self, now: float) -> None:
        """Bring what runs one step nearer to what is wanted."""
        self._watch_router(now)
        self._delete_unowned()
        wanted = dict(self._wanted())
        for place, running in list(self._running.items()):
            found = wanted.get(place)
            if found is None or found[1].generation != running.wanted.generation:
                self._retiring.append(self._running.pop(place))
            else:
                running.wanted = found[1]
        for place, (endpoint, deployment) in wanted.items():
            if place not in self._running and not any(each.folder == place for each in self._retiring):
                self._running[place] = _Deployment(place, endpoint, deployment, self._sockets)
        for running in self._running.values():
            running.step(now)
            self._tell(running.folder, running.status())
        for leaving in list(self._retiring):
            leaving.retire(now)
            if leaving.is_gone:
                self._retiring.remove(leaving)
        self._clean(wanted)

    def is_wanted(self) -> bool:
        """Whether there is an endpoint, or something that still has to end."""
        return bool(self._retiring or self._running or files.folders_with(self._root))

    def end(self) -> None:
        """End all: the router first, which finishes what it has begun."""
        if self._router is not None:
            self._router.end()
        end = time.monotonic() + 60
        leaving = [*self._running.values(), *self._retiring]
        while time.monotonic() < end and not all(each.is_gone for each in leaving):
            for each in leaving:
                each.retire(time.monotonic())
            time.sleep(0.02)

    def _wanted(self) -> Iterator[tuple[Path, tuple[str, files.StoredDeployment]]]:
        for folder in files.folders_with(self._root, files.ENDPOINT):
            for place in files.folders_with(folder, files.DEPLOYMENT):
                watched = self._watched.setdefault(place, files.watched_deployment(place))
                if (found := watched.read()) is not None:
                    yield place, (folder.name, found)

    def _tell(self, folder: Path, status: files.Status) -> None:
        if self._told.get(folder) != status:
            with suppress(OSError):  # tried again at the next step
                files.write_value(folder / files.STATUS, status)
                self._told[folder] = status

    def _watch_router(self, now: float) -> None:
        if self._router is not None and self._router.process.poll() is not None:
            self._router.end()
            self._router = None
        if self._router is None and now >= self._router_start:
            descriptor, port = self._listening.fileno(), self._listening.getsockname()[1]
            words = ["-P", "-m", "flows.serving.local.router", str(self._root), str(descriptor), str(port)]
            environment = {**passed_on(os.environ), "PYTHONPATH": python_path()}
            log = self._root / files.ROUTER_LOG
            self._router = Child(
                "The router of the local endpoints",
                [sys.executable, *words],
                environment,
                log=log,
                ends_with_us=True,
                lend=[descriptor],
                grace_seconds=200.0,
            )
            self._router_start = now + 1.0

    def _delete_unowned(self) -> None:
        """Delete the endpoints of a command that has ended without doing so."""
        for folder in files.folders_with(self._root, files.ENDPOINT):
            found = files.read_endpoint_file(folder)
            if found is not None and found.owner is not None and not is_running(*found.owner):
                (folder / files.ENDPOINT).unlink(missing_ok=True)

    def _clean(self, wanted: Mapping[Path, object]) -> None:
        """Delete the folders of what is not wanted any more, once it has ended."""
        busy = {each.folder for each in self._retiring}
        for folder in files.folders_with(self._root):
            for place in files.folders_with(folder):
                if place in busy:
                    continue
                if place not in wanted:
                    self._delete(place, lambda folder=folder, place=place: _is_wanted(folder, place))
                running = self._running.get(place)
                for old in () if running is None else files.folders_with(place):
                    if running is not None and old.name != running.wanted.generation:
                        self._delete(old, lambda place=place, old=old: _generation(place) == old.name)
            if not any(place.parent == folder for place in busy) and not (folder / files.ENDPOINT).exists():
                self._delete(folder, (folder / files.ENDPOINT).exists)

    def _delete(self, folder: Path, is_wanted: Callable[[], bool]) -> None:
        """Delete a folder, unless it is wanted again by now."""
        with files.changing(self._root):
            if not is_wanted():
                shutil.rmtree(folder, ignore_errors=True)
                self._told.pop(folder, None)
                self._watched.pop(folder, None)


def _is_wanted(endpoint: Path, deployment: Path) -> bool:
    return (endpoint / files.ENDPOINT).exists() and (deployment / files.DEPLOYMENT).exists()


def _generation(deployment: Path) -> str | None:
    found = files.read_deployment_file(deployment)
    return None if found is None else found.generation


def bound(root: Path) -> socket.socket:
    """A socket that listens on the port that was written down, else on the default, else on any; it is written down."""
    for port in (files.read_port(root), files.DEFAULT_PORT, 0):
        if port is None:
            continue
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(1024)
        except OSError:
            listening.close()
            continue
        files.write_port(root, listening.getsockname()[1])
        return listening
    raise AssertionError


def main(home: Path) -> None:
    """Look after the endpoints of a local state until none is left, or a signal ends this."""
    keep_private()
    hide_memory()
    root = home / "serving"
    root.mkdir(parents=True, exist_ok=True)
    lock = os.open(root / files.LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    if not _locked(lock):
        return  # another one was faster
    os.ftruncate(lock, 0)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, stack: stopping.set())
    sockets = Path(tempfile.mkdtemp(prefix="tandem-"))
    claim(sockets)
    entry = record_process(home, ENDPOINTS, work=str(sockets))
    with bound(root) as listening:
        os.pwrite(lock, str(os.getpid()).encode(), 0)  # from now on, the port that is written down is the right one
        supervisor = Supervisor(root, listening, sockets)
        try:
            while not stopping.is_set():
                supervisor.step(time.monotonic())
                if not supervisor.is_wanted():
                    with files.changing(root):  # who makes an endpoint now waits, and then starts another supervisor
                        if not files.folders_with(root):
                            supervisor.end()
                            listening.close()
                            entry.end()
                            os.close(lock)
                            return
                stopping.wait(LOOK_SECONDS)
            supervisor.end()
        finally:
            discard(sockets)
    entry.end()
    os.close(lock)


def _locked(lock: int) -> bool:
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
