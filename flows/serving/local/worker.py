"""Instance of a deployment: runs the scoring script as Azure ML's inference server does, for the router.

``python -m flows.serving.local.worker SOCKET``, with the variables that Azure ML sets: ``AML_APP_ROOT`` is the code,
``AZUREML_ENTRY_SCRIPT`` the script in it, ``AZUREML_MODEL_DIR`` the folder of the model. ``init`` is called once; the
socket is there when that is done. ``run`` is called with the body of each request, as text. What it returns becomes
JSON, unless it is an answer with a status of its own: an ``AMLResponse``, or whatever has ``status_code`` and
``get_data``. An error of ``run`` is an answer with status 500, and goes to the log.

Where the deployment collects what is asked, ``azureml.ai.monitoring`` is :mod:`flows.serving.local.collector`.

It ends when its standard input does. On SIGTERM it finishes the requests that it has begun.
"""

import gc
import importlib.util
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from flows.machine.child import end_with_standard_input
from flows.serving.local import collector
from flows.serving.local.frames import HELLO, frame, receive_frame

_LOOK_SECONDS = 0.1
_QUIET_SECONDS = 0.3  # after SIGTERM: what the router had sent before it knew has come by then


class _Busy:
    """How many requests are being worked at, and since when none is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._idle_since = time.monotonic()

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1
            self._idle_since = time.monotonic()

    def has_been_idle_for(self, seconds: float, since: float) -> bool:
        """Whether nothing has been worked at for so long, or since a time, whichever is later."""
        with self._lock:
            return not self._count and time.monotonic() - max(self._idle_since, since) >= seconds


def load_script(folder: Path, script: str) -> ModuleType:
    """Import a scoring script from its code, whose folder comes first on the path of imports.

    Raises:
        ImportError: It cannot be imported.
    """
    file = folder / script
    sys.path[:0] = list(dict.fromkeys([str(file.parent), str(folder)]))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def answer_with(run: Callable[[str], Any], body: bytes) -> bytes:
    """The frame that answers a request."""
    try:
        result = run(body.decode())
        if hasattr(result, "status_code") and hasattr(result, "get_data"):
            content: bytes = result.get_data()
            return frame({"status": int(result.status_code), "type": "application/json"}, content)
        return frame({"status": 200, "type": "application/json"}, json.dumps(result).encode())
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        told = {"error": {"reason": "the scoring script failed; its log says why"}}
        return frame({"status": 500, "type": "application/json"}, json.dumps(told).encode())


def _listen(place: Path) -> socket.socket:
    """Listen at a path, which is there only when whoever connects is heard."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    draft = place.with_suffix(".new")
    listening.bind(str(draft))
    listening.listen(128)
    listening.settimeout(_LOOK_SECONDS)
    draft.rename(place)
    return listening


def _serve(connection: socket.socket, run: Callable[[str], Any], busy: _Busy, answered: Callable[[], object]) -> None:
    with connection:
        connection.settimeout(None)
        try:
            connection.sendall(HELLO)
            while (request := receive_frame(connection)) is not None:
                with busy:
                    connection.sendall(answer_with(run, request[1]))
                    answered()
        except (OSError, ValueError):
            return  # the router is gone, or asks no more


def main(place: Path) -> None:
    """Load the script and answer until a signal, or the end of the parent, ends this."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, stack: stopping.set())
    end_with_standard_input()
    config = os.environ.get(collector.CONFIG)
    answered = (
        collector.install(Path(config), Path(os.environ[collector.FOLDER]), os.environ[collector.SOURCE]).flush
        if config
        else lambda: None
    )
    gc.disable()  # imports leave no garbage, and looking for it takes a tenth of the start
    script = load_script(Path(os.environ["AML_APP_ROOT"]), os.environ["AZUREML_ENTRY_SCRIPT"])
    script.init()
    gc.freeze()
    gc.enable()
    busy = _Busy()
    listening = _listen(place)
    asked_to_end: float | None = None
    while asked_to_end is None or not busy.has_been_idle_for(_QUIET_SECONDS, asked_to_end):
        if asked_to_end is None and stopping.is_set():
            asked_to_end = time.monotonic()
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            continue
        threading.Thread(target=_serve, args=(connection, script.run, busy, answered), daemon=True).start()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all is answered; an ordinary exit takes the libraries a second


if __name__ == "__main__":
    main(Path(sys.argv[1]))
