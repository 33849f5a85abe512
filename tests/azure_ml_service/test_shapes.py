"""Answers of the loopback service, in the shape that the real one was recorded to give them since 2023."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.azure_ml_service.blobs import DATASTORES
from tests.azure_ml_service.faults import EndpointFault
from tests.azure_ml_service.identity import make_token
from tests.azure_ml_service.jobs import mark_reused, new_child, new_job, started_properties
from tests.azure_ml_service.messages import Answer, Request
from tests.azure_ml_service.service import Service
from tests.recorded.assumed import NothingRuns
from tests.waiting import until

COMMAND = {"jobType": "Command", "command": "ls", "environmentId": "azureml:lab:1", "inputs": {}}
API_OF_2025 = "2025-01-01-preview"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that runs nothing."""
    made = Service(tmp_path, executor=NothingRuns()).start(with_mlflow=False)
    yield made
    made.stop()


def ask(
    service: Service, method: str, path: str, sent: object = None, version: str = "2024-01-01-preview", more: str = ""
) -> Answer:
    """Ask for something in the workspace, or for an address."""
    address = path if path.startswith("https://") else f"{service.workspace.path}{path}?api-version={version}{more}"
    headers = {"Authorization": f"Bearer {make_token('https://management.azure.com')}"}
    body = b"" if sent is None else json.dumps(sent).encode()
    return service.answer(Request.read(method, "management.azure.com", address, headers, body))


def told(answer: Answer) -> Any:
    """What an answer says."""
    return json.loads(answer.body)


def command_job(service: Service, name: str, version: str, **more: object) -> Answer:
    compute = f"{service.workspace.path}/computes/cpu-cluster-01"
    sent = {"properties": {**COMMAND, "computeId": compute, **more}}
    return ask(service, "PUT", f"/jobs/{name}", sent, version)


def test_version_of_an_output_of_a_command_job_is_refused_by_the_api_of_2025(service: Service) -> None:
    outputs = {"rows": {"jobOutputType": "uri_folder", "assetName": "rows", "assetVersion": "2"}}

    refused = command_job(service, "one", API_OF_2025, outputs=outputs)

    error = told(refused)["error"]
    assert (refused.status, error["code"], error["details"][0]["code"]) == (400, "UserError", "RequestInvalid")
    assert "'assetVersion' on object of type 'UriFolderJobOutput'" in error["details"][0]["message"]
    assert error["additionalInfo"][-1]["type"] == "MessageFormat"
    assert command_job(service, "one", "2024-01-01-preview", outputs=outputs).status == 201


def test_command_job_is_told_by_the_version_of_the_api_that_asks(service: Service) -> None:
    by_2025, by_2024 = (told(command_job(service, "one", api))["properties"] for api in (API_OF_2025, "2024-01-01"))

    assert (by_2025["resources"]["dockerArgsList"], "dockerArgsList" in by_2024["resources"]) == (None, False)
    assert by_2024["queueSettings"] == {"jobTier": "Null"}
    assert by_2024["properties"]["_azureml.ClusterName"] == "cpu-cluster-01"


def test_cancel_of_a_command_job_is_answered_as_that_of_a_pipeline(service: Service) -> None:
    command_job(service, "one", API_OF_2025)

    answer = ask(service, "POST", "/jobs/one/cancel")

    assert (answer.status, told(answer)) == (202, None)
    assert answer.headers["x-ms-async-operation-timeout"] == "PT1H"
    assert ask(service, "GET", answer.headers["Location"]).status == 202


def test_pipeline_that_says_nothing_goes_on_after_a_failure_and_has_no_inputs(service: Service) -> None:
    job = new_job("one", {"jobType": "Pipeline", "jobs": {}, "componentId": "azureml:whole:1"})

    properties = started_properties(job)

    assert properties["azureml.continue_on_step_failure"] == "True"
    assert properties["azureml.SourceComponentId"] == "azureml:whole:1"
    assert service.job_routes.resource(job)["properties"]["inputs"] is None


