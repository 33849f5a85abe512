"""The watch over incoming data on a real Prefect server, with real registries: what it ends as, and what it tells."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prefect.client.schemas.objects import State

from flows.data.digests import data_digest
from flows.data.store import DataStore
from flows.drift.feature_rows import FEATURES, ZERO_IS_MISSING
from flows.drift.parameters import WatchParameters
from flows.drift.report import report_key
from flows.drift.summary import WatchSummary, watch_summary_as_text
from flows.drift.watch_data import watch_data
from flows.engines.open_engine import open_engine
from flows.errors import DataAssetError
from flows.mlflow_store.model_registry import Candidate
from flows.orchestration.events import Fact, emit
from flows.serving.samples import read_samples
from flows.settings import Settings
from tests.azure_ml_service.service import Service
from tests.prefect_client import asking
from tests.terminal import PROJECT, ROWS, Terminal

MODEL = "watched"
OF_A_FILE = "of-a-file"  # a model whose champion was trained on a file that is no data asset
SERVED = "served"  # a model whose champion says when it was trained
DATA = "diabetes-diagnostics:1"
OF_ITS_OWN = {
    "tandem.data": "/data/of-its-own.csv",
    "tandem.data_sha256": "1" * 64,
    "tandem.trained_at": "2026-01-02T03:04:05+00:00",
}
# Champions whose training data cannot be had any more.
ORPHANS = {
    "silent": {"tandem.data": "", "tandem.data_sha256": ""},
    "bereft": {"tandem.data": "gone:7"},
    "betrayed": {"tandem.data_sha256": "0" * 64},
}
sdk_warns = pytest.mark.filterwarnings("ignore")  # of the SDK's libraries, of which there are many
Files = Callable[..., Path]


@pytest.fixture(scope="module")
def watched_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local state with a champion that was trained, as its tags say, on the shipped data; and with some orphans."""
    home = tmp_path_factory.mktemp("watched")
    settings = Settings.from_environment({"TANDEM_HOME": str(home)})
    register(
        settings,
        "local",
        **{MODEL: {}, OF_A_FILE: OF_ITS_OWN, SERVED: {"tandem.trained_at": "2026-01-02T03:04:05+00:00"}},
        **ORPHANS,
    )
    return home


