"""The two commands as a person types them: real processes, a real Prefect server, a real MLflow store."""

import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.run import in_project
from tests.prefect_client import asking
from tests.terminal import JOB, PIPELINE, PROJECT, ROWS, Terminal, reused

LAB_SPLIT = ("--split", "random", "--split_seed", "0", "--test_share", "0.3", "--zeros_as_missing", "false")


@pytest.fixture
def terminal(tmp_path: Path, prefect_api: str) -> Terminal:
    return Terminal(tmp_path, prefect_api)


@pytest.fixture
def terminal_without_server(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, None)


def test_pipeline_is_promoted_first_then_rejected_against_itself_then_wholly_reused(terminal: Terminal) -> None:
    first = terminal.summary(PIPELINE)
    assert (first["verdict"], reused(first)) == ("Promoted", [])
    assert first["model"] == {"name": "diabetes-predict", "version": 1, "created": True}
    assert (terminal.home / "evaluation" / "metrics.json").is_file()
    # What MLflow adds to the model's folder when it loads the model changes nothing below.
    assert labels_by_the_readme(terminal.home / "state") == {"0", "1"}

    second = terminal.summary(PIPELINE)
    assert second["verdict"] == "Rejected"
    assert second["model"] is None
    assert second["metrics"]["champion"] == second["metrics"]["challenger"] == first["metrics"]["challenger"]
    assert reused(second) == ["prep", "profile", "train"]

    third = terminal.summary(PIPELINE)
    assert third["verdict"] == "Rejected"
    assert reused(third) == [step["name"] for step in third["steps"]]
    assert third["metrics"] == second["metrics"]

    decided = "from tags where key = 'tandem.decision' and run_uuid in (select run_uuid from tags where "
    decided += (
        "key = 'tandem.model' and value = 'diabetes-predict') order by run_uuid in (select run_id from model_versions)"
    )
    assert sql(terminal, f"select group_concat(value) from (select value {decided})") == "Rejected,Rejected,Promoted"
    data = "from datasets join inputs on inputs.source_id = datasets.dataset_uuid"
    assert sql(terminal, f"select count(distinct destination_id) || ' ' || name {data}") == "3 diabetes-diagnostics:1"
    told = sql(terminal, "select description from model_versions")
    assert (
        told.startswith("**Promoted**: roc_auc ")
        and "- data: diabetes-diagnostics:1 (diabetes-diagnostics.csv, " in told
    )
    kept = terminal.home.glob("state/data/content/*/diabetes-diagnostics.csv")
    assert [file.read_bytes() for file in kept] == [ROWS.read_bytes()]
    assert "The alias `champion` names the version" in sql(terminal, "select description from registered_models")


def labels_by_the_readme(state: Path) -> set[str]:
    """The labels that the README's few lines of Python give the shipped rows, in a process of their own."""
    (code,) = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert "sqlite:///.tandem/mlflow.db" in code
    code = code.replace("sqlite:///.tandem/mlflow.db", f"sqlite:///{state}/mlflow.db")
    code = code.replace("champion.predict(rows)", "print(*champion.predict(rows))")
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.slow
def test_lab_split_gives_the_figures_of_scikit_learn_alone(terminal: Terminal) -> None:
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, roc_auc_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    frame = pd.read_csv(ROWS)
    features = frame.drop(columns=["PatientID", "Diabetic"]).to_numpy(dtype=float)
    x_train, x_test, y_train, y_test = train_test_split(features, frame["Diabetic"], test_size=0.30, random_state=0)
    scaler = StandardScaler().fit(x_train)
    model = LogisticRegression(C=1 / 0.1, solver="liblinear", max_iter=1000, random_state=0)
    model.fit(scaler.transform(x_train), y_train)
    probability = model.predict_proba(scaler.transform(x_test))[:, 1]

    summary = terminal.summary(PIPELINE, *LAB_SPLIT, "--reg_rate", "0.1", "--solver", "liblinear")
    measured = summary["metrics"]["challenger"]
    assert measured["accuracy"] == pytest.approx(accuracy_score(y_test, probability >= 0.5), abs=1e-9)
    assert measured["roc_auc"] == pytest.approx(roc_auc_score(y_test, probability), abs=1e-9)


