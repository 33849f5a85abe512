"""What a parallel step is read into, and what a wrong one is told."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.spec.model.job import Environment, InputPort, JobKind, StepOutput
from flows.spec.model.parallel import Parallel
from tests.spec.conftest import Faults, ReadJob

TASK = """\
task:
  type: run_function
  code: ./src
  entry_script: score.py
  environment: azureml:e:1
  program_arguments: --model ${{inputs.model}}
  append_row_to: ${{outputs.scores}}
"""
COMPONENT = f"""\
name: score
version: 1
type: parallel
inputs:
  images: {{type: uri_folder}}
  model: {{type: mlflow_model}}
outputs:
  scores: {{type: uri_file}}
input_data: ${{{{inputs.images}}}}
mini_batch_size: "10"
resources: {{instance_count: 2}}
mini_batch_error_threshold: 5
logging_level: DEBUG
max_concurrency_per_instance: 2
retry_settings: {{max_retries: 3, timeout: 90}}
{TASK}"""
PIPELINE = """\
type: pipeline
inputs: {images: {type: uri_folder, path: azureml:i:1}, model: {type: mlflow_model, path: azureml:m:1}, nodes: 4}
jobs:
  score:
    type: parallel
    component: ./score.yml
    inputs: {images: "${{parent.inputs.images}}", model: "${{parent.inputs.model}}"}
    mini_batch_size: 100kb
    retry_settings: {timeout: 30}
    resources: {instance_count: "${{parent.inputs.nodes}}"}
  look:
    command: look ${{inputs.scores}}
    environment: azureml:e:1
    inputs: {scores: "${{parent.jobs.score.outputs.scores}}"}
"""
INLINE = """\
type: pipeline
jobs:
  score:
    type: parallel
    inputs:
      images: {type: mltable, path: azureml:i:1, mode: eval_mount}
      model: {type: mlflow_model, path: azureml:m:1}
    outputs:
      scores: {type: uri_file, mode: rw_mount}
    input_data: ${{ inputs.images }}
    mini_batch_size: "1kb"
    partition_keys: [Store, Brand]
    error_threshold: -1
    environment_variables: {A: b}
