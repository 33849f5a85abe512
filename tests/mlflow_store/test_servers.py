"""Runs, artifacts and models on an MLflow server of a team, from several machines (folders of local state)."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.any_yaml.request import FileParameters, file_request
from flows.engines.local.job_runs import JobRuns
from flows.errors import RunError, ServiceError, SettingsError
from flows.mlflow_store.model_registry import Candidate, MlflowTracking, ModelVersion, Overtaken
from flows.prefect_api.server import free_port
from flows.settings import Settings
from tests.mlflow_store.fault_proxy import FaultProxy, RequestFault
from tests.mlflow_store.servers import MlflowServer, make_account, server_with_accounts
from tests.mlflow_store.stores import WORKER, Store, line_to


class Machine(Store):
    """A folder of local state on a machine that uses a server."""

    def __init__(self, folder: Path, server: MlflowServer, **variables: str) -> None:
        super().__init__(folder)
        self.environment |= {**server.environment, **variables}

    @contextlib.asynccontextmanager
    async def tracking(self) -> AsyncGenerator[MlflowTracking]:
        async with line_to(WORKER, environment=self.environment, timeout_seconds=300) as worker:
            yield MlflowTracking(worker)

    def candidate(self, name: str, label: str, run_id: str, **more: Any) -> Candidate:
        key = hashlib.sha256(label.encode()).hexdigest()
        return Candidate(name, self.model(label, label), run_id, {"tandem.model_sha256": key}, **more)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("server") / "team") as server:
        yield server


def test_model_that_one_machine_promotes_is_compared_by_another(server: MlflowServer, tmp_path: Path) -> None:
    here, there = Machine(tmp_path / "here", server), Machine(tmp_path / "there", server)

    async def scenario() -> None:
        async with here.tracking() as ours, there.tracking() as theirs:
            run_id = await ours.create_run("shared", "train")
            await ours.check_artifacts(run_id)
            await ours.log_metrics(run_id, {"loss": 0.5})
            report = tmp_path / "report"
            report.mkdir()
            (report / "report.html").write_text("the report")
            assert run_id in await ours.log_folder(run_id, report, "evaluation")
            made = await ours.promote(here.candidate("shared", "one", run_id), compared_with=None, flow_run_id="a")
            assert isinstance(made, ModelVersion) and made.created and made.version == 1
            assert made.source.startswith("mlflow-artifacts:/"), "a source that every machine can open"
            found = await theirs.champion("shared")
            assert found is not None and found.version == 1
            assert Path(found.source).is_relative_to(there.folder)
            assert (Path(found.source) / "MLmodel").read_text() == "flavors: one"
            assert (Path(found.source) / "data" / "model.skops").read_text() == "one" * 1000
            assert await theirs.champion("shared") == found, "the copy is kept"
            other = await theirs.create_run("shared", "train")
            second = there.candidate("shared", "two", other)
            assert await theirs.promote(second, compared_with=None, flow_run_id="b") == Overtaken(by=1)
            made = await theirs.promote(second, compared_with=1, flow_run_id="c")
            assert isinstance(made, ModelVersion)
            again = await theirs.promote(second, compared_with=1, flow_run_id="c")
            assert isinstance(again, ModelVersion) and (again.version, again.created) == (made.version, False)
            found = await ours.champion("shared")
            assert found is not None and found.version == made.version

    asyncio.run(scenario())
    assert not (here.folder / "mlflow.db").exists(), "nothing is in the local store"
    assert (server.folder / "served").is_dir()


def test_models_that_people_register_by_mlflow_alone_are_compared_like_any_other(
    server: MlflowServer, tmp_path: Path
) -> None:
    machine, client = Machine(tmp_path / "machine", server), server.client()

    async def scenario() -> None:
        async with machine.tracking() as tracking:
            run_id = await tracking.create_run("by hand", "train")
            await tracking.log_folder(run_id, Path(machine.model("hand", "by hand")), "some/model")
            client.create_registered_model("by-hand")
            client.create_model_version("by-hand", f"runs:/{run_id}/some/model", run_id)
            client.set_registered_model_alias("by-hand", "champion", "1")
            found = await tracking.champion("by-hand")
            assert found is not None
            assert (Path(found.source) / "MLmodel").read_text() == "flavors: by hand"
            made = await tracking.promote(machine.candidate("by-hand", "x", run_id), compared_with=1, flow_run_id="a")
            assert isinstance(made, ModelVersion) and made.version == 2
            client.set_registered_model_alias("by-hand", "champion", "1")
            found = await tracking.champion("by-hand")
            assert found is not None and found.version == 1, "who moves the alias back by hand is respected"

    asyncio.run(scenario())


def test_same_model_that_two_machines_register_is_one_version(server: MlflowServer, tmp_path: Path) -> None:
    machines = [Machine(tmp_path / str(number), server) for number in range(2)]

    async def scenario() -> None:
        async with machines[0].tracking() as one, machines[1].tracking() as other:
            both = [one, other]
            runs = [await tracking.create_run("same", "train") for tracking in both]
            made = await asyncio.gather(
                *(
                    tracking.register(machine.candidate("same", "same", run))
                    for tracking, machine, run in zip(both, machines, runs, strict=True)
                )
            )
        assert {version.version for version in made} == {1}

    asyncio.run(scenario())
    assert [version.version for version in server.client().search_model_versions("name='same'")] in ([1], ["1"])


def test_server_that_does_not_answer_is_told_in_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.environment |= {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    store.environment |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

    async def scenario() -> None:
        async with line_to(WORKER, environment=store.environment) as worker:
            tracking = MlflowTracking(worker)
            for call in (tracking.champion("m"), tracking.create_run("e", "r")):
                with pytest.raises(ServiceError, match=r"does not answer as it should: connection refused\."):
                    await call

    asyncio.run(scenario())


@pytest.mark.slow
def test_server_whose_artifacts_only_it_can_open_is_refused_before_training(tmp_path: Path) -> None:
    with MlflowServer(tmp_path / "server", serves_artifacts=False) as server:
        machine = Machine(tmp_path / "machine", server)

        async def scenario() -> None:
            async with machine.tracking() as tracking:
                with pytest.raises(RunError, match="keeps no artifacts that others can open"):
                    await tracking.create_run("diabetes", "train")

        asyncio.run(scenario())


def test_account_of_mlflows_own_authentication_is_used_and_one_that_is_refused_is_told_without_its_password(
    tmp_path: Path,
) -> None:
    with server_with_accounts(tmp_path / "guarded") as guarded:
        for name in ("me", "guest"):
            make_account(guarded, name, f"hunter2-of-{name}")

        def machine(name: str, password: str) -> Machine:
            variables = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
            return Machine(tmp_path / f"{name}-{password[:7]}", guarded, **variables)

        async def scenario() -> None:
            own, other, wrong = (
                machine("me", "hunter2-of-me"),
                machine("guest", "hunter2-of-guest"),
                machine("me", "hunter3"),
            )
            async with own.tracking() as tracking, other.tracking() as guest, wrong.tracking() as refused:
                run_id = await tracking.create_run("signed", "train")
                await tracking.check_artifacts(run_id)
                candidate = own.candidate("signed", "one", run_id)
                assert isinstance(await tracking.promote(candidate, compared_with=None, flow_run_id="a"), ModelVersion)
                champion = await guest.champion("signed")
                assert champion is not None
                theirs = other.candidate("signed", "two", await guest.create_run("of-the-guest", "train"))
                with pytest.raises(SettingsError, match=r"does not allow this \(403\)") as no:
                    await guest.promote(theirs, compared_with=champion.version, flow_run_id="b")
                assert "hunter" not in str(no.value)
                for call in (refused.create_run("signed", "train"), refused.champion("signed")):
                    with pytest.raises(
                        SettingsError, match=r"does not let us in .*: set MLFLOW_TRACKING_USERNAME"
                    ) as no:
                        await call
                    assert "MLFLOW_TRACKING_USERNAME" in str(no.value) and "hunter" not in str(no.value)
                still = await tracking.champion("signed")
                assert still is not None and still.version == champion.version

        asyncio.run(scenario())


def test_page_of_a_job_is_that_of_its_run_on_the_server(server: MlflowServer, tmp_path: Path) -> None:
    machine = Machine(tmp_path, server)
    job = tmp_path / "job.yml"
    job.write_text("type: command\nexperiment_name: pages\nenvironment: azureml:e@latest\ncommand: echo done\n")
    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path / "state"), **server.environment})
    request = file_request(FileParameters.model_validate({"file": str(job)}), settings, flow_run_id="a")

    async def scenario() -> JobRuns:
        async with machine.tracking() as tracking:
            runs = JobRuns(tracking, request, None, server.url)
            assert runs.page is None, "there is no run yet"
            await runs.open()
        return runs

    runs = asyncio.run(scenario())
    (run,) = server.client().search_runs([server.client().get_experiment_by_name("pages").experiment_id])
    assert runs.page == f"{server.url}/#/runs/{run.info.run_id}" and runs.where == "local"


def test_step_whose_figures_a_server_does_not_take_says_so_and_completes_but_not_if_it_is_refused(
    server: MlflowServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from diabetes_run import log_run

    run = server.client().create_run("0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def log() -> None:
        monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)  # which MLflow takes out of the environment
        log_run({"a": 1}, {"b": 2.0})

    with FaultProxy(server.url) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        proxy.fault = RequestFault("500", "POST", "runs/log-batch", 9)
        log()
        said = capsys.readouterr().err
        assert said.startswith("warning: MLflow does not have all params and metrics of this step: ")
        assert said.count("\n") == 1
        proxy.fault = RequestFault("403", "POST", "runs/log-batch", 9)
        with pytest.raises(Exception, match="403"):
            log()
        proxy.fault = None
        log()
    assert server.client().get_run(run.info.run_id).data.metrics == {"b": 2.0}


# A worker that is killed when its version is made, and before it has decided anything.
KILLED_WITH_A_CLAIM = f"""
import os, runpy, signal, mlflow
make = mlflow.MlflowClient.create_model_version
def create_model_version(*values, **named):
    make(*values, **named)
    os.kill(os.getpid(), signal.SIGKILL)
