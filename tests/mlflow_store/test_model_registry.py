"""Runs and model versions in a real MLflow store, through the real worker process."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.data.digests import data_digest
from flows.errors import ParameterError, RunError, ServiceError, TandemError
from flows.machine.living import PROCESS, look, record_process
from flows.mlflow_store.model_names import check_model_name
from flows.mlflow_store.model_registry import (
    Candidate,
    MlflowTracking,
    MlflowWorker,
    ModelVersion,
    NewRun,
    Overtaken,
    RunDataset,
)
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.service import Service
from tests.mlflow_store.stores import WORKER, Store, line_to

# A worker in which MLflow prints, as it does at times.
NOISY = f"""
import mlflow, runpy
quiet = mlflow.MlflowClient.get_run
def get_run(self, run_id):
    print("View run at http://somewhere")
    return quiet(self, run_id)
mlflow.MlflowClient.get_run = get_run
runpy.run_path({WORKER!r}, run_name="__main__")
"""

# A worker that is killed where it hurts most.
KILLED_BEFORE_VERSION = f"""
import os, runpy, signal, mlflow
mlflow.MlflowClient.create_model_version = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
runpy.run_path({WORKER!r}, run_name="__main__")
"""


class SharedStore(Store):
    """A store with a worker on it, which several tests use one after the other, and the loop that it lives in."""

    def __init__(self, folder: Path, runner: asyncio.Runner, worker: MlflowWorker) -> None:
        super().__init__(folder)
        self.run = runner.run
        self.worker = worker
        self.tracking = MlflowTracking(worker)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Generator[SharedStore]:
    folder = tmp_path_factory.mktemp("store")
    with asyncio.Runner() as runner:
        line = Store(folder).line("-c", NOISY)
        yield SharedStore(folder, runner, runner.run(line.__aenter__()))
        runner.run(line.__aexit__(None, None, None))


async def register(tracking: MlflowTracking, name: str, model: str, run_id: str, key: str, **more: Any) -> ModelVersion:
    return await tracking.register(Candidate(name, model, run_id, {"tandem.key": key}, **more))


async def promote(
    tracking: MlflowTracking,
    name: str,
    model: str,
    run_id: str,
    key: str,
    compared_with: int | None = None,
    flow_run_id: str = "flow run",
    **more: Any,
) -> ModelVersion | Overtaken:
    candidate = Candidate(name, model, run_id, {"tandem.key": key}, **more)
    return await tracking.promote(candidate, compared_with=compared_with, flow_run_id=flow_run_id)


def test_runs_nest_and_carry_their_tags(store: SharedStore) -> None:
    async def scenario() -> None:
        parent = await store.tracking.create_run("runs", "train pipeline", tags={"flow_run": "calm-otter"})
        first, second = await store.tracking.create_runs("runs", [NewRun("prep", parent), NewRun("train", parent)])
        await store.tracking.finish_run(first, "FINISHED")
        await store.tracking.finish_run(second, "FAILED")
        with contextlib.closing(sqlite3.connect(store.folder / "mlflow.db")) as database:
            tags = set(database.execute("SELECT run_uuid, key, value FROM tags"))
            status = dict(database.execute("SELECT run_uuid, status FROM runs"))
        assert {(first, "mlflow.parentRunId", parent), (second, "mlflow.parentRunId", parent)} < tags
        assert {(parent, "mlflow.runName", "train pipeline"), (parent, "flow_run", "calm-otter")} < tags
        assert [status[run] for run in (parent, first, second)] == ["RUNNING", "FINISHED", "FAILED"]

    store.run(scenario())


def test_metrics_are_logged_undefined_ones_left_out_and_prints_do_not_disturb(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("metrics", "evaluate")
        await store.tracking.log_metrics(run_id, {"roc_auc": 0.8485, "f1": None})
        assert await store.tracking.run_metrics(run_id) == {"roc_auc": 0.8485}

    store.run(scenario())


def test_reused_step_brings_its_metrics_params_and_tags_along(store: SharedStore) -> None:
    async def scenario() -> None:
        earlier = await store.tracking.create_run("reuse", "train", tags={"data": "diabetes:1"})
        await store.tracking.log_metrics(earlier, {f"m{i}": float(i) for i in range(1500)})
        await store.tracking.log_params(earlier, {f"p{i}": str(i) for i in range(150)})
        later = await store.tracking.create_run("reuse", "train again")
        await store.tracking.copy_run_data(earlier, later)
        await store.tracking.copy_run_data(earlier, later)  # a retry changes nothing
        assert await store.tracking.run_metrics(later) == await store.tracking.run_metrics(earlier)
        with pytest.raises(RunError, match="p149"):  # it is there: MLflow refuses another value
            await store.tracking.log_params(later, {"p149": "changed"})

    store.run(scenario())


def test_run_and_version_tell_what_came_of_them(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("told", "train")
        await store.tracking.log_datasets(run_id, [RunDataset("rows:1", "ab" * 32, "file:///rows.csv", "data")])
        await store.tracking.describe_run(run_id, {"tandem.decision": "Rejected"}, "**Rejected**")
        await store.tracking.describe_run(run_id, {"tandem.decision": "Promoted"}, "**Promoted**")  # tried again
        await register(store.tracking, "told", store.model("told"), run_id, "k", description="first")
        await promote(store.tracking, "told", store.model("told"), run_id, "k", description="second")
        with contextlib.closing(sqlite3.connect(store.folder / "mlflow.db")) as database:
            tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)))
            data = database.execute(
                "SELECT name, digest FROM datasets JOIN inputs ON source_id = dataset_uuid"
            ).fetchall()
            version = database.execute("SELECT description FROM model_versions WHERE name = 'told'").fetchall()
            model = database.execute("SELECT description FROM registered_models WHERE name = 'told'").fetchone()
        assert (tags["tandem.decision"], tags["mlflow.note.content"]) == ("Promoted", "**Promoted**")
        assert data == [("rows:1", "ab" * 18)]
        assert version == [("second",)]
        assert "`champion`" in model[0]

    store.run(scenario())


def test_step_that_was_tracked_elsewhere_has_nothing_to_bring_along_and_is_no_failure(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("reuse", "train")
        await store.tracking.copy_run_data("5c0f00000000000000000000000000ff", run_id)
        assert await store.tracking.run_metrics(run_id) == {}

    store.run(scenario())


def test_runs_go_into_a_workspace_and_models_stay_here(tmp_path: Path, azure_ml: Service) -> None:
    store = Store(tmp_path)
    store.environment |= {**azure_ml.environment, "AZUREML_CURRENT_CLOUD": "AzureCloud"}

    async def scenario() -> tuple[str, str]:
        async with store.line(WORKER) as worker:
            tracking = MlflowTracking(worker)
            here = await tracking.create_run("worker", "train")
            await tracking.log_metrics(here, {"loss": 0.5})
            await tracking.track_into(azure_ml.mlflow.tracking_uri)
            there = await tracking.create_run("worker", "train", tags={"tandem.step": "train"})
            await tracking.copy_run_data(here, there)
            await tracking.copy_run_data("5c0f00000000000000000000000000ff", there)  # neither here nor there
            made = await promote(tracking, "champ", store.model("champ"), there, "k")
            again = await promote(tracking, "champ", store.model("champ"), there, "k")
            assert isinstance(made, ModelVersion) and isinstance(again, ModelVersion)
            assert (made.created, again.created, made.version, again.version) == (True, False, 1, 1)
            assert await tracking.champion("champ") == ModelVersion(
                "champ", 1, False, "champion", made.source, there, made.tags
            )
            await tracking.finish_run(there, "FINISHED")
            return there, made.source

    there, source = asyncio.run(scenario())
    assert Path(source, "MLmodel").is_file() and Path(source).is_relative_to(store.folder)
    run = azure_ml.mlflow.call("GET", "runs/get", {"run_id": there})["run"]
    assert (run["info"]["run_name"], run["info"]["status"]) == ("train", "FINISHED")
    assert [(metric["key"], metric["value"]) for metric in run["data"]["metrics"]] == [("loss", 0.5)]
    assert azure_ml.count(".*", "registered-models|model-versions") == 0


def test_workspace_that_takes_no_runs_is_a_service_error_that_names_the_way_out(
    tmp_path: Path, azure_ml: Service
) -> None:
    store = Store(tmp_path)
    store.environment |= {**azure_ml.environment, "AZUREML_CURRENT_CLOUD": "AzureCloud"}
    store.environment |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

    async def scenario() -> None:
        async with store.line(WORKER) as worker:
            tracking = MlflowTracking(worker)
            await tracking.track_into(azure_ml.mlflow.tracking_uri)
            for fault in (Fault(".*", "/mlflow/", code=503), Fault(".*", "/mlflow/", kind="expired", times=2)):
                azure_ml.faults.add(fault)
                with pytest.raises(ServiceError, match="write --tracking local"):
                    await tracking.create_run("worker", "train")

    asyncio.run(scenario())


def test_runs_go_into_a_workspace_with_a_new_token_once_the_last_was_revoked(tmp_path: Path, azure_ml: Service) -> None:
    store = Store(tmp_path)
    store.environment |= {**azure_ml.environment, "AZUREML_CURRENT_CLOUD": "AzureCloud"}
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.html").write_text("the report")

    async def scenario() -> str:
        async with store.line(WORKER) as worker:
            tracking = MlflowTracking(worker)
            await tracking.track_into(azure_ml.mlflow.tracking_uri)
            run = await tracking.create_run("revoked", "train")
            azure_ml.identity.revoke()
            await tracking.log_metrics(run, {"loss": 0.5})
            azure_ml.identity.revoke()
            await tracking.log_folder(run, report, "evaluation")
            azure_ml.identity.revoke()
            await tracking.create_runs("revoked", [NewRun("again", run), NewRun("and again", run)])
            return run

    run = asyncio.run(scenario())
    assert dict(azure_ml.mlflow.call("GET", "runs/get", {"run_id": run})["run"]["data"]["metrics"][0])["value"] == 0.5
    made = [one.status for one in azure_ml.requests if one.path.endswith("/runs/create")]
    assert made.count(200) == 3


def test_champion_is_none_without_model_or_alias(store: SharedStore) -> None:
    async def scenario() -> None:
        assert await store.tracking.champion("nobody") is None
        run_id = await store.tracking.create_run("none", "train")
        await register(store.tracking, "unaliased", store.model("unaliased"), run_id, "k")
        assert await store.tracking.champion("unaliased") is None

    store.run(scenario())


def test_registered_champion_is_a_whole_copy_with_its_origin(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("whole", "train")
        model = store.model("whole")
        made = await promote(store.tracking, "whole", model, run_id, 'it\'s "k"', tags={"commit": "abc"})
        assert isinstance(made, ModelVersion)
        tags = {"tandem.key": 'it\'s "k"', "commit": "abc"}
        decided = {"tandem.flow_run": "flow run", "tandem.compared_with": "none"}
        assert made == ModelVersion("whole", 1, True, "champion", made.source, run_id, tags | decided)
        assert Path(made.source).is_relative_to(store.folder / "artifacts")
        for file in ("MLmodel", "data/model.skops"):
            assert (Path(made.source) / file).read_bytes() == (Path(model) / file).read_bytes()
        found = await store.tracking.champion("whole")
        assert found
        assert (found.version, found.source, found.created) == (1, made.source, False)

    store.run(scenario())


def test_model_of_a_job_that_ran_nothing_and_has_no_run_is_registered(store: SharedStore) -> None:
    model = store.model("of-no-run")
    version = store.run(register(store.tracking, "of-no-run", model, "train-job-1", "key"))
    assert (version.version, version.run_id) == (1, "train-job-1")
    assert (Path(version.source) / "MLmodel").read_text() == (Path(model) / "MLmodel").read_text()


def test_second_register_returns_the_same_version_and_creates_nothing(store: SharedStore) -> None:
    async def scenario() -> None:
        first_run = await store.tracking.create_run("again", "train")
        other_run = await store.tracking.create_run("again", "train, another day")
        first = await register(store.tracking, "again", store.model("again"), first_run, "k")
        again = await register(store.tracking, "again", store.model("again"), other_run, "k")
        assert (again.version, again.source, again.run_id) == (1, first.source, first_run)
        assert (first.created, again.created) == (True, False)
        assert not (store.folder / "artifacts" / other_run).exists()
        assert await store.tracking.champion("again") is None  # nobody asked for the alias

    store.run(scenario())


def test_alias_moves_to_a_new_version_and_back_with_the_tags_of_the_decision(store: SharedStore) -> None:
    async def scenario() -> None:
        one, two = await store.tracking.create_runs("alias", [NewRun("one"), NewRun("two")])
        first, second = store.model("alias-1", "one"), store.model("alias-2", "two")
        await promote(store.tracking, "alias", first, one, "1", None, "a", tags={"data": "old", "metric": "1"})
        await promote(store.tracking, "alias", second, two, "2", 1, "b")
        assert await champion() == (2, {"tandem.key": "2", "tandem.flow_run": "b", "tandem.compared_with": "1"})
        await register(store.tracking, "alias", first, one, "1")
        assert (await champion())[0] == 2
        await promote(store.tracking, "alias", first, one, "1", 2, "c", tags={"data": "new"})
        decided = {"tandem.flow_run": "c", "tandem.compared_with": "2"}
        assert await champion() == (1, {"tandem.key": "1", "data": "new", "metric": "1", **decided})

    async def champion() -> tuple[int, Mapping[str, str]]:
        found = await store.tracking.champion("alias")
        assert found
        return found.version, found.tags

    store.run(scenario())


def test_model_that_was_compared_with_an_earlier_champion_is_not_registered(store: SharedStore) -> None:
    async def scenario() -> None:
        one, two = await store.tracking.create_runs("overtaken", [NewRun("one"), NewRun("two")])
        first, second = store.model("overtaken-1", "one"), store.model("overtaken-2", "two")
        await promote(store.tracking, "overtaken", first, one, "1", None, "a")
        assert await promote(store.tracking, "overtaken", second, two, "2", None, "b") == Overtaken(by=1)
        assert await promote(store.tracking, "overtaken", first, two, "1", None, "the same model") == Overtaken(by=1)
        assert await store.tracking.version("overtaken", 2) is None
        assert not (store.folder / "artifacts" / two).exists()
        again = await promote(store.tracking, "overtaken", first, two, "1", None, "a")
        assert isinstance(again, ModelVersion)
        assert (again.version, again.alias, again.created) == (1, "champion", False)
        # A run that is gone on with may deliver the same model in other bytes, as from a step of another run.
        again = await promote(store.tracking, "overtaken", second, two, "other bytes", None, "a")
        assert isinstance(again, ModelVersion)
        assert (again.version, again.alias, again.created) == (1, "champion", False)
        assert await store.tracking.version("overtaken", 2) is None

    store.run(scenario())


def test_what_a_worker_that_died_has_left_open_is_seen_to_by_the_next_command(tmp_path: Path) -> None:
    store = Store(tmp_path)

    async def scenario() -> None:
        async with store.line(WORKER) as line:
            await MlflowTracking(line).create_run("left", "train", tags={PROCESS: process.life.id})
        with pytest.raises(ServiceError):
            await MlflowTracking(line).create_run("left", "train")

    process = record_process(tmp_path, "tandem run job.yml")
    asyncio.run(scenario())
    process.end_if_settled()
    process.leave()
    _, (dead,) = look(tmp_path)
    assert dead.life.id == process.life.id
    dead.forget()


def test_champion_whose_folder_is_gone_is_an_error_that_names_both(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("gone", "train")
        made = await promote(store.tracking, "gone", store.model("gone"), run_id, "k")
        assert isinstance(made, ModelVersion)
        Path(made.source).rename(store.folder / "elsewhere")
        with pytest.raises(RunError, match="Version 1 of the model 'gone'") as missing:
            await store.tracking.champion("gone")
        assert made.source in str(missing.value)

    store.run(scenario())


def test_champion_that_was_logged_by_mlflow_is_found_where_mlflow_finds_it(store: SharedStore) -> None:
    code = """
