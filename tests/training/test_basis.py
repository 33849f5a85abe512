"""What a decision rested on, and when there is nothing new to decide."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows.data.assets import ResolvedData
from flows.settings import PROJECT
from flows.spec.bind import bind
from flows.spec.model.job import DataReference
from flows.spec.reading.reader import read_job
from flows.training.basis import basis_of, changes, nothing_new
from flows.training.gate import GatePolicy
from tests.conftest import Write

FILE = PROJECT / "aml_steps" / "train_pipeline.yml"
ENVIRONMENTS = PROJECT / "environment"
DATA = ResolvedData("diabetes-diagnostics:1", "uri_file", None, "diabetes-diagnostics", "1", "abc")


def basis(data: ResolvedData = DATA, gate: GatePolicy | None = None, **values: object) -> str:
    return str(basis_of(bind(read_job(FILE), values), data, gate or GatePolicy(), ENVIRONMENTS))


def test_same_run_has_the_same_basis_and_there_is_nothing_new() -> None:
    first = basis()
    assert changes(basis(), first) == ()
    assert "those of the champion" in nothing_new(basis(), first, None)
    assert "challenged before" in nothing_new(basis(), basis(reg_rate=5), first)


# As it has always been: another basis would have every champion challenged once more, though nothing has changed.
UNCHANGED = "data=b17ba17f48a4;code=33bd84f721b0;parameters=47bb81e7d3cb;environment=ad15725c3741"
SMALL = {
    "job.yml": """\
        type: pipeline
        inputs: {data: {type: uri_file, path: "azureml:rows:1"}, rate: 0.1}
        jobs:
          train:
            component: ./train.yml
            inputs: {data: "${{parent.inputs.data}}", rate: "${{parent.inputs.rate}}"}
        """,
    "train.yml": """\
        type: command
        name: train
        version: "1"
        code: ./code
        command: python train.py ${{inputs.data}} ${{inputs.rate}} ${{outputs.model}}
        environment: azureml:own@latest
        inputs: {data: {type: uri_file}, rate: {type: number}}
        outputs: {model: {type: mlflow_model}}
        """,
    "code/train.py": "print('trains')\n",
    "environment/own.yml": "name: own\nimage: ubuntu:22.04\nconda_file: {dependencies: [python=3.11, pandas=2.3]}\n",
}


def test_basis_of_an_unchanged_project_is_what_it_was_in_every_version_of_tandem(write: Write) -> None:
    folder = write(SMALL)
    found = basis_of(read_job(folder / "job.yml"), DATA, GatePolicy(), folder / "environment")
    assert str(found) == UNCHANGED


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        (basis(replace(DATA, sha256="abd")), "data"),
        (basis(replace(DATA, label="diabetes-diagnostics:2")), "data"),
        (basis(reg_rate=0.5), "parameters"),
        (basis(gate=GatePolicy(floor=0.8)), "parameters"),
    ],
)
def test_what_changed_is_named(other: str, changed: str) -> None:
    assert changes(other, basis()) == (changed,)
    assert nothing_new(other, basis(), None) == ""


@dataclass(frozen=True)
class PolicyWithAnotherField(GatePolicy):
    most_missing: float = 1.0


def test_a_field_that_is_added_to_the_policy_changes_the_basis() -> None:
    added = basis(gate=PolicyWithAnotherField())
    assert changes(added, basis()) == ("parameters",)
    assert changes(basis(gate=PolicyWithAnotherField(most_missing=0.5)), added) == ("parameters",)


def test_another_champion_is_no_change_of_the_code() -> None:
    champion = {"jobs.evaluate.inputs.champion": DataReference("mlflow_model", "azureml:m:3")}
    spec = bind(read_job(FILE), champion)
    assert changes(str(basis_of(spec, DATA, GatePolicy(), ENVIRONMENTS)), basis()) == ()


def test_changed_line_of_code_and_of_the_environment_is_told(tmp_path: Path) -> None:
    spec = read_job(FILE)
    code = tmp_path / "train"
    code.mkdir()
    (code / "train.py").write_text("print('other')\n")
    step = spec.steps["train"]
    changed = replace(step, component=replace(step.component, code=code))
    other = basis_of(replace(spec, steps={**spec.steps, "train": changed}), DATA, GatePolicy(), ENVIRONMENTS)
    assert changes(str(other), basis()) == ("code",)
    for file in ENVIRONMENTS.glob("*.yml"):
        (tmp_path / file.name).write_text(file.read_text().replace("skops==", "skops>="))
    other = basis_of(spec, DATA, GatePolicy(), tmp_path)
    assert changes(str(other), basis()) == ("environment",)


def test_no_basis_at_all_means_that_everything_is_new() -> None:
    assert nothing_new(basis(), None, None) == ""
    assert changes(basis(), "nonsense") == ("data", "code", "parameters", "environment")
