"""``tandem validate``, as a person and as a program meet it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli.main import main
from tests.terminal import PROJECT

VALID = (
    "type: pipeline\nsettings: {default_compute: serverless}\njobs:\n  a: {command: run, environment: azureml:e:1}\n"
)
Write = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def _write(**files: str) -> list[str]:
        for name, text in files.items():
            (tmp_path / f"{name}.yml").write_text(text)
        return [f"{name}.yml" for name in files]

    return _write


def test_a_valid_file_is_one_line_that_says_what_it_is(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", *write(p=VALID)]) == 0
    assert capsys.readouterr().out == "ok p.yml: pipeline, 1 step\n"


WHAT = {
    "command job": "command: run\nenvironment: azureml:e:1\n",
    "command component": "name: c\nversion: 1\ncommand: run\nenvironment: azureml:e:1\n",
    "pipeline component, 1 step": "$schema: https://x/pipelineComponent.schema.json\nname: p\n"
    + VALID.replace("settings: {default_compute: serverless}\n", ""),
    "sweep job": "type: sweep\nsampling_algorithm: random\ntrial: {command: 'run ${{search_space.a}}', "
    "environment: 'azureml:e:1'}\nsearch_space: {a: {type: randint, upper: 3}}\n"
    "objective: {goal: minimize, primary_metric: loss}\nlimits: {max_total_trials: 2}\n",
    "automl job": (
        "type: automl\ntask: regression\ntarget_column_name: y\ntraining_data: {type: mltable, path: azureml:a:1}\n"
    ),
}


@pytest.mark.parametrize(("what", "text"), WHAT.items(), ids=WHAT)
def test_every_kind_of_file_is_named(write: Write, capsys: pytest.CaptureFixture[str], what: str, text: str) -> None:
    assert main(["validate", *write(f=text)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"ok f.yml: {what}"


def test_every_fault_of_every_file_is_told_at_once_with_its_remedy(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = VALID.replace("command: run", "comand: run, inputs: {x: '${{parent.inputs.x}}'}").replace(
        "serverless", "cpu"
    )
    assert main(["validate", *write(right=VALID, wrong=wrong, gone="")]) == 2
    assert capsys.readouterr().out.splitlines() == [
        "ok right.yml: pipeline, 1 step",
        "wrong.yml:2: settings.default_compute: cpu is not a compute",
        "    Write azureml:cpu, or serverless.",
        "wrong.yml:4: jobs.a.comand: the step a cannot have the key comand",
        "    Did you mean command?",
        "gone.yml:1: the file is empty",
        "    Write the keys of an Azure ML YAML file.",
        "3 files: 3 faults in 2 files, 0 warnings.",
    ]


def test_a_warning_is_marked_and_changes_nothing(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", *write(p=VALID.replace("serverless", "serverless}\noutputs: {model: "))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "p.yml:3: outputs.model: warning: no step delivers the output model",
        "    Bind an output of a step to ${{parent.outputs.model}}.",
        "ok p.yml: pipeline, 1 step",
    ]


def test_a_step_that_runs_elsewhere_is_named_below_a_valid_file(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *write(p=VALID + "  b: {component: azureml:prep@latest}\n")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok p.yml: pipeline, 2 steps",
        "    b runs azureml:prep@latest, which has no file on this machine: it does not run on this machine",
    ]


def test_keys_that_this_machine_treats_otherwise_are_told_for_the_local_engine_alone(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write(p=VALID + "  b: {command: run, environment: azureml:e:1, compute: azureml:gpu, tags: {a: b}}\n")
    assert main(["validate", *files]) == 0
    assert capsys.readouterr().out == "ok p.yml: pipeline, 2 steps\n"
    assert main(["validate", "--engine", "local", *files]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok p.yml: pipeline, 2 steps",
        "    emulated  environment (lines 4, 5): Not built: the steps run with Tandem's Python, or with that",
        "              of --python.",
        "    ignored   settings.default_compute, compute (lines 2, 5): This machine is the compute.",
        "    ignored   tags (line 5): It describes, and nothing here shows it.",
    ]
    assert main(["validate", "--engine", "local", "--json", *files]) == 0
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert [(use["key"], use["line"], use["treatment"]) for use in found["keys"]] == [
        ("settings.default_compute", 2, "ignored"),
        ("jobs.a.environment", 4, "emulated"),
        ("jobs.b.environment", 5, "emulated"),
        ("jobs.b.compute", 5, "ignored"),
        ("jobs.b.tags", 5, "ignored"),
    ]


def test_what_only_azure_ml_needs_is_a_fault_where_the_file_is_to_run_there(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write(p=VALID.replace("settings: {default_compute: serverless}\n", ""))
    for engine, code in ((), 0), (("--engine", "local"), 0), (("--engine", "azureml"), 2):
        assert main(["validate", *engine, *files]) == code
        said = capsys.readouterr().out
        assert ("no compute is set for a" in said, "warning: no compute" in said) == (True, code == 0)


def test_what_does_not_run_on_this_machine_is_not_told_of_a_file_that_is_to_run_on_azure_ml(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write(p=VALID + "  b: {component: azureml:prep@latest}\n")
    assert main(["validate", "--engine", "azureml", *files]) == 0
    assert capsys.readouterr().out == "ok p.yml: pipeline, 2 steps\n"


def test_a_folder_is_refused_with_what_to_type(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(p=VALID)
    (tmp_path / "jobs").mkdir()
    assert main(["validate", "jobs"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        "jobs: this is a folder",
        "    Name the files in it: tandem validate jobs/*.yml",
    ]


def test_a_file_that_is_not_there_is_a_fault(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write()
    assert main(["validate", "nope.yml"]) == 2
    assert capsys.readouterr().out == "nope.yml: there is no such file\n"


def test_a_file_that_is_not_there_has_no_line_for_a_program_either(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write()
    assert main(["validate", "--json", "nope.yml"]) == 2
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert [(fault["file"], fault["line"]) for fault in found["faults"]] == [("nope.yml", None)]


def test_the_findings_are_there_for_a_program_too(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    files = write(p=VALID.replace("serverless", "cpu"), q=VALID + "  b: {component: azureml:prep@latest}\n")
    assert main(["validate", "--json", *files]) == 2
    wrong, right = json.loads(capsys.readouterr().out)["files"]
    assert wrong["faults"] == [
        {
            "file": "p.yml",
            "line": 2,
            "key": "settings.default_compute",
            "message": "cpu is not a compute",
            "remedy": "Write azureml:cpu, or serverless.",
        }
    ]
    assert (right["valid"], right["what"], right["steps"], right["faults"]) == (
        True,
        "pipeline, 2 steps",
        ["a", "b"],
        [],
    )
    assert list(right["refusals"]) == ["b"]


def test_nothing_is_imported_that_runs_or_submits_a_job() -> None:
    code = (
        "import sys; from flows.cli.main import main; code = main(['validate', 'aml_steps/train_pipeline.yml']); "
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok aml_steps/train_pipeline.yml: pipeline, 4 steps\n")
    heavy = {"prefect", "azure", "pandas", "mlflow", "sklearn", "pydantic", "numpy", "fastapi", "matplotlib"}
    assert not heavy & set(done.stderr.split())


def test_pipe_in_place_of_a_yaml_file_is_named_and_not_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "job.yml")
    assert main(["validate", str(tmp_path / "job.yml")]) == 2
    assert "this is no file but a pipe, a device or a socket" in "".join(capsys.readouterr())
