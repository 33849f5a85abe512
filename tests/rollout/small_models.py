"""Models of a few lines, whose deployments answer as their version is told to: right, wrong, late or not at all.

The model itself is an MLflow model, which answers right whatever its version. The scoring script imports nothing that
takes time. It sums up each row.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType

MODEL = "patients-model"
REQUEST = json.dumps({"input_data": {"columns": ["a", "b"], "data": [[1, 2], [3, 4.5]]}}).encode()


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a deployment of a version behaves.

    Attributes:
        does: ``well``, ``wrong`` (another answer), ``slow``, ``raises`` (in ``run``), ``dies`` (the process ends),
            ``hangs`` (no answer), ``never starts`` (``init`` raises).
        after: How many requests it answers well before. The smoke test sends two.
    """

    does: str = "well"
    after: int = 0


_CONDUCTS = (
    *(Conduct(), Conduct()),
    *(Conduct("wrong"), Conduct("never starts"), Conduct("hangs")),
    *(Conduct(does, after=2) for does in ("wrong", "slow", "raises", "dies", "hangs")),
)
CONDUCTS: Mapping[int, Conduct] = MappingProxyType(dict(enumerate(_CONDUCTS, start=1)))  # by version
GOOD, GOOD_TOO = 1, 2

LOADER = """
class Sums:
    def predict(self, rows, params=None):
        return [float(sum(row)) for row in rows.itertuples(index=False)]

def _load_pyfunc(path):
    return Sums()
"""
MLMODEL = """\
flavors:
  python_function:
    code: code
    data: weights.json
    loader_module: sums
mlflow_version: 3.0.0
model_uuid: {uuid}
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  type: dataframe
signature:
  inputs: '[{{"type": "double", "name": "a"}}, {{"type": "double", "name": "b"}}]'
  outputs: '[{{"type": "tensor", "tensor-spec": {{"dtype": "float64", "shape": [-1]}}}}]'
"""
SCRIPT = """
import itertools, json, os, time
from pathlib import Path

class Refusal:
    status_code = 400
    def get_data(self):
        return json.dumps({"error": {"row": 0, "column": "a", "reason": "is no number"}}).encode()

def init():
    global conduct, asked
    (weights,) = Path(os.environ["AZUREML_MODEL_DIR"]).rglob("weights.json")
    conduct, asked = json.loads(weights.read_text()), itertools.count()
    print("version", conduct["version"], "starts", flush=True)
    if conduct["does"] == "never starts":
        raise RuntimeError("the weights do not fit")

def run(text):
    does = conduct["does"] if next(asked) >= conduct["after"] else "well"
    if does == "hangs":
        time.sleep(5)
    if does == "slow":
        time.sleep(1.5)
    if does == "dies":
        os._exit(9)
    if does == "raises":
        raise KeyError("the script")
    rows = json.loads(text)["input_data"]["data"]
    if any(isinstance(value, str) for row in rows for value in row):
        return Refusal()
    sums = [sum(row) + (does == "wrong") for row in rows]
    return {"predictions": [{"label": each} for each in sums], "version": conduct["version"]}
"""
ENDPOINT = """\
name: {name}
auth_mode: key
tags:
  tandem.rollout.requests: "20"
  tandem.rollout.pause_seconds: "0.3"
  tandem.rollout.keep_seconds: "0"
  tandem.rollout.max_p99_seconds: "3"
"""
DEPLOYMENT = """\
name: blue
endpoint_name: {name}
model: azureml:{model}:1
code_configuration: {{code: code, scoring_script: score.py}}
environment: {{image: "ubuntu:22.04"}}
environment_variables: {{WORKER_COUNT: "8"}}
instance_type: Standard_DS3_v2
instance_count: 1
request_settings: {{request_timeout_ms: 2500, max_concurrent_requests_per_instance: 8}}
"""


def write_models(folder: Path) -> Mapping[int, Path]:
    """Write the folder of each version."""
    return {version: _write_model(folder / str(version) / "model", version) for version in CONDUCTS}


def _write_model(folder: Path, version: int) -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "sums.py").write_text(LOADER, encoding="utf-8")
    (folder / "MLmodel").write_text(MLMODEL.format(uuid=f"{version:032x}"), encoding="utf-8")
    (folder / "weights.json").write_text(json.dumps({"version": version, **asdict(CONDUCTS[version])}))
    example = {"columns": ["a", "b"], "data": [[1.0, 2.0], [3.0, 4.5]]}
    (folder / "input_example.json").write_text(json.dumps(example), encoding="utf-8")
    return folder


def write_definitions(folder: Path, endpoint: str) -> tuple[Path, Path]:
    """Write what deploys them: the file of the endpoint, and that of its deployments."""
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "score.py").write_text(dedent(SCRIPT), encoding="utf-8")
    (folder / "endpoint.yml").write_text(ENDPOINT.format(name=endpoint), encoding="utf-8")
    (folder / "deployment.yml").write_text(DEPLOYMENT.format(name=endpoint, model=MODEL), encoding="utf-8")
    return folder / "endpoint.yml", folder / "deployment.yml"
