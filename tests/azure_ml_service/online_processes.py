"""Processes of deployments: one each, however many instances, with the scoring script, where Azure has containers."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.azure_ml_service.job_process import machine_environment
from tests.azure_ml_service.online_collector import Collecting, CollectorServer

WORKER = Path(__file__).with_name("online_worker.py")
READY_SECONDS = 180.0
LOGS = {"InferenceServer": "inference-server.log", "StorageInitializer": "storage-initializer.log"}


@dataclass(frozen=True, slots=True)
class WorkerFiles:
    """What a deployment's process works with: code, the script's path in there, model, variables, what it collects."""

    code: Path
    script: str
    model: Path | None
    model_name: str
    variables: Mapping[str, str]
    collecting: Collecting | None = None


@dataclass(slots=True)
class Worker:
    """A process that answers on a port of loopback."""

    process: "subprocess.Popen[bytes]"
    port: int
    collector: CollectorServer | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.collector is not None:
            self.collector.stop()


class OnlineProcesses:
    """The processes of all deployments, by ``endpoint/deployment``. ``folder`` is where they work."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()

    def log(self, key: str, container: str) -> Path:
        """The log of a container of a deployment."""
        path = self._folder / key / LOGS[container]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, key: str, files: WorkerFiles) -> Worker | None:
        """Start the process of a deployment in place of the one there is. None if it ends first: the other stays."""
        folder = self._folder / key
        shutil.rmtree(folder / "app", ignore_errors=True)
        shutil.copytree(files.code, folder / "app" / "code")
        models = folder / "app" / "models" / files.model_name
        models.mkdir(parents=True)
        with self.log(key, "StorageInitializer").open("a", encoding="utf-8") as log:
            print(f"Downloading the model {files.model_name}", file=log)
        if files.model is not None:
            shutil.copytree(
                files.model, models / files.model.name
            )  # MLflow refuses a link that leads out of its folder
        script = folder / "app" / "code" / files.script
        collector = None if files.collecting is None else CollectorServer(files.collecting, folder / "app")
        environment = {
            **machine_environment(),
            "AZUREML_MODEL_DIR": str(models),
            "AZUREML_ENTRY_SCRIPT": files.script,
            **files.variables,
            **(collector.environment if collector else {}),
        }
        worker = _start(script, environment, self.log(key, "InferenceServer"), collector)
        if worker is None:
            return None
        with self._lock:
            before, self._workers[key] = self._workers.get(key), worker
        if before is not None:
            before.stop()
        return worker

    def find(self, key: str) -> Worker | None:
        """The process of a deployment, if one was started."""
        with self._lock:
            return self._workers.get(key)

    def stop(self, key: str) -> None:
        """End the process of a deployment."""
        with self._lock:
            worker = self._workers.pop(key, None)
        if worker is not None:
            worker.stop()
        shutil.rmtree(self._folder / key, ignore_errors=True)

    def stop_all(self) -> None:
        """End them all."""
        with self._lock:
            workers, self._workers = self._workers, {}
        for worker in workers.values():
            worker.stop()


def _start(script: Path, environment: Mapping[str, str], log: Path, collector: CollectorServer | None) -> Worker | None:
    reading, writing = os.pipe()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), str(script), str(writing)],
            cwd=script.parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
        )
    os.close(writing)
    killer = threading.Timer(READY_SECONDS, process.kill)
    killer.start()
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()  # ends when it has said its port, or has ended
    killer.cancel()
    worker = Worker(process, int(said or 0), collector)
    if said:
        return worker
    worker.stop()
    return None
