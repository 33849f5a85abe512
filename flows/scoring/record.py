"""Record of what a file of scores was made of, in the local state, so that the same is not scored twice."""

import asyncio
import fcntl
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.data.atomic import atomic_write
from flows.data.digests import file_digest, text_digest
from flows.data.snapshot import Snapshot
from flows.serving.endpoints import ServedModel
from flows.spec.model.batch import BatchDeploymentSpec

FOLDER = "scored"
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Record:
    """What a file of scores was made of.

    Attributes:
        key: Of the input's content, the model and the scoring script.
        sha256: Of the file.
        rows: How many it has.
        labels: How many rows have which label.
    """

    key: str
    sha256: str
    rows: int
    labels: Mapping[str, int]


def key_of(data: str, model: ServedModel, deployment: BatchDeploymentSpec) -> str:
    """A key that is the same for the same content, model and script, and for nothing else.

    Args:
        data: The SHA-256 of the input.
        model: The version that scores it.
        deployment: The deployment, of which the scoring script's folder counts as Azure ML would upload it.
    """
    code = Snapshot.of(deployment.code).digest()
    said = [data, model.name, model.version, model.digest, code, dict(deployment.environment_variables)]
    return text_digest(json.dumps(said))


def place_of(home: Path, output: Path) -> Path:
    """Where the record of an output is."""
    return home / FOLDER / f"{text_digest(str(output.resolve()))[:32]}.json"


def read_record(place: Path, output: Path) -> Record | None:
    """The record of an output that is still as it was written; None if there is none."""
    try:
        found = Record(**json.loads(place.read_text(encoding="utf-8")))
        return found if file_digest(output) == found.sha256 else None
    except (OSError, ValueError, TypeError):
        return None


def write_record(place: Path, record: Record) -> None:
    """Write a record down, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(place, json.dumps(asdict(record)))


@asynccontextmanager
async def alone(place: Path) -> AsyncGenerator[None]:
    """A block that no other process is in for the same output; waits for one that is."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOOK_SECONDS)
        yield
