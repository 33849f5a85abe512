"""Local endpoints as files: what is wanted, and what of it runs.

::

    serving/                     in the local state
      address.json               the port, which stays the same
      supervisor.lock            held as long as a supervisor lives; with its process id
      supervisor.log, router.log
      NAME/                      an endpoint
        endpoint.json            tags and shares, replaced whole
        key                      mode 0600
        COLOUR/                  a deployment
          deployment.json        what is wanted; it names the generation
          status.json            what runs, as the supervisor tells
          GENERATION/            code and model, as they were when it was deployed, and what it collects
          instance-0.log
        .collected/COLOUR/       what was asked and answered, where that is kept; it stays until the endpoint is deleted

Whoever wants something else replaces `endpoint.json` or `deployment.json`, or deletes it, with the lock of
:func:`changing`. The supervisor does the rest, and it alone writes `status.json` and deletes folders.
"""

import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from flows.data.atomic import atomic_write
from flows.machine.locks import locked
from flows.serving.endpoints import ServingState
from flows.spec.text.names import inside

ENDPOINT, DEPLOYMENT, STATUS, KEY = "endpoint.json", "deployment.json", "status.json", "key"
COLLECTOR, COLLECTED = "collector.json", ".collected"  # no name of a deployment begins with a dot
ADDRESS, LOCK, LOG, ROUTER_LOG = "address.json", "supervisor.lock", "supervisor.log", "router.log"
DEFAULT_PORT = 5001  # that of Azure ML's own inference server
_CHANGING = ".changing.lock"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredEndpoint:
    """An endpoint as it is wanted.

    Attributes:
        name: Of the endpoint.
        created: In seconds since 1970.
        description: For a person.
        tags: Of the endpoint.
        traffic: The share of each deployment, in percent; they sum to 0 or 100.
        mirror: The share of the requests that a deployment gets a copy of, in percent.
        owner: A process and when it began; the endpoint is deleted when that ends. None for one that stays.
    """

    name: str
    created: float
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    traffic: Mapping[str, int] = field(default_factory=dict)
    mirror: Mapping[str, int] = field(default_factory=dict)
    owner: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class StoredDeployment:
    """A deployment as it is wanted.

    Attributes:
        name: Of the deployment.
        generation: Of its code and model: the name of their folder. A deployment that is put again has another.
        content: The digest of all that was deployed, by which the same is recognised.
        created: In seconds since 1970.
        instances: How many processes.
        instance_type: The size of a machine, which means nothing here.
        script: The scoring script, relative to the code.
        model_folder: The value of ``AZUREML_MODEL_DIR``, relative to the generation.
        variables: The environment variables of the script.
        timeout_seconds: Of one request, with its time in the queue.
        concurrency: How many requests an instance works at, at once.
        start_seconds: How long an instance may take until it is ready.
        tags: Of the deployment.
        collector: What is kept of the requests, as Azure ML's package reads it; empty where nothing is.
    """

    name: str
    generation: str
    content: str
    created: float
    instances: int
    instance_type: str
    script: str
    model_folder: str
    variables: Mapping[str, str]
    timeout_seconds: float
    concurrency: int
    start_seconds: float
    tags: Mapping[str, str]
    collector: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """What runs of a deployment.

    Attributes:
        generation: Which it is about.
        state: Of the deployment.
        reason: Why it has failed.
        instances: How many it counts as having.
        sockets: Where the instances listen that are ready.
    """

    generation: str
    state: ServingState
    reason: str = ""
    instances: int = 0
    sockets: tuple[str, ...] = ()


@contextmanager
def changing(root: Path) -> Generator[None]:
    """Keep others from changing what is wanted meanwhile."""
    with locked(root / _CHANGING):
        yield


def endpoint_folder(root: Path, endpoint: str) -> Path:
    """The folder of an endpoint, whether it is there or not.

    Raises:
        ParameterError: It cannot be a name.
    """
    return inside(root, endpoint)


def deployment_folder(root: Path, endpoint: str, deployment: str) -> Path:
    """The folder of a deployment, whether it is there or not.

    Raises:
        ParameterError: One of them cannot be a name.
    """
    return inside(root, endpoint, deployment)


