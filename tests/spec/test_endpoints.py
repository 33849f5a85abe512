"""Online endpoints and deployments: what is read of their YAML, what is refused, and what the client says to it."""

# The client has no types worth the name; whether it takes a file is all that is asked of it.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.errors import SpecError
from flows.spec.model.endpoint import Collection, DataCollector
from flows.spec.reading.endpoints import read_endpoint, read_online_deployment
from flows.spec.reading.served import examine_served
from tests.terminal import PROJECT

SERVING = PROJECT / "serving"
ENDPOINT: dict[str, Any] = {"name": "patients", "auth_mode": "key", "tags": {"team": "clinic"}}
DEPLOYMENT: dict[str, Any] = {
    "name": "blue",
    "endpoint_name": "patients",
    "model": "azureml:patients-model:3",
    "code_configuration": {"code": "code", "scoring_script": "score.py"},
    "environment": "azureml:sklearn@latest",
    "instance_type": "Standard_DS3_v2",
    "instance_count": 2,
}
Change = Mapping[str, Any]


def written(folder: Path, whole: Mapping[str, Any], change: Change) -> Path:
    """A file with some keys changed, or left out where they are None."""
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "score.py").write_text("def init(): ...\nasync def run(body): ...\n")
    (folder / "code" / "other.py").write_text("from score import init, run\n")
    (folder / "code" / "none.py").write_text("def init(): ...\n")
    (folder / "code" / "wrong.py").write_text("def init(:\n")
    (folder / "code" / "wrong").write_text("def init(:\n")
    content = {name: value for name, value in {**whole, **change}.items() if value is not None}
    file = folder / "served.yml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def faults(read: Callable[[Path], object], file: Path) -> str:
    try:
        read(file)
    except SpecError as error:
        return str(error)
    return ""


def test_the_shipped_files_are_read_whole() -> None:
    endpoint, deployment = read_endpoint(SERVING / "endpoint.yml"), read_online_deployment(SERVING / "deployment.yml")
    assert (endpoint.name, endpoint.auth_mode) == ("diabetes-predict", "key")
    assert (deployment.endpoint_name, deployment.model) == (endpoint.name, "azureml:diabetes-predict@latest")
    assert deployment.code == SERVING / "score" and deployment.scoring_script == "score.py"
    assert deployment.environment is not None and deployment.environment.conda is not None
    assert "azureml-inference-server-http==" in deployment.environment.conda
    assert deployment.requests.timeout_seconds == 5.0 and deployment.requests.concurrent_requests_per_instance == 1


def test_a_deployment_is_read_with_its_times_in_seconds(tmp_path: Path) -> None:
    change = {
        "request_settings": {"request_timeout_ms": 1500, "max_concurrent_requests_per_instance": "4"},
        "liveness_probe": {"initial_delay": 30, "failure_threshold": 3},
        "environment_variables": {"WORKER_COUNT": 4},
        "model": {"path": "code", "type": "mlflow_model"},
    }
    found = read_online_deployment(written(tmp_path, DEPLOYMENT, change))
    assert (found.requests.timeout_seconds, found.requests.concurrent_requests_per_instance) == (1.5, 4)
    assert (found.liveness.initial_delay_seconds, found.liveness.failures, found.liveness.period_seconds) == (30, 3, 10)
    assert found.environment_variables == {"WORKER_COUNT": "4"}
    assert (found.instances, found.model) == (2, str(tmp_path / "code"))


def test_a_deployment_collects_what_is_enabled_and_nothing_by_itself(tmp_path: Path) -> None:
    collections = {
        "Model_Inputs": {"enabled": "True"},
        "model_outputs": {
            "enabled": "true",
            "data": {"name": "answers", "version": 3, "path": "azureml://datastores/d/paths/p"},
        },
        "others": {"enabled": "False"},
    }
    change = {"data_collector": {"collections": collections, "sampling_rate": 0.25, "rolling_rate": "Day"}}
    found = read_online_deployment(written(tmp_path, DEPLOYMENT, change)).data_collector
    inputs = Collection("model_inputs")
    outputs = Collection("model_outputs", "answers", "3", "azureml://datastores/d/paths/p")
    assert found == DataCollector((inputs, outputs), 0.25, "day")
    whole = read_online_deployment(written(tmp_path, DEPLOYMENT, {"data_collector": {"collections": collections}}))
    assert whole.data_collector == DataCollector((inputs, outputs), 1.0, "hour")
    off = {"data_collector": {"collections": {"model_inputs": {"enabled": "False"}}}}
    assert read_online_deployment(written(tmp_path, DEPLOYMENT, off)).data_collector is None
    assert read_online_deployment(SERVING / "deployment.yml").data_collector is None


def test_whole_bodies_are_collected_with_a_warning(tmp_path: Path) -> None:
    change = {"data_collector": {"collections": {"request": {"enabled": "True"}}}}
    found = examine_served(written(tmp_path, DEPLOYMENT, change))
    assert found is not None and [fault.warning for fault in found.findings] == [True]
    assert "with all that a client sends" in str(found.findings[0])


