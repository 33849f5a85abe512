"""Collector of this machine: what a scoring script imports as ``azureml.ai.monitoring`` where its deployment collects.

It has the names of Azure ML's package, and writes what Azure ML's data collector writes to blob storage: a line of JSON
for each request and collection, in ``COLLECTION/yyyy/MM/dd/HH/ID.jsonl`` below the folder of the deployment. It
differs in two ways: a request is kept in all collections or in none, so that each answer has its rows; and the size is
bounded.

While a request is answered, its data is only put aside. It becomes JSON, and is appended, when the answer was sent.
What finds too much put aside is left out, and so is what cannot be written; the script is told.
"""

import contextlib
import errno
import hashlib
import json
import os
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

MOST_BYTES = 64 << 20  # of a collection of an endpoint; beyond it, the oldest files are deleted
FILE_BYTES = 1 << 20  # after so many, another file is begun
WAITING = 1_500  # frames that wait to be written, as many as in Azure ML's package
CONFIG, FOLDER, SOURCE = "AZUREML_MDC_CONFIG_PATH", "TANDEM_COLLECTED", "TANDEM_COLLECTED_FROM"
_ROLLED = {"minute": "%Y/%m/%d/%H/%M", "hour": "%Y/%m/%d/%H", "day": "%Y/%m/%d"}


class CollectorError(Exception):
    """Something is not collected. Its text has no value of a row."""