@pytest.fixture
def watched(watched_home: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """That local state in use; the address of the Prefect API."""
    monkeypatch.setenv("TANDEM_HOME", str(watched_home))
    return prefect_api


@pytest.fixture
def rows(tmp_path: Path) -> Files:
    """Write rows of the kind that was shipped, one feature moved by so many standard deviations."""

    def _rows(count: int = 1000, feature: str = "BMI", shift: float = 0.0, seed: int = 0) -> Path:
        shipped, random = pd.read_csv(ROWS), np.random.default_rng(seed)
        drawn = shipped.iloc[random.integers(len(shipped), size=count)].reset_index(drop=True)
        moved = drawn[feature] + shift * shipped[feature].std()
        drawn[feature] = moved.where(drawn[feature] > 0, drawn[feature]) if feature in ZERO_IS_MISSING else moved
        path = tmp_path / f"{feature}-{shift}-{count}-{seed}.csv"
        drawn.to_csv(path, index=False)
        return path

    return _rows


def register(settings: Settings, engine_name: Any, **champions: Mapping[str, str]) -> None:
    """Register champions that nobody has trained, each with these tags of its own."""
    folder = settings.home.with_name("model")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text("flavors: {}\n")

    async def _register() -> None:
        async with open_engine(engine_name, settings) as engine:
            registry: Any = engine.registry
            for model, own in champions.items():
                tags = {"tandem.data": DATA, "tandem.data_sha256": data_digest(ROWS), **own}
                run = await registry.create_run("tests", model) if engine_name == "local" else "job"
                named = {name: value for name, value in tags.items() if value}
                candidate = Candidate(model, str(folder), run, {"tandem.of": model}, named)
                await registry.promote(candidate, compared_with=None, flow_run_id="tests")

    asyncio.run(_register())


def watch(**values: Any) -> State[WatchSummary]:
    asked = {"model_name": MODEL, "engine": "local", **values}
    flow: Any = watch_data
    return asyncio.run(
        flow(**{name: str(v) if isinstance(v, Path) else v for name, v in asked.items()}, return_state=True)
    )


def ended(state: State[WatchSummary]) -> tuple[str, str]:
    return state.type.value, state.name or ""


def summary_of(state: State[WatchSummary]) -> WatchSummary:
    return asyncio.run(state.aresult())  # type: ignore[arg-type]


def told(api: str, model: str = MODEL) -> list[dict[str, Any]]:
    """The drifts that the server knows of."""
    asked = {"filter": {"event": {"prefix": ["tandem.drift."]}}, "limit": 50}
    with asking(api) as client:
        events = client.post("/events/filter", json=asked).json()["events"]
    return [event for event in events if event["payload"]["model"] == model]


def told_in_the_end(api: str, data: Path | str, model: str = MODEL) -> list[dict[str, Any]]:
    """Those about this data, once there are any: the server writes events down a moment after it has them."""
    for _ in range(300):
        found = [event for event in told(api, model) if event["payload"]["data_asset"] == str(data)]
        if found:
            return found
        time.sleep(0.1)
    return []


def reports_of(api: str, state: State[WatchSummary]) -> list[Mapping[str, Any]]:
    """The artifacts of a run."""
    run = str(state.state_details.flow_run_id)
    which = {"flow_runs": {"id": {"any_": [run]}}}
    with asking(api) as client:
        return client.post("/artifacts/filter", json=which).json()


# --- what it ends as ------------------------------------------------------------------------------------------------


def test_without_a_champion_there_is_nothing_to_compare(watched: str, rows: Files) -> None:
    state = watch(model_name="never-trained", data_asset_name=rows())
    assert ended(state) == ("COMPLETED", "Skipped")
    assert state.message is not None and "never-trained has no champion" in state.message
    assert "--model_name never-trained" in str(summary_of(state).next_command)


@pytest.mark.slow
def test_data_of_the_champion_itself_is_nothing_new_under_whatever_name(watched: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(ROWS.read_bytes())
    for data in ("diabetes-diagnostics", copy):
        state = watch(data_asset_name=data)
        assert ended(state) == ("COMPLETED", "Skipped")
        assert str(state.message).endswith(f"is what {MODEL} version 1 was trained on.")


def test_data_of_the_same_kind_has_not_drifted_and_a_report_shows_it(watched: str, rows: Files) -> None:
    data = rows()
    state = watch(data_asset_name=data)
    assert ended(state) == ("COMPLETED", "NoDrift")
    assert f"{data} has not drifted from {DATA}, which {MODEL} version 1 was trained on" in str(state.message)
    (report,) = reports_of(watched, state)
    assert (report["type"], report["description"]) == ("markdown", "NoDrift by a PSI of 0.1 and a p of 0.01")
    assert "](data:image/png;base64,iVBORw0KGgo" in report["data"]
    assert "| DiabetesPedigree | 0.0" in report["data"]
    picture = summary_of(state).picture
    assert picture is not None and picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_drift_is_told_once_however_often_it_is_found(watched: str, rows: Files) -> None:
    data = rows(feature="PlasmaGlucose", shift=0.5)
    first, second = watch(data_asset_name=data, emit=True), watch(data_asset_name=data, emit=True)
    for state in (first, second):
        assert ended(state) == ("COMPLETED", "Drift")
        assert "PlasmaGlucose (PSI 0." in str(state.message)
        assert summary_of(state).told
        assert str(data) in str(summary_of(state).next_command)
    (report,) = reports_of(watched, first)
    assert report["description"].startswith("Drift by a PSI of 0.1")
    assert report["description"].endswith("; tandem.drift.detected was emitted")
    assert "| **PlasmaGlucose** | **0." in report["data"]
    assert not reports_of(watched, second)  # which would say the same
    (event,) = told_in_the_end(watched, data)
    payload = event["payload"]
    assert (payload["champion_version"], payload["trained_on"]) == (1, DATA)
    assert list(payload["features"]) == ["PlasmaGlucose"]
    assert {"psi", "ks", "p_value"} <= set(payload["features"]["PlasmaGlucose"])
    assert payload["policy"] == {"psi_threshold": 0.1, "significance": 0.01}
    assert payload["report"].endswith(str(first.state_details.flow_run_id))
    assert payload["reasons"][0].startswith("PlasmaGlucose: PSI 0.")


def test_question_by_hand_emits_no_event_and_a_later_run_that_is_asked_to_emits_it(watched: str, rows: Files) -> None:
    data = rows(feature="DiastolicBloodPressure", shift=0.5)
    state = watch(data_asset_name=data)
    assert ended(state) == ("COMPLETED", "Drift")
    assert not summary_of(state).told
    assert "--emit emits tandem.drift.detected, which starts" in watch_summary_as_text(summary_of(state))
    assert summary_of(watch(data_asset_name=data, emit=True)).told  # the first that was emitted
    (event,) = told_in_the_end(watched, data)
    assert event["event"] == "tandem.drift.detected"


def without_labels(path: Path) -> None:
    pd.read_csv(path).drop(columns="Diabetic").to_csv(path, index=False)


def with_labels_missing(path: Path) -> None:
    pd.read_csv(path).assign(Diabetic=lambda frame: frame["Diabetic"].where(frame.index > 10)).to_csv(path, index=False)


def in_another_unit(path: Path) -> None:
    pd.read_csv(path).assign(BMI=lambda frame: frame["BMI"] * 10).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_labels, "column 'Diabetic' is missing"),
        (with_labels_missing, "column Diabetic, rows 1 (empty)"),
        (in_another_unit, "must be 0 to 200"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_drifted_data_that_cannot_be_trained_on_is_an_outcome_of_its_own_that_starts_no_training(
    watched: str, rows: Files, spoil: Callable[[Path], None], said: str
) -> None:
    data = rows(feature="BMI", shift=1, seed=2).rename(Path(rows().parent, f"{spoil.__name__}.csv"))
    spoil(data)
    state = watch(data_asset_name=data, emit=True)
    assert ended(state) == ("COMPLETED", "DriftUntrainable")
    assert "BMI (PSI " in str(state.message) and said in str(state.message)
    assert str(state.message).endswith(
        "labels included, and register them: tandem data register FILE --name diabetes-diagnostics"
    )
    assert summary_of(state).next_command is None
    (event,) = told_in_the_end(watched, data)
    assert event["event"] == "tandem.drift.untrainable"
    assert said in event["payload"]["untrainable"]


def test_what_an_endpoint_was_asked_is_incoming_data_that_cannot_be_trained_on(
    watched: str, rows: Files, tmp_path: Path
) -> None:
    kept = tmp_path / "kept" / "blue" / "model_inputs" / "2026" / "asked.jsonl"
    kept.parent.mkdir(parents=True)
    asked = pd.read_csv(rows(feature="Age", shift=1, seed=3))[[*FEATURES]]
    at = {"time": "2026-05-31T14:00:00Z", "correlationid": "1"}
    kept.write_text(json.dumps({**at, "data": asked.to_dict(orient="records")}) + "\n")
    file = tmp_path / "asked.csv"
    assert read_samples(tmp_path / "kept", None, file).total == 1000
    DataStore(Settings.from_environment().registered_data).register(file, "asked")
    state = watch(model_name=SERVED, data_asset_name="asked", emit=True)
    assert ended(state) == ("COMPLETED", "DriftUntrainable")
    assert "asked:1 has drifted" in str(state.message) and "column 'Diabetic' is missing" in str(state.message)
    (event,) = told_in_the_end(watched, "asked:1", SERVED)
    assert event["event"] == "tandem.drift.untrainable"


def test_without_a_champion_data_without_labels_is_not_said_to_be_trained_on(watched: str, rows: Files) -> None:
    data = rows()
    without_labels(data)
    summary = summary_of(watch(model_name="never-trained", data_asset_name=data))
    assert summary.next_command is None
    assert "column 'Diabetic' is missing" in watch_summary_as_text(summary)


def test_data_asset_that_came_before_the_data_of_the_champion_is_not_incoming(watched: str) -> None:
    state = watch(model_name=OF_A_FILE, data_asset_name="diabetes-diagnostics", emit=True)
    assert ended(state) == ("COMPLETED", "Skipped")
    said = str(state.message)
    assert said.startswith(f"{DATA} is not known to be newer: it was registered at an unknown time, and {OF_A_FILE}")
    assert "was trained on /data/of-its-own.csv at 2026-01-02 03:04 UTC" in said
    assert said.endswith(f"name its file: tandem watch {ROWS}")


@pytest.mark.slow
def test_drift_whose_event_prefect_has_forgotten_is_not_told_again(watched: str, rows: Files) -> None:
    data = rows(feature="Age", shift=0.5)
    key = report_key(WatchSummary(MODEL, 1, str(data)), data_digest(data))
    was = "Drift by a PSI of 0.1 and a p of 0.01; tandem.drift.detected was emitted"
    report = {"key": key, "type": "markdown", "data": "# Of last week", "description": was}
    with asking(watched) as client:
        client.post("/artifacts/", json=report).raise_for_status()
    state = watch(data_asset_name=data, emit=True)
    assert ended(state) == ("COMPLETED", "Drift")
    assert summary_of(state).told
    # What was emitted before this is known once this is.
    asyncio.run(emit(Fact("tandem.drift.detected", "tests", (str(data),), {"model": MODEL, "data_asset": "last"})))
    assert told_in_the_end(watched, "last")
    assert str(data) not in [event["payload"]["data_asset"] for event in told(watched)]


@pytest.mark.slow
def test_other_data_of_the_same_name_is_another_drift(watched: str, rows: Files) -> None:
    data = rows(feature="Pregnancies", shift=0.5)
    watch(data_asset_name=data, emit=True)
    data.write_bytes(rows(feature="Pregnancies", shift=0.5, seed=1).read_bytes())
    watch(data_asset_name=data, emit=True)
    for _ in range(100):
        if len(told_in_the_end(watched, data)) == 2:
            return
        time.sleep(0.1)
    raise AssertionError("the second was not told")


def test_too_few_rows_are_not_compared(watched: str, rows: Files) -> None:
    state = watch(data_asset_name=rows(count=99, shift=3))
    assert ended(state) == ("COMPLETED", "Skipped")
    assert "has 99 rows, and a comparison needs 100" in str(state.message)


# --- what is wrong --------------------------------------------------------------------------------------------------


def test_data_without_a_feature_fails_with_its_name_and_no_traceback(watched: str, rows: Files) -> None:
    data = rows()
    pd.read_csv(data).drop(columns="BMI").to_csv(data, index=False)
    state = watch(data_asset_name=data)
    assert ended(state) == ("FAILED", "DataAssetError")
    assert f"The data {data} lack BMI" in str(state.message)


def test_data_that_is_not_there_fails(watched: str) -> None:
    state = watch(data_asset_name="no-such-data")
    assert ended(state) == ("FAILED", "DataAssetError")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("silent", "silent version 1 does not say what it was trained on"),
        ("bereft", "What bereft version 1 was trained on is not there any more: There is no data asset 'gone'"),
        ("betrayed", "The content of diabetes-diagnostics:1 has changed"),
    ],
)
def test_champion_whose_training_data_cannot_be_had_fails_the_watch_and_says_why(
    watched: str, rows: Files, model: str, said: str
) -> None:
    state = watch(model_name=model, data_asset_name=rows())
    assert ended(state) == ("FAILED", "DataAssetError")
    assert said in str(state.message)