WRONG_ENDPOINTS: list[tuple[Change, str]] = [
    ({"name": "x"}, "name: 'x' cannot be the name of an endpoint"),
    ({"name": "3patients"}, "beginning with a letter"),
    ({"name": "a" * 33}, "3 to 32"),
    ({"name": None}, "the endpoint has no name"),
    ({"auth_mode": "kye"}, "Did you mean key?"),
    ({"auth-mode": "key", "auth_mode": None}, "Did you mean auth_mode?"),
    ({"traffic": {"blue": 60, "green": 60}}, "the shares sum to 120"),
    ({"traffic": {"blue": 60}}, "the shares sum to 60"),
    ({"traffic": {"blue": "many"}}, "Make it a whole number"),
    ({"traffic": {"blue": 100}, "mirror_traffic": {"blue": 10}}, "blue has live traffic too"),
    ({"mirror_traffic": {"green": 60}}, "Make it 50 or less"),
    ({"mirror_traffic": {"green": 10, "red": 10}}, "Azure ML takes one"),
    ({"compute": "azureml:k8s"}, "Kubernetes"),
    ({"public_network_access": "maybe"}, "is not a choice"),
    ({"identity": {"type": "mine"}}, "is not a type"),
]
WRONG_DEPLOYMENTS: list[tuple[Change, str]] = [
    ({"name": "b"}, "cannot be the name of a deployment"),
    ({"endpoint_name": None}, "there is no endpoint_name"),
    ({"endpoint_name": "no_underscores"}, "cannot be the name of an endpoint"),
    ({"instance_type": None}, "there is no instance_type"),
    ({"instance_type": "DS3"}, "is not the size of a machine"),
    ({"instance_count": 0}, "Make it 1 or more"),
    ({"instance_count": 51}, "50 at most"),
    ({"request_settings": {"request_timeout_ms": 200_000}}, "180000 at most"),
    ({"request_settings": {"max_concurrent_requests_per_instance": 0}}, "Make it 1 or more"),
    ({"request_settings": {"timeout": 5}}, "cannot have the key timeout"),
    ({"liveness_probe": {"period": 0}}, "Make it 1 or more"),
    ({"scale_settings": {"type": "target_utilization", "min_instances": 1}}, "Azure Monitor"),
    ({"scale_settings": {"type": "default", "min_instances": 1}}, "cannot have the key min_instances"),
    ({"code_configuration": {"code": "nowhere", "scoring_script": "score.py"}}, "there is no file or folder nowhere"),
    ({"code_configuration": {"code": "code", "scoring_script": "gone.py"}}, "there is no file gone.py"),
    ({"code_configuration": {"code": "code", "scoring_script": "none.py"}}, "does not define run()"),
    ({"code_configuration": {"code": "code", "scoring_script": "wrong.py"}}, "is not Python, line 1"),
    ({"code_configuration": {"code": "code", "scoring_script": "wrong"}}, "is not Python, line 1"),
    ({"code_configuration": {"code": "code"}}, "no script"),
    ({"code_configuration": {"scoring_script": "score.py"}}, "no folder of it"),
    ({"code_configuration": {"code": "code", "scoring_script": "../served.yml"}}, "outside of the code"),
    ({"environment": None}, "no environment that it runs in"),
    ({"model": "patients-model:3"}, "is not a registered model"),
    ({"model": "azureml:patients-model@champion"}, "champion is no label that Azure ML knows"),
    ({"model": {"type": "mlflow_model"}}, "the model has no path"),
    ({"type": "kubernetes"}, "Kubernetes"),
    ({"instance_typ": "Standard_DS3_v2", "instance_type": None}, "Did you mean instance_type?"),
    ({"data_collector": {"sampling_rate": 2, "collections": {}}}, "from 0 to 1"),
    ({"data_collector": {"sampling_rate": 0.5}}, "collects nothing"),
    ({"data_collector": {}}, "collects nothing"),
    ({"data_collector": {"collections": {"model_inputs": {}}}}, "whether it is enabled"),
    ({"data_collector": {"collections": {"model_inputs": {"enabled": True}}}}, "enabled is true"),
    ({"data_collector": {"collections": {"model_inputs": {"enabled": "yes"}}}}, "yes is not"),
    ({"data_collector": {"collections": {"model_inputs": {"enabld": "True"}}}}, "Did you mean enabled?"),
    ({"data_collector": {"collections": {"model_inputs": {"enabled": "True", "data": {"nam": "x"}}}}}, "mean name?"),
    ({"data_collector": {"collections": {"model_inputs": {"enabled": "True", "data": "azureml:x:1"}}}}, "a mapping"),
    ({"data_collector": {"collections": {}, "rolling_rate": "week"}}, "week is not"),
]
GOOD_ENDPOINTS: list[Change] = [
    {},
    {"traffic": {"blue": 90, "green": 10}, "mirror_traffic": {"red": 50}},
    {"auth_mode": "aad_token", "public_network_access": "disabled", "identity": {"type": "system_assigned"}},
    {"description": "x", "properties": {"a": "b"}, "location": "westeurope"},
]
GOOD_DEPLOYMENTS: list[Change] = [
    {},
    {"code_configuration": {"code": "code", "scoring_script": "other.py"}},
    {"code_configuration": None, "environment": None},
    {"model": "azureml:patients-model@latest", "scale_settings": {"type": "default"}},
    {"model": "azureml://registries/r/models/m/versions/1", "app_insights_enabled": True},
    {"model": {"path": "code"}, "environment": {"image": "python:3.11"}, "type": "managed"},
    {"model": {"id": "azureml:/subscriptions/s/models/m/versions/1", "job_name": "fit", "name": "m", "path": "code"}},
    {"egress_public_network_access": "enabled", "instance_count": 50},
    {
        "data_collector": {
            "collections": {"model_inputs": {"enabled": "True"}},
            "sampling_rate": 0.5,
            "rolling_rate": "hour",
        }
    },
]