import mlflow, sys
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
run = client.get_run(sys.argv[2])
model = client.create_logged_model(run.info.experiment_id, "model", run.info.run_id)
client.log_model_artifacts(model.model_id, sys.argv[3])
client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
client.create_registered_model("logged")
made = client.create_model_version("logged", f"models:/{model.model_id}", model_id=model.model_id)
client.set_registered_model_alias("logged", "champion", made.version)
mlflow.artifacts.download_artifacts("models:/logged@champion")  # as mlflow.pyfunc.load_model does
"""

    async def scenario() -> None:
        run_id = await store.tracking.create_run("logged", "train")
        words = (store.environment["MLFLOW_TRACKING_URI"], run_id, store.model("logged"))
        subprocess.run([sys.executable, "-c", code, *words], check=True)
        found = await store.tracking.champion("logged")
        assert found is not None
        assert (Path(found.source) / "MLmodel").read_text() == "flavors: model"
        assert (Path(found.source) / "registered_model_meta").exists()
        assert data_digest(Path(found.source)) == data_digest(Path(store.model("logged")))
        made = await promote(store.tracking, "logged", store.model("next", "next"), run_id, "k", 1)
        assert isinstance(made, ModelVersion)
        assert made.version == 2

    store.run(scenario())


def test_run_that_holds_a_registered_model_keeps_it(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("keep", "train")
        made = await register(store.tracking, "keep", store.model("keep-1", "one"), run_id, "1")
        with pytest.raises(RunError, match="already holds another model, version 1 of 'keep'"):
            await register(store.tracking, "keep", store.model("keep-2", "two"), run_id, "2")
        assert (Path(made.source) / "MLmodel").read_text() == "flavors: one"
        same = await register(store.tracking, "keep", store.model("keep-1", "one"), run_id, "3")
        assert (same.version, same.source) == (2, made.source)

    store.run(scenario())


@pytest.mark.parametrize("missing", ["absent", ""])
def test_no_model_is_registered_from_an_empty_folder(store: SharedStore, missing: str) -> None:
    async def scenario() -> None:
        (store.folder / "empty").mkdir(exist_ok=True)
        run_id = await store.tracking.create_run("empty", "train")
        with pytest.raises(RunError, match="missing or empty"):
            await register(store.tracking, "empty", str(store.folder / "empty" / missing), run_id, "k")

    store.run(scenario())


def test_register_needs_something_to_know_the_model_again_by(store: SharedStore) -> None:
    with pytest.raises(RunError, match="idempotency_tags is empty"):
        store.run(store.tracking.register(Candidate("m", store.model("m"), "r", {})))


def test_kill_between_copy_and_version_leads_to_one_version(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("killed", "train")
        model = store.model("killed")
        async with store.line("-c", KILLED_BEFORE_VERSION) as line:
            with pytest.raises(ServiceError, match="ended before it answered promote"):
                await promote(MlflowTracking(line), "killed", model, run_id, "k")
        copy = store.folder / "artifacts" / run_id / "artifacts" / "model"
        assert (copy / "MLmodel").exists()
        (copy / "data" / "model.skops").write_text("cut sh")
        (copy / "left over").touch()
        assert await store.tracking.champion("killed") is None

        made = await promote(store.tracking, "killed", model, run_id, "k")
        assert isinstance(made, ModelVersion)
        assert (made.version, made.created) == (1, True)
        assert (copy / "data" / "model.skops").read_bytes() == (Path(model) / "data" / "model.skops").read_bytes()
        assert not (copy / "left over").exists()
        assert not (await register(store.tracking, "killed", model, run_id, "k")).created

    store.run(scenario())


def test_two_processes_make_one_experiment_and_one_version(tmp_path: Path) -> None:
    fresh = Store(tmp_path)

    async def scenario() -> None:
        async with fresh.line(WORKER) as one, fresh.line(WORKER) as other:  # both also find no store, and make one
            both = MlflowTracking(one), MlflowTracking(other)
            runs = await asyncio.gather(*(tracking.create_run("race", "train") for tracking in both))
            made = await asyncio.gather(
                *(
                    promote(tracking, "race", fresh.model("race"), run, "k")
                    for tracking, run in zip(both, runs, strict=True)
                )
            )
        assert sorted(isinstance(one, ModelVersion) and one.created for one in made) == [False, True]
        assert {isinstance(one, ModelVersion) and one.version for one in made} == {1}

    asyncio.run(scenario())


def test_many_calls_at_once_each_get_their_own_answer(store: SharedStore) -> None:
    async def scenario() -> None:
        runs = await store.tracking.create_runs("many", [NewRun(str(i)) for i in range(8)])
        await asyncio.gather(*(store.tracking.log_metrics(run, {"i": float(i)}) for i, run in enumerate(runs)))
        metrics = await asyncio.gather(*(store.tracking.run_metrics(run) for run in runs))
        assert [found["i"] for found in metrics] == [float(i) for i in range(8)]

    store.run(scenario())


@pytest.mark.parametrize("call", ["nonsense", "_versions", "open"])
def test_unknown_call_is_answered_as_a_bug(store: SharedStore, call: str) -> None:
    with pytest.raises(TandemError, match=f"there is no call '{call}'"):
        store.run(store.worker.request(call))


def test_store_that_cannot_be_opened_is_said_to_every_caller(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/file/mlflow.db",
        "TANDEM_MLFLOW_ARTIFACTS": str(tmp_path / "artifacts"),
    }

    async def scenario() -> None:
        async with line_to(WORKER, environment=environment) as line:
            for _ in range(2):
                with pytest.raises(RunError, match="cannot be used"):
                    await line.request("champion", model_name="m")

    asyncio.run(scenario())


def test_deleted_experiment_says_how_to_bring_it_back(store: SharedStore) -> None:
    async def scenario() -> None:
        await store.tracking.create_run("deleted", "train")
        with contextlib.closing(sqlite3.connect(store.folder / "mlflow.db")) as database:
            database.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'deleted'")
            database.commit()
        with pytest.raises(RunError, match="mlflow experiments restore --experiment-id"):
            await store.tracking.create_run("deleted", "train")

    store.run(scenario())


@pytest.mark.parametrize("name", ["a/b", "a:b", "", "it's", "../up", "x" * 256, "-a", "a\n"])
def test_name_that_a_registry_would_refuse_is_refused_at_once(name: str) -> None:
    with pytest.raises(ParameterError):
        check_model_name(name)


def test_ordinary_names_pass() -> None:
    for name in ("diabetes-classifier", "a.b_c", "9"):
        check_model_name(name)


# The line itself, with workers of a few lines in place of MLflow's.

ECHO_IN_REVERSE = """
import json, sys
asked = [json.loads(sys.stdin.readline()) for _ in range(3)]
for request in reversed(asked):
    print(json.dumps({"id": request["id"], "ok": request["args"]["n"] * 100000}), flush=True)