def test_data_that_was_kept_when_the_champion_was_promoted_is_compared_though_its_file_is_gone(
    watched: str, watched_home: Path, rows: Files
) -> None:
    trained_on, settings = rows(seed=9), Settings.from_environment({"TANDEM_HOME": str(watched_home)})
    digest = data_digest(trained_on)
    DataStore(settings.registered_data).keep(trained_on, digest)
    register(settings, "local", kept={"tandem.data": str(trained_on), "tandem.data_sha256": digest})
    trained_on.unlink()
    state = watch(model_name="kept", data_asset_name=rows(seed=10))
    assert ended(state) == ("COMPLETED", "NoDrift"), state.message


# --- by hand --------------------------------------------------------------------------------------------------------


def tandem(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "flows", "watch", *words]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)


def test_command_says_verdict_features_picture_and_what_to_type_next(watched: str, rows: Files) -> None:
    data = rows(feature="SerumInsulin", shift=0.5)
    done = tandem(str(data), "--model-name", MODEL, "--engine", "local")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.split()[:2] == ["verdict", "Drift:"] for line in lines)
    (drifted,) = (line.split() for line in lines if line.endswith("  drifted"))
    assert drifted[0] == "SerumInsulin"
    (picture,) = (line.split(maxsplit=1)[1] for line in lines if line.startswith("  Picture:"))
    assert Path(picture).is_file()
    (following,) = (line for line in lines if line.startswith("  Next:"))
    assert following.endswith(f"create_aml_pipeline_train.py --model_name {MODEL} --data_asset_name {data}")


