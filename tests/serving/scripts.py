"""A scoring script that starts at once, and does what a request asks of it; and definitions that deploy it."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from flows.data.digests import data_digest
from flows.serving.endpoints import DeploymentRequest, ServedModel
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec
from flows.spec.reading.endpoints import read_endpoint, read_online_deployment

ENDPOINT = "patients"
SCRIPT = """\
    import json, os, time
    from pathlib import Path

    class Refusal:
        status_code = 400
        def get_data(self):
            return json.dumps({"error": {"row": 0, "column": "Age", "reason": "is no number"}}).encode()

    def init():
        (folder,) = Path(os.environ["AZUREML_MODEL_DIR"]).iterdir()
        print("starts with", (folder / "weights").read_text(), flush=True)
        if os.environ.get("FAILS"):
            raise RuntimeError("the weights do not fit")

    def run(body):
        asked = json.loads(body)
        time.sleep(asked.get("seconds", 0))
        if "says" in asked:
            print("asked by", asked["says"], flush=True)
        while "until" in asked and not os.path.exists(asked["until"]):
            time.sleep(0.01)
        if asked.get("dies"):
            os._exit(9)
        if asked.get("raises"):
            raise KeyError("the script")
        if asked.get("bad"):
            return Refusal()
        version = int(os.environ["TANDEM_MODEL_VERSION"])
        return {"model": os.environ["TANDEM_MODEL"], "version": version, "pid": os.getpid()}
"""
DEPLOYMENT = """\
    $schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
    name: blue
    endpoint_name: patients
    model: azureml:patients-model:1
    code_configuration: {code: code, scoring_script: score.py}
    environment: {image: ubuntu:22.04}
    instance_type: Standard_DS3_v2
    instance_count: 1
"""


class Definitions:
    """An endpoint, its deployments and the versions of its model, in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "code").mkdir(parents=True, exist_ok=True)
        (folder / "code" / "score.py").write_text(dedent(SCRIPT), encoding="utf-8")
        (folder / "endpoint.yml").write_text(f"name: {ENDPOINT}\nauth_mode: key\ntags: {{team: clinic}}\n")

    @property
    def endpoint(self) -> EndpointSpec:
        return read_endpoint(self.folder / "endpoint.yml")

    def deployment(self, more: str = "") -> OnlineDeploymentSpec:
        file = self.folder / "deployment.yml"
        file.write_text(dedent(DEPLOYMENT) + dedent(more), encoding="utf-8")
        return read_online_deployment(file)

    def request(
        self, name: str, version: int = 1, more: str = "", tags: Mapping[str, str] | None = None
    ) -> DeploymentRequest:
        """What deploys a version under a name; ``more`` are further keys of the deployment."""
        model = self.folder / "models" / str(version) / "model"
        model.mkdir(parents=True, exist_ok=True)
        (model / "weights").write_text(f"weights {version}", encoding="utf-8")
        (model / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
        served = ServedModel("patients-model", version, data_digest(model))
        return DeploymentRequest(ENDPOINT, name, self.deployment(more), served, str(model), tags or {})


def asking(**asked: Any) -> bytes:
    """A request of the script."""
    import json

    return json.dumps(asked).encode()
