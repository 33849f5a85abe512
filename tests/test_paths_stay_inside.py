"""A name that comes from a file, a flag or a service never leads out of the folder that it is a name in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.any_yaml.outputs import deliver, lay_out, register_outputs
from flows.cli.plan.why import explain
from flows.data.atomic import draft_of
from flows.data.store import DataStore
from flows.data.web import _name as name_on_the_web  # pyright: ignore[reportPrivateUsage]
from flows.engines.plan.output_places import OutputFolders, check_output_places, output_places, project_of
from flows.engines.runs import RunOutcome, RunStatus, StepOutcome
from flows.errors import CannotRunHere, ParameterError, SettingsError, SpecError
from flows.machine.own_folders import MARKER, claim, claim_empty, discard, remove
from flows.settings import Settings
from flows.spec.model.job import JobSpec
from flows.spec.reading.reader import examine, read_job
from flows.spec.text.names import MAX_NAME_BYTES, file_name, inside, twins, unfit

TANDEM = Path(sys.executable).with_name("tandem")
WRONG = (
    *("..", ".", "../x", "../../x", "/", "/x", "a/b", "a/../../x", "a\\b", "..\\x", "", " ", "a\nb", "a\0b", "\x7f"),
    *("x" * 5000, "é" * 200, "\u202ex", "\ud800", "\u2028"),
)
RIGHT = ("a", "A", "train_2", "con", "nul", "aux", "a.b", "..a", "...", "a b", "é", "-rf", "~", "x" * 255, "%2e%2e")
NAMES = st.sampled_from(WRONG) | st.sampled_from(RIGHT) | st.text(max_size=12) | st.text("./\\~\0 ab", max_size=8)
every_name = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Guarded:
    """A folder to work in, with others beside and above it whose content must stay."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "above" / "folder"
        self.folder.mkdir(parents=True)
        for place in (root / "x", root / "above" / "x", root / "above" / "other" / "x"):
            place.parent.mkdir(exist_ok=True)
            place.write_text("keep")
        self.before = self._outside()

    def check(self) -> None:
        """See that nothing outside of the folder was made, changed or deleted."""
        assert self._outside() == self.before

    def _outside(self) -> dict[str, str | None]:
        found = (path for path in self.root.rglob("*") if not path.is_relative_to(self.folder))
        return {str(path): path.read_text() if path.is_file() else None for path in found}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path)
    yield guarded
    guarded.check()


@pytest.mark.parametrize("name", WRONG)
def test_name_that_is_none_of_a_file_is_refused_with_its_reason(name: str) -> None:
    assert unfit(name)
    with pytest.raises(
        ParameterError, match=r"cannot be the name of a file or folder below /folder: it (has|is|means)"
    ):
        inside(Path("/folder"), name)
    assert file_name(name, "other") == "other"


@pytest.mark.parametrize("name", RIGHT)
def test_name_of_a_file_is_taken_as_it_is(name: str, tmp_path: Path) -> None:
    inside(tmp_path, name).write_text("there")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@every_name
@given(names=st.lists(NAMES, min_size=1, max_size=3))
def test_path_of_names_lies_as_deep_in_the_folder_as_there_are_names(names: list[str]) -> None:
    folder = Path("/some/folder")
    try:
        path = inside(folder, *names)
    except ParameterError:
        return
    assert path.parts == (*folder.parts, *names)
    assert os.path.normpath(path) == str(path)
    assert all(len(os.fsencode(name)) <= MAX_NAME_BYTES for name in names)


def test_names_that_some_file_systems_cannot_keep_apart_are_twins() -> None:
    assert list(twins(["a", "A", "b", "caf\u00e9", "cafe\u0301", "a"])) == [("A", "a"), ("cafe\u0301", "caf\u00e9")]


@every_name
@given(name=NAMES)
def test_draft_of_a_file_lies_beside_it_and_can_be_written(name: str, tmp_path: Path) -> None:
    if unfit(name) is None:
        draft = draft_of(tmp_path / name)
        draft.write_text("draft")
        assert draft.parent == tmp_path
        draft.unlink()


