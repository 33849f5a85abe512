"""Endpoints in the loopback workspace, with scoring scripts of a few lines."""

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from flows.serving.endpoints import DeploymentRequest, ServedModel
from flows.settings import Settings
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec
from flows.spec.model.job import Environment
from tests.azure_ml_service.arm import system_data
from tests.azure_ml_service.service import Service
from tests.azure_ml_service.state import now

SCRIPT = """
    import json, os, sys, time
    from pathlib import Path

    class Told:
        def __init__(self, response, status_code):
            self.response, self.status_code = response, status_code

    def init():
        global model
        print("init of", os.environ["TANDEM_MODEL"], flush=True)
        (folder,) = Path(os.environ["AZUREML_MODEL_DIR"]).iterdir()
        model = (folder / "MLmodel").read_text()

    def run(text):
        asked = json.loads(text)
        if "sleep" in asked:
            time.sleep(asked["sleep"])
        if "die" in asked:
            os._exit(9)
        if "bad" in asked:
            return Told({"error": "row 0"}, 400)
        return {"version": os.environ["TANDEM_MODEL_VERSION"], "model": model, "said": os.environ.get("SAID")}
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """What the tests make: names that no other test has, and requests for deployments with a script of this test."""

    service: Service
    folder: Path
    endpoint: str

    def spec(self) -> EndpointSpec:
        return EndpointSpec(self.endpoint, self.folder / "endpoint.yml", tags={"team": "blue"})

    def model(self, version: int) -> str:
        """Register a version of a model, as a promotion has; returns how a deployment names it."""
        name = f"model-{self.endpoint}"
        path = f"models/{name}/{version}"
        folder = self.service.arm.path_of(f"azureml://datastores/workspaceblobstore/paths/{path}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "MLmodel").write_text(f"flavors: {{}}  # {version}\n")
        uri = self.service.arm.long_uri(f"azureml://datastores/workspaceblobstore/paths/{path}")
        properties: dict[str, Any] = {"modelUri": uri, "modelType": "mlflow_model", "flavors": {}}
        resource = self.service.arm.resource("models", str(version), properties, of=f"{name}/versions/")
        self.service.documents.put("models", f"{name}:{version}", {**resource, "systemData": system_data(now())})
        return f"azureml:{name}:{version}"

    def request(self, name: str, version: int = 1, script: str = SCRIPT, **changes: Any) -> DeploymentRequest:
        code = self.folder / "code"
        code.mkdir(exist_ok=True)
        (code / "score.py").write_text(dedent(script), encoding="utf-8")
        spec = OnlineDeploymentSpec(
            name=name,
            endpoint_name=self.endpoint,
            source=self.folder / "deployment.yml",
            code=code,
            scoring_script="score.py",
            environment=Environment(image="ubuntu:22.04"),
            environment_variables={"SAID": "so"},
            instance_type="Standard_DS3_v2",
        )
        model = ServedModel(f"model-{self.endpoint}", version, "0123abcd" * 8)
        return DeploymentRequest(self.endpoint, name, replace(spec, **changes), model, self.model(version))


OpenServing = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def shop(service: Service, tmp_path: Path) -> Shop:
    return Shop(service, tmp_path, f"e-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def open_serving(service: Service) -> OpenServing:
    """Opens a :class:`Serving` on the loopback workspace; each is a process of its own, as far as it remembers."""

    @asynccontextmanager
    async def opened(limit_seconds: float = 120.0) -> AsyncGenerator[Any]:
        from flows.engines.azureml.sdk.workspace import open_workspace
        from flows.serving.azureml.adapter import AzureServing

        async with open_workspace(Settings.from_environment()) as workspace:
            serving = AzureServing(workspace, limit_seconds)
            try:
                yield serving
            finally:
                serving.close()

    return opened
