"""MLflow worker: the process that calls MLflow, so that the flow's process need not import it (some 2.5 s).

A plain script: one JSON request a line on standard input, one JSON answer a line on what was standard output::

    {"id": 1, "call": "create_run", "args": {"experiment": "diabetes", "name": "train"}}
    {"id": 1, "ok": "5c0f..."}    or    {"id": 1, "error": {"kind": "run", "message": "..."}}

The calls are the public methods of :class:`Tracking`; kinds of error are ``run`` (it cannot be done so), ``service``
(the store was busy or away: try again), ``settings`` (a server does not let us in) and ``bug``. Requests are answered
in order. It ends when its input ends.

It imports the standard library, MLflow, and of ``flows`` what is in :mod:`flows.mlflow_store.worker`: not Prefect, not
pydantic. MLflow is imported late, so that a process which has it already may fork this one for next to nothing.
"""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

if __name__ == "__main__":
    # Python puts a script's folder first on the path, where modules of `flows` would pass for libraries. `flows` itself
    # is found last, if it is not installed.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from flows.mlflow_store.worker.errors import answer_of
from flows.mlflow_store.worker.runs import Runs
from flows.mlflow_store.worker.versions import Versions


class Tracking(Runs, Versions):
    """MLflow runs and model versions. Every public method is a call of the protocol, but for :meth:`open`."""


def answer_requests(
    requests: TextIO, answers: TextIO, uri: str, artifacts: Path, registry_uri: str | None = None
) -> None:
    """Answer requests until there are no more. The store is opened at once, while the flow still does other things."""
    tracking: Tracking | None = None
    failure: Exception | None = None
    try:
        tracking = Tracking.open(uri, artifacts, registry_uri)
    except Exception as error:
        failure = error
    for line in requests:
        request = json.loads(line)
        call, args = str(request["call"]), request.get("args", {})
        try:
            if tracking is None or failure:
                raise failure or AssertionError
            method = None if call.startswith("_") or call == "open" else getattr(tracking, call, None)
            if method is None:
                raise LookupError(f"there is no call {call!r}")
            answer: dict[str, Any] = {"ok": method(**args)}
        except Exception as error:  # every failure is the caller's to hear
            in_workspace = tracking is not None and tracking.in_workspace
            is_server = tracking is not None and tracking.on_server
            answer = {"error": answer_of(error, uri, in_workspace=in_workspace, is_server=is_server)}
        answers.write(json.dumps({"id": request["id"], **answer}) + "\n")
        answers.flush()


def main() -> None:
    """Serve standard input and output, with the store that the environment names."""
    # Ctrl-C reaches the whole process group; the flow still has runs to end, and closes our input when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # MLflow and what it imports may print: only answers go where standard output went, and nothing else reads input.
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):  # who asked is gone
        answer_requests(
            requests,
            answers,
            os.environ["MLFLOW_TRACKING_URI"],
            Path(os.environ["TANDEM_MLFLOW_ARTIFACTS"]),
            os.environ.get("MLFLOW_REGISTRY_URI"),
        )


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # all is committed and answered; an ordinary exit takes MLflow a second
