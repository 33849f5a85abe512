"""An MLflow store in a folder, and a line to a real worker process on it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import MappingProxyType

import flows.mlflow_store.mlflow_worker
from flows.mlflow_store.model_registry import MlflowWorker

WORKER = flows.mlflow_store.mlflow_worker.__file__


@contextlib.asynccontextmanager
async def line_to(
    *command: str, environment: Mapping[str, str] = MappingProxyType({}), timeout_seconds: float = 60.0
) -> AsyncGenerator[MlflowWorker]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdin
    assert process.stdout
    async with MlflowWorker(process.stdout, process.stdin, timeout_seconds=timeout_seconds) as worker:
        yield worker
    await process.wait()  # the end of its input is all that ends it


class Store:
    """A store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "TANDEM_MLFLOW_ARTIFACTS": str(folder / "artifacts"),
        }

    def line(self, *command: str) -> contextlib.AbstractAsyncContextManager[MlflowWorker]:
        return line_to(*command, environment=self.environment)

    def model(self, name: str, text: str = "model") -> str:
        folder = self.folder / "models" / name
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "MLmodel").write_text(f"flavors: {text}")
        (folder / "data" / "model.skops").write_text(text * 1000)
        return str(folder)
