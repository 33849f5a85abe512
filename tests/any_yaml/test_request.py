"""What is asked of an engine for a YAML file, before anything runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.any_yaml.request import FileParameters, anywhere, file_request, whole_job
from flows.any_yaml.selection.part import Part
from flows.errors import CannotRunHere, SpecError
from flows.settings import Settings

VERSION = "outputs: {rows: {type: uri_folder, name: rows, version: '2'}}\n"
JOBS = "jobs:\n  a: {type: command, command: date, environment: azureml:e:1}\n"
WORKSPACE = {
    "AZUREML_ARM_SUBSCRIPTION": "s",
    "AZUREML_ARM_RESOURCEGROUP": "g",
    "AZUREML_ARM_WORKSPACE_NAME": "w",
}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"type: pipeline\n{JOBS}", "settings.default_compute: no compute is set for a"),
        (f"settings: {{default_compute: serverless}}\n{JOBS}", "type: there is no type"),
        (
            f"command: ls > ${{{{outputs.rows}}}}/a\nenvironment: azureml:e:1\ncompute: azureml:c\n{VERSION}",
            "outputs.rows.version: the output rows has a version",
        ),
    ],
)
def test_what_only_azure_ml_needs_is_a_fault_there_and_none_here(
    write: Callable[..., Path], home: Path, text: str, fault: str
) -> None:
    file = str(write({"job.yml": text}) / "job.yml")
    settings = Settings.from_environment({"TANDEM_HOME": str(home), **WORKSPACE})
    here, there = (FileParameters.model_validate({"file": file, "engine": engine}) for engine in ("local", "azureml"))
    assert file_request(here, settings, flow_run_id="f").spec.steps
    with pytest.raises(SpecError, match=fault):
        file_request(there, settings, flow_run_id="f")


def test_part_of_a_nested_pipeline_runs_here_and_is_refused_where_it_is_one_node(
    write: Callable[..., Path], home: Path
) -> None:
    inner = "type: pipeline\njobs:\n  one: {type: command, command: date, environment: azureml:e:1}\n"
    inner += "  two: {type: command, command: date, environment: azureml:e:1}\n"
    outer = "type: pipeline\nsettings: {default_compute: serverless}\njobs:\n  outer: {component: ./inner.yml}\n"
    file = str(write({"job.yml": outer, "inner.yml": inner}) / "job.yml")
    settings = Settings.from_environment({"TANDEM_HOME": str(home), **WORKSPACE})
    one, both = (Part(frozenset(steps), {}, {}, None) for steps in ({"outer.one"}, {"outer.one", "outer.two"}))
    here, there = (FileParameters.model_validate({"file": file, "engine": engine}) for engine in ("local", "azureml"))
    assert file_request(here, settings, flow_run_id="f", part=one).spec.steps.keys() == {"outer.one"}
    assert file_request(there, settings, flow_run_id="f", part=both).spec.steps.keys() == {"outer.one", "outer.two"}
    with pytest.raises(CannotRunHere, match=r"the nested pipeline outer of job\.yml runs as a whole"):
        file_request(there, settings, flow_run_id="f", part=one)


def test_what_is_written_down_of_a_command_means_the_same_in_another_folder(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "inputs: {rows: {type: uri_file, path: azureml:rows:1}, word: a}\n"
        "command: cat ${{inputs.rows}} ${{inputs.word}}\nenvironment: {image: ubuntu}\n"
    )
    files = {"project/job.yml": text, "here/a.csv": "", "here/b.csv": "", "here/tandem.assets.yml": "far: ./b.csv\n"}
    folder = write(files)
    monkeypatch.chdir(folder / "here")
    asked = {
        "file": "../project/job.yml",
        "inputs": {"rows": "a.csv", "inputs.word": "a.csv"},
        "assets": ["near=a.csv"],
        "output_dir": "out",
        "python": "./python",
    }
    typed = FileParameters.model_validate(asked)
    kept = anywhere(typed, whole_job(typed))
    here = str(folder / "here")
    assert kept.model_dump(exclude_defaults=True) == {
        "file": str(folder / "project" / "job.yml"),
        "inputs": {"rows": f"{here}/a.csv", "inputs.word": "a.csv"},
        "assets": (f"far={here}/b.csv", f"near={here}/a.csv"),
        "output_dir": f"{here}/out",
        "python": f"{here}/python",
    }