def test_step_that_failed_tells_its_error_and_where_it_ran(service: Service) -> None:
    above = new_job("above", {"jobType": "Pipeline", "computeId": "/computes/gpu", "jobs": {}})
    step = new_child("step", {"componentId": "azureml:fit:1"}, above, "fit")
    step |= {"status": "Failed", "error": {"code": "UserError", "message": "It failed."}}
    service.documents.put("jobs", "above", above)
    service.documents.put("jobs", "step", step)

    (run,) = told(
        ask(
            service,
            "GET",
            f"https://westeurope.api.azureml.ms/history/v1.0{service.workspace.path}/runs/above/children",
        )
    )["value"]

    assert run["error"]["error"]["message"] == "It failed."
    assert (run["error"]["componentName"], run["error"]["time"][:4]) == ("CommonRuntime", "0001")
    assert (run["compute"]["target"], run["runTypeV2"]["orchestrator"]) == ("gpu", "Execution")
    assert "ContentSnapshotId" not in run["properties"]  # its component has no code


def test_pipeline_that_failed_tells_a_reference_and_no_outputs(service: Service) -> None:
    failed = new_job("whole", {"jobType": "Pipeline", "jobs": {}})
    service.documents.put("jobs", "whole", failed | {"error": {"code": "UserError", "message": "Steps have failed."}})
    address = f"https://westeurope.api.azureml.ms/history/v1.0{service.workspace.path}/rundata"

    run = told(ask(service, "POST", address, {"runId": "whole"}))["runMetadata"]

    assert (run["error"]["error"]["code"], run["error"]["error"]["referenceCode"]) == (
        "UserError",
        "PipelineHasStepJobFailed",
    )
    assert (run["error"]["componentName"], run["warnings"], run["outputs"]) == ("", None, None)


def test_model_that_is_not_there_is_told_in_the_details(service: Service) -> None:
    answer = ask(service, "GET", "/models/none/versions")

    error = told(answer)["error"]
    assert (answer.status, error["code"], error["details"][0]["code"]) == (404, "UserError", "ModelNotFound")
    assert "InnerError" not in [one["type"] for one in error["additionalInfo"]]


def test_newest_version_of_an_environment_is_labelled_and_the_first_of_a_list_tells_of_no_more(
    service: Service,
) -> None:
    for version in ("bar", "foo"):
        made = ask(
            service, "PUT", f"/environments/lab/versions/{version}", {"properties": {"image": f"ubuntu:{version}"}}
        )
        assert told(made)["properties"]["properties"] == {"azureml.labels": "latest"}
    unnamed = {"properties": {"image": "ubuntu", "isAnonymous": True}}
    anonymous = told(ask(service, "PUT", "/environments/CliV2AnonymousEnvironment/versions/1", unnamed))["properties"]

    listed = told(ask(service, "GET", "/environments/lab/versions", more="&$orderBy=createdtime%20desc&$top=1"))

    assert told(ask(service, "GET", "/environments/lab/versions/bar"))["properties"]["properties"] == {
        "azureml.labels": ""
    }
    assert (anonymous["properties"], anonymous["stage"]) == ({"azureml.labels": ""}, "Logged")
    assert ([one["name"] for one in listed["value"]], "nextLink" in listed) == (["foo"], False)


def test_versions_are_told_to_be_there_and_in_what_stage(service: Service) -> None:
    sent = {"properties": {"componentSpec": {"type": "command", "command": "ls", "environment": "azureml:lab:1"}}}

    ask(service, "PUT", "/components/fit/versions/1", sent)

    version = told(ask(service, "GET", "/components/fit/versions/1"))["properties"]
    container = told(ask(service, "GET", "/components/fit"))
    assert version["provisioningState"] == container["properties"]["provisioningState"] == "Succeeded"
    assert container["systemData"]["createdBy"]


