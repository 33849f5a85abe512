"""A job made ready for this machine: its data found, given or fetched, or all that is missing named."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent

import pytest

from flows.any_yaml.local_data import with_local_data
from flows.data.given import given_assets
from flows.data.store import DataStore
from flows.errors import CannotRunHere
from flows.mlflow_store.model_registry import Candidate, MlflowTracking, ModelVersion
from flows.settings import Settings
from flows.spec.bind import bind
from flows.spec.model.job import DataReference, JobSpec
from flows.spec.reading.reader import read_job
from tests.mlflow_store.stores import WORKER, Store, line_to

Local = Callable[..., JobSpec]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "project", tmp_path / "home", {})


@pytest.fixture
def local(tmp_path: Path, settings: Settings) -> Local:
    """The job of a YAML text, made ready."""

    def _local(text: str, *pairs: str, **how: bool) -> JobSpec:
        file = tmp_path / "job.yml"
        file.write_text(dedent(text))
        given = given_assets(pairs, file)
        return with_local_data(bind(read_job(file, given.components), {}), given, settings, **how)

    return _local


def command(**inputs: str) -> str:
    """A job of one command that reads data: ``name="type path"``."""
    lines = [f"  {name}: {{type: {said.split()[0]}, path: '{said.split()[1]}'}}" for name, said in inputs.items()]
    read = " ".join(f"${{{{inputs.{name}}}}}" for name in inputs)
    return "\n".join([f"command: echo {read}", "environment: {image: ubuntu}", "inputs:", *lines])


def paths(spec: JobSpec) -> dict[str, str]:
    return {name: given.value.path for name, given in spec.inputs.items() if isinstance(given.value, DataReference)}


class Web(ThreadingHTTPServer):
    """A server on this machine, and the paths that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Web  # type: ignore[assignment]

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        there = self.path.startswith("/there")
        self.send_response(200 if there else 404)
        self.send_header("Content-Length", "8" if there else "0")
        self.end_headers()
        self.wfile.write((b"a,b\n1,2\n" if "short" not in self.path else b"a,b\n") if there else b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_data_is_found_by_path_by_name_and_by_what_is_given_for_it(
    tmp_path: Path, local: Local, settings: Settings
) -> None:
    for name in ("plain.csv", "titanic.csv", "rows.csv"):
        (tmp_path / name).write_text(name)
    DataStore(settings.registered_data).register(tmp_path / "rows.csv", "rows", version="4")
    (tmp_path / "in").mkdir()
    text = command(
        plain="uri_file ./plain.csv",
        named="uri_file azureml:rows:4",
        newest="uri_file azureml:rows@latest",
        given="uri_file azureml:titanic@latest",
        registry="uri_file azureml://registries/azureml/data/titanic/versions/1",
        below="uri_folder wasbs://c@a.blob.core.windows.net/deep/in/",
    )
    store = "wasbs://c@a.blob.core.windows.net/deep/"
    spec = local(text, f"titanic={tmp_path}/titanic.csv", f"{store}={tmp_path}")
    found = paths(spec)
    assert found["plain"] == str(tmp_path / "plain.csv")
    assert Path(found["named"]).read_text() == Path(found["newest"]).read_text() == "rows.csv"
    assert found["given"] == found["registry"] == str(tmp_path / "titanic.csv")
    assert Path(found["below"]) == tmp_path / "in"


def test_model_is_found_by_the_name_that_a_job_gave_it(tmp_path: Path, local: Local, settings: Settings) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    DataStore(settings.registered_models).register(tmp_path / "model", "fitted", "mlflow_model")
    found = paths(local(command(model="mlflow_model azureml:fitted:1")))
    assert (Path(found["model"]) / "MLmodel").is_file()


def test_all_that_is_missing_is_one_error_with_what_to_add(tmp_path: Path, local: Local, web: Web) -> None:
    (tmp_path / "table").mkdir()
    text = command(
        path="uri_file ./gone.csv",
        name="uri_file azureml:gone:1",
        store="uri_folder azureml://datastores/d/paths/x/",
        folder=f"uri_folder {web.url}/there/",
        file=f"uri_file {web.url}/gone.csv",
        table="mltable ./table",
    )
    with pytest.raises(CannotRunHere) as raised:
        local(text)
    assert str(raised.value) == dedent(f"""\
        6 data inputs of job cannot be found:
          {tmp_path}/gone.csv (inputs.path): there is no such file or folder
              Add it, or another path: --set inputs.path=FILE
          azureml:gone:1 (inputs.name): There is no data asset 'gone' in {tmp_path}/project/data. It has: none.
              Add --asset azureml:gone:1=FILE
          azureml://datastores/d/paths/x/ (inputs.store): it is elsewhere, out of this machine's reach
              Add --asset azureml://datastores/d/paths/x/=FOLDER
          {web.url}/there/ (inputs.folder): only a file can be fetched, and a uri_folder is a folder
              Add --asset {web.url}/there/=FOLDER
          {web.url}/gone.csv (inputs.file): the server answers 404 Not Found
              Add --asset {web.url}/gone.csv=FILE
          {tmp_path}/table (inputs.table): an mltable is a folder with a file MLTable, and table is none
              Add it, or another path: --set inputs.table=FOLDER
        Nothing was run.""")


def test_steps_that_cannot_run_here_are_named_together_and_nothing_is_fetched_for_them(local: Local, web: Web) -> None:
    text = f"""\
        type: pipeline
        jobs:
          fit: {{type: command, component: azureml:fit:1, inputs: {{rate: 1}}}}
          many:
            type: command
            command: cat ${{{{inputs.rows}}}}
            environment: {{image: ubuntu}}
            inputs: {{rows: {{type: uri_file, path: {web.url}/there.csv}}}}
            distribution: {{type: pytorch, process_count_per_instance: 2}}
            resources: {{instance_count: 4}}
        """
    with pytest.raises(CannotRunHere) as raised:
        local(text)
    assert str(raised.value) == dedent("""\
        This machine cannot run 2 steps of job:
          fit runs azureml:fit:1, which has no file on this machine
          many asks for 4 instances (pytorch), and this machine is one
          A registered component runs from its YAML file: --asset NAME=COMPONENT.yml
        Nothing was run.""")
    assert web.asked == []
    assert raised.value.exit_code == 2


def test_registered_component_runs_from_the_file_that_is_given_for_it(tmp_path: Path, local: Local) -> None:
    component = "type: command\nname: fit\ncommand: echo ${{inputs.rate}}\nenvironment: {image: ubuntu}\n"
    (tmp_path / "fit.yml").write_text(component + "inputs: {rate: {type: number}}\n")
    text = "type: pipeline\njobs:\n  fit: {type: command, component: azureml:fit:1, inputs: {rate: 1}}\n"
    assert local(text, f"fit={tmp_path}/fit.yml").steps["fit"].component.name == "fit"


def test_web_file_is_fetched_once_and_keeps_its_name(local: Local, web: Web) -> None:
    text = command(rows=f"uri_file {web.url}/there/my%20rows.csv?key=secret")
    first, second = paths(local(text))["rows"], paths(local(text))["rows"]
    assert first == second
    assert (Path(first).name, Path(first).read_text()) == ("my rows.csv", "a,b\n1,2\n")
    assert web.asked == ["/there/my%20rows.csv?key=secret"]
    kept = Path(first).parents[1]
    assert all("secret" not in path.read_text() for path in kept.rglob("*") if path.is_file())


def test_file_that_breaks_off_is_not_kept(local: Local, web: Web) -> None:
    text = command(rows=f"uri_file {web.url}/there/short.csv")
    with pytest.raises(CannotRunHere, match="4 of 8 bytes"):
        local(text)
    with pytest.raises(CannotRunHere):
        local(text)
    assert len(web.asked) == 2


@pytest.mark.parametrize(
    "path", ["a" * 5000, "http://[bad", "https://", "azureml:", "azureml:azureml://datastores/a/paths/b"]
)
def test_path_that_nothing_can_have_is_missing_like_any_other(local: Local, path: str) -> None:
    text = command(x=f"uri_file {path}")
    with pytest.raises(CannotRunHere, match=r"1 data input of job cannot be found"):
        local(text)


def test_an_mltable_that_cannot_be_read_here_is_refused_before_anything_runs(local: Local, tmp_path: Path) -> None:
    for name, text in {
        "src/score.py": "def run(batch): return batch\n",
        "table/MLTable": "paths:\n  - file: ./rows.csv\ntransformations:\n  - read_delta_lake\n",
        "table/rows.csv": "a\n1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    text = """\
        type: pipeline
        jobs:
          prep: {command: date, environment: {image: a}}
          score:
            type: parallel
            inputs: {rows: {type: mltable, path: ./table}}
            input_data: ${{inputs.rows}}
            task: {type: run_function, code: ./src, entry_script: score.py, environment: {image: a}}
        """
    with pytest.raises(CannotRunHere) as error:
        local(text)
    assert "score cannot cut its input into mini-batches" in str(error.value)
    assert "MLTable asks for read_delta_lake, which cannot be done on this machine" in str(error.value)
    (tmp_path / "table/MLTable").write_text("paths:\n  - file: ./rows.csv\ntransformations:\n  - read_delimited\n")
    assert list(local(text).steps) == ["prep", "score"]


def test_model_of_mlflows_registry_is_an_input_by_version_by_alias_and_as_the_newest(
    local: Local, settings: Settings, tmp_path: Path
) -> None:
    store = Store(settings.home)
    store.environment["TANDEM_MLFLOW_ARTIFACTS"] = str(settings.mlflow_artifacts)

    async def registered() -> list[str]:
        async with line_to(WORKER, environment=store.environment, timeout_seconds=600) as worker:
            tracking, sources = MlflowTracking(worker), list[str]()
            for number in (1, 2):
                run_id = await tracking.create_run("models", str(number))
                model = Candidate("fit", store.model(str(number), str(number)), run_id, {"k": str(number)})
                if number == 1:
                    made = await tracking.promote(model, compared_with=None, flow_run_id="a")
                else:
                    made = await tracking.register(model)
                assert isinstance(made, ModelVersion)
                sources.append(made.source)
            return sources

    first, second = asyncio.run(registered())
    given = {"one": "mlflow_model azureml:fit:1", "champion": "mlflow_model azureml:fit@champion"}
    found = local(command(**given, newest="custom_model azureml:fit@latest"))
    assert paths(found) == {"one": first, "champion": first, "newest": second}
    with pytest.raises(CannotRunHere, match="fit:3"):
        local(command(absent="mlflow_model azureml:fit:3"))
    with pytest.raises(CannotRunHere):  # a name of data is none of a model
        local(command(data="uri_folder azureml:fit:1"))
