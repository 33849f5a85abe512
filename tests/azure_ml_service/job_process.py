"""Processes of jobs, run by the project's own step host where Azure runs containers."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.engines.local.host.client import Command, StepHost
from flows.engines.local.host.preload import imported_modules, plain_script
from flows.spec.render import render_command
from tests.azure_ml_service.arm import API, LOCATION, WORKSPACE_GUID, Arm
from tests.azure_ml_service.blobs import Blobs
from tests.azure_ml_service.definitions import Definition, local_path
from tests.azure_ml_service.history import ARTIFACTS, artifact_folder
from tests.azure_ml_service.identity import make_token
from tests.azure_ml_service.messages import Json
from tests.azure_ml_service.mlflow_part import Mlflow
from tests.azure_ml_service.state import Documents

_LOG = "user_logs/std_log.txt"
_GRACE_SECONDS = 2.0
FILES = frozenset({"uri_file", "string", "number", "integer", "boolean"})  # outputs whose path is that of a file
# Imported before the first step comes; a step then waits for less.
_PRELOAD = ("skops.io", "pandas", "sklearn.linear_model", "mlflow", "mlflow.sklearn", "pyarrow.parquet")


class JobFailed(Exception):
    """A job did not complete; ``code`` is the error's code in run history (``UserError`` or ``ServiceError``)."""

    def __init__(self, message: str, code: str = "UserError") -> None:
        super().__init__(message)
        self.code = code