def test_storage_by_identity_hands_out_no_secrets_and_takes_tokens(service: Service) -> None:
    service.arm.by_identity = True
    blob = f"https://loopbackstorage.blob.core.windows.net/{DATASTORES['workspaceblobstore']}/a"
    tokens = {
        name: {"Authorization": f"Bearer {make_token(f'https://{name}.azure.com')}"} for name in ("storage", "ml")
    }

    refused = ask(service, "POST", "/datastores/workspaceblobstore/listSecrets", {"expirableSecret": True})
    store = told(ask(service, "GET", "/datastores/workspaceblobstore"))
    heads = {name: service.answer(Request.read("HEAD", "", blob, given, b"")) for name, given in tokens.items()}

    assert (refused.status, told(refused)["error"]["message"]) == (400, "No secrets for credentials of type None.")
    assert store["properties"]["credentials"] == {"credentialsType": "None"}
    assert {name: answer.status for name, answer in heads.items()} == {"storage": 404, "ml": 401}


def put_endpoint(service: Service, kind: str) -> Answer:
    return ask(service, "PUT", f"/{kind}/lab", {"location": "westeurope", "properties": {"authMode": "aadToken"}})


def test_operation_of_an_online_endpoint_is_signed_and_ends_in_the_year_1_until_it_is_over(service: Service) -> None:
    service.operations.seconds = 0.2

    made = put_endpoint(service, "onlineEndpoints")

    address = made.headers["Azure-AsyncOperation"]
    begun = told(ask(service, "GET", address))
    assert parse_qs(urlsplit(address).query).keys() == {"api-version", "t", "c", "s", "h"}
    assert address.startswith(told(made)["properties"]["properties"]["AzureAsyncOperationUri"])
    assert (begun["status"], begun["endTime"], begun["percentComplete"]) == (
        "Updating",
        "0001-01-01T00:00:00+00:00",
        0.0,
    )
    until(lambda: told(ask(service, "GET", address))["status"] == "Succeeded")
    ended = told(ask(service, "GET", address))
    assert (ended["endTime"] > begun["startTime"], ended["percentComplete"]) == (True, 0.0)


def test_batch_endpoint_tells_no_operation_and_its_address_once_it_is_made(service: Service) -> None:
    service.operations.seconds = 0.2

    made = put_endpoint(service, "batchEndpoints")

    properties = told(made)["properties"]
    assert properties["scoringUri"] is None
    assert properties["properties"].keys() == {"BatchEndpointCreationApiVersion", "azureml.onlineendpointid"}
    assert told(ask(service, "GET", made.headers["Azure-AsyncOperation"])).keys() == {"id", "name", "status"}
    until(lambda: told(ask(service, "GET", "/batchEndpoints/lab"))["properties"]["provisioningState"] == "Succeeded")
    assert told(ask(service, "GET", "/batchEndpoints/lab"))["properties"]["scoringUri"].endswith("/jobs")


@pytest.mark.parametrize("kind", ["onlineEndpoints", "batchEndpoints"])
def test_deletion_of_an_endpoint_is_an_operation_of_the_same_name(service: Service, kind: str) -> None:
    put_endpoint(service, kind)
    until(lambda: told(ask(service, "GET", f"/{kind}/lab"))["properties"]["provisioningState"] == "Succeeded")

    deleted = ask(service, "DELETE", f"/{kind}/lab")

    assert deleted.headers["x-ms-async-operation-timeout"] == "PT30M"
    assert "/mfeOperationResults/" in deleted.headers["Location"]
    until(lambda: ask(service, "GET", deleted.headers["Location"]).status == 200)
    gone = ask(service, "GET", f"/{kind}/lab")
    assert (gone.status, told(gone)["error"]["additionalInfo"][-1]["info"]["value"]["innerError"]["code"]) == (
        404,
        "EndpointNotFound",
    )


def test_compute_target_that_is_made_has_an_operation_of_a_name_of_its_own(service: Service) -> None:
    service.computes.looks = 1
    size = {"vmSize": "STANDARD_DS2_V2", "scaleSettings": {"maxNodeCount": 1}}
    sent = {"location": "westeurope", "properties": {"computeType": "AmlCompute", "properties": size}}

    address = ask(service, "PUT", "/computes/gpu", sent).headers["Azure-AsyncOperation"]

    assert "/computeOperationsStatus/gpu" not in address
    assert told(ask(service, "GET", address)) == {"status": "InProgress"}
    ask(service, "GET", "/computes/gpu")
    assert told(ask(service, "GET", address))["status"] == "Succeeded"