JOB = "command: echo\nenvironment: {image: a}\n"


@every_name
@given(name=NAMES)
def test_names_in_a_file_that_lead_elsewhere_are_faults_of_the_reader(name: str, tmp_path: Path) -> None:
    try:
        said = json.dumps(name.encode("utf-8", "surrogatepass").decode())
    except UnicodeDecodeError:
        said = json.dumps(name)
    port = f"{{{said}: {{type: uri_folder}}}}"
    texts = {
        "job": f"{JOB}name: {said}",
        "output": f"{JOB}outputs: {port}",
        "asset": f"{JOB}outputs: {{o: {{type: uri_folder, name: {said}}}}}",
        "version": f"{JOB}outputs: {{o: {{type: uri_folder, name: a, version: {said}}}}}",
        "component": f"type: command\nname: c\nversion: 1\n{JOB}outputs: {port}",
        "pipeline": f"type: pipeline\noutputs: {port}\njobs: {{a: {{command: b, environment: {{image: a}}}}}}",
        "node": f"type: pipeline\njobs: {{a: {{command: b, environment: {{image: a}}, outputs: {port}}}}}",
        "step": f"type: pipeline\njobs: {{{said}: {{command: b, environment: {{image: a}}}}}}",
    }
    for text in texts.values():
        (tmp_path / "job.yml").write_text(text)
        found = examine(tmp_path / "job.yml")
        if found.spec is None or found.faults:
            assert all(
                (fault.place.line or 0) >= 1 and str(fault.place.file).endswith("job.yml") for fault in found.faults
            )
            continue
        for step in found.spec.steps.values():
            ports = step.component.outputs.values()
            for path in (step.name, *(port.name for port in ports), *(port.asset_name or "a" for port in ports)):
                assert unfit(path) is None
            assert all(unfit(f"{port.asset_version}.yml") is None for port in ports)


@pytest.mark.parametrize("name", ["/some/folder", "../..", "..", "a/b", "a\\nb", "x" * 300])
def test_job_whose_name_leads_elsewhere_is_refused_with_file_line_key_and_remedy(tmp_path: Path, name: str) -> None:
    file = tmp_path / "job.yml"
    file.write_text(f'{JOB}name: "{name}"')
    (fault,) = examine(file).faults
    assert str(fault.place) == f"{file}:3: name"
    assert fault.message.startswith("the name ")
    assert fault.remedy == "Use letters, digits, - and _."


@pytest.mark.parametrize("name", ["my-job_1", "My job", "a.b", "con", "nul", "7"])
def test_job_name_that_azure_ml_takes_goes_on_working(tmp_path: Path, name: str) -> None:
    (tmp_path / "job.yml").write_text(f'{JOB}name: "{name}"')
    assert list(read_job(tmp_path / "job.yml").steps) == [name]


def test_file_whose_name_is_dots_is_no_way_to_the_folder_above(tmp_path: Path) -> None:
    (tmp_path / "...yml").write_text(JOB)
    assert list(read_job(tmp_path / "...yml").steps) == ["job"]


def test_step_of_nested_pipelines_whose_names_together_are_too_long_is_refused(tmp_path: Path) -> None:
    long = "a" * 200
    node = f"{{{long}: {{command: b, environment: {{image: a}}}}}}"
    (tmp_path / "job.yml").write_text(f"type: pipeline\njobs: {{{long}: {{type: pipeline, jobs: {node}}}}}")
    assert any("has 401 bytes" in fault.message for fault in examine(tmp_path / "job.yml").faults)


