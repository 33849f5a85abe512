"""Batch endpoints and deployments: what is read of their YAML, what is refused, and what the client says to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli.validate import validate
from flows.errors import SpecError
from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec, PipelineDeploymentSpec
from flows.spec.reading.batch import read_batch_deployment, read_batch_endpoint
from flows.spec.reading.served import ServedExamination, examine_served
from tests.spec.corpus import loader_of
from tests.spec.sdk_client import refused_there
from tests.terminal import PROJECT

ENDPOINT: dict[str, Any] = {"$schema": "https://example.org/batchEndpoint.schema.json", "name": "nightly"}
MODEL: dict[str, Any] = {
    "name": "forest",
    "endpoint_name": "nightly",
    "model": "azureml:patients-model:3",
    "code_configuration": {"code": "code", "scoring_script": "score.py"},
    "environment": "azureml:sklearn@latest",
    "compute": "azureml:cpu-cluster",
}
WITH_SETTINGS = {**MODEL, "settings": {"mini_batch_size": 4}}
PIPELINE: dict[str, Any] = {
    "name": "prepared",
    "endpoint_name": "nightly",
    "component": "azureml:prepare_and_score:2",
    "settings": {"default_compute": "cpu-cluster"},
}
Change = Mapping[str, Any]


def examined(folder: Path, whole: Mapping[str, Any], change: Change) -> tuple[Path, ServedExamination]:
    """A file with some keys changed, or left out where they are None; and what is found in it."""
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "score.py").write_text("def init(): ...\ndef run(files): ...\n")
    (folder / "code" / "none.py").write_text("def init(): ...\n")
    file = folder / "batch.yml"
    file.write_text(yaml.safe_dump({name: value for name, value in {**whole, **change}.items() if value is not None}))
    found = examine_served(file)
    assert found is not None
    return file, found


GOOD: list[tuple[Mapping[str, Any], Change]] = [
    (ENDPOINT, {}),
    (ENDPOINT, {"auth_mode": "aad_token", "defaults": {"deployment_name": "forest"}, "tags": {"team": "clinic"}}),
    (ENDPOINT, {"$schema": None, "defaults": {"deployment_name": "forest"}}),
    (MODEL, {}),
    (MODEL, {"code_configuration": None, "environment": None}),
    (MODEL, {"model": {"path": "code", "type": "mlflow_model"}, "resources": {"instance_count": 3}}),
    (MODEL, {"mini_batch_size": 5, "retry_settings": {"max_retries": 0, "timeout": 90}, "error_threshold": -1}),
    (MODEL, {"output_action": "append_row", "output_file_name": "rows.csv", "logging_level": "debug"}),
    (MODEL, {"output_action": "summary_only", "max_concurrency_per_instance": 2, "environment_variables": {"A": 1}}),
    (WITH_SETTINGS, {}),
    (WITH_SETTINGS, {"type": "model"}),
    (MODEL, {"type": "model"}),
    (WITH_SETTINGS, {"error_threshold": 3}),
    (WITH_SETTINGS, {"settings": {"mini_batch_size": 1, "instance_count": 2, "environment_variables": {"A": "b"}}}),
    (PIPELINE, {}),
    (PIPELINE, {"type": "pipeline", "description": "every night", "tags": {"team": "clinic"}}),
    (PIPELINE, {"component": None, "job_definition": "azureml:a-job-that-ran"}),
]
WRONG: list[tuple[Mapping[str, Any], Change, str]] = [
    (ENDPOINT, {"name": None}, "the endpoint has no name"),
    (ENDPOINT, {"name": "7nights"}, "cannot be the name of an endpoint"),
    (ENDPOINT, {"auth_mode": "none"}, "is not a mode"),
    (ENDPOINT, {"auth_mode": "key"}, "does not know the mode key"),
    (ENDPOINT, {"auth_mode": "kye"}, "Did you mean key?"),
    (ENDPOINT, {"traffic": {"forest": 100}}, "a batch endpoint cannot have the key traffic"),
    (ENDPOINT, {"default": {}}, "Did you mean defaults?"),
    (MODEL, {"name": None}, "the deployment has no name"),
    (MODEL, {"endpoint_name": None}, "there is no endpoint_name"),
    (MODEL, {"compute": None, "mini_batch_size": 1}, "there is no compute"),
    (MODEL, {"environment": None}, "no environment that it runs in"),
    (MODEL, {"code_configuration": {"code": "gone", "scoring_script": "score.py"}}, "there is no file or folder gone"),
    (MODEL, {"code_configuration": {"code": "code", "scoring_script": "gone.py"}}, "there is no file gone.py"),
    (MODEL, {"code_configuration": {"code": "code", "scoring_script": "none.py"}}, "does not define run()"),
    (MODEL, {"code_configuration": {"scoring_script": "score.py"}}, "no folder of it"),
    (MODEL, {"instance_type": "Standard_DS3_v2"}, "cannot have the key instance_type"),
    (MODEL, {"type": "model", "mini_batch_size": 4}, "cannot have the key mini_batch_size"),
    (MODEL, {"output_file_name": "../rows.csv"}, "cannot be the name of a file"),
    (MODEL, {"logging_level": "loud"}, "is not a level"),
    (MODEL, {"output_action": "summary_only", "output_file_name": "rows.csv"}, "there is an output_file_name"),
    (MODEL, {"output_action": "add_row"}, "is not an action"),
    (MODEL, {"mini_batch_size": "many"}, "Make it a whole number"),
    (MODEL, {"mini_batch_size": 0}, "Make it 1 or more"),
    (MODEL, {"error_threshold": -2}, "Make it -1 or more"),
    (MODEL, {"retry_settings": {"retries": 2}}, "cannot have the key retries"),
    (MODEL, {"retry_settings": {"max_retries": -1}}, "Make it 0 or more"),
    (MODEL, {"mini_batch_sise": 2}, "Did you mean mini_batch_size?"),
    (WITH_SETTINGS, {"settings": {"instance_count": 2}}, "settings has no mini_batch_size"),
    (WITH_SETTINGS, {"mini_batch_size": 4}, "cannot have the key mini_batch_size"),
    (
        WITH_SETTINGS,
        {"settings": {"mini_batch_size": 1, "instance_count": 2}, "resources": {"instance_count": 2}},
        "resources as well",
    ),
    (PIPELINE, {"component": "./gone.yml"}, "there is no file ./gone.yml"),
    (PIPELINE, {"compute": "azureml:cpu-cluster"}, "cannot have the key compute"),
    (PIPELINE, {"type": "component"}, "is not a type"),
]
# What we refuse and the client takes: the service, or the deployment, fails with it.
ONLY_HERE = (
    *("or more", "does not know the mode key", "there is no compute", "no environment that it runs in"),
    *("cannot be the name of a file", "is not a level", "does not define"),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("whole", "change"), GOOD, ids=repr)
def test_what_the_client_takes_is_valid(tmp_path: Path, whole: Mapping[str, Any], change: Change) -> None:
    file, found = examined(tmp_path, whole, change)
    assert found.findings == ()
    assert refused_there(loader_of(file) or "", file) == ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("whole", "change", "told"), WRONG, ids=repr)
def test_what_is_wrong_is_told_and_the_client_refuses_it_too(
    tmp_path: Path, whole: Mapping[str, Any], change: Change, told: str
) -> None:
    file, found = examined(tmp_path, whole, change)
    said = "\n".join(map(str, found.findings))
    assert told in said
    assert refused_there(loader_of(file) or "", file) or any(reason in said for reason in ONLY_HERE)


def test_a_deployment_is_read_with_its_settings_wherever_they_stand(tmp_path: Path) -> None:
    settings = {
        "mini_batch_size": 4,
        "max_concurrency_per_instance": 2,
        "error_threshold": 7,
        "retry_settings": {"max_retries": 1, "timeout": 60},
        "output_file_name": "rows.csv",
        "logging_level": "WARNING",
        "environment_variables": {"LIMIT": 4},
    }
    beside = examined(tmp_path, MODEL, {**settings, "resources": {"instance_count": 3}})[1].spec
    below = examined(tmp_path, MODEL, {"settings": {**settings, "instance_count": 3}})[1].spec
    assert beside == below
    assert isinstance(below, BatchDeploymentSpec)
    assert (below.name, below.compute) == ("forest", "cpu-cluster")
    assert (below.code, below.scoring_script) == (tmp_path / "code", "score.py")
    assert (below.instances, below.concurrency_per_instance, below.mini_batch_size) == (3, 2, 4)
    assert (below.error_threshold, below.max_retries, below.retry_timeout_seconds) == (7, 1, 60.0)
    assert (below.output_file_name, below.logging_level) == ("rows.csv", "warning")
    assert below.environment_variables == {"LIMIT": "4"}


def test_each_kind_has_its_own_value(tmp_path: Path) -> None:
    assert isinstance(examined(tmp_path, ENDPOINT, {})[1].spec, BatchEndpointSpec)
    pipeline = examined(tmp_path, PIPELINE, {})[1].spec
    assert isinstance(pipeline, PipelineDeploymentSpec)
    assert (pipeline.component, pipeline.endpoint_name) == (PIPELINE["component"], "nightly")


def test_validate_says_what_a_batch_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for whole, what in ((ENDPOINT, "batch endpoint"), (MODEL, "batch deployment"), (PIPELINE, "batch deployment")):
        file, _ = examined(tmp_path, whole, {"compute": "azureml:cpu-cluster"} if whole is MODEL else {})
        assert validate([str(file)]) == 0
        assert capsys.readouterr().out == f"ok {file}: {what}\n"


@pytest.mark.parametrize(
    ("whole", "change", "told"),
    [
        (PIPELINE, {}, "this deploys a pipeline"),
        (MODEL, {"output_action": "summary_only"}, "output_action: summary_only leaves no scores"),
        (WITH_SETTINGS, {"settings": {"mini_batch_size": 1, "output_action": "summary_only"}}, "leaves no scores"),
    ],
    ids=repr,
)
def test_a_valid_deployment_that_leaves_no_scores_is_not_one_to_score_with(
    tmp_path: Path, whole: Mapping[str, Any], change: Change, told: str
) -> None:
    file, found = examined(tmp_path, whole, change)
    assert found.findings == ()
    with pytest.raises(SpecError, match=told):
        read_batch_deployment(file)


@pytest.mark.filterwarnings("ignore")
def test_the_shipped_files_are_valid_and_the_client_takes_them() -> None:
    endpoint, deployment = (PROJECT / "serving" / f"batch-{what}.yml" for what in ("endpoint", "deployment"))
    assert read_batch_endpoint(endpoint).name and read_batch_deployment(deployment).compute
    for file in (endpoint, deployment):
        assert refused_there(loader_of(file) or "", file) == ""


def test_what_is_online_and_what_is_batch_is_told_without_a_schema(tmp_path: Path) -> None:
    def what(tree: Mapping[str, Any]) -> str | None:
        file = tmp_path / "served.yml"
        file.write_text(yaml.safe_dump(dict(tree)))
        found = examine_served(file)
        return None if found is None else found.what

    online = {"name": "blue", "endpoint_name": "patients", "model": "azureml:m:1"}
    assert what(MODEL) == what(WITH_SETTINGS) == what(PIPELINE) == "batch deployment"
    assert what({"name": "nightly", "defaults": {"deployment_name": "forest"}}) == "batch endpoint"
    assert what({**online, "instance_type": "Standard_DS3_v2"}) == "online deployment"
    assert what({**online, "type": "kubernetes", "resources": {"limits": {"cpu": "1"}}}) == "online deployment"
    assert what({"name": "patients", "auth_mode": "key"}) == "online endpoint"
    assert what({"command": "echo", "compute": "azureml:c"}) is None
