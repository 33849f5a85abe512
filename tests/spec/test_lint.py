"""What is valid and probably not meant is told as a warning, and no more than that."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.spec.reading.reader import examine

Warnings = Callable[..., list[str]]

STEP = "{command: run, environment: azureml:e:1, compute: azureml:cpu, %s}"
READS_ROWS = 'inputs: {rows: "${{parent.jobs.prep.outputs.rows}}"}'


@pytest.fixture
def warnings(tmp_path: Path, write: Callable[[Mapping[str, str]], None]) -> Warnings:
    def _warnings(text: str, **files: str) -> list[str]:
        write({**{name.replace("_yml", ".yml"): content for name, content in files.items()}, "job.yml": text})
        found = examine(tmp_path / "job.yml")
        assert not found.faults
        return [str(warning).replace("\n    ", " | ").replace(f"{tmp_path}/", "") for warning in found.warnings]

    return _warnings


def pipeline(*steps: str, head: str = "") -> str:
    return head + "jobs:\n" + "".join(f"  {step}\n" for step in steps) + "type: pipeline\n"


def test_an_output_that_nobody_reads_beside_one_that_is_read(warnings: Warnings) -> None:
    prep = f"prep: {STEP % 'outputs: {rows: , rejects: }'}"
    train = f"train: {STEP % (READS_ROWS + ', outputs: {model: , log: }')}"
    assert warnings(pipeline(prep, train)) == [
        "job.yml:2: jobs.prep.outputs.rejects: warning: nobody reads the output rejects of prep"
        " | Bind it, or remove it."
    ]


@pytest.mark.parametrize(
    "output",
    ["{path: 'azureml://datastores/a/paths/b'}", "{name: rejects, version: 1}", "'${{parent.outputs.rejects}}'"],
)
def test_an_output_that_is_kept_has_its_readers_elsewhere(warnings: Warnings, output: str) -> None:
    prep = f"prep: {STEP % f'outputs: {{rows: , rejects: {output}}}'}"
    train = f"train: {STEP % READS_ROWS}"
    head = "outputs: {rejects: }\n" if "parent" in output else ""
    assert warnings(pipeline(prep, train, head=head)) == []


def test_an_output_of_the_job_that_no_step_delivers(warnings: Warnings) -> None:
    assert warnings(pipeline(f"a: {STEP % ''}", head="outputs: {model: {type: mlflow_model}}\n")) == [
        "job.yml:1: outputs.model: warning: no step delivers the output model"
        " | Bind an output of a step to ${{parent.outputs.model}}."
    ]


def test_local_data_that_is_not_there(warnings: Warnings, tmp_path: Path) -> None:
    text = "command: ls ${{inputs.a}}\nenvironment: azureml:e:1\ninputs: {a: {type: uri_folder, path: ./rows}}\n"
    assert warnings(text) == [
        "job.yml:3: inputs.a: warning: there is no file or folder rows | It is needed to run the job."
    ]
    (tmp_path / "rows").mkdir()
    assert warnings(text) == []


@pytest.mark.parametrize(
    "path", ["azureml:rows:1", "https://a.b/rows.csv", "runs:/0a1b/model", "/subscriptions/s/data/rows/versions/1"]
)
def test_data_that_is_elsewhere_is_not_looked_for_here(warnings: Warnings, path: str) -> None:
    text = "command: ls ${{inputs.a}}\nenvironment: azureml:e:1\ninputs: {a: {type: mlflow_model, path: %s}}\n"
    assert warnings(text % path) == []


@pytest.mark.parametrize(
    "command",
    [
        ">-\n  python train.py\n    --rows 1\n    --rate 2",
        "|\n  ls\n  python train.py '--all'\n  --rows 1",
    ],
)
def test_an_argument_on_a_line_that_the_shell_takes_for_a_command(warnings: Warnings, command: str) -> None:
    line = 3 if command.startswith("|") else 2
    found = (
        f"command: warning: line {line} of the command begins with --rows, and the shell takes a line for a command"
        " | Indent the lines of >- alike, or end the line before with \\."
    )
    assert warnings(f"command: {command}\nenvironment: azureml:e:1\n") == [f"job.yml:1: {found}"]
    step = f"version: 1\nname: own\ncommand: {command}\nenvironment: azureml:e:1\n"
    both = pipeline("a: {component: ./own.yml, compute: azureml:c}", "b: {component: ./own.yml, compute: azureml:c}")
    assert warnings(both, own_yml=step) == [f"own.yml:3: {found}"]


@pytest.mark.parametrize(
    "command",
    [
        ">-\n  python train.py\n  --rows 1",
        "|\n  python train.py \\\n    --rows 1",
        "|\n  cat > a <<END\n  --rows 1\n  END",
        "|\n  echo '\n  --rows 1'",
        "|\n  set -e\n  - x",
    ],
)
def test_an_argument_on_a_line_that_goes_on_is_as_it_should_be(warnings: Warnings, command: str) -> None:
    assert warnings(f"command: {command}\nenvironment: azureml:e:1\n") == []


def test_an_input_without_a_value(warnings: Warnings) -> None:
    text = "command: ls ${{inputs.a}}\nenvironment: azureml:e:1\ncompute: azureml:c\ninputs: {a: {type: uri_folder}}\n"
    assert warnings(text) == [
        "job.yml:4: inputs.a: warning: the input a has no value | Give it one when you run the job: --set inputs.a=…."
    ]


def test_a_version_of_an_output_of_a_command_job(warnings: Warnings) -> None:
    run = 'command: "ls > ${{outputs.rows}}/a"'
    rest = (
        "environment: azureml:e:1",
        "compute: azureml:c",
        "outputs: {rows: {type: uri_folder, name: rows, version: '2'}}",
    )
    text = "\n".join((run, *rest))

    assert warnings(text) == [
        "job.yml:4: outputs.rows.version: warning: the output rows has a version, and Azure ML refuses that for a "
        "command job by itself | Leave version out, then it is the next one; or make the job a step of a pipeline."
    ]
    assert warnings(text.replace(", version: '2'", "")) == []
    assert warnings(pipeline(f"a: {{type: command, {', '.join((run, *rest))}}}")) == []


def test_a_pipeline_without_a_compute(warnings: Warnings) -> None:
    step = "{command: run, environment: azureml:e:1}"
    assert warnings(pipeline(f"a: {step}", f"b: {step}")) == [
        "job.yml:1: settings.default_compute: warning: no compute is set for a, b"
        " | Add default_compute: serverless under settings."
    ]
    assert warnings(pipeline(f"a: {step}", head="settings: {default_compute: serverless}\n")) == []


def test_every_kind_of_step_needs_a_compute(warnings: Warnings, tmp_path: Path) -> None:
    sweep = (
        "{type: sweep, trial: ./own.yml, search_space: {x: {type: choice, values: [1]}}, sampling_algorithm: random, "
        "objective: {goal: minimize, primary_metric: loss}, limits: {max_total_trials: 1}}"
    )
    own = "name: own\ncommand: run ${{inputs.x}}\nenvironment: azureml:e:1\ninputs: {x: {type: integer}}\n"
    inner = "name: inner\ntype: pipeline\njobs: {c: {component: ./own.yml, inputs: {x: 1}}}\n"
    learn = "{type: automl, task: regression, training_data: '${{parent.inputs.t}}', target_column_name: y}"
    copy = "{type: data_transfer, task: copy_data, inputs: {i: '${{parent.inputs.t}}'}, outputs: {o: }}"
    whole = pipeline(
        f"a: {sweep}",
        "b: {type: pipeline, component: ./inner.yml}",
        "d: {component: azureml:fit:1}",
        f"e: {learn}",
        f"f: {copy}",
        head="inputs: {t: {type: mltable, path: azureml:t:1}}\n",
    )
    assert warnings(whole, own_yml=own, inner_yml=inner) == [
        "job.yml:1: settings.default_compute: warning: no compute is set for a, b.c, d, e, f"
        " | Add default_compute: serverless under settings."
    ]


def test_a_pipeline_without_a_type(warnings: Warnings) -> None:
    assert warnings("jobs: {a: {command: run, environment: azureml:e:1, compute: azureml:cpu}}\n") == [
        "job.yml:1: type: warning: there is no type, and Azure ML takes the file for a command job"
        " | Add type: pipeline."
    ]


def test_a_component_that_cannot_be_registered(warnings: Warnings) -> None:
    text = "version: 1\ncommand: run\nenvironment: azureml:e:1\n"
    assert warnings(text) == [
        "job.yml:1: name: warning: a component of its own needs a name | Add name:, or run it as a step of a pipeline."
    ]
    assert warnings(f"name: My-Step\n{text}") == [
        "job.yml:1: name: warning: a component cannot be registered as My-Step"
        " | Use small letters, digits and underscores."
    ]
    assert warnings(pipeline("a: {component: ./own.yml, compute: azureml:c}"), own_yml=f"name: My-Step\n{text}") == []


def test_a_key_that_azure_ml_ignores(warnings: Warnings) -> None:
    own = "name: own\ncommand: run\nenvironment: azureml:e:1\nauthor: me\n"
    assert warnings(pipeline("a: {component: ./own.yml, compute: azureml:c}"), own_yml=own) == [
        "own.yml:4: author: warning: a command component has the key author, which Azure ML does not know"
        " | It is ignored."
    ]


def test_the_old_spelling_of_a_reference(warnings: Warnings) -> None:
    text = "command: run {inputs.a} {outputs.o}\nenvironment: azureml:e:1\ninputs: {a: 1}\noutputs: {o: }\n"
    assert warnings(text) == ["job.yml:1: command: warning: single braces are deprecated | Write ${{inputs.<name>}}."]


def test_a_hyperparameter_that_the_command_does_not_use(warnings: Warnings) -> None:
    text = """\
        type: sweep
        trial: {command: "run ${{search_space.a}}", environment: "azureml:e:1"}
        search_space: {a: {type: randint, upper: 3}, b: {type: randint, upper: 3}}
        objective: {goal: minimize, primary_metric: loss}
        limits: {max_total_trials: 2}
        """
    assert warnings(text) == [
        "job.yml:1: sampling_algorithm: warning: there is no sampling_algorithm | Add sampling_algorithm: random.",
        "job.yml:3: search_space.b: warning: the command does not use ${{search_space.b}}"
        " | Every trial is the same for it.",
    ]
