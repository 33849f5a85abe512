"""Recordings, here made up, held against the loopback service."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.azure_ml_service.online_processes import OnlineProcesses
from tests.recorded.__main__ import main

WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000/resourceGroups/00000"
    "/providers/Microsoft.MachineLearningServices/workspaces/00000"
)
ARM = f"https://management.azure.com{WORKSPACE}"
SECRET = "somebody-secret"
WHO = {
    "createdAt": SECRET,
    "createdBy": SECRET,
    "createdByType": "User",
    "lastModifiedAt": SECRET,
    "lastModifiedBy": SECRET,
    "lastModifiedByType": "User",
}

Record = Callable[..., None]
Rows = Callable[..., dict[str, Any]]


def entry(
    method: str, uri: str, status: int, answer: object = None, sent: object = None, **headers: object
) -> dict[str, Any]:
    """A recorded request and its answer; a header's name has lines for underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    common = {"Content-Type": "application/json; charset=utf-8", "x-ms-response-type": "standard"}
    return {
        "RequestUri": uri,
        "RequestMethod": method,
        "RequestHeaders": {"Accept": "application/json"},
        "RequestBody": sent,
        "StatusCode": status,
        "ResponseHeaders": {**common, **named},
        "ResponseBody": answer,
    }


def model(version: str, **more: object) -> dict[str, Any]:
    """A version of a model, as the service tells it."""
    properties = {
        "description": None,
        "tags": {SECRET: SECRET},
        "properties": {},
        "isArchived": False,
        "isAnonymous": False,
        "flavors": {},
        "modelType": "custom_model",
        "modelUri": SECRET,
        "jobName": None,
        "provisioningState": "Succeeded",
        "stage": "Development",
        **more,
    }
    kind = "Microsoft.MachineLearningServices/workspaces/models/versions"
    where = f"{WORKSPACE}/models/{SECRET}/versions/{version}"
    return {"id": where, "name": version, "type": kind, "properties": properties, "systemData": WHO}