@pytest.mark.parametrize(
    "text",
    [
        f"{JOB}outputs: {{a: , A: }}",
        f"type: command\nname: c\nversion: 1\n{JOB}outputs: {{a: {{type: uri_file}}, A: {{type: uri_file}}}}",
        f"type: command\nname: c\nversion: 1\n{JOB}inputs: {{a: {{type: uri_file}}, A: {{type: uri_file}}}}",
    ],
)
def test_outputs_that_some_file_systems_cannot_keep_apart_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.yml").write_text(text)
    (fault,) = examine(tmp_path / "job.yml").faults
    assert fault.message.endswith("a and A differ in capital letters only")


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize("name", ["{victim}", "../../../victim", ".."])
def test_command_refuses_a_job_whose_name_is_a_folder_and_deletes_nothing(
    tmp_path: Path, command: str, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept.txt").write_text("keep")
    (tmp_path / "job.yml").write_text(f"{JOB}name: {name.format(victim=victim)}")
    environment = {**os.environ, "TANDEM_HOME": str(tmp_path / "home")}
    words = [TANDEM, command, tmp_path / "job.yml"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "job.yml:3: name: the name '" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (victim / "kept.txt").read_text() == "keep"
    assert not (tmp_path / "home" / "jobs").exists()


@every_name
@given(name=NAMES, version=st.none() | NAMES)
def test_data_is_registered_inside_of_the_store(name: str, version: str | None, tmp_path_factory: Any) -> None:
    guarded = Guarded(tmp_path_factory.mktemp("store"))
    data = guarded.folder / "data.csv"
    data.write_text("a,b\n")
    with suppress(ParameterError):
        found = DataStore(guarded.folder / "store").register(data, name, version=version)
        assert (found.asset.name, version or "1") == (name, found.asset.version)
    guarded.check()


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "..", "a b", ""])
def test_data_is_not_registered_under_a_name_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    environment = {**os.environ, "TANDEM_HOME": str(tmp_path / "home")}
    (tmp_path / "rows.csv").write_text("a\n1\n")
    words = [TANDEM, "data", "register", tmp_path / "rows.csv", "--engine", "local", f"--name={name}"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "cannot be the name of a data asset or model" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]


def test_version_that_is_another_one_for_the_file_system_is_not_replaced(tmp_path: Path) -> None:
    store, data = DataStore(tmp_path / "store"), tmp_path / "data.csv"
    data.write_text("a\n")
    store.register(data, "rows", version="v1")
    folder = tmp_path / "store" / "assets"
    (folder / "ROWS").symlink_to(folder / "rows")  # as on a file system that knows no capital letters
    with pytest.raises(ParameterError, match="ROWS:v1 cannot be kept beside rows:v1"):
        store.register(data, "ROWS", version="v1")


@every_name
@given(name=NAMES)
def test_file_of_the_web_has_a_name_inside_of_its_folder(name: str) -> None:
    for url in (f"https://a.b/{name}", f"https://a.b/c/{name.replace('/', '%2F')}?k=/../x"):
        with suppress(ValueError):  # no URL
            assert unfit(name_on_the_web(url)) is None


@every_name
@given(name=NAMES)
def test_job_that_is_asked_for_by_a_name_is_one_of_those_there_are(name: str, tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path / "home", {})
    folder = settings.jobs / "job"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text('{"steps": [{"name": "a"}]}')
    (tmp_path / "home" / "job.json").write_text('{"steps": [{"name": "a"}]}')
    try:
        assert explain(settings, "a", name).folder == folder
    except ParameterError:
        assert not "job".startswith(name)


def outcome(folder: Path, name: str, outputs: dict[str, Path]) -> RunOutcome:
    step = StepOutcome(name, RunStatus.COMPLETED, outputs=outputs)
    addresses = {key: str(path) for key, path in outputs.items()}
    return RunOutcome("job", RunStatus.COMPLETED, (step,), addresses, {}, where=str(folder))


@every_name
@given(step=NAMES, output=NAMES)
def test_outcome_is_laid_out_inside_of_the_output_folder(step: str, output: str, tmp_path_factory: Any) -> None:
    guarded = Guarded(tmp_path_factory.mktemp("out"))
    source = guarded.folder / "source"
    source.mkdir()
    (source / "a.txt").write_text("a")
    out = guarded.folder / "out"
    with suppress(ParameterError, SettingsError):
        lay_out(outcome(source, step, {output: source}), out, OutputFolders((out.resolve(),), out / "state"))
        assert (out / "outputs" / output / "a.txt").is_file()
        assert (out / "steps" / step / "outputs" / output / "a.txt").is_file()
    guarded.check()