mlflow.MlflowClient.create_model_version = create_model_version
runpy.run_path({WORKER!r}, run_name="__main__")
"""


def test_claim_of_a_process_that_died_is_promoted_by_the_next_and_known_again_by_its_own_next_start(
    server: MlflowServer, tmp_path: Path
) -> None:
    dead, other = Machine(tmp_path / "dead", server), Machine(tmp_path / "other", server)

    async def scenario() -> None:
        async with dead.line("-c", KILLED_WITH_A_CLAIM) as worker:
            tracking = MlflowTracking(worker)
            run_id = await tracking.create_run("claims", "train")
            with pytest.raises(ServiceError, match="ended before it answered promote"):
                await tracking.promote(dead.candidate("claims", "one", run_id), compared_with=None, flow_run_id="a")
        async with other.tracking() as theirs, dead.tracking() as ours:
            assert await theirs.champion("claims") is None, "nothing is decided yet"
            run_id = await theirs.create_run("claims", "train")
            second = other.candidate("claims", "two", run_id)
            assert await theirs.promote(second, compared_with=None, flow_run_id="b") == Overtaken(by=1)
            assert await theirs.version("claims", 2) is None, "who is overtaken leaves no version"
            found = await theirs.champion("claims")
            assert found is not None and found.version == 1
            made = await theirs.promote(second, compared_with=1, flow_run_id="c")
            assert isinstance(made, ModelVersion)
            # The first one's next start delivers its model in other bytes; it is told the truth: it was promoted.
            run_id = await ours.create_run("claims", "train")
            late = dead.candidate("claims", "one again", run_id)
            again = await ours.promote(late, compared_with=None, flow_run_id="a")
            assert isinstance(again, ModelVersion) and (again.version, again.created) == (1, False)
            found = await ours.champion("claims")
            assert found is not None and found.version == made.version

    asyncio.run(scenario())


def test_alias_that_a_process_sets_too_late_before_it_dies_is_set_right(server: MlflowServer, tmp_path: Path) -> None:
    machine, client = Machine(tmp_path / "machine", server), server.client()

    async def scenario() -> None:
        async with machine.tracking() as tracking:
            runs = [await tracking.create_run("late", str(number)) for number in range(2)]
            for number, run in enumerate(runs):
                candidate = machine.candidate("late", str(number), run)
                before = None if number == 0 else number
                await tracking.promote(candidate, compared_with=before, flow_run_id=str(number))
            # As a process leaves it that stood still since the first promotion, writes, and dies.
            client.set_model_version_tag("late", "1", "tandem.promotion.by.somebody", str(int(time.time())))
            client.set_registered_model_alias("late", "champion", "1")
            third = machine.candidate("late", "third", await tracking.create_run("late", "third"))
            assert await tracking.promote(third, compared_with=1, flow_run_id="x") == Overtaken(by=2)
            found = await tracking.champion("late")
            assert found is not None and found.version == 2
            assert client.get_model_version_by_alias("late", "champion").version in (2, "2")

    asyncio.run(scenario())
