"""The two places of rollouts, as tests see them: models, commands, and what is there, past the code under test."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from flows.engines.local.host.one_call import start_worker
from flows.serving.local.adapter import LocalServing
from flows.serving.local.lifetime import end_supervisor
from flows.settings import Settings
from flows.tags import decision_tags
from tests.azure_ml_service.arm import system_data
from tests.azure_ml_service.online import DEPLOYMENTS, ENDPOINTS, KEYS
from tests.azure_ml_service.service import Service
from tests.azure_ml_service.state import now
from tests.processes import commands_with
from tests.rollout.command import DIES, WAITS, WAITS_FOR
from tests.rollout.load import Address
from tests.rollout.small_models import GOOD, MODEL, write_definitions, write_models
from tests.terminal import PROJECT, Terminal

CHAMPION_TAG = "tandem.alias"


@dataclass(frozen=True, slots=True)
class Served:
    """An endpoint as it is: shares that are not 0, the version of each deployment, and what a rollout writes down."""

    shares: Mapping[str, int]
    versions: Mapping[str, int]
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def alone(self) -> int | None:
        """The version that is served alone, with nothing beside it and no rollout; None if it is otherwise."""
        tidy = not self.tags and list(self.shares.values()) == [100] and list(self.shares) == list(self.versions)
        return next(iter(self.versions.values())) if tidy else None


class Place(Protocol):
    """Where models are served."""

    name: str
    terminal: Terminal
    endpoint: str

    def look(self) -> Served | None:
        """The endpoint as it is; None if there is none."""
        ...

    def address(self) -> Address:
        """Where it is asked."""
        ...

    def workers(self) -> int:
        """How many processes serve deployments."""
        ...

    def left(self) -> list[str]:
        """The processes that belong to no deployment."""
        ...

    def champion(self) -> int | None:
        """The version of the model that is the champion."""
        ...

    def close(self) -> None:
        """Delete what is served."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """What it has printed with ``--json``."""
        return json.loads(self.out)


class Commands:
    """Commands of ``tandem`` at a place, with its definitions."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.endpoint_file, self._deployment_file = write_definitions(place.terminal.home / "serving", place.endpoint)

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a command, with the files of the place; an endpoint that is named is left to the command."""
        given = () if "--endpoint" in words else ("--endpoint", str(self.endpoint_file))
        files = (*given, "--deployment", str(self._deployment_file))
        return subprocess.Popen(
            [sys.executable, "-m", "tests.rollout.command", *words, *files],
            cwd=PROJECT,
            env={**self.place.terminal.environment, "PYTHONPATH": str(PROJECT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **environment: str) -> Done:
        """Run a command to its end."""
        with self.start(*words, **environment) as process:
            return ended(process)

    def deploy(self, version: int, *words: str, **environment: str) -> Done:
        """Run ``tandem deploy`` of a version to its end."""
        return self.run("deploy", f"{MODEL}:{version}", *words, **environment)

    def killed(self, moment: str, *words: str) -> Done:
        """Run a command until it kills itself at a moment."""
        return self.run(*words, **{DIES: moment})

    def waiting(self, moment: str, until: Path, *words: str) -> "subprocess.Popen[str]":
        """Start a command that waits at a moment for a file, and return when it does."""
        process = self.start(*words, **{WAITS: moment, WAITS_FOR: str(until)})
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("waits"):
                return process
        raise AssertionError(ended(process))


def ended(process: "subprocess.Popen[str]") -> Done:
    """Wait for the end of a command."""
    out, err = process.communicate(timeout=900)
    return Done(process.returncode, out, err)


def register_all(home: Path) -> None:
    """Register every version in the local registry of a state; the first is the champion."""
    home.mkdir(parents=True)
    folders = write_models(home / "given")
    promoted = {"compared_with": None, "decision_tags": dict(decision_tags("a-flow-run", None))}
    lines = [
        json.dumps(
            {
                "id": version,
                "call": "promote" if version == GOOD else "register",
                "args": {"candidate": _candidate(version, made), **(promoted if version == GOOD else {})},
            }
        )
        for version, made in folders.items()
    ]
    with start_worker(Settings.from_environment({"TANDEM_HOME": str(home)})) as worker:
        said, _ = worker.process.communicate("".join(f"{line}\n" for line in lines))
    assert "error" not in said, said
    made = [json.loads(line)["ok"]["version"] for line in said.splitlines()]
    assert made == list(folders), said


def _candidate(version: int, folder: Path) -> dict[str, Any]:
    named = {"model_name": MODEL, "model": str(folder), "run_id": f"{version:032x}", "description": ""}
    return {**named, "idempotency_tags": {"made": str(version)}, "tags": {"tandem.basis": f"data={version}"}}


class ThisMachine:
    """A local state, with what :func:`register_all` has registered."""

    name = "local"

    def __init__(self, folder: Path, prefect_api: str | None, registered: Path) -> None:
        self.terminal = Terminal(folder, prefect_api)
        self.endpoint = "patients"
        self._state = folder / "state"
        self._state.mkdir(parents=True)
        shutil.copy(registered / "mlflow.db", self._state)
        self._serving = LocalServing(self._state)

    def look(self) -> Served | None:
        found = asyncio.run(self._serving.endpoint(self.endpoint))
        if found is None:
            return None
        versions = {one.name: one.model.version if one.model else 0 for one in found.deployments}
        return _served(found.traffic, versions, found.tags)

    def address(self) -> Address:
        found = asyncio.run(self._serving.endpoint(self.endpoint))
        assert found is not None and found.scoring_uri is not None
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/.*)", found.scoring_uri)
        assert match is not None
        return Address("127.0.0.1", int(match[1]), match[2], asyncio.run(self._serving.key(self.endpoint)))

    def workers(self) -> int:
        return sum("flows.serving.local.worker" in each for each in commands_with(str(self._state)))

    def left(self) -> list[str]:
        return [each for each in commands_with(str(self._state)) if "flows.serving.local." not in each]

    def champion(self) -> int | None:
        import sqlite3

        with sqlite3.connect(self._state / "mlflow.db") as database:
            rows = database.execute("select version from registered_model_aliases where alias = 'champion'").fetchall()
        return rows[0][0] if rows else None

    def close(self) -> None:
        for one in asyncio.run(self._serving.endpoints()):
            asyncio.run(self._serving.delete_endpoint(one.name))
        end_supervisor(self._state)


class Workspace:
    """The loopback workspace, with all versions registered in it; the first is the champion."""

    name = "azureml"

    def __init__(self, folder: Path, prefect_api: str | None, service: Service) -> None:
        self.terminal = Terminal(folder, prefect_api)
        self.terminal.environment |= service.environment
        self.endpoint = f"p-{uuid.uuid4().hex[:8]}"
        self.service = service
        self._state = folder / "state"
        for version, made in write_models(folder / "given").items():
            self._register(version, made)

    def _register(self, version: int, made: Path) -> None:
        short = f"azureml://datastores/workspaceblobstore/paths/models/{MODEL}/{version}"
        folder = self.service.arm.path_of(short)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
        properties: dict[str, Any] = {
            "modelUri": self.service.arm.long_uri(short),
            "modelType": "mlflow_model",
            "flavors": {},
            "tags": {"tandem.basis": f"data={version}", **({CHAMPION_TAG: "champion"} if version == GOOD else {})},
        }
        resource = self.service.arm.resource("models", str(version), properties, of=f"{MODEL}/versions/")
        self.service.documents.put("models", f"{MODEL}:{version}", {**resource, "systemData": system_data(now())})

    def look(self) -> Served | None:
        found = self.service.documents.get(ENDPOINTS, self.endpoint)
        if found is None:
            return None
        of = {key: self.service.documents.get(DEPLOYMENTS, key) for key in self._deployments()}
        versions = {
            key.partition("/")[2]: int(one["tags"]["tandem.model_version"])
            for key, one in of.items()
            if one is not None
        }
        return _served(found["properties"]["traffic"], versions, found["tags"])

    def _deployments(self) -> list[str]:
        return [key for key in self.service.documents.keys(DEPLOYMENTS) if key.startswith(f"{self.endpoint}/")]

    def address(self) -> Address:
        key: str = (self.service.documents.get(KEYS, self.endpoint) or {})["primaryKey"]
        host = f"{self.endpoint}.westeurope.inference.ml.azure.com"
        return Address(host, 443, "/score", key, (self.service.port, self.service.authority))

    def workers(self) -> int:
        return sum("online_worker" in each for each in commands_with(f"/{self.endpoint}/"))

    def left(self) -> list[str]:
        return commands_with(str(self._state))

    def champion(self) -> int | None:
        tagged = [
            int(key.partition(":")[2])
            for key, found in self.service.models.items()
            if key.startswith(f"{MODEL}:") and CHAMPION_TAG in found["properties"]["tags"]
        ]
        return max(tagged, default=None)

    def close(self) -> None:
        self.service.faults.clear()
        for key in self._deployments():
            self.service.online_processes.stop(key)
            self.service.documents.remove(DEPLOYMENTS, key)
        self.service.documents.remove(ENDPOINTS, self.endpoint)


def _served(shares: Mapping[str, int], versions: Mapping[str, int], tags: Mapping[str, str]) -> Served:
    ours = {
        name: text
        for name, text in tags.items()
        if name.startswith("tandem.") and not name.startswith("tandem.rollout.")
    }
    return Served({name: share for name, share in shares.items() if share}, versions, ours)