def test_only_what_a_run_has_laid_out_is_deleted_from_an_output_folder(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "a.txt").write_text("a")
    (out / "outputs").mkdir(parents=True)
    (out / "outputs" / "mine.txt").write_text("keep")
    (out / "job.json").write_text("{}")
    folders = OutputFolders((out.resolve(),), tmp_path / "state")
    lay_out(outcome(source, "first", {"one": source}), out, folders)
    lay_out(outcome(source, "second", {"two": source}), out, folders)
    assert (out / "outputs" / "mine.txt").read_text() == "keep"
    assert sorted(path.name for path in (out / "steps").iterdir()) == [MARKER, "second"]


def remove_by_name(folder: Path) -> None:
    remove(folder.parent, folder.name)


@pytest.mark.parametrize("delete", [claim_empty, discard, remove_by_name])
@pytest.mark.parametrize("kind", ["folder", "link", "link to an own folder", "file"])
def test_what_no_run_has_made_is_not_deleted(tmp_path: Path, delete: Any, kind: str) -> None:
    victim, place = tmp_path / "victim", tmp_path / "work" / "place"
    place.parent.mkdir()
    victim.mkdir()
    if kind == "link to an own folder":
        claim(victim)
    (victim / "kept.txt").write_text("keep")
    if kind == "folder":
        place.mkdir()
        (place / "kept.txt").write_text("keep")
    elif kind == "file":
        place.write_text("keep")
    else:
        place.symlink_to(victim)
    with suppress(SettingsError):
        delete(place)
    assert (victim / "kept.txt").read_text() == "keep"
    assert place.exists()
    assert kind != "folder" or (place / "kept.txt").exists()


def test_link_in_a_folder_of_a_run_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    victim, own = tmp_path / "victim", tmp_path / "own"
    victim.mkdir()
    (victim / "kept.txt").write_text("keep")
    claim(own)
    (own / "inner").mkdir()
    (own / "inner" / "link").symlink_to(victim)
    (own / "link").symlink_to(victim)
    claim_empty(own)
    assert [path.name for path in own.iterdir()] == [MARKER]
    (own / "link").symlink_to(victim)
    remove(own, "link")
    discard(own)
    assert not own.exists()
    assert (victim / "kept.txt").read_text() == "keep"


def job(folder: Path, path: str, kind: str = "uri_folder") -> JobSpec:
    file = folder / "job.yml"
    file.write_text(f"{JOB}outputs: {{o: {{type: {kind}, path: {json.dumps(path)}}}}}")
    return read_job(file)


def project(tmp_path: Path) -> tuple[Path, OutputFolders]:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder, OutputFolders.of(folder / "job.yml", folder / ".tandem", None, ())


@pytest.mark.parametrize(
    "path", ["/etc/x", "../x", "../../../x", "link/x", "a/../../x", "./.tandem/mlflow.db", "file:/etc/x"]
)
def test_output_outside_of_the_project_is_refused_before_anything_runs(tmp_path: Path, path: str) -> None:
    folder, folders = project(tmp_path)
    (folder / "link").symlink_to(tmp_path)
    spec = job(folder, path)
    (place,) = output_places(spec, folders)
    with pytest.raises(CannotRunHere) as raised:
        check_output_places(spec, folders)
    real = os.path.realpath(place.path)
    assert f"{folder}/job.yml:3: outputs.o.path: " in str(raised.value)
    assert real in str(raised.value)
    assert f"Add --allow-output {real}" in str(raised.value)
    allowed = OutputFolders.of(folder / "job.yml", folder / ".tandem", None, [real])
    check_output_places(spec, allowed)


@pytest.mark.parametrize("path", ["./x", "x/y/z", ".", "azureml://datastores/a/paths/x"])
def test_output_in_the_project_or_elsewhere_in_azure_is_taken(tmp_path: Path, path: str) -> None:
    folder, folders = project(tmp_path)
    check_output_places(job(folder, path), folders)


