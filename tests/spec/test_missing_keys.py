"""A key that is not there, because it is misspelt, is told by how it should be spelt."""

from pathlib import Path

import pytest

from flows.errors import SpecError
from flows.spec.reading.assets import read_data_asset
from tests.spec.conftest import Faults

STEP = "type: pipeline\nsettings: {default_compute: serverless}\njobs:\n  a: {%s}\n"
PARALLEL = "type: parallel, input_data: '${{inputs.d}}', inputs: {d: {path: ./d}}, task: {%s}"
TASK = "type: run_function, entry_script: e.py, environment: {image: a}"
SWEEP = (
    "type: sweep\n%s: {command: 'run ${{search_space.x}}', environment: {image: a}}\n"
    "search_space: {x: {type: choice, values: [1]}}\nsampling_algorithm: random\n"
    "objective: {goal: minimize, primary_metric: loss}\nlimits: {max_total_trials: 1}\n"
)
MISSPELT = {
    "command of a step": (STEP % "type: command, comand: run, environment: {image: a}", "comand", "command"),
    "command of a step without a type": (STEP % "comand: run, environment: {image: a}", "comand", "command"),
    "component of a step": (STEP % "type: command, componnent: ./fit.yml", "componnent", "component"),
    "trial of a step": (STEP % "type: sweep, trail: ./fit.yml", "trail", "trial"),
    "environment of a step": (STEP % "command: run, enviroment: {image: a}", "enviroment", "environment"),
    "image of an environment": (STEP % "command: run, environment: {imag: a}", "imag", "image"),
    "task of a step": (STEP % (PARALLEL % TASK).replace("task:", "tasks:"), "tasks", "task"),
    "entry script of a task": (STEP % (PARALLEL % TASK.replace("entry_", "entri_")), "entri_script", "entry_script"),
    "command of a job": ("type: command\ncomand: run\nenvironment: {image: a}\n", "comand", "command"),
    "command of a file without a type": ("comand: run\nenvironment: {image: a}\n", "comand", "command"),
    "steps of a pipeline": ("type: pipeline\njosb: {}\n", "josb", "jobs"),
    "steps of a file without a type": ("jbos: {}\n", "jbos", "jobs"),
    "trial of a sweep": (SWEEP % "trail", "trail", "trial"),
    "goal of a sweep": (SWEEP.replace("goal", "goall") % "trial", "goall", "goal"),
    "number of trials": (SWEEP.replace("max_total_trials", "max_total_trails") % "trial", "trails", "max_total_trials"),
    "values of a choice": (SWEEP.replace("values", "value") % "trial", "value", "values"),
}


@pytest.mark.parametrize(("text", "wrong", "right"), MISSPELT.values(), ids=MISSPELT)
def test_a_misspelt_key_is_told_and_not_what_is_missing_because_of_it(
    faults: Faults, text: str, wrong: str, right: str
) -> None:
    told = faults(text)
    own = [line for line in told if f"cannot have the key {wrong}" in line or f"{wrong} | Did you mean" in line]
    assert len(own) == 1
    assert own[0].endswith(f"Did you mean {right}?")
    assert not [line for line in told if f"no {right}" in line or "neither" in line]


def test_what_is_missing_is_told_where_no_key_is_like_it(faults: Faults) -> None:
    assert faults(STEP % "type: command, environment: {image: a}") == [
        "job.yml:4: jobs.a: the step a has neither component nor command | Add component: ./<file>.yml."
    ]
    assert faults("environment: {image: a}\n") == [
        "job.yml:1: the file is neither a job nor a component | Add type: pipeline or type: command."
    ]


def test_a_misspelt_key_of_a_data_asset_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.yml").write_text("name: rows\npaht: ./rows.csv\n")
    with pytest.raises(SpecError) as error:
        read_data_asset(tmp_path / "rows.yml")
    assert [(fault.place.key, fault.remedy) for fault in error.value.faults] == [("paht", "Did you mean path?")]
