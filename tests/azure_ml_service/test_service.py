"""The loopback Azure ML service, seen through the unmodified SDK."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from flows.settings import PROJECT
from tests.azure_ml_service.faults import Fault, JobFault
from tests.azure_ml_service.service import Service
from tests.waiting import until

pytest_plugins = ("tests.azure_ml_service.fixtures",)
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("azure_client_allowed")]

ENDED = ("Completed", "Failed", "Canceled", "NotResponding", "Paused")
Submit = Callable[..., str]


@pytest.fixture
def client(azure_environment: Service) -> Any:
    return make_client(azure_environment)


def make_client(service: Service, **options: Any) -> Any:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    workspace = service.workspace
    options = {"show_progress": False, **options}
    credential = DefaultAzureCredential()
    return MLClient(credential, workspace.subscription, workspace.resource_group, workspace.name, **options)


def status_of(client: Any, name: str) -> str:
    status = client.jobs.get(name).status
    return getattr(status, "value", status)


def wait(client: Any, name: str, *statuses: str, seconds: float = 40.0) -> str:
    """Wait until a job has one of the statuses, or has ended."""
    end = time.monotonic() + seconds
    status = ""
    while time.monotonic() < end:
        status = status_of(client, name)
        if status in (statuses or ENDED):
            return status
        time.sleep(0.1)
    raise TimeoutError(f"{name} is {status}")


def submit_shell(client: Any, folder: Path, name: str | None = None, **commands: str) -> str:
    """Submit a pipeline of small steps, each a shell command; a step reads those that it names in its command."""
    from azure.ai.ml import load_job
    from azure.ai.ml.entities import Environment

    client.environments.create_or_update(Environment(name="shell", version="1", image="ubuntu:22.04"))
    jobs: dict[str, Any] = {}
    for step, text in commands.items():
        before = [other for other in commands if f"inputs.{other}" in text]
        component = {
            "type": "command",
            "command": text,
            "environment": "azureml:shell@latest",
            "inputs": {other: {"type": "uri_file"} for other in before},
            "outputs": {"out": {"type": "uri_file"}},
        }
        inputs = {other: f"${{{{parent.jobs.{other}.outputs.out}}}}" for other in before}
        jobs[step] = {"type": "command", "component": component, "inputs": inputs}
    settings = {"default_compute": "azureml:cpu-cluster-01"}
    pipeline = {"type": "pipeline", "experiment_name": "small", "settings": settings, "jobs": jobs}
    (folder / "pipeline.yml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    job = load_job(folder / "pipeline.yml")
    if name:
        job.name = name
    return client.jobs.create_or_update(job).name


@pytest.fixture
def submit(client: Any, tmp_path: Path) -> Submit:
    return partial(submit_shell, client, tmp_path)


def register(client: Any) -> None:
    from azure.ai.ml import load_data, load_environment

    client.data.create_or_update(load_data(PROJECT / "data" / "diabetes-diagnostics" / "data.yml"))
    client.environments.create_or_update(load_environment(PROJECT / "environment" / "environment.yml"))


def train(client: Any, name: str) -> None:
    from azure.ai.ml import load_job

    job = load_job(PROJECT / "aml_steps" / "train_pipeline.yml")
    job.name = name
    client.jobs.create_or_update(job)


def test_workspace_data_environment_and_compute(client: Any, azure_ml: Service, tmp_path: Path) -> None:
    from azure.ai.ml.entities import AmlCompute, Data, Environment
    from azure.core.exceptions import ResourceNotFoundError

    assert "/mlflow/v2.0/" in client.workspaces.get().mlflow_tracking_uri
    for text in ("a\n1\n", "a\n2\n"):
        (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
        data = client.data.create_or_update(Data(name="rows", path=str(tmp_path / "rows.csv"), type="uri_file"))
    assert data.version == "2"
    assert client.data.get("rows", label="latest").version == "2"
    assert [found.version for found in client.data.list("rows")] == ["2", "1"]
    environment = Environment(name="some", version="3", image="ubuntu", description="Some")
    assert client.environments.create_or_update(environment).version == "3"
    assert client.environments.get("some", label="latest").image == "ubuntu"
    made = client.compute.begin_create_or_update(AmlCompute(name="other", size="STANDARD_D2", max_instances=2)).result()
    assert {made.name, "cpu-cluster-01"} <= {found.name for found in client.compute.list()}
    with pytest.raises(ResourceNotFoundError):
        client.data.get("rows", version="9")
    assert azure_ml.violations == []


def test_data_is_sent_where_the_storage_goes_by_identity(client: Any, azure_ml: Service, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data

    azure_ml.arm.by_identity = True
    (tmp_path / "rows.csv").write_text("a\n1\n", encoding="utf-8")

    sent = client.data.create_or_update(Data(name="by-identity", path=str(tmp_path / "rows.csv"), type="uri_file"))

    assert azure_ml.arm.path_of(sent.path).read_text(encoding="utf-8") == "a\n1\n"
    assert azure_ml.count("POST", "/listSecrets") == 0
    assert azure_ml.violations == []


def test_the_training_pipeline_runs_is_reused_downloaded_and_registered(
    client: Any, azure_ml: Service, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    register(client)
    train(client, "first")
    assert wait(client, "first") == "Completed", azure_ml.children("first")
    children = {child.display_name: child for child in client.jobs.list(parent_job_name="first")}
    assert {name: child.status for name, child in children.items()} == dict.fromkeys(
        ("prep", "profile", "train", "evaluate"), "Completed"
    )
    train(client, "second")
    assert wait(client, "second") == "Completed"
    reused = {child.display_name: child.properties for child in client.jobs.list(parent_job_name="second")}
    assert all(properties["azureml.isreused"] == "true" for properties in reused.values())
    assert reused["train"]["azureml.reusedrunid"] == children["train"].name

    download(client, "second", "evaluation", tmp_path / "evaluation")
    assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    download(client, children["evaluate"].name, "evaluation_output", tmp_path / "of-child")
    assert (tmp_path / "of-child" / "metrics.json").is_file()
    download(client, "first", "data_report", tmp_path / "report")
    assert (tmp_path / "report" / "data_report").is_file()
    assert all(output.path is None for output in client.jobs.get("first").outputs.values())

    model = Model(
        name="diabetes", path="azureml://jobs/first/outputs/model", type="mlflow_model", tags={"job": "first"}
    )
    assert client.models.create_or_update(model).version == "1"
    registered = client.models.get("diabetes", label="latest")
    assert registered.tags == {"job": "first"}
    assert "sklearn" in registered.flavors
    client.models.download("diabetes", version="1", download_path=tmp_path / "model")
    assert list((tmp_path / "model").rglob("MLmodel"))

    from mlflow import MlflowClient

    tracking = MlflowClient(client.workspaces.get().mlflow_tracking_uri)
    assert tracking.get_run(children["train"].name).data.metrics["training_rows"] > 0
    assert tracking.get_run(children["train"].name).data.tags["mlflow.parentRunId"] == "first"
    again = next(child["name"] for child in azure_ml.children("second").values() if child["step"] == "train")
    until(lambda: tracking.get_run(again).data.metrics == tracking.get_run(children["train"].name).data.metrics)
    assert azure_ml.violations == []


def download(client: Any, job: str, output: str, folder: Path) -> None:
    """Download an output of a job from where the run history says it is."""
    from azure.ai.ml._artifacts._artifact_utilities import download_artifact_from_aml_uri

    jobs = client.jobs
    asset = jobs._runs_operations.get_run_data(job).run_metadata.outputs[output]
    assert asset.type in ("UriFolder", "UriFile")
    found = jobs._dataset_dataplane_operations.get_batch_dataset_uris([asset.asset_id]).values_property
    download_artifact_from_aml_uri(found[asset.asset_id].uri, str(folder), client.datastores)


def test_a_step_logs_metrics_and_artifacts_through_azureml_mlflow(
    client: Any, azure_ml: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.ai.ml import Output, command
    from mlflow import MlflowClient

    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "step.py").write_text(
        dedent("""
        import pathlib, sys, mlflow
        with mlflow.start_run():
            mlflow.log_metric("answer", 42)
            mlflow.log_text("words", "notes/words.txt")
        pathlib.Path("outputs/kept.txt").write_text("kept")
        pathlib.Path(sys.argv[1], "a.txt").write_text("a")
        """),
        encoding="utf-8",
    )
    job = command(
        name="tracked",
        code=str(tmp_path / "code"),
        command="python step.py ${{outputs.out}}",
        environment="azureml://registries/azureml/environments/any/versions/1",
        compute="cpu-cluster-01",
        experiment_name="small",
        outputs={"out": Output(type="uri_folder")},
    )
    client.jobs.create_or_update(job)
    assert wait(client, "tracked") == "Completed", azure_ml.jobs["tracked"]["error"]
    # azureml-mlflow finds artifacts through the process's own tracking address only.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.workspaces.get().mlflow_tracking_uri)
    tracking = MlflowClient()
    assert tracking.get_run("tracked").data.metrics == {"answer": 42}
    (tmp_path / "down").mkdir()
    tracking.download_artifacts("tracked", "notes/words.txt", str(tmp_path / "down"))
    assert (tmp_path / "down" / "notes" / "words.txt").read_text(encoding="utf-8") == "words"
    client.jobs.download("tracked", download_path=tmp_path / "all", all=True)
    # Not a.txt of the named output: the SDK does not know the type UriFolder (azure-sdk-for-python #48941).
    got = {path.name for path in (tmp_path / "all").rglob("*")}
    assert got & {"std_log.txt", "kept.txt", "a.txt"} == {"std_log.txt", "kept.txt"}
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="No handler"):
        tracking.search_logged_models(experiment_ids=["1"])
    assert azure_ml.violations == []


def test_a_failed_step_fails_the_job_and_what_needs_it_does_not_run(
    client: Any, submit: Submit, azure_ml: Service
) -> None:
    from azure.ai.ml.exceptions import JobException

    name = submit(
        bad="echo it broke >&2; exit 3",
        after="cat ${{inputs.bad}} > ${{outputs.out}}",
        beside="echo fine > ${{outputs.out}}",
    )
    with pytest.raises(JobException, match="Failed nodes: /bad"):
        client.jobs.stream(name)
    assert wait(client, name) == "Failed"
    children = azure_ml.children(name)
    assert {step: child["status"] for step, child in children.items()} == {"bad": "Failed", "beside": "Completed"}
    assert "status code 3" in children["bad"]["error"]["message"]
    assert "it broke" in children["bad"]["error"]["message"]
    assert azure_ml.violations == []


def test_cancel_ends_the_job_and_the_processes_of_its_steps(client: Any, submit: Submit, azure_ml: Service) -> None:
    name = submit(sleeper="echo $$ > ${{outputs.out}}; sleep 60")
    until(lambda: azure_ml.children(name).get("sleeper", {}).get("status") == "Running")
    client.jobs.begin_cancel(name, polling_interval=0.1).result()  # no Retry-After: the SDK would wait 30 s
    assert wait(client, name) == "Canceled"
    assert azure_ml.children(name)["sleeper"]["status"] == "Canceled"


def test_a_pipeline_that_has_ended_cannot_be_canceled(client: Any, submit: Submit) -> None:
    from azure.core.exceptions import HttpResponseError

    name = submit(one="echo > ${{outputs.out}}")
    assert wait(client, name) == "Completed"
    with pytest.raises(HttpResponseError) as raised:
        client.jobs.begin_cancel(name, polling=False)
    assert raised.value.status_code == 400
    assert causes_of(raised.value) == [
        "UserError",
        "BadArgument",
        "ArgumentInvalid",
        "CancelPipelineRunInTerminalStatus",
    ]
    assert wait(client, name) == "Completed"


def causes_of(error: Any) -> list[str]:
    """The codes of an error of the workspace, the innermost last."""
    told = json.loads(error.response.text())["error"]
    codes = [told["code"]]
    inner = next((each["info"]["value"] for each in told["additionalInfo"] if each["type"] == "InnerError"), None)
    while inner is not None:
        codes.append(inner["code"])
        inner = inner["innerError"]
    return codes


def test_a_job_is_canceled_at_its_time_limit(client: Any, azure_ml: Service) -> None:
    from azure.ai.ml import command

    job = command(
        name="limited",
        command="sleep 60",
        environment="azureml://registries/azureml/environments/any/versions/1",
        compute="cpu-cluster-01",
    )
    job.set_limits(timeout=1)
    client.jobs.create_or_update(job)
    assert wait(client, "limited") == "Canceled"
    assert azure_ml.violations == []


@pytest.mark.parametrize(
    ("kind", "status", "code"), [("fail", "Failed", "UserError"), ("preempt", "Failed", "ServiceError")]
)
def test_injected_failures_of_a_step(
    client: Any, submit: Submit, azure_ml: Service, kind: Any, status: str, code: str
) -> None:
    azure_ml.faults.add(JobFault(kind, step="one"))
    name = submit(one=f"echo {kind} > ${{{{outputs.out}}}}")
    assert wait(client, name) == status
    assert azure_ml.jobs[name]["error"]["code"] == code
    again = submit(one=f"echo {kind} > ${{{{outputs.out}}}}")
    assert wait(client, again) == "Completed"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("stuck_queued", "Queued"), ("not_responding", "NotResponding"), ("paused", "Paused"), ("hang", "Running")],
)
def test_a_job_is_held_until_the_fault_is_taken_back(
    client: Any, submit: Submit, azure_ml: Service, kind: Any, status: str
) -> None:
    azure_ml.faults.add(JobFault(kind, job="held-.*"))
    name = submit(name=f"held-{kind}", one="echo > ${{outputs.out}}")
    assert wait(client, name, status) == status
    time.sleep(0.3)
    assert status_of(client, name) == status
    azure_ml.faults.clear()
    assert wait(client, name, "Completed") == "Completed"
    assert azure_ml.violations == []


def test_server_errors_are_retried_and_429_on_post_only_with_retry_after(
    client: Any, submit: Submit, azure_ml: Service
) -> None:
    from azure.core.exceptions import HttpResponseError

    azure_ml.faults.add(JobFault("hang", job="throttled"))
    submit(name="throttled", one="true")
    azure_ml.faults.add(Fault("GET", r"/jobs/throttled$", code=503, times=2))
    client.jobs.get("throttled")
    assert [one.status for one in azure_ml.requests if one.path.endswith("/jobs/throttled")][-3:] == [503, 503, 200]
    azure_ml.faults.add(Fault("POST", r"/cancel$", code=429))
    with pytest.raises(HttpResponseError) as raised:
        client.jobs.begin_cancel("throttled")
    assert raised.value.status_code == 429
    azure_ml.faults.add(Fault("POST", r"/cancel$", code=429, retry_after=1))
    client.jobs.begin_cancel("throttled", polling=False)
    assert azure_ml.count("POST", r"/cancel$") == 3
    assert wait(client, "throttled") == "Canceled"


@pytest.mark.parametrize("after_work", [False, True])
def test_a_submission_that_is_cut_is_repeated_and_makes_one_job(
    client: Any, submit: Submit, azure_ml: Service, after_work: bool
) -> None:
    name = f"cut-{after_work}"
    azure_ml.faults.add(Fault("PUT", r"/jobs/cut", "reset", after_work=after_work))
    submit(name=name, one="echo > ${{outputs.out}}")
    assert [one.status for one in azure_ml.requests if one.method == "PUT" and "/jobs/" in one.path] == [
        0,
        200 if after_work else 201,
    ]
    assert wait(client, name) == "Completed"
    assert len(azure_ml.children(name)) == 1


def test_a_known_job_name_is_the_same_job_unless_it_is_another_definition(
    client: Any, submit: Submit, azure_ml: Service
) -> None:
    from azure.core.exceptions import ResourceExistsError

    same = {"name": "known", "one": "echo > ${{outputs.out}}"}
    assert submit(**same) == submit(**same) == "known"
    puts = [one.status for one in azure_ml.requests if one.method == "PUT" and one.path.endswith("/jobs/known")]
    assert puts == [201, 200]
    with pytest.raises(ResourceExistsError):
        submit(name="known", one="echo other > ${{outputs.out}}")
    assert wait(client, "known") == "Completed"
    assert len(azure_ml.children("known")) == 1


def test_tokens_that_expire_and_answers_that_are_slow(client: Any, azure_ml: Service) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    client.compute.get("cpu-cluster-01")
    azure_ml.faults.add(Fault("GET", "/computes/", "expired"))
    with pytest.raises(ClientAuthenticationError):
        client.compute.get("cpu-cluster-01")
    client.compute.get("cpu-cluster-01")
    azure_ml.faults.add(Fault("GET", "/computes/", "slow", seconds=0.7))
    start = time.monotonic()
    client.compute.get("cpu-cluster-01")
    assert time.monotonic() - start > 0.7
    azure_ml.identity.token_seconds = -1
    with pytest.raises(ClientAuthenticationError):
        make_client(azure_ml).compute.get("cpu-cluster-01")


def test_a_managed_identity_logs_in(azure_ml: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    environment = azure_ml.managed_identity_environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    credential = DefaultAzureCredential(managed_identity_client_id=environment["MANAGED_IDENTITY_CLIENT_ID"])
    workspace = azure_ml.workspace
    client = MLClient(credential, workspace.subscription, workspace.resource_group, workspace.name)
    assert client.compute.get("cpu-cluster-01").name == "cpu-cluster-01"
    assert azure_ml.count("GET", "/_identity/token") == 1


def test_what_is_against_the_contract_is_recorded(client: Any, azure_ml: Service) -> None:
    from azure.ai.ml.entities import Environment
    from azure.core.exceptions import HttpResponseError

    environment = Environment(name="odd", version="1", image="ubuntu")
    rest = environment._to_rest_object()  # pyright: ignore[reportPrivateUsage]
    rest["properties"]["imagee"] = "x"
    rest["properties"]["isAnonymous"] = "yes"
    operations = client.environments._version_operations  # pyright: ignore[reportPrivateUsage]
    workspace = azure_ml.workspace
    operations.create_or_update(
        name="odd", version="1", workspace_name=workspace.name, resource_group_name=workspace.resource_group, body=rest
    )
    with pytest.raises(HttpResponseError):
        client.schedules.get("nothing")
    text = "\n".join(azure_ml.violations)
    assert "EnvironmentVersionProperties has no imagee" in text
    assert "isAnonymous: 'yes' is no bool" in text
    assert "nothing answers GET" in text


@pytest.mark.slow
def test_a_job_goes_on_after_a_restart_and_keeps_what_had_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path / "state").start()
    try:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        service.faults.add(JobFault("hang", step="two"))
        commands = {"one": "echo 1 > ${{outputs.out}}", "two": "cat ${{inputs.one}} > ${{outputs.out}}"}
        job = submit_shell(make_client(service), tmp_path, name="restarted", **commands)
        until(lambda: service.children(job).get("two", {}).get("status") == "Running")
        before = service.children(job)
    finally:
        service.stop()
    service = Service(tmp_path / "state", service.port).start()
    try:
        assert wait(make_client(service), job) == "Completed"
        after = service.children(job)
        assert after["one"]["name"] == before["one"]["name"]
        assert after["two"]["status"] == "Completed"
    finally:
        service.stop()
