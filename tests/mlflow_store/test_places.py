"""Where MLflow keeps runs and models, by the variables of MLflow."""

from pathlib import Path

import pytest

from flows.engines.local.host.processes import step_environment, tracking_environment
from flows.engines.local.host.tracking_server import tracking_variables
from flows.engines.open_engine import chosen_engine
from flows.errors import SettingsError
from flows.mlflow_store.places import mlflow_place
from flows.settings import Settings

TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
SECRET = "hunter2"


def settings(home: Path, **variables: str) -> Settings:
    return Settings.from_environment({"TANDEM_HOME": str(home), **variables})


def test_runs_and_models_are_in_the_local_state_unless_a_variable_says_otherwise(tmp_path: Path) -> None:
    place = mlflow_place(settings(tmp_path))
    assert (place.tracking, place.registry) == (f"sqlite:///{tmp_path}/mlflow.db",) * 2
    assert place.is_own and not place.is_server
    assert "racking" not in chosen_engine("local", settings(tmp_path)).reason


def test_server_of_the_variable_keeps_runs_and_models_and_the_first_line_names_it(tmp_path: Path) -> None:
    given = settings(tmp_path, MLFLOW_TRACKING_URI="http://mlflow.example:5000/")
    place = mlflow_place(given)
    assert (place.tracking, place.registry, place.is_server) == (*("http://mlflow.example:5000",) * 2, True)
    assert chosen_engine("local", given).reason == "as asked; tracking in MLflow at http://mlflow.example:5000"
    both = settings(tmp_path, MLFLOW_TRACKING_URI="https://runs.example", MLFLOW_REGISTRY_URI="https://models.example")
    assert str(mlflow_place(both)) == "https://runs.example, models in https://models.example"


def test_name_and_password_in_the_address_sign_in_and_are_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(tmp_path, MLFLOW_TRACKING_URI=f"https://me:{SECRET}%21@mlflow.example/team?token={SECRET}")
    place = mlflow_place(given)
    assert place.tracking == "https://mlflow.example/team"
    assert SECRET not in f"{place} {place!r} {given!r} {chosen_engine('local', given).reason}"
    environment = step_environment(given)
    assert (environment["MLFLOW_TRACKING_USERNAME"], environment["MLFLOW_TRACKING_PASSWORD"]) == ("me", f"{SECRET}!")
    assert SECRET not in environment[TRACKING]


def test_what_signs_in_reaches_the_steps_that_log_to_a_server_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert "MLFLOW_TRACKING_TOKEN" not in step_environment(settings(tmp_path))
    on_server = step_environment(settings(tmp_path, MLFLOW_TRACKING_URI="http://mlflow.example"))
    assert on_server["MLFLOW_TRACKING_TOKEN"] == SECRET


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        (f"postgresql+psycopg2://me:{SECRET}@db.example/mlflow", "only an MLflow server is to speak"),
        ("file:///shared/mlruns", "no locks in a folder of files"),
        ("/shared/mlruns", "no locks in a folder of files"),
        ("databricks", "no locks in a folder"),
        ("databricks://profile", "Write http://"),
        ("http://", "Write http://"),
        (f"http://me:{SECRET}@host:port", "is no address"),
        ("ftp://host/x", "Write http://"),
    ],
)
@pytest.mark.parametrize("variable", [TRACKING, REGISTRY])
def test_address_that_cannot_be_used_is_refused_in_a_sentence_without_its_secrets(
    tmp_path: Path, variable: str, uri: str, why: str
) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        chosen_engine("auto", settings(tmp_path, **{variable: uri}))
    assert variable in str(refused.value) and "Nothing was run." in str(refused.value)
    assert SECRET not in str(refused.value)


def test_models_are_not_registered_for_others_where_only_this_machine_has_their_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="where nobody else can open them"):
        mlflow_place(settings(tmp_path, MLFLOW_REGISTRY_URI="http://mlflow.example"))


def test_two_servers_are_not_signed_in_to_as_two_users(tmp_path: Path) -> None:
    both = {TRACKING: "http://a.example", REGISTRY: f"http://me:{SECRET}@b.example"}
    with pytest.raises(SettingsError, match="as one user") as refused:
        mlflow_place(settings(tmp_path, **both))
    assert SECRET not in str(refused.value)


def test_another_sqlite_file_is_the_same_file_for_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = mlflow_place(settings(tmp_path / "home", MLFLOW_TRACKING_URI="sqlite:///team.db"))
    assert (place.tracking, place.is_own, place.is_server) == (f"sqlite:///{tmp_path}/team.db", False, False)


def test_what_tandem_sets_for_its_steps_is_not_taken_for_what_a_person_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_environment(settings(tmp_path / "outer"))
    served = {**step, **tracking_variables("http://127.0.0.1:5001", step)}
    workspace = {**tracking_environment(settings(tmp_path)), TRACKING: "azureml://workspace"}
    for environment in (step, served, workspace):
        inner = Settings.from_environment({**environment, "TANDEM_HOME": str(tmp_path / "inner")})
        assert mlflow_place(inner).tracking == f"sqlite:///{tmp_path}/inner/mlflow.db"
    team = step_environment(settings(tmp_path, MLFLOW_TRACKING_URI="http://mlflow.example"))
    assert mlflow_place(Settings.from_environment(team)).tracking == "http://mlflow.example"


def test_runs_in_a_workspace_have_their_models_in_the_local_state_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(tmp_path, MLFLOW_TRACKING_URI="http://mlflow.example", MLFLOW_REGISTRY_URI="http://other.example")
    environment = tracking_environment(given)
    assert environment[TRACKING] == given.mlflow_uri and REGISTRY not in environment
