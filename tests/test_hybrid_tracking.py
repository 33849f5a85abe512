"""Jobs on this machine, tracked in a workspace: azureml-mlflow, unmodified, against the loopback service."""

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any

import pytest

from flows.engines.azureml.sdk.tracking import WorkspaceTracking, find_tracking
from flows.engines.local.host.processes import step_environment, tracking_environment
from flows.engines.open_engine import ENGINES, EngineChoice, chosen_engine
from flows.errors import SettingsError
from flows.settings import WORKSPACE_VARIABLES, Settings
from tests.azure_ml_service.arm import WORKSPACE_GUID
from tests.azure_ml_service.blobs import DATASTORES
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.history import artifact_folder
from tests.azure_ml_service.identity import CLIENT
from tests.azure_ml_service.service import Service
from tests.prefect_client import asking
from tests.terminal import JOB, PIPELINE, PROJECT, Terminal, reused

NOTHING: Mapping[str, str] = MappingProxyType({})
TANDEM = (sys.executable, "-m", "flows")
HYBRID = ("--engine", "local", "--tracking", "azureml")
WORKSPACE = r"/workspaces/[^/]+$"
TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.")


@pytest.fixture
def terminal(tmp_path: Path, prefect_api: str, azure_ml: Service) -> Terminal:
    terminal = Terminal(tmp_path, prefect_api)
    terminal.environment |= azure_ml.environment
    return terminal