def test_step_that_was_reused_ran_nowhere_and_points_at_the_pipeline_that_ran_it(service: Service) -> None:
    made = {
        name: new_job(name, {"jobType": "Pipeline", "jobs": {}, "computeId": "/computes/lab"})
        for name in ("first", "second")
    }
    node = {"componentId": "/components/azureml_anonymous/versions/one"}
    ran, reused = (new_child(f"{name}-step", node, pipeline, "step") for name, pipeline in made.items())
    mark_reused(reused, ran)
    for job in (*made.values(), ran, reused):
        service.documents.put("jobs", job["name"], job)

    base = f"https://westeurope.api.azureml.ms/history/v1.0{service.workspace.path}"
    shown = {name: told(ask(service, "GET", f"{base}/runs/{name}-step")) for name in made}

    told_of_both = ("compute", "computeRequest", "diagnosticsUri")
    assert [shown["second"][key] for key in told_of_both] == [None] * 3
    assert [shown["first"][key] is None for key in told_of_both] == [False] * 3
    kind = {"orchestrator": None, "traits": ["azureml.StepRun"], "attribution": None, "computeType": None}
    assert shown["second"]["runTypeV2"] == kind
    assert [sorted(shown[name]["actionUris"]) for name in made] == [["Cancel", "Diagnose"], ["Cancel"]]
    assert shown["second"]["properties"]["azureml.rootpipelinerunid"] == "first"


def test_model_version_that_is_not_there_is_told_in_the_details_too(service: Service) -> None:
    error = told(ask(service, "GET", "/models/none/versions/1"))["error"]

    assert (error["code"], error["details"][0]["code"]) == ("UserError", "NoSuchModelRegistered")
    assert "InnerError" not in [one["type"] for one in error["additionalInfo"]]


def test_store_of_artifacts_tells_neither_subscription_nor_who_goes_to_it(service: Service) -> None:
    by_name = {
        name: told(ask(service, "GET", f"/datastores/{name}"))["properties"]
        for name in ("workspaceblobstore", "workspaceartifactstore")
    }

    shown = by_name["workspaceartifactstore"]
    assert (shown["subscriptionId"], shown["resourceGroup"], shown["serviceDataAccessAuthIdentity"]) == (
        None,
        None,
        "None",
    )
    assert by_name["workspaceblobstore"]["subscriptionId"]


def online_endpoint(service: Service, **more: object) -> Answer:
    properties = {"authMode": "Key", "traffic": {}, "mirrorTraffic": {}, **more}
    return ask(service, "PUT", "/onlineEndpoints/lab", {"location": "westeurope", "properties": properties})


def test_change_of_an_online_endpoint_is_answered_with_what_was_sent_and_little_else(service: Service) -> None:
    online_endpoint(service)
    until(lambda: told(ask(service, "GET", "/onlineEndpoints/lab"))["properties"]["provisioningState"] == "Succeeded")
    asked = {"location": "westeurope", "sku": {"name": "Default", "capacity": 1}, "tags": {}}
    made = service.online.new_deployment("lab", "green", {**asked, "properties": {}}, None)
    made["properties"]["provisioningState"] = "Succeeded"
    service.documents.put("onlineDeployments", "lab/green", made)

    answer = online_endpoint(service, traffic={"green": 100})

    changed = told(answer)
    assert (answer.status, "location" in changed, "identity" in changed) == (201, False, False)
    assert list(changed["systemData"]) == ["lastModifiedAt"]
    shown = changed["properties"]
    assert (shown["traffic"], shown["scoringUri"], shown["provisioningState"]) == ({"green": 100}, None, "Creating")
    until(lambda: told(ask(service, "GET", "/onlineEndpoints/lab"))["properties"]["traffic"] == {"green": 100})
    assert told(ask(service, "GET", "/onlineEndpoints/lab"))["location"] == "westeurope"