def test_project_is_the_checkout_but_never_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "home" / "code" / "aml"
    inner.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".git").mkdir()
    assert project_of(inner / "job.yml") == inner
    (tmp_path / "home" / "code" / ".git").write_text("gitdir: elsewhere")
    assert project_of(inner / "job.yml") == tmp_path / "home" / "code"


def test_link_in_the_project_is_no_way_out_of_it_for_what_an_output_holds(tmp_path: Path) -> None:
    folder, folders = project(tmp_path)
    victim, source = tmp_path / "victim", tmp_path / "source"
    victim.mkdir()
    (source / "inner" / "more").mkdir(parents=True)
    (source / "inner" / "more" / "a.txt").write_text("a")
    (folder / "out").mkdir()
    (folder / "out" / "inner").symlink_to(victim)
    spec = job(folder, "./out")
    with pytest.raises(SettingsError, match="--allow-output"):
        deliver(outcome(source, "job", {"o": source}), spec, folders)
    assert list(victim.iterdir()) == []


def test_copied_output_is_told_by_where_the_file_wants_it(tmp_path: Path) -> None:
    folder, folders = project(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("a")
    copied = deliver(outcome(source, "job", {"o": source}), job(folder, "./out"), folders)
    assert copied == {"o": str(folder / "out")}
    assert (folder / "out" / "a.txt").read_text() == "a"


def test_output_with_a_link_to_itself_is_copied_once(tmp_path: Path) -> None:
    folder, folders = project(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("a")
    (source / "loop").symlink_to(source)
    deliver(outcome(source, "job", {"o": source}), job(folder, "./out"), folders)
    assert sorted(path.name for path in (folder / "out").rglob("*")) == ["a.txt"]


def test_plan_lists_where_outputs_would_be_written_and_ends_with_code_2_where_they_may_not(tmp_path: Path) -> None:
    folder, _ = project(tmp_path)
    job(folder, "../elsewhere")
    environment = {**os.environ, "TANDEM_HOME": str(tmp_path / "home")}

    def plan(*flags: str) -> "subprocess.CompletedProcess[str]":
        words = [TANDEM, "plan", folder / "job.yml", *flags]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)

    refused, allowed = plan("--json"), plan("--json", "--allow-output", str(tmp_path / "elsewhere"))
    assert (refused.returncode, allowed.returncode) == (2, 0)
    (write,) = json.loads(refused.stdout)["writes"]
    assert (write["output"], write["path"]) == ("o", str(tmp_path / "elsewhere"))
    assert write["key"] == f"{folder / 'job.yml'}:3: outputs.o.path"
    assert "outside of" in write["refusal"]
    assert json.loads(allowed.stdout)["writes"][0]["refusal"] is None
    said = plan("--output-dir", "out").stdout
    assert f"--allow-output {tmp_path / 'elsewhere'}" in said
    assert "all outputs and logs  out" in said


def test_run_refuses_an_output_outside_of_the_project_with_code_2_and_writes_nothing(tmp_path: Path) -> None:
    folder, _ = project(tmp_path)
    job(folder, "../elsewhere")
    environment = {**os.environ, "TANDEM_HOME": str(tmp_path / "home")}
    words = [TANDEM, "run", folder / "job.yml", "--engine", "local"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert f"job.yml:3: outputs.o.path: {tmp_path / 'elsewhere'} is outside of {folder}" in done.stderr
    assert "Nothing was run." in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project"]


def test_output_is_registered_under_the_name_of_the_file_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "job.yml"
    file.write_text(f"{JOB}outputs: {{o: {{type: uri_folder, name: ../../x}}}}")
    with pytest.raises(SpecError, match=r"outputs\.o\.name: no asset can be called '\.\./\.\./x'"):
        read_job(file)
    source = tmp_path / "source"
    source.mkdir()
    file.write_text(f"{JOB}outputs: {{o: {{type: uri_folder, name: x}}}}")
    settings = Settings(tmp_path, tmp_path / "home", {})
    assert register_outputs(outcome(source, "job", {"o": source}), read_job(file), settings) == {"o": "x:1"}
