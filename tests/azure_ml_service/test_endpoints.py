"""Endpoints of the loopback service, seen through the unmodified SDK."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.azure_ml_service.faults import EndpointFault
from tests.azure_ml_service.service import Service
from tests.azure_ml_service.test_service import make_client
from tests.serving.azureml.conftest import SCRIPT, Shop

pytest_plugins = ("tests.azure_ml_service.fixtures",)
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("azure_client_allowed")]

Deploy = Callable[..., Any]


@pytest.fixture
def client(azure_environment: Service) -> Any:
    return make_client(azure_environment)


@pytest.fixture
def shop(azure_environment: Service, tmp_path: Path) -> Shop:
    azure_environment.operations.retry_after = 0.1
    return Shop(azure_environment, tmp_path, f"sdk-{tmp_path.name[-10:].strip('_').replace('_', '-')}")


@pytest.fixture
def deploy(client: Any, shop: Shop) -> Deploy:
    """Has a deployment made by the SDK's own method."""

    def make(name: str, version: int = 1) -> Any:
        from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment

        shop.request(name, version, SCRIPT)
        variables = {"TANDEM_MODEL": "x", "TANDEM_MODEL_VERSION": str(version)}
        deployment = ManagedOnlineDeployment(
            name=name,
            endpoint_name=shop.endpoint,
            model=f"azureml:model-{shop.endpoint}:{version}",
            code_configuration=CodeConfiguration(code=str(shop.folder / "code"), scoring_script="score.py"),
            environment=Environment(image="ubuntu:22.04"),
            environment_variables=variables,
            instance_type="Standard_DS3_v2",
            instance_count=1,
        )
        poller = client.online_deployments.begin_create_or_update(deployment)
        poller.wait(120)
        return poller

    return make


def make_endpoint(client: Any, name: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name)).wait(60)


def test_sdk_makes_an_endpoint_a_deployment_and_traffic_asks_them_and_deletes_them(
    client: Any, shop: Shop, deploy: Deploy, tmp_path: Path
) -> None:
    make_endpoint(client, shop.endpoint)
    deploy("blue")
    found = client.online_deployments.get("blue", shop.endpoint)
    assert (found.provisioning_state, found.instance_count) == ("Succeeded", 1)
    assert found.request_settings.request_timeout_ms == 5000
    assert (found.liveness_probe.initial_delay, found.liveness_probe.failure_threshold) == (10, 30)
    endpoint = client.online_endpoints.get(shop.endpoint)
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).wait(60)
    assert client.online_endpoints.get(shop.endpoint).traffic == {"blue": 100}
    (tmp_path / "rows.json").write_text("{}")
    answer = client.online_endpoints.invoke(shop.endpoint, request_file=str(tmp_path / "rows.json"))
    assert json.loads(answer)["version"] == "1"
    assert "init of x" in client.online_deployments.get_logs("blue", shop.endpoint, 10)
    client.online_endpoints.begin_delete(shop.endpoint).wait(60)
    assert shop.endpoint not in [found.name for found in client.online_endpoints.list()]
    assert shop.service.violations == []


def test_deployment_tells_the_variables_of_the_service_and_takes_them_back(
    client: Any, shop: Shop, deploy: Deploy, tmp_path: Path
) -> None:
    make_endpoint(client, shop.endpoint)
    deploy("blue")
    made = client.online_deployments.get("blue", shop.endpoint)
    told = dict(made.environment_variables)
    assert told["AZUREML_ENTRY_SCRIPT"] == "score.py"
    assert told["AZUREML_MODEL_DIR"].startswith("/var/azureml-app/azureml-models/")
    made.instance_count = 2
    client.online_deployments.begin_create_or_update(made).wait(120)
    changed = client.online_deployments.get("blue", shop.endpoint)
    assert (changed.instance_count, changed.environment_variables) == (2, told)
    (tmp_path / "rows.json").write_text("{}")
    file = str(tmp_path / "rows.json")
    answer = client.online_endpoints.invoke(shop.endpoint, deployment_name="blue", request_file=file)
    assert json.loads(answer)["version"] == "1"


def test_fresh_endpoint_over_one_that_is_there_takes_its_traffic_away(client: Any, shop: Shop, deploy: Deploy) -> None:
    make_endpoint(client, shop.endpoint)
    deploy("blue")
    endpoint = client.online_endpoints.get(shop.endpoint)
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).wait(60)
    make_endpoint(client, shop.endpoint)
    assert client.online_endpoints.get(shop.endpoint).traffic == {"blue": 0}


def test_deployment_with_traffic_cannot_be_deleted(client: Any, shop: Shop, deploy: Deploy) -> None:
    from azure.core.exceptions import HttpResponseError

    make_endpoint(client, shop.endpoint)
    deploy("blue")
    endpoint = client.online_endpoints.get(shop.endpoint)
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).wait(60)
    with pytest.raises(HttpResponseError, match="has traffic"):
        client.online_deployments.begin_delete("blue", shop.endpoint)


def test_deployment_that_fails_stays_as_failed_and_says_why(client: Any, shop: Shop, deploy: Deploy) -> None:
    from azure.core.exceptions import HttpResponseError

    make_endpoint(client, shop.endpoint)
    shop.service.faults.add(EndpointFault("build", shop.endpoint, "blue"))
    with pytest.raises(HttpResponseError, match="Image build failed") as told:
        deploy("blue").result()
    assert told.value.error is not None
    assert told.value.error.code == "ImageBuildFailure"
    assert client.online_deployments.get("blue", shop.endpoint).provisioning_state == "Failed"


def test_changes_are_answered_as_they_were_recorded(client: Any, shop: Shop) -> None:
    make_endpoint(client, shop.endpoint)
    (put,) = [one for one in shop.service.requests if one.method == "PUT"]
    assert put.status == 201
    make_endpoint(client, shop.endpoint)
    assert [one.status for one in shop.service.requests if one.method == "PUT"] == [201, 201]
    assert shop.service.count("GET", r"/mfeOperationsStatus/oeidp:") > 0
    client.online_endpoints.begin_delete(shop.endpoint).wait(60)
    client.online_endpoints.begin_delete(shop.endpoint).wait(60)
    assert [one.status for one in shop.service.requests if one.method == "DELETE"] == [202, 204]