def test_command_prints_json_alone_for_machines(watched: str) -> None:
    done = tandem("--model-name", MODEL, "--engine", "local", "--json")
    said = json.loads(done.stdout)
    assert (said["verdict"], said["model"]) == ("Skipped", {"name": MODEL, "champion_version": 1})
    assert said["features"] == {}


def test_command_refuses_a_wrong_value_before_anything_runs(watched: str) -> None:
    done = tandem("--significance", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "significance" in done.stderr and "0.5" in done.stderr
    assert "Traceback" not in done.stderr


def test_command_that_is_to_emit_an_event_is_refused_where_nothing_could_be_started_by_it(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    command = [sys.executable, "-m", "flows", "watch", "--emit"]
    done = subprocess.run(command, cwd=PROJECT, env=terminal.environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: --emit: there is no Prefect server")


def test_form_of_the_flow_shows_every_field_with_description_and_default() -> None:
    form = watch_data.parameters.properties
    assert list(form) == list(WatchParameters.model_fields)
    for name, field in WatchParameters.model_fields.items():
        assert form[name]["description"] == field.description
        assert form[name]["default"] == field.default


# --- in a workspace -------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(
    azure_environment: Service, azure_client_allowed: None, home: Path, prefect_api: str
) -> Iterator[Settings]:
    """A workspace with one champion of the shipped data."""
    settings = Settings.from_environment()
    register(settings, "azureml", **{MODEL: {}})
    yield settings
    assert not azure_environment.violations


@sdk_warns
def test_champion_and_its_data_in_a_workspace_are_compared_with(workspace: Settings, rows: Files) -> None:
    state = watch(engine="azureml", data_asset_name=rows(feature="BMI", shift=0.5))
    assert ended(state) == ("COMPLETED", "Drift"), state.message
    compared = summary_of(state).comparison
    assert compared is not None and compared.reference.rows == 768
    assert ended(watch(engine="azureml", data_asset_name="diabetes-diagnostics")) == ("COMPLETED", "Skipped")
    # Data of this machine is no newer than a champion only because a later run has brought it to the workspace.
    register(
        workspace, "azureml", **{OF_A_FILE: OF_ITS_OWN, SERVED: {"tandem.trained_at": "2026-01-02T03:04:05+00:00"}}
    )
    asset = workspace.registered_data / "assets" / "brought-by-a-run" / "1.yml"  # which no other test has brought
    asset.parent.mkdir(parents=True)
    asset.write_text(f"name: brought-by-a-run\nversion: 1\ntype: uri_file\npath: {ROWS}\n")
    state = watch(engine="azureml", model_name=OF_A_FILE, data_asset_name="brought-by-a-run")
    assert (*ended(state), "at an unknown time" in str(state.message)) == ("COMPLETED", "Skipped", True)


@sdk_warns
def test_data_in_a_workspace_that_is_no_single_small_file_is_refused(workspace: Settings, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data

    from flows.engines.azureml.sdk.data_files import DataFiles
    from flows.engines.azureml.sdk.workspace import open_workspace

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "rows.csv").write_text("Age\n21\n")

    async def refusals() -> list[str]:
        said: list[str] = []
        async with open_workspace(workspace) as opened:
            assets = [
                Data(name="a-folder", version="1", type="uri_folder", path=str(tmp_path / "folder")),
                Data(name="elsewhere", version="1", type="uri_file", path="https://example.org/rows.csv"),
                Data(name="a-file", version="1", type="uri_file", path=str(tmp_path / "folder" / "rows.csv")),
            ]
            for asset in assets:
                await opened.connection.upload(lambda client, asset=asset: client.data.create_or_update(asset))
                with pytest.raises(DataAssetError) as refused:
                    files = DataFiles(opened.connection, most_bytes=5)
                    await files.download(str(asset.name), "1", tmp_path / "brought")
                said.append(str(refused.value))
        return said

    folder, elsewhere, large = asyncio.run(refusals())
    assert "a-folder:1 is a uri_folder" in folder
    assert "https://example.org/rows.csv, which is no datastore" in elsewhere
    assert "a-file:1 has" in large and "sample" in large