class CorrelationContext:
    """What belongs to one request has the same context."""

    def __init__(
        self, id: str | None = None, timestamp: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.id = id or str(uuid.uuid4())
        self.timestamp = timestamp or int(time.time())
        self.headers = dict(headers or {})

    def get_id(self) -> str:
        """The id of the request."""
        return self.id

    def get_timestamp(self) -> int:
        """When it came, in seconds since 1970."""
        return self.timestamp

    def get_headers(self) -> dict[str, str]:
        """Further attributes."""
        return self.headers


class Kept(NamedTuple):
    """Data on its way to a file."""

    collection: str
    data: Any
    context: CorrelationContext
    on_error: Callable[[Exception], Any]


@dataclass
class _File:
    """The file that a collection is appended to."""

    descriptor: int
    rolled: str
    size: int = 0


class Writer:
    """Puts aside what is collected, and appends it to files when it is asked to."""

    def __init__(
        self,
        folder: Path,
        source: str = "",
        rolling: str = "hour",
        *,
        most_bytes: int = MOST_BYTES,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        """Write below the folder of a deployment, which lies in that of its endpoint.

        Args:
            folder: Is made when it is needed.
            source: What each line says it comes from.
            rolling: ``minute``, ``hour`` or ``day``.
            most_bytes: Of a collection, over all deployments of the endpoint; each writer may add a file to that.
            file_bytes: After which another file is begun.
        """
        self._folder = folder
        self._source = source
        self._format = _ROLLED[rolling]
        self._most_bytes = most_bytes
        self._file_bytes = file_bytes
        self._files: dict[str, _File] = {}
        self._waiting: deque[Kept] = deque()
        self._lock = threading.Lock()

    def put(self, kept: Kept) -> None:
        """Put data aside."""
        if len(self._waiting) < WAITING:
            self._waiting.append(kept)
        else:
            kept.on_error(CollectorError(f"{WAITING} frames wait to be written; this one is left out"))

    def flush(self) -> None:
        """Write what was put aside."""
        with self._lock:
            while self._waiting:
                kept = self._waiting.popleft()
                try:
                    self._append(kept.collection, self._line(kept))
                except OSError as error:
                    _tell(kept, f"it cannot be written: {error.strerror}")
                except Exception as error:  # of the data, whose text may quote it
                    _tell(kept, f"the data cannot become JSON ({type(error).__name__})")

    def _line(self, kept: Kept) -> bytes:
        content: str = kept.data.to_json(orient="records")
        size = len(content.encode())
        moment = datetime.fromtimestamp(kept.context.get_timestamp(), UTC)
        said = {
            **kept.context.get_headers(),
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": self._source,
            "type": f"azureml.inference.{kept.collection}",
            "datacontenttype": "application/json",
            "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "contentrange": f"bytes 0-{size - 1}/{size}",
            "correlationid": kept.context.get_id(),
            "xrequestid": kept.context.get_id(),
            "modelversion": os.environ.get("TANDEM_MODEL_VERSION", "default"),
            "collectdatatype": "pandas.core.frame.DataFrame",
            "agent": "tandem",
        }
        return f'{json.dumps(said)[:-1]}, "data": {content}}}\n'.encode()

    def _append(self, collection: str, line: bytes) -> None:
        if len(line) > self._most_bytes:
            raise OSError(errno.EFBIG, "the request is larger than all that may be kept")
        rolled = datetime.now(UTC).strftime(self._format)
        file = self._files.get(collection)
        if file is None or file.rolled != rolled or file.size >= self._file_bytes:
            if file is not None:
                os.close(self._files.pop(collection).descriptor)
            self._make_room(collection, max(self._file_bytes, len(line)))
            place = self._folder / collection / rolled
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            file = self._files[collection] = _File(os.open(place / f"{uuid.uuid4()}.jsonl", flags, 0o600), rolled)
        os.write(file.descriptor, line)
        file.size += len(line)

    def _make_room(self, collection: str, size: int) -> None:
        """Delete the oldest files of the collection, so that so many bytes can be added."""
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.parent.glob(f"*/{collection}/**/*.jsonl"):
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        total = sum(kept for _, kept, _ in found)
        for _, kept, path in sorted(found):
            if total + size <= self._most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= kept


class Collector:
    """Keeps data frames of one collection: Azure ML's ``Collector``."""

    def __init__(self, *, name: str, on_error: Callable[[Exception], Any] | None = None) -> None:
        """Collect under a name; what goes wrong is raised, or told to ``on_error`` where that is given."""
        self.name = name.lower()
        self._on_error = on_error or _raise
        if self.name not in _rates:
            self._on_error(CollectorError(f"collection {name} is not enabled, drop the data"))

    def collect(self, data: Any, correlation_context: CorrelationContext | None = None) -> CorrelationContext:
        """Keep a data frame, if the request is one of those that are kept, and return what its others are kept with."""
        context = correlation_context or CorrelationContext()
        if not hasattr(data, "to_json"):
            self._on_error(TypeError(f"data type ({type(data).__name__}) not supported, supported: pandas.DataFrame"))
        elif _writer is not None and is_sampled(context.get_id(), _rates.get(self.name, 0.0)):
            _writer.put(Kept(self.name, data, context, self._on_error))
        return context


def is_sampled(request: str, rate: float) -> bool:
    """Whether a request is one of those that are kept, at a rate from 0 to 1; the same for the same request."""
    drawn = int.from_bytes(hashlib.sha256(request.encode()).digest()[:7], "big") / (1 << 56)
    return drawn < rate


def install(config: Path, folder: Path, source: str) -> Writer:
    """Let a script that imports ``azureml.ai.monitoring`` get this; return what writes.

    Args:
        config: What is collected, as Azure ML's package reads it; and the ``rollingRate``.
        folder: Where the deployment's collections are kept.
        source: What each line says it comes from.
    """
    global _writer
    said = json.loads(config.read_text(encoding="utf-8"))
    _rates.clear()
    _rates.update({name: each["sampleRatePercentage"] / 100 for name, each in said["collections"].items()})
    _writer = Writer(folder, source, said["rollingRate"])
    package, contexts = ModuleType("azureml.ai.monitoring"), ModuleType("azureml.ai.monitoring.context")
    named = {"Collector": Collector, "context": contexts}
    package.__dict__.update(named, __path__=[])
    contexts.__dict__.update(BasicCorrelationContext=CorrelationContext, CorrelationContext=CorrelationContext)
    for module in (package, contexts):
        sys.modules[module.__name__] = module
    return _writer


_rates: dict[str, float] = {}
_writer: Writer | None = None


def _tell(kept: Kept, why: str) -> None:
    try:
        kept.on_error(CollectorError(why))
    except Exception as error:  # the script wants to be stopped by it, and has long answered
        print(f"Not collected: {error}", file=sys.stderr, flush=True)


def _raise(error: Exception) -> None:
    raise error