""" + "".join(f"    {line}\n" for line in TASK.splitlines())


@pytest.fixture(autouse=True)
def code(write: Callable[[Mapping[str, str]], None]) -> None:
    write({"src/score.py": ""})


def test_a_parallel_component_is_read_whole(read: ReadJob, tmp_path: Path) -> None:
    spec = read(COMPONENT)
    (step,) = spec.steps.values()
    assert (spec.kind, step.kind, spec.is_component, step.instance_count) == (JobKind.PARALLEL, "parallel", True, 2)
    assert step.parallel == Parallel(
        entry_script="score.py",
        input_data="images",
        program_arguments="--model ${{inputs.model}}",
        mini_batch_size=10,
        append_row_to="scores",
        mini_batch_error_threshold=5,
        max_concurrency_per_instance=2,
        max_retries=3,
        timeout_seconds=90,
        logging_level="DEBUG",
    )
    assert (step.component.code, step.component.environment) == (tmp_path / "src", Environment("azureml:e:1"))


def test_a_step_s_settings_win_over_its_component_s(read: ReadJob) -> None:
    spec = read(PIPELINE, score_yml=COMPONENT)
    step, look = spec.steps.values()
    assert step.parallel is not None
    assert (step.parallel.mini_batch_size, step.parallel.timeout_seconds, step.parallel.max_retries) == (102400, 30, 3)
    assert (step.parallel.entry_script, step.instance_count) == ("score.py", 4)
    assert look.inputs == {"scores": StepOutput("score", "scores")}


def test_a_step_may_declare_its_task_in_place(read: ReadJob, tmp_path: Path) -> None:
    (step,) = read(INLINE).steps.values()
    assert step.parallel is not None
    assert (step.parallel.input_data, step.parallel.mini_batch_size) == ("images", 1024)
    assert step.parallel.partition_keys == ("Store", "Brand")
    assert step.component.inputs["images"] == InputPort("images", "mltable", inferred=True)
    assert (step.component.code, step.environment_variables) == (tmp_path / "src", {"A": "b"})


def test_a_parallel_job_is_a_graph_of_one_step(read: ReadJob) -> None:
    spec = read(
        "type: parallel\n"
        "inputs: {images: {type: uri_folder, path: ./src}, model: {type: mlflow_model, path: ./src}}\n"
        "outputs: {scores: {type: uri_file}}\n"
        "input_data: ${{inputs.images}}\n"
        f'mini_batch_size: "2"\n{TASK}'
    )
    (step,) = spec.steps.values()
    assert (spec.kind, spec.is_component) == (JobKind.PARALLEL, False)
    assert step.parallel is not None
    assert step.parallel.mini_batch_size == 2


@pytest.mark.parametrize(("text", "size"), [("'10'", 10), ("1kb", 1024), ("10 MB", 10 * 1024**2), ("1gb", 1024**3)])
def test_a_size_is_a_number_of_files_or_of_bytes(read: ReadJob, text: str, size: int) -> None:
    (step,) = read(COMPONENT.replace('"10"', text)).steps.values()
    assert step.parallel is not None
    assert step.parallel.mini_batch_size == size


def test_what_the_file_leaves_open_stays_open(read: ReadJob) -> None:
    bare = "".join(
        line
        for line in COMPONENT.splitlines(keepends=True)
        if not line.startswith(("mini_batch", "max_", "retry", "log"))
    )
    (step,) = read(bare).steps.values()
    assert step.parallel is not None
    assert (step.parallel.mini_batch_size, step.parallel.max_concurrency_per_instance) == (None, None)
    assert (step.parallel.mini_batch_error_threshold, step.parallel.max_retries, step.parallel.timeout_seconds) == (
        -1,
        2,
        60,
    )


FAULTS = {
    "no input_data": (
        "input_data: ${{inputs.images}}\n",
        "",
        "1: input_data: there is no input_data | Add input_data: ${{inputs.<name>}}.",
    ),
    "another input": (
        "${{inputs.images}}",
        "${{inputs.image}}",
        "9: input_data: input_data names the input image, which is not declared | Did you mean images?",
    ),
    "no input at all": (
        "${{inputs.images}}",
        "images",
        "9: input_data: images does not name one of the inputs | Write ${{inputs.<name>}}.",
    ),
    "a literal": (
        "images: {type: uri_folder}",
        "images: {type: string}",
        "9: input_data: input_data names the string images | Name an input that is data.",
    ),
    "a size": (
        '"10"',
        "10 files",
        "10: mini_batch_size: 10 files is not a size of mini-batches"
        ' | Write a number of files, "10", or a size, "100kb", "10mb" or "1gb".',
    ),
    "a level": ("DEBUG", "debug", "13: logging_level: debug is not a level that can stand here"),
    "a threshold": (
        "threshold: 5",
        "threshold: -2",
        "12: mini_batch_error_threshold: mini_batch_error_threshold is -2 | Make it -1 or more.",
    ),
    "a type of task": (
        "run_function",
        "run_fuction",
        "17: task.type: run_fuction is not a type that can stand here | Did you mean run_function?",
    ),
    "no script": (
        "  entry_script: score.py\n",
        "",
        "16: task.entry_script: there is no entry_script | Add entry_script: <script>.py.",
    ),
    "a script that is not there": (
        "score.py",
        "scor.py",
        "19: task.entry_script: there is no file scor.py in the code | It is looked for at src/scor.py.",
    ),
    "no environment": (
        "  environment: azureml:e:1\n",
        "",
        "16: task.environment: there is no environment | Add environment: azureml:<name>@latest.",
    ),
    "an argument": (
        "${{inputs.model}}",
        "${{inputs.modl}}",
        "16: task: program_arguments use ${{inputs.modl}}, which is not declared | Did you mean model?",
    ),
    "an output": (
        "${{outputs.scores}}",
        "${{outputs.score}}",
        "16: task: append_row_to names the output score, which is not declared | Did you mean scores?",
    ),
    "a key": (
        "max_concurrency_per_instance",
        "max_concurency_per_instance",
        "14: max_concurency_per_instance: a parallel component cannot have the key max_concurency_per_instance"
        " | Did you mean max_concurrency_per_instance?",
    ),
}


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS.values(), ids=FAULTS)
def test_one_mistake_in_a_parallel_component_is_one_fault(faults: Faults, old: str, new: str, fault: str) -> None:
    assert COMPONENT.count(old) == 1
    found = faults(COMPONENT.replace(old, new))
    assert len(found) == 1
    assert found[0].startswith(f"job.yml:{fault}")


def test_a_parallel_step_in_place_may_have_the_parameters_that_the_service_shows(faults: Faults) -> None:
    assert faults(INLINE.replace("    type: parallel\n", "    type: parallel\n    parameters: {a: 1}\n")) == []
