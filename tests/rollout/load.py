"""Requests at a constant rate while something else goes on, counted by who answered, and how."""

import http.client
import itertools
import ssl
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

RATE = 40.0  # requests a second: some more than the 20 that are wanted at least
CLIENTS = 12


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint is asked. ``through`` is the port of a proxy here, with the file of its authority."""

    host: str
    port: int
    path: str
    key: str = field(repr=False)
    through: tuple[int, Path] | None = None

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is kept."""
        if self.through is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=60)
        proxy, authority = self.through
        context = ssl.create_default_context(cafile=str(authority))
        connection = http.client.HTTPSConnection("127.0.0.1", proxy, timeout=60, context=context)
        connection.set_tunnel(self.host, 443)
        return connection


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. ``status`` is 0 where the connection broke; ``deployment`` is who answered, None if nobody says."""

    status: int
    deployment: str | None
    seconds: float
    body: bytes = b""


class Load:
    """Asks as long as the block lasts: so many clients, which keep their connections, share a constant rate."""

    def __init__(self, address: Address, body: bytes, rate: float = RATE) -> None:
        self._address = address
        self._body = body
        self._rate = rate
        self._ended = threading.Event()
        self._ticks = itertools.count()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(CLIENTS)]
        self._asked: list[Asked] = []
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(120)
        self.seconds = time.monotonic() - self._began

    @property
    def asked(self) -> Sequence[Asked]:
        """The requests until now."""
        return tuple(self._asked)

    @property
    def failed(self) -> Sequence[Asked]:
        """Those that were not answered with 200."""
        return [one for one in self._asked if one.status != 200]

    def answers_of(self, deployment: str) -> int:
        """How many requests a deployment has answered well."""
        return sum(one.deployment == deployment and one.status == 200 for one in self._asked)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self._asked) / self.seconds

    def figures(self) -> list[str]:
        """How many requests, in how many seconds, how many a second, the p99 in milliseconds, and the failed ones."""
        ranked = sorted(one.seconds for one in self._asked)
        p99 = 1000 * ranked[-1 - len(ranked) // 100]
        return [str(len(ranked)), f"{self.seconds:.1f}", f"{self.rate:.1f}", f"{p99:.0f}", self._told_failed()]

    def told(self) -> str:
        """The counts, in a line."""
        by_whom = Counter(one.deployment or "nobody" for one in self._asked)
        answered = ", ".join(f"{name} {count}" for name, count in sorted(by_whom.items()))
        sent = f"{len(self._asked)} requests in {self.seconds:.1f} s ({self.rate:.1f}/s)"
        return f"{sent}: {answered}; failed: {self._told_failed()}"

    def _told_failed(self) -> str:
        failed = Counter((one.deployment or "nobody", one.status) for one in self.failed)
        return ", ".join(f"{count} × {status} by {name}" for (name, status), count in sorted(failed.items())) or "none"

    def _client(self) -> None:
        connection = self._address.connect()
        while not self._ended.is_set():
            due = self._began + next(self._ticks) / self._rate
            if self._ended.wait(max(0.0, due - time.monotonic())):
                break
            self._asked.append(ask(connection, self._address, self._body))
        connection.close()


def ask(connection: http.client.HTTPConnection, address: Address, body: bytes, deployment: str = "") -> Asked:
    """Send one request, once."""
    headers = {"Authorization": f"Bearer {address.key}", "Content-Type": "application/json"}
    named = {"azureml-model-deployment": deployment} if deployment else {}
    began = time.perf_counter()
    try:
        connection.request("POST", address.path, body, {**headers, **named})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return Asked(0, None, time.perf_counter() - began)
    seconds = time.perf_counter() - began
    return Asked(answer.status, answer.headers.get("azureml-model-deployment"), seconds, content)
