"""Named moments of a run on Azure ML: requests that the loopback service holds, and the service as a process."""

import json
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.prefect_api.server import free_port
from tests.chaos.processes import become_reaper
from tests.chaos.world import PROJECT

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """Which request is held: before the service does its work or ``after_work``, and how many are let pass first."""

    method: str
    path: str
    after_work: bool = False
    skip: int = 0


REQUESTS: Mapping[str, Held] = {
    "the first token is asked for": Held("POST", r"/oauth2/v2.0/token"),
    "the data is looked for": Held("GET", r"/data/"),
    "the champion is looked for": Held("GET", r"/models/"),
    "the job is looked for": Held("GET", r"/jobs/"),
    "a component is made": Held("PUT", r"/components/", after_work=True),
    "the job comes": Held("PUT", r"/jobs/"),
    "the job is taken": Held("PUT", r"/jobs/", after_work=True),
    "the job is looked at": Held("GET", r"/children", after_work=True),
    "the job runs": Held("GET", r"/children", after_work=True, skip=1),
    "the evaluation is downloaded": Held("POST", r"/rundata", after_work=True),
    "the version comes": Held("PUT", r"/models/.*/versions/"),
    "the version is there": Held("PUT", r"/models/.*/versions/", after_work=True),
    "the champion's tag comes": Held("PUT", r"/models/.*/versions/", skip=1),
    "the champion's tag is there": Held("PUT", r"/models/.*/versions/", after_work=True, skip=1),
}


class AzureMl:
    """The loopback service in a process of its own, and its control."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        folder.mkdir(parents=True)
        self._log = (folder / "service.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.azure_ml_service", "--port", str(self._port), "--state", str(folder)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
            preexec_fn=become_reaper,  # what its jobs leave is its own, not ours
        )
        self.environment = self._read_environment()
        self.pid = self._process.pid

    def _read_environment(self) -> dict[str, str]:
        assert self._process.stdout is not None
        found: dict[str, str] = {}
        for line in self._process.stdout:
            if not line.startswith("export "):
                return found
            name, _, value = shlex.split(line)[1].partition("=")
            found[name] = value
        raise RuntimeError(f"The loopback service did not start; see {self._log.name}.")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def hold(self, held: Held, times: int = 1) -> None:
        """Hold the next such requests, until :meth:`release`."""
        wanted = {"method": held.method, "path": held.path, "after_work": held.after_work, "skip": held.skip}
        self._ask("POST", "holds", {**wanted, "times": times})

    def is_held(self) -> int:
        """How many requests were held since the last :meth:`release`."""
        return self._ask("GET", "holds")["held"]

    def release(self) -> None:
        """Let the requests go on, and hold no more."""
        self._ask("DELETE", "holds")

    def jobs(self, label: str) -> list[dict[str, Any]]:
        """The jobs with this display name."""
        return [job for job in self._ask("GET", "jobs").values() if job["display_name"] == label]

    def models(self, name: str) -> list[tuple[int, Mapping[str, str]]]:
        """The versions of a model with their tags, the oldest first."""
        found = self._ask("GET", "models").items()
        mine = [(key.rpartition(":"), model) for key, model in found]
        return sorted((int(key[2]), model["properties"].get("tags") or {}) for key, model in mine if key[0] == name)

    def violations(self) -> list[str]:
        """What was against the contract."""
        found: Any = self._ask("GET", "violations")
        return list(found)

    def settled(self, label: str, seconds: float = 30.0) -> list[dict[str, Any]]:
        """The jobs of a label, once none of them changes any more, or after a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(job["status"] in ("Completed", "Failed", "Canceled") for job in self.jobs(label)):
                break
            time.sleep(0.2)
        return self.jobs(label)

    def _ask(self, method: str, what: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self._port}/_control/{what}"
        with _opener.open(urllib.request.Request(url, data, method=method), timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