"""


def test_answers_out_of_order_and_longer_than_a_buffer_find_their_callers() -> None:
    async def scenario() -> None:
        async with line_to("-c", ECHO_IN_REVERSE) as line:
            answers = await asyncio.gather(*(line.request("echo", n=letter) for letter in "abc"))
        assert answers == [letter * 100000 for letter in "abc"]

    asyncio.run(scenario())


@pytest.mark.parametrize("last_words", ["pass", "print('not JSON', flush=True); sys.stdin.read()"])
def test_death_of_the_worker_is_said_to_all_who_wait_and_all_who_come(last_words: str) -> None:
    async def scenario() -> None:
        async with line_to("-c", f"import sys; sys.stdin.readline(); {last_words}") as line:
            outcomes = await asyncio.gather(*(line.request("champion") for _ in range(5)), return_exceptions=True)
            assert all(isinstance(outcome, ServiceError) for outcome in outcomes)
            with pytest.raises(ServiceError, match="Run the same command again"):
                await line.request("champion")

    asyncio.run(scenario())


ANSWER_LATE = """
import json, sys, time
request = json.loads(sys.stdin.readline())
time.sleep(0.2)
print(json.dumps({"id": request["id"], "ok": "late"}), flush=True)
"""


def test_closing_lets_what_was_asked_be_answered_first() -> None:
    async def scenario() -> None:
        async with line_to("-c", ANSWER_LATE) as line:
            asked = asyncio.create_task(line.request("anything"))
            await asyncio.sleep(0)
            await line.aclose()
            assert await asked == "late"
            with pytest.raises(ServiceError):
                await line.request("anything")

    asyncio.run(scenario())


def test_worker_that_does_not_answer_is_given_up_on() -> None:
    async def scenario() -> None:
        async with line_to("-c", "import sys; sys.stdin.read()", timeout_seconds=0.2) as line:
            with pytest.raises(ServiceError, match=r"did not answer champion within 0\.2 s"):
                await line.request("champion")

    asyncio.run(scenario())


def test_importing_the_registry_loads_no_mlflow() -> None:
    code = "import sys, json, flows.mlflow_store.model_registry; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert not {"mlflow", "prefect", "pydantic", "flows.mlflow_store.mlflow_worker"} & set(json.loads(loaded))


def test_person_makes_an_older_version_the_champion_and_both_say_so(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("moves", "train")
        first = await promote(store.tracking, "moved", store.model("one"), run_id, "1")
        assert isinstance(first, ModelVersion)
        await promote(store.tracking, "moved", store.model("two"), run_id, "2", compared_with=1, flow_run_id="another")
        moved = await store.tracking.move(
            "moved", 1, champion=2, new={"tandem.moved.1": "to"}, old={"tandem.moved.1": "from"}
        )
        champion, old = await store.tracking.champion("moved"), await store.tracking.version("moved", 2)
        assert isinstance(moved, ModelVersion) and champion is not None and old is not None
        assert (moved.version, champion.version) == (1, 1)
        assert (champion.tags["tandem.moved.1"], old.tags["tandem.moved.1"]) == ("to", "from")

    store.run(scenario())


def test_champion_that_has_changed_since_a_person_looked_is_not_moved(store: SharedStore) -> None:
    async def scenario() -> None:
        run_id = await store.tracking.create_run("moves", "train")
        await promote(store.tracking, "changed", store.model("one"), run_id, "1")
        await promote(
            store.tracking, "changed", store.model("two"), run_id, "2", compared_with=1, flow_run_id="another"
        )
        moved = await store.tracking.move("changed", 1, champion=1, new={}, old={})
        assert moved == Overtaken(2) or isinstance(moved, Overtaken)
        champion = await store.tracking.champion("changed")
        assert champion is not None and champion.version == 2
        with pytest.raises(RunError, match="no version 7"):
            await store.tracking.move("changed", 7, champion=2, new={}, old={})

    store.run(scenario())