def test_online_endpoint_may_be_put_again_while_it_is_made_and_is_what_was_put_last(service: Service) -> None:
    service.faults.add(EndpointFault("hang", "lab", times=1))
    online_endpoint(service, description="first")

    second = online_endpoint(service, description="second")

    assert second.status == 201
    until(lambda: told(ask(service, "GET", "/onlineEndpoints/lab"))["properties"]["provisioningState"] == "Succeeded")
    service.faults.clear()
    assert told(ask(service, "GET", "/onlineEndpoints/lab"))["properties"]["description"] == "second"


def batch_job(service: Service) -> Answer:
    """Have files scored by a batch deployment, whose settings are all left out but the necessary ones."""
    endpoint = {"location": "westeurope", "properties": {"authMode": "aadToken"}}
    ask(service, "PUT", "/batchEndpoints/lab", endpoint, "2023-10-01")
    service.blobs.path(DATASTORES["workspaceblobstore"], "lab").mkdir(parents=True)
    for kind, properties in (
        ("models", {"modelType": "custom_model", "modelUri": "azureml://datastores/workspaceblobstore/paths/lab"}),
        ("environments", {"image": "ubuntu"}),
        ("codes", {"codeUri": "azureml://datastores/workspaceblobstore/paths/code"}),
    ):
        service.arm.keep(kind, "lab", "1", properties)
    settings = {
        "model": {"referenceType": "Id", "assetId": "azureml:lab:1"},
        "codeConfiguration": {"codeId": "azureml:lab:1", "scoringScript": "score.py"},
        "environmentId": "azureml:lab:1",
        "compute": f"{service.workspace.path}/computes/cpu-cluster-01",
        "resources": {"instanceCount": 2, "properties": {}},
    }
    made = ask(
        service, "PUT", "/batchEndpoints/lab/deployments/green", {"location": "westeurope", "properties": settings}
    )
    assert made.status == 201
    sent = json.dumps({"properties": {"inputData": {"rows": {"jobInputType": "UriFolder", "uri": "https://x/y"}}}})
    headers = {
        "Authorization": f"Bearer {make_token('https://ml.azure.com')}",
        "azureml-model-deployment": "green",
    }
    host = "lab.westeurope.inference.ml.azure.com"
    return service.answer(Request.read("POST", host, "/jobs", headers, sent.encode()))


def test_batch_deployment_tells_the_settings_that_it_was_not_given(service: Service) -> None:
    batch_job(service)

    told_of_it = told(ask(service, "GET", "/batchEndpoints/lab/deployments/green"))["properties"]

    defaults = {"description": None, "loggingLevel": "Info", "maxConcurrencyPerInstance": 1, "miniBatchSize": 10}
    assert {key: told_of_it[key] for key in defaults} == defaults
    assert told_of_it["retrySettings"] == {"maxRetries": 3, "timeout": "PT30S"}
    assert told_of_it["resources"] == {"instanceCount": 2, "instanceType": None, "properties": None}


def test_start_of_a_batch_job_is_answered_below_its_deployment_with_a_name_of_the_service(service: Service) -> None:
    answer = batch_job(service)

    job = told(answer)
    assert (answer.status, answer.headers["azureml-model-deployment"]) == (201, "green")
    assert "/batchEndpoints/lab/deployments/green?" in answer.headers["Location"]
    assert job["name"].startswith("batchjob-")
    assert job["id"].endswith(f"/batchEndpoints/lab/deployments/green/jobs/{job['name']}")
    assert (job["properties"]["status"], job["properties"]["name"] != job["name"]) == ("Preparing", True)
    assert job["properties"]["inputData"]["rows"]["mode"] == "ReadOnlyMount"


def test_batch_job_is_a_pipeline_that_shows_nothing_of_its_graph(service: Service) -> None:
    name = told(batch_job(service))["name"]

    job = told(ask(service, "GET", f"/jobs/{name}"))["properties"]

    hidden = ("jobs", "inputs", "outputs", "settings", "computeId")
    assert (job["jobType"], [job[key] for key in hidden]) == ("Pipeline", [None] * 5)
    assert job["experimentName"] == "lab"
    assert job["description"] == "Pipeline submission for endpoint: lab, deployment: green."
    assert job["tags"]["azureml.deploymentname"] == "green"