class Experiment:
    """An experiment of the workspace's MLflow."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        found = service.mlflow.call("GET", "experiments/get-by-name", {"experiment_name": name})
        asked = {"experiment_ids": [found["experiment"]["experiment_id"]], "order_by": ["attributes.start_time"]}
        self.runs: list[Any] = service.mlflow.call("POST", "runs/search", asked).get("runs", [])

    def jobs(self) -> list[Any]:
        """The runs of jobs, in the order in which they began."""
        return [run for run in self.runs if "mlflow.parentRunId" not in _texts(run, "tags")]

    def steps(self, job: Any) -> dict[str, Any]:
        """The runs below the run of a job, by name."""
        below = [run for run in self.runs if _texts(run, "tags").get("mlflow.parentRunId") == job["info"]["run_id"]]
        return {run["info"]["run_name"]: run for run in below}

    def artifact(self, job: Any, path: str) -> bytes:
        """An artifact of a run."""
        blobs = self._service.blobs
        return blobs.path(
            DATASTORES["workspaceartifactstore"], f"{artifact_folder(job['info']['run_id'])}/{path}"
        ).read_bytes()


def _texts(run: Any, kind: str) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in run["data"].get(kind, [])}


def local_store(terminal: Terminal, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(Path(terminal.environment["TANDEM_HOME"]) / "mlflow.db")) as store:
        return store.execute(query).fetchall()


@pytest.mark.slow
def test_pipeline_is_tracked_in_the_workspace_and_its_model_registered_here(
    terminal: Terminal, azure_ml: Service
) -> None:
    flags = (*HYBRID, "--experiment_name", "hybrid-pipeline", "--model_name", "hybrid")
    first = terminal.summary(PIPELINE, *flags)
    assert (first["engine"], first["verdict"]) == ("local", "Promoted")
    assert first["model"] == {"name": "hybrid", "version": 1, "created": True}
    second = terminal.summary(PIPELINE, *flags)
    assert (second["verdict"], reused(second)) == ("Rejected", ["prep", "profile", "train"])

    experiment = Experiment(azure_ml, "hybrid-pipeline")
    jobs = experiment.jobs()
    assert [(job["info"]["run_name"], job["info"]["status"]) for job in jobs] == [
        (first["job"], "FINISHED"),
        (second["job"], "FINISHED"),
    ]
    for job, summary in zip(jobs, (first, second), strict=True):
        steps = experiment.steps(job)
        assert {name: step["info"]["status"] for name, step in steps.items()} == dict.fromkeys(
            ("prep", "profile", "train", "evaluate"), "FINISHED"
        )
        assert _texts(job, "params")["solver"] == _texts(steps["train"], "params")["solver"] == "liblinear"
        assert _texts(steps["train"], "metrics")["training_rows"] > 100
        assert _texts(job, "metrics") == pytest.approx(summary["metrics"]["challenger"])
        assert experiment.artifact(job, "evaluation/report.html").startswith(b"<!")
    assert local_store(terminal, "select count(*) from runs") == [(0,)]
    assert local_store(terminal, "select name, version, run_id from model_versions") == [
        ("hybrid", 1, jobs[0]["info"]["run_id"])
    ]
    assert azure_ml.count("PUT", r"/jobs/") == azure_ml.count(".*", "registered-models|model-versions") == 0
    assert not azure_ml.violations


@pytest.mark.slow
def test_job_shows_the_page_of_its_run_in_studio(terminal: Terminal, azure_ml: Service, prefect_api: str) -> None:
    done = terminal.run(JOB, *HYBRID, "--experiment_name", "hybrid-job")
    assert done.returncode == 0, done.stderr
    (job,) = Experiment(azure_ml, "hybrid-job").jobs()
    assert f"Engine: local (as asked; tracked in the workspace {azure_ml.workspace.name})" in done.stdout
    (page,) = re.findall(r"Look at it:  (\S+)\n", done.stdout)
    assert page.startswith(f"https://ml.azure.com/runs/{job['info']['run_id']}?wsid=/subscriptions/")
    with asking(prefect_api) as client:
        links = client.post("/artifacts/filter", json={"artifacts": {"key": {"any_": ["report"]}}}).json()
    assert f"[Evaluation report]({page})" in {link["data"] for link in links}


STEPS = {
    "pipeline.yml": """
        type: pipeline
        experiment_name: {experiment}
        jobs:
          forked:
            type: command
            environment: azureml:e:1
            code: ./code
            command: python track.py forked
          shell:
            type: command
            environment: azureml:e:1
            code: ./code
            command: echo through bash; python track.py shell
    """,
    "code/track.py": """
        import json, os, sys
        print("ENVIRONMENT", json.dumps(dict(os.environ)))
        import mlflow
        with mlflow.start_run():
            mlflow.log_param("name", sys.argv[1])
            mlflow.log_metric("loss", 0.5, step=3)
            mlflow.log_text("told", "note.txt")
    """,
}


def tandem_run(
    terminal: Terminal,
    experiment: str,
    *flags: str,
    environment: Mapping[str, str] = NOTHING,
    steps: Mapping[str, str] = STEPS,
) -> "subprocess.CompletedProcess[str]":
    for name, text in steps.items():
        path = terminal.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).replace("{experiment}", experiment))
    return subprocess.run(
        [*TANDEM, "run", str(terminal.home / "pipeline.yml"), *flags],
        cwd=PROJECT,
        env={**terminal.environment, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def environment_of(step: Mapping[str, Any]) -> dict[str, str]:
    (said,) = re.findall(r"^ENVIRONMENT (.*)$", Path(step["log"]).read_text(), re.MULTILINE)
    return json.loads(said)


@pytest.mark.slow
def test_forked_and_shell_steps_track_as_the_managed_identity_and_see_no_token(
    tmp_path: Path, prefect_api: str, azure_ml: Service
) -> None:
    terminal, name = Terminal(tmp_path, prefect_api), "hybrid-identity"
    terminal.environment |= azure_ml.managed_identity_environment
    left_over = {"MLFLOW_TRACKING_TOKEN": "eyJa.eyJb.c", "AZUREML_RUN_TOKEN": "eyJa.eyJb.c"}  # of a job around us
    done = tandem_run(terminal, name, *HYBRID, "--json", environment=left_over)
    assert done.returncode == 0, done.stderr

    experiment = Experiment(azure_ml, name)
    (job,) = experiment.jobs()
    for step in json.loads(done.stdout)["steps"]:
        run = experiment.steps(job)[step["name"]]
        assert _texts(run, "params") == {"name": step["name"]}
        assert [(it["key"], it["value"], it["step"]) for it in run["data"]["metrics"]] == [("loss", 0.5, 3)]
        assert experiment.artifact(run, "note.txt") == b"told"
        environment = environment_of(step)
        assert environment["AZURE_CLIENT_ID"] == CLIENT
        assert environment["MLFLOW_TRACKING_URI"].startswith("azureml://")
        assert environment["MLFLOW_RUN_ID"] == run["info"]["run_id"] == step["mlflow_run_id"]
        assert left_over.keys().isdisjoint(environment)
    asked = [request.query for request in azure_ml.requests if request.path == "/_identity/token"]
    assert len(asked) == 4  # the flow, the MLflow worker, both steps
    assert {query["client_id"] for query in asked} == {CLIENT}
    kept = [path for path in terminal.home.rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.search(path.read_text(errors="replace"))]
    assert not TOKEN.search(done.stderr)
    assert not azure_ml.violations


@pytest.mark.slow
def test_passing_trouble_of_the_workspace_is_no_failure(terminal: Terminal, azure_ml: Service) -> None:
    azure_ml.faults.add(Fault("GET", WORKSPACE, kind="expired"))
    azure_ml.faults.add(Fault("GET", r"/experiments/get-by-name", kind="status", code=429, retry_after=1))
    azure_ml.faults.add(Fault("POST", r"/runs/log-batch", kind="reset", times=2))
    azure_ml.faults.add(Fault("POST", r"/runs/update", kind="status", code=503))
    done = tandem_run(terminal, "hybrid-troubled", *HYBRID)
    assert done.returncode == 0, done.stderr
    experiment = Experiment(azure_ml, "hybrid-troubled")
    (job,) = experiment.jobs()
    assert f"Look at it:  https://ml.azure.com/runs/{job['info']['run_id']}?" in done.stdout
    assert {run["info"]["status"] for run in (job, *experiment.steps(job).values())} == {"FINISHED"}


@pytest.mark.slow
def test_step_whose_run_cannot_be_ended_is_done_all_the_same(terminal: Terminal, azure_ml: Service) -> None:
    steps = {
        "pipeline.yml": """
            type: pipeline
            experiment_name: {experiment}
            jobs: {one: {type: command, environment: azureml:e:1, command: echo done}}
        """
    }
    azure_ml.faults.add(Fault("POST", r"/runs/update", kind="status", code=503, times=1000))
    impatient = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    refused = tandem_run(terminal, "hybrid-end", *HYBRID, steps=steps, environment=impatient)
    assert refused.returncode == 1
    assert "The step one failed: The workspace's MLflow does not take the runs" in refused.stderr
    assert "Traceback" not in refused.stderr
    azure_ml.faults.clear()
    again = tandem_run(terminal, "hybrid-end", *HYBRID, "--json", steps=steps)
    assert again.returncode == 0, again.stderr
    assert reused(json.loads(again.stdout)) == ["one"]


@pytest.mark.slow
@pytest.mark.parametrize("dead", ["everything", "its MLflow"])
def test_workspace_that_does_not_answer_is_said_before_a_step_runs(
    dead: str, terminal: Terminal, azure_ml: Service
) -> None:
    environment = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    if dead == "everything":
        environment |= dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    else:
        azure_ml.faults.add(Fault(".*", r"/mlflow/", kind="status", code=503, times=1000))
    done = tandem_run(terminal, "hybrid-dead", *HYBRID, environment=environment)
    assert done.returncode in (1, 3)
    assert "--tracking local" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path(terminal.environment["TANDEM_HOME"]).glob("jobs/*/steps/*"))


def found() -> WorkspaceTracking:
    """What this process finds out of the workspace that its environment names."""
    settings = Settings.from_environment()
    return asyncio.run(find_tracking(settings.workspace, tracking_environment(settings)))


def test_workspace_tells_where_its_mlflow_is(azure_environment: Service) -> None:
    workspace = azure_environment.workspace
    tracking = found()
    assert tracking.uri.endswith(f".api.azureml.ms/mlflow/v1.0{workspace.path}")
    where = f"/subscriptions/{workspace.subscription}/resourcegroups/{workspace.resource_group}"
    shown = f"https://ml.azure.com/runs/a-run?wsid={where}/workspaces/{workspace.name}"
    assert tracking.page("a-run") == f"{shown}&tid={WORKSPACE_GUID}"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"AZUREML_ARM_WORKSPACE_NAME": "no-such"}, "There is no workspace no-such in "),
        ({"AZURE_CLIENT_SECRET": "wrong"}, "No credential was accepted: "),
        ({"AZUREML_CURRENT_CLOUD": "AzureMoon"}, "AZUREML_CURRENT_CLOUD is 'AzureMoon', none of AzureCloud, "),
    ],
    ids=["workspace", "credential", "cloud"],
)
def test_workspace_that_cannot_be_used_is_the_users_to_mend(
    changed: Mapping[str, str], message: str, azure_environment: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        found()
    assert message in str(raised.value)
    assert "Nothing was run." in str(raised.value) and "--tracking local" in str(raised.value)


def test_workspace_that_may_not_be_read_is_the_users_to_mend(azure_environment: Service) -> None:
    azure_environment.faults.add(Fault("GET", WORKSPACE, kind="status", code=403))
    with pytest.raises(SettingsError, match="may not read the workspace"):
        found()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", WORKSPACE, kind="expired"),
        Fault("GET", WORKSPACE, kind="reset"),
        Fault("GET", WORKSPACE, kind="status", code=429, retry_after=0, times=2),
    ],
    ids=["token", "connection", "throttled"],
)
def test_workspace_in_passing_trouble_is_asked_again(fault: Fault, azure_environment: Service) -> None:
    azure_environment.faults.add(fault)
    assert found().uri.startswith("azureml://")


def test_missing_variables_are_named_all_at_once_before_anything_is_started(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    for done in (terminal.run(PIPELINE, *HYBRID), tandem_run(terminal, "hybrid-missing", *HYBRID)):
        assert done.returncode == 2
        assert f"Tracking into a workspace needs {', '.join(WORKSPACE_VARIABLES)}, which are not set" in done.stderr
    assert not Path(terminal.environment["TANDEM_HOME"]).exists()


def settings_with(tmp_path: Path, **values: str) -> Settings:
    return Settings.from_environment({"TANDEM_HOME": str(tmp_path), **values})


def test_on_the_azure_ml_engine_tracking_is_in_the_workspace_whatever_is_asked(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, **dict.fromkeys(WORKSPACE_VARIABLES, "ws"))
    assert chosen_engine("auto", settings, "local") == EngineChoice(ENGINES["azureml"], "workspace ws", "azureml")
    assert chosen_engine("local", settings, "local").tracking == "local"
    assert chosen_engine("local", settings, "azureml").tracking == "azureml"


def test_auto_with_tracking_into_a_workspace_needs_its_variables(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, AZUREML_ARM_WORKSPACE_NAME="ws")
    with pytest.raises(SettingsError, match=r"needs AZUREML_ARM_SUBSCRIPTION, AZUREML_ARM_RESOURCEGROUP, which are"):
        chosen_engine("auto", settings, "azureml")


@pytest.mark.parametrize(
    ("variables", "identity"),
    [
        ({}, None),
        ({"DEFAULT_IDENTITY_CLIENT_ID": "job"}, "job"),
        ({"DEFAULT_IDENTITY_CLIENT_ID": "job", "MANAGED_IDENTITY_CLIENT_ID": "machine"}, "machine"),
        ({"MANAGED_IDENTITY_CLIENT_ID": "machine", "AZURE_CLIENT_ID": "principal"}, "principal"),
    ],
    ids=["none", "of a job", "of a machine", "service principal"],
)
def test_identity_that_tracks_is_the_one_that_is_named_most_plainly(
    variables: Mapping[str, str], identity: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "secret")
    settings = settings_with(tmp_path, **variables)
    assert tracking_environment(settings).get("AZURE_CLIENT_ID") == identity
    assert tracking_environment(settings)["AZURE_CLIENT_SECRET"] == "secret"
    assert "AZURE_CLIENT_ID" not in step_environment(settings)
    assert "AZURE_CLIENT_SECRET" not in step_environment(settings)