def test_job_registers_its_model_once_and_leaves_its_outputs_where_asked(terminal: Terminal) -> None:
    flags = ("--experiment_name", "diabetes-classify", "--environment_name", "diabetes-classify")
    flags += ("--model_name", "diabetes-model-predict", "--compute_name", "cpu-cluster-01")
    flags += ("--data_asset_name", "diabetes-diagnostics", "--reg_rate", "0.01", "--solver", "lbfgs")
    first = terminal.summary(JOB, *flags, folder=PROJECT / "flows")
    assert first["verdict"] == "Registered"
    assert first["model"] == {"name": "diabetes-model-predict", "version": 1, "created": True}
    assert (terminal.home / "evaluation" / "model" / "MLmodel").is_file()
    assert (terminal.home / "evaluation" / "evaluation" / "metrics.json").is_file()
    again = terminal.summary(JOB, *flags)
    assert again["model"] == {"name": "diabetes-model-predict", "version": 1, "created": False}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("here", "folder"),
    [("project", "outputs/x"), ("project/flows", "{}/project/outputs/x"), (".", "outputs/x"), ("other", "outputs/x")],
)
def test_outputs_that_nobody_places_are_in_one_folder_of_the_project_wherever_in_it_a_command_runs(
    here: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / here).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / here)

    assert in_project("outputs/x", tmp_path / "project") == folder.format(tmp_path)


def test_flow_run_shows_steps_artifacts_and_verdict_in_prefect(terminal: Terminal, prefect_api: str) -> None:
    terminal.summary(PIPELINE, "--pipeline", "seen-in-prefect", "--model_name", "seen-in-prefect")
    with asking(prefect_api) as client:
        runs = client.post("/flow_runs/filter", json={"sort": "START_TIME_DESC", "limit": 200}).json()
        run = next(run for run in runs if run["parameters"].get("pipeline") == "seen-in-prefect")
        assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Promoted")
        which = {"flow_runs": {"id": {"any_": [run["id"]]}}}
        tasks = client.post("/task_runs/filter", json=which).json()
        assert {task["name"] for task in tasks} == {"prep", "profile", "train", "evaluate"}
        upstream = {task["name"]: set[str]() for task in tasks}
        names = {task["id"]: task["name"] for task in tasks}
        for task in tasks:
            for source in task["task_inputs"].get("wait_for", []):
                upstream[task["name"]].add(names[source["id"]])
        assert upstream["evaluate"] == {"prep", "train"} and upstream["train"] == upstream["profile"] == {"prep"}
        artifacts = client.post("/artifacts/filter", json=which).json()
        assert {"summary", "metrics", "report"} <= {artifact["key"] for artifact in artifacts}
        logs = client.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200}).json()
        assert any(log["message"].startswith("train | training_roc_auc") for log in logs)


