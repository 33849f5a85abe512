"""Replay of recordings against the loopback service, request by request, each answer compared with the recorded one."""

import re
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.azure_ml_service.blobs import signature
from tests.azure_ml_service.identity import make_token
from tests.azure_ml_service.messages import Answer, Refused, Request
from tests.azure_ml_service.online_scoring import DEPLOYMENT_HEADER, ML_AUDIENCE
from tests.azure_ml_service.service import Service
from tests.recorded.assumed import Assumed, NothingRuns, sent_bytes
from tests.recorded.ids import Ids, is_replaced
from tests.recorded.operations import Operation, kind_of, operation
from tests.recorded.recording import Entry, body_of
from tests.recorded.shapes import Difference, Told, compare


class Compared(NamedTuple):
    """A request, and how our answer to it differs; None where the service does not know the operation."""

    operation: Operation
    differences: list[Difference] | None


class Replay:
    """A loopback service that runs nothing; :meth:`file` replays one recording from an empty state."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def file(self, entries: Iterable[Entry]) -> Iterator[Compared]:
        """Replay the requests of a recording in their order."""
        self._service.forget_all()
        ids, made = Ids(self._service.workspace), set[str]()
        assumed = Assumed(self._service)
        for entry in entries:
            asked = operation(entry.method, entry.host, entry.target)
            is_run = asked.host == "scoring" and entry.path != "/jobs"  # by a deployment, and nothing is run here
            if is_run or asked.host in ("login", "other") or not self._service.knows(self._request(entry, ids)):
                yield Compared(asked, None)
                continue
            _tell_apart(entry, ids, made)
            request = self._request(entry, ids)
            unprepared = _prepare(assumed, request, entry)
            ours = _told(self._service.answer(request), entry)
            ids.learn(entry.body, ours.body)
            ids.learn(dict(entry.headers), dict(ours.headers))
            told = Told(entry.status, entry.headers, ids.addresses(entry.body))
            yield Compared(asked, [*unprepared, *compare(told, ours)])

    def _request(self, entry: Entry, ids: Ids) -> Request:
        target = ids.text(entry.target)
        audience = ML_AUDIENCE if kind_of(entry.host) == "scoring" else "https://management.azure.com"
        headers = {"Authorization": f"Bearer {make_token(audience)}", **_kept(entry)}
        if kind_of(entry.host) == "blob":
            target += ("&" if "?" in target else "?") + signature()
        elif entry.method == "PUT" and "/jobs/" in target:
            headers["x-azureml-token"] = make_token("https://ml.azure.com")
        body = sent_bytes(entry) if kind_of(entry.host) == "blob" else ids.text(sent_bytes(entry).decode()).encode()
        return Request.read(entry.method, ids.host(entry.host), target, headers, body)


def _prepare(assumed: Assumed, request: Request, entry: Entry) -> list[Difference]:
    """Put what a request needs into the service; what stands in the way of that is told as a difference."""
    try:
        assumed.prepare(request, entry)
    except (Refused, ValueError, KeyError, TypeError, AttributeError, AssertionError, OSError) as error:
        return [Difference("different", "state before the request", f"could not be made ({type(error).__name__})")]
    return []


def _kept(entry: Entry) -> dict[str, str]:
    """The headers of a request that say what it asks for."""
    named = ("if-none-match", "x-ms-range", "range", DEPLOYMENT_HEADER)
    return {name: value for name, value in entry.sent_headers.items() if name in named or "x-ms-meta-" in name}


def _tell_apart(entry: Entry, ids: Ids, made: set[str]) -> None:
    """Give a job a name of its own where the recording has put one name in the place of several."""
    match = re.fullmatch(r".*/jobs/([^/]+)", entry.path)
    if match is None or entry.method != "PUT" or entry.status != 201:
        return
    if is_replaced(match[1]) and match[1] in made:
        ids.rename(match[1], f"job-{len(made)}")
        made.add(f"job-{len(made)}")
    made.add(match[1])


def _told(answer: Answer, entry: Entry) -> Told:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    text = "" if entry.method == "HEAD" else answer.body.decode(errors="replace")
    return Told(answer.status, headers, body_of(text, headers.get("content-type", "")))


@contextmanager
def replaying() -> Generator[Replay]:
    """A replay with a state of its own, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="tandem-recorded-") as folder:
        service = Service(Path(folder), executor=NothingRuns()).start(with_mlflow=False)
        try:
            yield Replay(service)
        finally:
            service.stop()
