"""What the two training flows send to Azure ML, held against files that a person can read: ``tests/golden/``."""

import asyncio
import copy
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from prefect import flow

from flows.engines.open_engine import open_engine
from flows.mlflow_store.model_registry import ModelVersion
from flows.settings import PROJECT, Settings
from flows.training.parameters import JobParameters, PipelineParameters, validated
from flows.training.request import job_request, pipeline_request
from tests.azure_ml_service.arm import content_id
from tests.azure_ml_service.faults import JobFault
from tests.azure_ml_service.service import Recorded, Service

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of the SDK, which has many
    pytest.mark.usefixtures("azure_client_allowed", "prefect_api"),
]

GOLDEN = Path(__file__).with_name("golden")
REGENERATE = "WRITE_GOLDEN=1 .venv/bin/python -m pytest tests/training/test_submitted_golden.py"
CHAMPION = ModelVersion("diabetes-predict", 1, False, "champion", "azureml:diabetes-predict:1")
HASH = re.compile(r"\b[0-9a-f]{64}\b|(?<==)[0-9a-f]{12}\b")  # whole, or short as in ``code=…``
LINE = 110
GIT = ("azureml.git.", "mlflow.source.git.")  # of whatever folder the tests run in


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A workspace in which nothing was ever made, and where jobs stay in the queue."""
    service = Service(tmp_path / "state").start(with_mlflow=False)
    service.faults.add(JobFault("held", job=".*", status="Queued", times=None))
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    yield service
    service.stop()


def test_what_is_submitted_is_what_the_golden_files_show(service: Service) -> None:
    """On an empty workspace: the first pipeline run, the next one, which has a champion to beat, and the job."""
    settings = Settings.from_environment()
    sent: dict[str, list[Recorded]] = {}

    @flow(name="golden")
    async def submissions() -> None:
        parameters = validated(PipelineParameters, {})
        async with open_engine("azureml", settings) as engine:
            data = await engine.resolve_data(parameters.data_asset_name)
            for name, champion in (("train_pipeline", None), ("train_pipeline_with_champion", CHAMPION)):
                request = pipeline_request(parameters, settings, data, flow_run_id=name, champion=champion)
                await engine.submit(request)
                sent[name] = service.requests[sum(map(len, sent.values())) :]
            request = job_request(validated(JobParameters, {}), settings, data, flow_run_id="train_job")
            await engine.submit(request)
            sent["train_job"] = service.requests[sum(map(len, sent.values())) :]

    asyncio.run(submissions())

    assert not service.violations
    texts = golden_texts(sent, service)
    if os.environ.get("WRITE_GOLDEN"):
        for name, text in texts.items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
    assert sorted(texts) == sorted(path.name for path in GOLDEN.iterdir())
    for name, text in texts.items():
        golden = (GOLDEN / name).read_text(encoding="utf-8")
        assert text == golden, f"Something else is submitted than tests/golden/{name} shows. If so meant: {REGENERATE}"


def golden_texts(sent: Mapping[str, list[Recorded]], service: Service) -> dict[str, str]:
    """What was made in each case, in order. What was made before, and again just the same, is left out."""
    requests = [request for found in sent.values() for request in found]
    names = dict(names_of_ids(request for request in requests if request.body is not None))
    seen: set[str] = set()
    texts: dict[str, str] = {}
    for case, found in sent.items():
        made = [readable(request, requests, names, service) for request in found if request.body is not None]
        new = [one for one in made if json.dumps(one) not in seen]
        seen |= {json.dumps(one) for one in new}
        texts[f"{case}.json"] = laid_out(new) + "\n"
    return texts


def readable(
    request: Recorded, requests: Iterable[Recorded], names: Mapping[str, str], service: Service
) -> dict[str, Any]:
    """A request that makes something, with names in place of what differs from one time or place to another."""
    body: Any = copy.deepcopy(request.body)
    properties: dict[str, Any] = body["properties"]
    if "codeUri" in properties:  # all that it says is a hash; what was uploaded says more
        body = {
            "files": uploaded(requests, unquote(properties["codeUri"]).partition("windows.net")[2].removeprefix(":443"))
        }
    if "condaFile" in properties:
        conda = PROJECT / "environment" / "conda.yml"
        assert yaml.safe_load(properties["condaFile"]) == yaml.safe_load(conda.read_text(encoding="utf-8"))
        properties["condaFile"] = "<environment/conda.yml>"
    if "jobType" in properties:
        kept = {key: value for key, value in properties["properties"].items() if not key.startswith(GIT)}
        properties["properties"] = kept
    text = json.dumps({"PUT": request.path, **body}).replace(service.workspace.path, "W")
    for identifier, name in names.items():
        text = text.replace(identifier, name)
    return json.loads(HASH.sub("<hash>", text))


def names_of_ids(made: Iterable[Recorded]) -> Iterator[tuple[str, str]]:
    """What stands for the ids that the SDK draws or takes from contents."""
    versions: dict[str, str] = {}  # that the SDK gives a component, by the id that the service gives it
    for request in made:
        assert request.body is not None
        kind, name, *version = request.path.partition("/workspaces/")[2].split("/")[1:]
        properties: dict[str, Any] = request.body["properties"]
        match kind:
            case "codes":
                yield name, f"<code of {properties['codeUri'].rpartition('/')[2]}>"
            case "components":
                versions[content_id(properties["componentSpec"])] = version[-1]
            case "environments":
                yield version[-1], "<hash of the environment>"
            case "jobs":
                yield name.rpartition("-")[2], "<flow run>"
                for step, node in properties.get("jobs", {}).items():
                    identifier = node["componentId"].rpartition("/")[2]
                    yield identifier, f"<component of {step}>"
                    yield versions[identifier], f"<component of {step}>"
            case _:
                pass


def uploaded(requests: Iterable[Recorded], folder: str) -> list[str]:
    """The files that were put into a folder of the workspace's storage."""
    paths = {request.path for request in requests if request.method == "PUT" and request.path.startswith(f"{folder}/")}
    return sorted(path.removeprefix(f"{folder}/") for path in paths)


def laid_out(value: Any, indent: int = 0) -> str:
    """JSON with as much on a line as fits."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= LINE or not isinstance(value, dict | list) or not value:
        return line
    space = " " * (indent + 2)
    if isinstance(value, list):
        inner = [laid_out(item, indent + 2) for item in value]
        return "[\n" + ",\n".join(space + item for item in inner) + "\n" + " " * indent + "]"
    inner = [f"{json.dumps(key)}: {laid_out(item, indent + 2)}" for key, item in value.items()]
    return "{\n" + ",\n".join(space + item for item in inner) + "\n" + " " * indent + "}"