@pytest.mark.slow
def test_without_a_server_a_temporary_one_serves_the_run_and_ends_with_it(terminal_without_server: Terminal) -> None:
    done = terminal_without_server.run(PIPELINE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Engine: local (")
    assert "Promoted" in done.stdout and "diabetes-predict version 1" in done.stdout
    assert not processes_of(terminal_without_server)
    query = "select group_concat(name || ' ' || state_name) from (select * from task_run order by name)"
    states = sql(terminal_without_server, query, "prefect/prefect.db")
    assert states == "evaluate Completed,prep Completed,profile Completed,train Completed"


@pytest.mark.slow
def test_blanks_and_quotes_in_the_paths_of_state_data_and_output_are_no_obstacle(
    tmp_path: Path, prefect_api: str
) -> None:
    folder = tmp_path / "it's a laptop"
    folder.mkdir()
    data = folder / "my data.csv"
    data.write_bytes(ROWS.read_bytes())
    summary = Terminal(folder, prefect_api).summary(PIPELINE, "--data_asset_name", str(data))
    assert summary["verdict"] == "Promoted"
    assert (folder / "evaluation" / "metrics.json").is_file()


WRONG_FLAGS = {
    "reg_rate 0": (("--reg_rate", "0"), "reg_rate: input should be greater than 0, not '0'."),
    "reg_rate 0, spelt with a dash": (("--reg-rate", "0"), "reg_rate: input should be greater than 0, not '0'."),
    "reg_rate negative": (("--reg_rate=-1",), "reg_rate: input should be greater than 0, not '-1'."),
    "reg_rate NaN": (("--reg_rate", "nan"), "reg_rate: input should be a finite number, not 'nan'."),
    "unknown solver": (("--solver", "lbfg"), "Did you mean lbfgs?"),
    "unknown asset": (("--data_asset_name", "diabetes"), "There is no data asset 'diabetes'"),
    "unknown version": (("--data_asset_name", "diabetes-diagnostics:9"), "has no version 9. It has: 1"),
    "missing file": (("--data_asset_name", "./none.csv"), "The data file ./none.csv does not exist"),
    "unknown flag": (("--regrate", "1"), "There is no flag --regrate. Did you mean --reg_rate?"),
    "model name": (("--model_name", "a/b"), "'a/b' cannot be the name of a model"),
    "gate metric": (("--gate_metric", "roc"), "Did you mean roc_auc?"),
    "output folder": (("--evaluation_output", "/proc/nowhere"), "the folder /proc/nowhere cannot be made"),
    "engine": (
        ("--engine", "azureml"),
        "needs AZUREML_ARM_SUBSCRIPTION, AZUREML_ARM_RESOURCEGROUP, AZUREML_ARM_WORKSPACE_NAME, which are not set",
    ),
}


@pytest.mark.parametrize(("flags", "message"), WRONG_FLAGS.values(), ids=WRONG_FLAGS.keys())
def test_wrong_flag_is_refused_in_one_message_before_anything_is_started(
    terminal_without_server: Terminal, flags: tuple[str, ...], message: str
) -> None:
    done = terminal_without_server.run(PIPELINE, *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ") and message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (terminal_without_server.home / "state").exists()


WRONG_DATA = {
    "text in a number column": (
        ROWS.read_text().replace("3,8,183,", "3,8,high,"),
        "column PlasmaGlucose, row 3 ('high'): must be a number",
    ),
    "not a CSV": ("\0\1\2 no table", "is neither CSV in UTF-8 nor Parquet"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("content", "message"), WRONG_DATA.values(), ids=WRONG_DATA.keys())
def test_wrong_data_fails_prep_with_one_message_and_registers_nothing(
    terminal: Terminal, content: str, message: str
) -> None:
    data = terminal.home / "data.csv"
    data.write_text(content)
    done = terminal.run(PIPELINE, "--data_asset_name", str(data))
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("Error: The step prep failed with exit code 2.") == 1
    assert "Traceback" not in done.stderr
    assert not (terminal.home / "evaluation" / "metrics.json").exists()
    assert sql(terminal, "select count(*) from model_versions") == "0"


def test_empty_data_file_is_refused_before_anything_is_started(terminal_without_server: Terminal) -> None:
    data = terminal_without_server.home / "empty.csv"
    data.touch()
    done = terminal_without_server.run(PIPELINE, "--data_asset_name", str(data))
    assert done.returncode == 2
    assert f"The data file {data} is empty" in done.stderr


def test_configured_prefect_server_that_does_not_answer_is_named(terminal_without_server: Terminal) -> None:
    done = terminal_without_server.run(PIPELINE, environment={"PREFECT_API_URL": "http://127.0.0.1:1/api"})
    assert done.returncode == 3
    assert "Error: The Prefect API at http://127.0.0.1:1/api does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_broken_yaml_is_one_message_with_file_and_line(terminal_without_server: Terminal) -> None:
    broken = terminal_without_server.home / "broken.yml"
    broken.write_text("type: command\ncommand: [echo\n")
    tandem = Path(sys.executable).with_name("tandem")
    done = subprocess.run(
        [str(tandem), "run", str(broken)], env=terminal_without_server.environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"{broken}:3" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_no_process_outlives_a_command_that_is_stopped_and_the_next_start_goes_on(
    terminal: Terminal, number: signal.Signals
) -> None:
    command = subprocess.Popen(
        terminal.words(PIPELINE, ()), env=terminal.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert command.stderr is not None
    for line in command.stderr:
        if b"train | started" in line:
            break
    command.send_signal(number)
    command.communicate(timeout=120)
    assert command.returncode != 0
    wait_until_gone(terminal)
    summary = terminal.summary(PIPELINE)
    assert summary["verdict"] == "Promoted"
    assert "prep" in reused(summary)
    assert sql(terminal, "select count(*) from model_versions") == "1"


def processes_of(terminal: Terminal) -> list[str]:
    """The command lines of the processes that have this terminal's state folder in their environment."""
    return list(_processes_with(f"TANDEM_HOME={terminal.environment['TANDEM_HOME']}"))


def _processes_with(variable: str) -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue


def wait_until_gone(terminal: Terminal) -> None:
    end = time.monotonic() + 20
    while left := processes_of(terminal):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def sql(terminal: Terminal, query: str, name: str = "mlflow.db") -> str:
    database = sqlite3.connect(Path(terminal.environment["TANDEM_HOME"]) / name)
    try:
        return str(database.execute(query).fetchone()[0])
    finally:
        database.close()