def put_model(version: str, answer: object, status: int = 201) -> dict[str, Any]:
    """The making of a version of a model."""
    uri = f"azureml://subscriptions/x/resourcegroups/x/workspaces/x/datastores/workspaceblobstore/paths/{SECRET}"
    sent = {"properties": {"tags": {SECRET: SECRET}, "modelType": "custom_model", "modelUri": uri}}
    address = f"{ARM}/models/{SECRET}/versions/{version}?api-version=2022-05-01"
    return entry("PUT", address, status, answer, sent, **({"Location": address} if status == 201 else {}))


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Writes a recording."""

    def write(*entries: dict[str, Any], name: str = "one.json") -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"Entries": entries, "Variables": {"name": SECRET}}), encoding="utf-8")

    return write


@pytest.fixture
def rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Rows:
    """Replays the recordings and returns what was found of each operation; nothing of a recording is printed."""

    def replay(*more: str) -> dict[str, Any]:
        assert main([str(tmp_path), "--json", *more]) == 0
        printed = capsys.readouterr().out
        assert SECRET not in printed
        return {row["operation"]: row for row in json.loads(printed)["operations"]}

    return replay


def found(row: dict[str, Any]) -> dict[str, str]:
    """What differs in an operation."""
    return {one["where"]: one["kind"] for one in row["differences"]}


def test_answer_of_the_same_shape_is_the_same_whatever_its_values(record: Record, rows: Rows) -> None:
    record(put_model("1", model("1")))

    row = rows()["PUT management /W/models/{}/versions/{}"]

    assert (row["requests"], row["same"], row["differences"]) == (1, 1, [])


@pytest.mark.parametrize(
    ("told", "column", "where", "kind"),
    [
        ({"never": {"told": 1}}, "less", "body.properties.never", "less"),
        ({"jobName": SECRET}, "different", "body.properties.jobName", "different"),
        ({"isArchived": "False"}, "different", "body.properties.isArchived", "different"),
        ({"modelType": "mlflow_model"}, "different", "body.properties.modelType", "different"),
        ({"tags": {}}, "more", "body.properties.tags.*", "more"),
    ],
    ids=["a key less", "null", "another type", "another word", "a key more"],
)
def test_difference_in_shape_is_told_with_its_place_and_kind(
    told: dict[str, Any], column: str, where: str, kind: str, record: Record, rows: Rows
) -> None:
    record(put_model("1", model("1", **told)))

    row = rows()["PUT management /W/models/{}/versions/{}"]

    assert (row[column], row["same"]) == (1, 0)
    assert found(row) == {where: kind}


def test_difference_in_status_or_in_a_header_is_told(record: Record, rows: Rows) -> None:
    record(
        entry("GET", f"{ARM}/computes/{SECRET}?api-version=1", 403, None),
        {**put_model("1", model("1")), "ResponseHeaders": {"retry-after": ["1"], "x-ms-response-type": "standard"}},
    )

    replayed = rows()

    assert replayed["GET management /W/computes/{}"]["differences"][0]["what"] == "403 recorded, 404 here"
    assert found(replayed["PUT management /W/models/{}/versions/{}"]) == {
        "header location": "more",
        "header retry-after": "less",
    }


def test_ids_that_the_service_makes_up_are_translated_in_later_requests(record: Record, rows: Rows) -> None:
    """The service names an anonymous component, a job names the component, and another workspace is in the paths."""
    recorded, zeros = "8d3f0a52-0000-4000-8000-1234567890ab", "000000000000000000000"
    component = f"{WORKSPACE}/components/azureml_anonymous/versions/{recorded}"
    node = {"type": "command", "componentId": component, "computeId": f"{WORKSPACE}/computes/{SECRET}"}
    sent = {"properties": {"jobType": "Pipeline", "jobs": {SECRET: node}, "inputs": {}, "outputs": {}}}
    spec = {"type": "command", "command": SECRET, "environment": f"azureml:{SECRET}:1"}
    operation = "PUT management /W/components/{}/versions/{}"
    record(
        entry(
            "PUT",
            f"{ARM}/components/azureml_anonymous/versions/{zeros}",
            201,
            {"id": component, "name": recorded, "properties": {"componentSpec": {}}},
            {"properties": {"isAnonymous": True, "componentSpec": spec}},
        ),
        entry("GET", f"{ARM}/components/azureml_anonymous/versions/{recorded}", 200, {"name": recorded}),
        entry("PUT", f"{ARM}/jobs/{zeros}", 201, {}, sent),
        entry("PUT", f"{ARM}/jobs/{zeros}", 201, {}, sent),  # another job, whose name was replaced by the same zeros
    )

    replayed = rows()

    assert found(replayed[operation]).get("body.name") is None
    for row in replayed.values():
        assert {"status", "state before the request"}.isdisjoint(found(row)), row


def test_what_a_recording_takes_for_granted_is_there(record: Record, rows: Rows) -> None:
    listed = {"value": [{"name": "7", "properties": {}}, {"name": "6", "properties": {}}], "nextLink": SECRET}
    job = {"properties": {"jobType": "Command", "status": "Completed", "command": SECRET}}
    record(
        entry("GET", f"{ARM}/computes/{SECRET}", 200, {}),
        entry("GET", f"{ARM}/models/{SECRET}/versions/4", 200, {}),
        entry("GET", f"{ARM}/data/{SECRET}/versions?$top=2", 200, listed),
        entry("GET", f"{ARM}/jobs/{SECRET}", 200, job),
        entry("HEAD", f"https://{SECRET}.blob.core.windows.net/{SECRET}/{SECRET}", 200),
        entry("GET", f"https://somewhere.api.azureml.ms/history/v1.0{WORKSPACE}/runs/{SECRET}", 200, {"runId": SECRET}),
    )

    replayed = rows()

    assert len(replayed) == 6
    for row in replayed.values():
        assert {"status", "state before the request"}.isdisjoint(found(row)), row


def test_cancel_of_a_job_is_answered_by_the_status_that_it_had(record: Record, rows: Rows) -> None:
    cancel = f"{ARM}/jobs/job-a/cancel?api-version=1"
    job = {"properties": {"jobType": "Pipeline", "jobs": {}}}
    record(
        entry("PUT", f"{ARM}/jobs/job-a", 201, {}, job),
        entry(
            "POST", cancel, 202, "null", Location=f"https://management.azure.com/subscriptions/x/providers/y/z/{SECRET}"
        ),
        entry("POST", cancel, 400, {"error": {"code": "UserError"}}),
    )

    assert "status" not in found(rows()["POST management /W/jobs/{}/cancel"])


def test_operation_that_the_service_does_not_have_is_counted_as_not_answered(record: Record, rows: Rows) -> None:
    record(
        entry("GET", f"{ARM}/schedules/{SECRET}", 200, {}),
        entry("GET", f"https://{SECRET}.example.com/{SECRET}", 200, {}),
        entry("POST", f"https://login.microsoftonline.com/{SECRET}/oauth2/v2.0/token", 200, {}, SECRET),
    )

    assert {name: row["not answered"] for name, row in rows().items()} == {
        "GET management /W/schedules/{}": 1,
        "GET other …": 1,
        "POST login …/token": 1,
    }


def test_each_recording_begins_with_an_empty_workspace(record: Record, rows: Rows) -> None:
    record(put_model("1", model("1")), name="a.json")
    record(put_model("1", model("1")), name="below/b.json")

    assert rows()["PUT management /W/models/{}/versions/{}"]["same"] == 2
    assert rows("--only", "^below/")["PUT management /W/models/{}/versions/{}"]["same"] == 1


def test_files_that_are_no_recordings_are_named_and_skipped(
    record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(put_model("1", model("1")))
    broken = {
        "conflict.json": f"{{\n<<<<<<< HEAD\n {SECRET}\n=======\n}}\n",
        "list.json": "[]",
        "cut.json": '{"Entries": [{"RequestMethod": "GET"}]}',
        "no.json": SECRET,
    }
    for name, text in broken.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    assert main([str(tmp_path)]) == 0

    printed = capsys.readouterr().out
    assert SECRET not in printed
    assert "1 recordings were replayed; 4 were skipped." in printed
    assert "skipped conflict.json: it has conflict marks of Git" in printed
    assert all(f"skipped {name}: it" in printed or f"skipped {name}: one" in printed for name in broken)


def test_answer_that_replacements_have_broken_is_compared_by_status_and_headers_only(
    record: Record, rows: Rows
) -> None:
    record({**put_model("1", f'{{"id":"{SECRET}'), "StatusCode": 201})

    assert rows()["PUT management /W/models/{}/versions/{}"]["same"] == 1


def test_differences_of_an_operation_are_listed_without_any_value(
    record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(put_model("1", model("1", jobName=SECRET, never=SECRET)))

    assert main([str(tmp_path), "--differences", "put management /w/models"]) == 0

    printed = capsys.readouterr().out
    assert SECRET not in printed
    assert "1  different  body.properties.jobName: text recorded, null here" in printed
    assert "1  less       body.properties.never: text recorded" in printed


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{}/nowhere"], "There is no folder"),
        (["{}"], "nothing was replayed"),
        (["{}", "--only", "("], "no regular expression"),
    ],
)
def test_nothing_to_replay_ends_with_2_and_a_sentence(
    arguments: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(tmp_path) for argument in arguments]) == 2
    assert why in capsys.readouterr().err


ONLINE = f"{WORKSPACE}/onlineEndpoints/{SECRET}"
OPERATIONS = "/subscriptions/0000/providers/Microsoft.MachineLearningServices/locations/westus"


def test_host_that_was_replaced_is_that_of_azure_resource_manager(record: Record, rows: Rows) -> None:
    put = put_model("1", model("1"))
    record({**put, "RequestUri": put["RequestUri"].replace("management.azure.com", "Sanitized.azure.com")})

    assert rows()["PUT management /W/models/{}/versions/{}"]["same"] == 1


def polled(operation: str, status: str, end: str) -> dict[str, Any]:
    """A look at the operation of an online endpoint; its address is signed, and that is not the same each time."""
    name = f"oeidp:11111111-1111-4111-8111-111111111111:{operation}"
    told = {"id": SECRET, "name": name, "startTime": SECRET, "endTime": end, "percentComplete": 0.0, "status": status}
    address = f"https://Sanitized.azure.com{OPERATIONS}/mfeOperationsStatus/{name}?api-version=1&t={SECRET}&s={SECRET}"
    return entry("GET", address, 200, told)


def test_operation_has_come_as_far_as_was_told_whenever_it_is_looked_at(record: Record, rows: Rows) -> None:
    operation = "22222222-2222-4222-8222-222222222222"
    sent = {"location": "westus", "properties": {"authMode": "Key"}}
    made = {
        "id": SECRET,
        "name": SECRET,
        "type": SECRET,
        "properties": {"provisioningState": "Creating", "scoringUri": None},
    }
    address = polled(operation, "Updating", SECRET)["RequestUri"]
    record(
        entry("PUT", f"https://management.azure.com{ONLINE}?api-version=1", 201, made, sent)
        | {"ResponseHeaders": {"Azure-AsyncOperation": address}},
        polled(operation, "Updating", "0001-01-01T00:00:00+00:00"),
        polled(operation, "Succeeded", SECRET),
        polled("33333333-3333-4333-8333-333333333333", "Updating", SECRET),  # begun before the recording
    )

    status = "GET management /subscriptions/{}/providers/{}/locations/{}/mfeOperationsStatus/{}"

    assert rows()[status]["same"] == 3


def test_storage_that_goes_by_identity_is_so_until_the_end_of_the_recording(record: Record, rows: Rows) -> None:
    store = f"{ARM}/datastores/workspaceblobstore"
    refused = {"error": {"code": "UserError", "message": SECRET, "details": [], "additionalInfo": []}}
    record(
        entry("POST", f"{store}/listSecrets?api-version=1", 400, refused, {"expirableSecret": True}),
        entry("GET", f"{store}?api-version=1", 200, {"properties": {"credentials": {"credentialsType": "None"}}}),
    )
    record(entry("POST", f"{store}/listSecrets?api-version=1", 200, {"secretsType": "Sas"}), name="two.json")

    replayed = rows()

    assert "status" not in found(replayed["POST management /W/datastores/{}/listSecrets"])
    assert "body.properties.credentials.credentialsType" not in found(replayed["GET management /W/datastores/{}"])


def test_endpoint_that_was_told_to_be_gone_is_gone(record: Record, rows: Rows) -> None:
    kept = {"id": SECRET, "name": SECRET, "type": SECRET, "properties": {"provisioningState": "Succeeded"}}
    record(
        entry("GET", f"https://management.azure.com{ONLINE}?api-version=1", 200, kept),
        entry("GET", f"https://management.azure.com{ONLINE}?api-version=1", 404, None),
    )

    row = rows()["GET management /W/onlineEndpoints/{}"]

    assert "status" not in found(row)


def test_deployment_is_made_of_what_it_refers_to_and_is_not_run(
    record: Record, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def start(_: OnlineProcesses, key: str, files: object) -> None:
        started.append(key)

    monkeypatch.setattr(OnlineProcesses, "start", start)
    operation = polled("22222222-2222-4222-8222-222222222222", "Succeeded", SECRET)
    properties = {
        "codeConfiguration": {"codeId": f"{WORKSPACE}/codes/{SECRET}/versions/1", "scoringScript": SECRET},
        "environmentId": f"{WORKSPACE}/environments/{SECRET}/versions/1",
        "instanceType": "STANDARD_DS2_V2",
    }
    sent = {"location": "westus", "sku": {"name": "Default", "capacity": 1}, "properties": properties}
    made = {"id": SECRET, "name": SECRET, "type": SECRET, "properties": {"provisioningState": "Creating"}}
    put = entry("PUT", f"{ARM}/onlineEndpoints/{SECRET}/deployments/{SECRET}?api-version=1", 201, made, sent)
    put["ResponseHeaders"]["Azure-AsyncOperation"] = operation["RequestUri"]
    record(put, operation)

    replayed = rows()

    assert "status" not in found(replayed["PUT management /W/onlineEndpoints/{}/deployments/{}"])
    assert started == []


def test_run_in_the_name_of_its_output_is_ours_in_the_address_that_is_asked_for(record: Record, rows: Rows) -> None:
    made, step = "1f1c5c9e-0000-4aaa-8bbb-5a2d6b3f7e01", "2f1c5c9e-0000-4aaa-8bbb-5a2d6b3f7e02"
    api = "https://westus.api.azureml.ms"
    asset = f"azureml://locations/westus/workspaces/{made}/data/azureml_{step}_output_data_rows/versions/1"
    run = {"runId": step, "parentRunId": "above", "displayName": "step", "status": "Completed"}
    asked = {"runMetadata": {**run, "outputs": {"rows": {"assetId": asset, "type": "UriFolder"}}}}
    record(
        entry("POST", f"{api}/history/v1.0{WORKSPACE}/rundata", 200, asked, {"runId": step}),
        entry(
            "POST",
            f"{api}/data/v1.0{WORKSPACE}/dataversion/batchGetResolvedUris",
            200,
            {"values": {asset: {"uri": SECRET, "type": "UriFolder"}}},
            {"values": [asset]},
        ),
    )

    row = rows()["POST api /data/v1.0/W/dataversion/batchGetResolvedUris"]

    assert (row["requests"], row["same"]) == (1, 1)


def test_start_of_a_batch_job_is_compared_and_nothing_is_run(record: Record, rows: Rows) -> None:
    deployment = f"{WORKSPACE}/batchEndpoints/lab/deployments/green"
    listed = {
        "id": deployment,
        "name": "green",
        "location": "westus",
        "properties": {
            "model": {"referenceType": "Id", "assetId": f"{WORKSPACE}/models/{SECRET}/versions/1"},
            "compute": f"{WORKSPACE}/computes/{SECRET}",
            "provisioningState": "Succeeded",
        },
    }
    sent = {"properties": {"inputData": {SECRET: {"jobInputType": "UriFolder", "uri": SECRET}}}}
    started = entry(
        "POST",
        "https://lab.westus.inference.ml.azure.com/jobs",
        201,
        {"name": SECRET, "never": "told"},
        sent,
        Location=f"https://westus.api.azureml.ms/mferp/managementfrontend{deployment}?api-version=1",
    )
    started["RequestHeaders"]["azureml-model-deployment"] = "green"
    scored = entry("POST", "https://lab.westus.inference.ml.azure.com/score", 200, [1], {"data": [1]})
    record(entry("GET", f"https://management.azure.com{deployment}?api-version=1", 200, listed), started, scored)

    found_rows = rows()

    differences = found(found_rows["POST scoring /jobs"])
    assert differences["body.never"] == "less"
    assert "status" not in differences and "header location" not in differences
    assert found_rows["POST scoring /score"]["not answered"] == 1