def folders_with(folder: Path, file: str | None = None) -> list[Path]:
    """The folders in a folder that have this file, by name; all but hidden ones where none is named."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.path for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Path(path) for path in found if file is None or os.path.exists(f"{path}/{file}")]


def read_endpoint_file(folder: Path) -> StoredEndpoint | None:
    """The endpoint of a folder; None if there is none."""
    return _parsed(folder / ENDPOINT, _endpoint)


def read_deployment_file(folder: Path) -> StoredDeployment | None:
    """The deployment of a folder; None if there is none."""
    return _parsed(folder / DEPLOYMENT, _deployment)


def read_status(folder: Path) -> Status | None:
    """What runs of the deployment of a folder; None if nothing was told yet."""
    return _parsed(folder / STATUS, _status)


def write_value(file: Path, value: StoredEndpoint | StoredDeployment | Status) -> None:
    """Write a value whole, or not at all; its folder is there."""
    atomic_write(file, json.dumps(asdict(value)), 0o600)


def deployments_of(folder: Path) -> Iterator[tuple[StoredDeployment, Status]]:
    """The deployments of an endpoint's folder, with what runs of each."""
    for place in folders_with(folder, DEPLOYMENT):
        wanted = read_deployment_file(place)
        if wanted is not None:
            yield wanted, status_of(wanted, read_status(place))


def status_of(wanted: StoredDeployment, told: Status | None) -> Status:
    """What runs of a deployment, where what was told may be about an earlier generation or another number."""
    if told is None or told.generation != wanted.generation:
        return Status(wanted.generation, ServingState.CREATING)
    if told.state is ServingState.SUCCEEDED and told.instances != wanted.instances:
        return Status(wanted.generation, ServingState.SCALING, "", told.instances, told.sockets)
    return told


def read_port(root: Path) -> int | None:
    """The port of the router; None before the first start."""
    return _parsed(root / ADDRESS, lambda content: int(json.loads(content)["port"]))


def write_port(root: Path, port: int) -> None:
    """Write down the port of the router."""
    atomic_write(root / ADDRESS, json.dumps({"port": port}), 0o600)


class Watched(Generic[T]):
    """A file that is read again only when it was replaced: asking costs one ``stat``."""

    def __init__(self, file: Path, parse: Callable[[bytes], T]) -> None:
        self._file = os.fspath(file)
        self._parse = parse
        self._seen: tuple[int, int, int] | None = None
        self._value: T | None = None

    def read(self) -> T | None:
        """The value; None where there is no such file."""
        try:
            state = os.stat(self._file)
            seen = (state.st_ino, state.st_mtime_ns, state.st_size)
            if seen != self._seen:
                with open(self._file, "rb") as stream:
                    self._value = self._parse(stream.read())
                self._seen = seen
        except (OSError, ValueError, TypeError, KeyError):
            self._seen, self._value = None, None
        return self._value


def watched_endpoint(folder: Path) -> Watched[StoredEndpoint]:
    """The endpoint of a folder, to be read often."""
    return Watched(folder / ENDPOINT, _endpoint)


def watched_deployment(folder: Path) -> Watched[StoredDeployment]:
    """The deployment of a folder, to be read often."""
    return Watched(folder / DEPLOYMENT, _deployment)


def watched_status(folder: Path) -> Watched[Status]:
    """What runs of the deployment of a folder, to be read often."""
    return Watched(folder / STATUS, _status)


def watched_key(folder: Path) -> Watched[bytes]:
    """The key of an endpoint, to be read often."""
    return Watched(folder / KEY, bytes.strip)


def _parsed(file: Path, parse: Callable[[bytes], T]) -> T | None:
    try:
        return parse(file.read_bytes())
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _endpoint(content: bytes) -> StoredEndpoint:
    found: dict[str, Any] = json.loads(content)
    owner: list[int] | None = found.pop("owner")
    return StoredEndpoint(**found, owner=None if owner is None else (owner[0], owner[1]))


def _deployment(content: bytes) -> StoredDeployment:
    return StoredDeployment(**json.loads(content))


def _status(content: bytes) -> Status:
    found: dict[str, Any] = json.loads(content)
    state, sockets = ServingState(found.pop("state")), tuple(found.pop("sockets"))
    return Status(**found, state=state, sockets=sockets)