@pytest.mark.parametrize(("change", "told"), WRONG_ENDPOINTS, ids=repr)
def test_a_wrong_endpoint_is_refused_with_a_remedy(tmp_path: Path, change: Change, told: str) -> None:
    assert told in faults(read_endpoint, written(tmp_path, ENDPOINT, change))


@pytest.mark.parametrize(("change", "told"), WRONG_DEPLOYMENTS, ids=repr)
def test_a_wrong_deployment_is_refused_with_a_remedy(tmp_path: Path, change: Change, told: str) -> None:
    assert told in faults(read_online_deployment, written(tmp_path, DEPLOYMENT, change))


# What we refuse and the client takes: the service, or the deployment, fails with it.
ONLY_HERE = (
    *("the shares sum to 60", "has live traffic too", "50 or less", "Azure ML takes one", "Kubernetes", "180000"),
    *("is not the size", "Make it 1 or more", "50 at most", "there is no file", "does not define", "is not Python"),
    *("no script", "no folder", "outside of the code", "no environment", "champion is no label", "no path"),
    *("data is text", "no_underscores", "cannot be the name of an endpoint"),
)


@pytest.mark.filterwarnings("ignore")
def test_the_client_takes_and_refuses_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.ai.ml import load_online_deployment, load_online_endpoint
    from azure.ai.ml.entities._endpoint._endpoint_helpers import validate_endpoint_or_deployment_name

    monkeypatch.chdir(tmp_path)

    def client(load: Any, file: Path) -> str:
        try:
            loaded: Any = load(file)
            validate_endpoint_or_deployment_name(loaded.name)
            if load is load_online_deployment:
                loaded._validate()
            else:
                loaded._to_rest_online_endpoint("westeurope")
        except Exception as error:  # which it raises is of no matter
            return f"{type(error).__name__}: {error}"
        return ""

    unlike: list[str] = []
    pairs: list[tuple[Any, Any, Mapping[str, Any], list[Change]]] = [
        (load_online_endpoint, read_endpoint, ENDPOINT, [*GOOD_ENDPOINTS, *(wrong for wrong, _ in WRONG_ENDPOINTS)]),
        (
            load_online_deployment,
            read_online_deployment,
            DEPLOYMENT,
            [*GOOD_DEPLOYMENTS, *(wrong for wrong, _ in WRONG_DEPLOYMENTS)],
        ),
    ]
    for load, read, whole, changes in pairs:
        for change in changes:
            file = written(tmp_path, whole, change)
            ours, theirs = faults(read, file), client(load, file)
            if bool(ours) != bool(theirs) and not any(reason in ours for reason in ONLY_HERE):
                unlike.append(f"{change}: we say {ours!r}, the client {theirs!r}")
    assert unlike == []
    for load, name in ((load_online_endpoint, "endpoint.yml"), (load_online_deployment, "deployment.yml")):
        assert client(load, SERVING / name) == ""


def test_more_requests_at_once_than_workers_are_a_warning(tmp_path: Path) -> None:
    file = written(tmp_path, DEPLOYMENT, {"request_settings": {"max_concurrent_requests_per_instance": 4}})
    found = examine_served(file)
    assert found is not None
    (warning,) = found.findings
    assert warning.warning and 'environment_variables.WORKER_COUNT to "4"' in warning.remedy


def test_validate_takes_the_shipped_files_and_says_what_each_is(tmp_path: Path) -> None:
    wrong = written(tmp_path, DEPLOYMENT, {"instance_count": 0})
    files = [str(SERVING / "endpoint.yml"), str(SERVING / "deployment.yml"), str(wrong)]
    words = [sys.executable, "-m", "flows", "validate", "--json", *files]
    done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 2, done.stderr
    said = json.loads(done.stdout)["files"]
    assert [each["what"] for each in said[:2]] == ["online endpoint", "online deployment"]
    assert said[2]["faults"][0]["key"] == "instance_count" and said[2]["faults"][0]["line"]