class JobProcesses:
    """The processes of all jobs. ``folder`` is where they work."""

    def __init__(
        self,
        folder: Path,
        documents: Documents,
        arm: Arm,
        blobs: Blobs,
        mlflow: Mlflow,
        client_environment: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._documents = documents
        self._arm = arm
        self._blobs = blobs
        self._mlflow = mlflow
        self._client_environment = client_environment
        self._host: StepHost | None = None
        self._connecting = asyncio.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    async def stop(self) -> None:
        """End every process."""
        if self._host is not None:
            host = await self._step_host()
            reader, writer = await host.helper_streams()  # which nobody needed, but somebody has to close
            writer.close()
            await host.stop()
            await reader.read()
            await asyncio.sleep(0.01)  # the pipes are closed on the loop's next round

    def addresses(self, name: str, definition: Definition) -> dict[str, Json]:
        """Where the outputs of a job lie."""
        found: dict[str, Json] = {}
        for output, port in definition.outputs.items():
            address = port["path"] or f"azureml://datastores/workspaceblobstore/paths/azureml/{name}/{output}"
            if not port["path"] and port["type"] not in FILES:
                address += "/"
            address = address.replace("${{name}}", name).replace("${{output_name}}", output)
            found[output] = {"type": port["type"], "uri": address}
        return found

    def log(self, name: str) -> Path:
        """The log of a job."""
        log = self._blobs.path(ARTIFACTS, f"{artifact_folder(name)}/{_LOG}")
        log.parent.mkdir(parents=True, exist_ok=True)
        return log

    async def run(self, name: str, definition: Definition) -> None:
        """Run a job's process to its end.

        Raises:
            JobFailed: It ended with a code other than 0.
        """
        job = self._documents.get("jobs", name)
        assert job is not None
        folder = self._folder / name
        await asyncio.to_thread(self._prepare_code, definition, folder)
        addresses: dict[str, Json] = job["outputs"] or self.addresses(name, definition)
        inputs = {
            input_name: None
            if value is None
            else str(local_path(self._arm, value.text))
            if value.is_data
            else value.text
            for input_name, value in definition.inputs.items()
        }
        outputs: dict[str, str] = {}
        for output, address in addresses.items():
            path = self._arm.path_of(address["uri"])
            (path.parent if address["type"] in FILES else path).mkdir(parents=True, exist_ok=True)
            outputs[output] = str(path)
        with self._documents.change("jobs", name) as document:
            document["outputs"] = addresses
        text = render_command(definition.command, inputs, outputs)
        script = None if definition.variables else plain_script(text)
        log = self.log(name)
        environment = {**await asyncio.to_thread(self._environment, job, inputs, outputs), **definition.variables}
        modules = imported_modules(folder / script[0]) if script else []
        host = await self._step_host()
        process = await host.run(Command(text, folder, environment, log, script, modules))
        try:
            ended = await asyncio.wait_for(asyncio.shield(process.ended), definition.timeout_seconds)
        except (asyncio.CancelledError, TimeoutError) as stop:
            host.signal(process, signal.SIGTERM)
            done, _ = await asyncio.wait([process.ended], timeout=_GRACE_SECONDS)
            if not done:
                host.signal(process, signal.SIGKILL)
                await asyncio.wait([process.ended], timeout=_GRACE_SECONDS)
            if isinstance(stop, TimeoutError):  # which Azure answers by canceling the job
                raise asyncio.CancelledError from stop
            raise
        kept = self._blobs.path(ARTIFACTS, f"{artifact_folder(name)}/outputs")
        if any((folder / "outputs").iterdir()):
            await asyncio.to_thread(shutil.copytree, folder / "outputs", kept, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        if ended.code:
            raise JobFailed(exit_message(ended.code, log))

    def _prepare_code(self, definition: Definition, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if definition.code:
            code = self._arm.by_id("codes", definition.code)
            shutil.copytree(self._arm.path_of(code["properties"]["codeUri"]), folder)
        (folder / "outputs").mkdir(parents=True, exist_ok=True)

    def warm_up(self) -> StepHost:
        """Start the step host, which imports while jobs are still queued."""
        if self._host is None:
            helper = Command(["cat"], self._folder, dict(os.environ), self._folder / "helper.log")
            self._host = StepHost.start(Path(sys.executable), machine_environment(), _PRELOAD, helper)
        return self._host

    async def _step_host(self) -> StepHost:
        async with self._connecting:
            host = self.warm_up()
            await host.connect()
            return host

    def _environment(self, job: Json, inputs: Mapping[str, str | None], outputs: Mapping[str, str]) -> dict[str, str]:
        """The variables that Azure gives to the process of a job."""
        workspace = self._arm.workspace
        experiment = self._mlflow.make_run(job)
        token = make_token("https://management.azure.com", 12 * 3600.0)
        return {
            **machine_environment(),
            **self._client_environment,
            **{f"AZURE_ML_INPUT_{name}": value for name, value in inputs.items() if value is not None},
            **{f"AZURE_ML_OUTPUT_{name}": value for name, value in outputs.items()},
            "AZUREML_CURRENT_CLOUD": "AzureCloud",
            "AZUREML_RUN_ID": job["name"],
            "AZUREML_ROOT_RUN_ID": job["root"],
            "AZUREML_RUN_TOKEN": token,
            "AZUREML_EXPERIMENT_ID": experiment,
            "AZUREML_ARM_SUBSCRIPTION": workspace.subscription,
            "AZUREML_ARM_RESOURCEGROUP": workspace.resource_group,
            "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
            "AZUREML_ARM_PROJECT_NAME": job["experiment"],
            "AZUREML_SERVICE_ENDPOINT": f"https://{API}",
            "AZUREML_WORKSPACE_ID": WORKSPACE_GUID,
            "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"https://{LOCATION}.api.azureml.ms/discovery",
            "MLFLOW_TRACKING_URI": self._mlflow.tracking_uri,
            "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_RUN_ID": job["name"],
            "MLFLOW_EXPERIMENT_ID": experiment,
            "MLFLOW_EXPERIMENT_NAME": job["experiment"],
        }


def machine_environment() -> dict[str, str]:
    """What a step has of this machine: as much as a container would have."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "USER") if name in os.environ}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
    return {**kept, **quiet, "PATH": path, "PYTHONUNBUFFERED": "1"}


def exit_message(code: int, log: Path) -> str:
    """What Azure says of a process that ended with a code other than 0."""
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]) if log.is_file() else ""
    return (
        f"Execution failed. User process 'python' exited with status code {code}. Please check log file "
        f"'{_LOG}' for error details. Error: {tail}"
    )
