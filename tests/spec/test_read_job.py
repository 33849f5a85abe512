"""What a right file is read into."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.spec.model.job import (
    DataReference,
    Environment,
    JobKind,
    Literal,
    ParentInput,
    ParentOutput,
    Step,
    StepOutput,
)
from flows.spec.reading.assets import read_data_asset, read_environment
from flows.spec.values import data_source, literal_text
from tests.spec.conftest import ReadJob

PIPELINE = """\
    type: pipeline
    experiment_name: diabetes
    tags: {team: a}
    inputs:
      raw: {type: uri_file, path: ./raw.csv}
      rate: 1e-3
      seed: 010
      exact: 1.0
      flag: true
      word: "true"
    outputs:
      model: {type: mlflow_model}
      bare:
    settings: {default_compute: azureml:cpu, force_rerun: true, anything: 1}
    jobs:
      prep:
        command: prep ${{inputs.raw}} ${{outputs.rows}} ${{inputs.seed}}
        environment: azureml:sklearn:1
        inputs:
          raw: {type: uri_file, path: "${{ parent.inputs.raw }}", mode: download}
          seed: ${{parent.inputs.seed}}
        outputs:
          rows:
      train:
        type: command
        component: ./fit.yml
        compute: azureml:big
        limits: {timeout: 60}
        environment_variables: {DEBUG: true}
        inputs:
          data: ${{parent.jobs.prep.outputs.rows}}
          rate: ${{parent.inputs.rate}}
        outputs:
          model: ${{parent.outputs.model}}
"""


def test_a_pipeline_is_read_whole(read: ReadJob, tmp_path: Path) -> None:
    spec = read(PIPELINE)
    assert (spec.kind, spec.name, spec.experiment_name) == (JobKind.PIPELINE, "job", "diabetes")
    assert (spec.default_compute, spec.force_rerun, spec.tags) == ("azureml:cpu", True, {"team": "a"})
    assert list(spec.steps) == ["prep", "train"]
    prep, train = spec.steps.values()
    assert prep.inputs == {"raw": ParentInput("raw"), "seed": ParentInput("seed")}
    assert {name: port.type for name, port in prep.component.inputs.items()} == {"raw": "uri_file", "seed": "integer"}
    assert prep.component.outputs["rows"].type == "uri_folder"
    assert train.inputs == {"data": StepOutput("prep", "rows"), "rate": ParentInput("rate")}
    assert train.outputs == {"model": ParentOutput("model")}
    assert (train.compute, train.timeout_seconds, train.environment_variables) == ("azureml:big", 60, {"DEBUG": "True"})
    assert train.component.source == tmp_path / "fit.yml"


def test_literals_become_the_text_that_azure_ml_sends(read: ReadJob) -> None:
    inputs = read(PIPELINE).inputs
    assert {name: (given.port.type, given.value) for name, given in inputs.items() if name != "raw"} == {
        "rate": ("string", Literal("1e-3")),
        "seed": ("integer", Literal("8")),
        "exact": ("number", Literal("1.0")),
        "flag": ("boolean", Literal("True")),
        "word": ("string", Literal("true")),
    }


def test_a_number_that_yaml_leaves_as_text_reaches_a_number_port_as_a_number(read: ReadJob) -> None:
    spec = read(PIPELINE)
    assert literal_text(spec, spec.steps["train"], "rate") == "0.001"


def test_an_unbound_input_has_its_default_and_an_optional_one_nothing(read: ReadJob) -> None:
    spec = read(PIPELINE)
    train = spec.steps["train"]
    assert literal_text(spec, train, "solver") == "lbfgs"
    assert data_source(spec, train, "champion") is None
    assert data_source(spec, train, "data") == StepOutput("prep", "rows")


def test_local_data_is_relative_to_the_file_that_names_it(read: ReadJob, tmp_path: Path) -> None:
    assert read(PIPELINE).inputs["raw"].value == DataReference("uri_file", str(tmp_path / "raw.csv"))


@pytest.mark.parametrize(
    "path", ["azureml:a:1", "azureml:a@latest", "https://x/y.csv", "azureml://datastores/a/paths/b"]
)
def test_remote_data_stays_as_it_is_and_is_a_folder_unless_it_says_otherwise(read: ReadJob, path: str) -> None:
    spec = read(f"command: ls ${{{{inputs.a}}}}\nenvironment: azureml:e:1\ninputs: {{a: {{path: '{path}'}}}}")
    assert spec.inputs["a"].value == DataReference("uri_folder", path)


def test_text_at_a_data_port_is_a_path(read: ReadJob, tmp_path: Path) -> None:
    spec = read("jobs: {a: {component: fit.yml, inputs: {data: ./rows}}}")
    assert spec.steps["a"].inputs["data"] == DataReference("uri_folder", str(tmp_path / "rows"))


def test_a_command_job_is_a_graph_of_one_step(read: ReadJob, tmp_path: Path) -> None:
    spec = read("""\
        name: single
        command: fit ${{inputs.rate}} ${{outputs.model}}
        code: .
        environment: {image: ubuntu, conda_file: {dependencies: [pip]}}
        compute: azureml:cpu
        inputs: {rate: {value: "0.1"}}
        outputs: {model: }
        """)
    step = spec.steps["single"]
    assert spec.kind is JobKind.COMMAND
    assert (step.inputs, step.outputs) == ({"rate": ParentInput("rate")}, {"model": ParentOutput("model")})
    assert step.component.code == tmp_path
    assert step.component.environment == Environment(image="ubuntu", conda="dependencies:\n- pip\n")
    assert literal_text(spec, step, "rate") == "0.1"


@pytest.mark.parametrize("said", ["{type: uri_folder}", "{mode: ro_mount}", "{type: uri_folder, mode: download}"])
def test_data_of_a_job_without_a_path_is_still_open(read: ReadJob, said: str) -> None:
    head = "command: ls ${{inputs.rows}}\nenvironment: azureml:e:1\ncompute: azureml:c\n"
    given = read(f"{head}inputs: {{rows: {said}}}\n").inputs["rows"]
    assert (given.port.type, given.value) == ("uri_folder", None)


@pytest.mark.parametrize(
    "head", ["version: 1", "is_deterministic: true", "$schema: https://x/commandComponent.schema.json", ""]
)
def test_a_component_file_is_a_job_whose_inputs_are_still_open(read: ReadJob, head: str) -> None:
    spec = read(f"""\
        {head}
        command: echo ${{{{inputs.n}}}}
        environment: azureml:e:1
        inputs: {{n: {{type: integer}}}}
        """)
    assert spec.inputs["n"].value is None
    assert spec.inputs["n"].port.type == "integer"


@pytest.mark.parametrize(
    ("schema", "is_component"),
    [
        ("https://x/latest/commandComponent.schema.json", True),
        ("https://x/latest/commandJob.schema.json", False),
        ("http://azureml/sdk-2-0/CommandComponent.json", True),
        ("http://azureml/sdk-2-0/CommandJob.json", False),
    ],
)
@pytest.mark.parametrize("inputs", ["", "inputs: {rows: {type: uri_folder}}\n"])
def test_the_schema_tells_a_component_from_a_job(read: ReadJob, schema: str, is_component: bool, inputs: str) -> None:
    text = f"$schema: {schema}\nname: own\ntype: command\ncommand: ls\nenvironment: azureml:e:1\n{inputs}"
    assert read(text).is_component is is_component


@pytest.mark.parametrize("reference", ["./fit.yml", "fit.yml", "file:fit.yml", "file:./fit.yml"])
def test_a_component_is_found_beside_the_file_that_names_it(read: ReadJob, reference: str) -> None:
    assert (
        read(f"jobs: {{a: {{component: '{reference}', inputs: {{data: 'azureml:a:1'}}}}}}").steps["a"].component.name
        == "fit"
    )


def test_a_step_may_hold_its_component_in_place(read: ReadJob) -> None:
    step = read("""\
        jobs:
          a:
            component:
              command: echo ${{inputs.n}}
              environment: azureml:e:1
              inputs: {n: {type: number, default: 3}}
        """).steps["a"]
    assert step.component.inputs["n"].default == "3.0"


def test_a_step_s_environment_wins_over_its_component_s(read: ReadJob) -> None:
    spec = read("jobs: {a: {component: fit.yml, environment: azureml:mine:2, inputs: {data: 'azureml:a:1'}}}")
    assert spec.steps["a"].component.environment == Environment("azureml:mine:2")


def test_an_environment_may_be_a_file(read: ReadJob) -> None:
    spec = read(
        "command: ls\nenvironment: file:./env.yml",
        env_yml="name: e\nimage: ubuntu\nconda_file: ./conda.yml",
        conda_yml="name: c\n",
    )
    step: Step = spec.steps["job"]
    assert step.component.environment == Environment(image="ubuntu", conda="name: c\n")


def test_an_expression_inside_of_a_longer_text_is_text(read: ReadJob) -> None:
    spec = read("command: echo ${{inputs.a}}\nenvironment: azureml:e:1\ninputs: {a: 'x ${{parent.inputs.b}}'}")
    assert spec.inputs["a"].value == Literal("x ${{parent.inputs.b}}")


def test_assets_are_read(tmp_path: Path, write: Callable[[Mapping[str, str]], None]) -> None:
    write(
        {
            "data.yml": "name: rows\nversion: 2\ntype: uri_file\npath: ./rows.csv\ndescription: Rows.",
            "env.yml": "name: e\nversion: 3\nimage: ubuntu",
            "conda.yml": "dependencies: [pip]",
        }
    )
    asset = read_data_asset(tmp_path / "data.yml")
    assert (asset.name, asset.version, asset.type, asset.path) == ("rows", "2", "uri_file", tmp_path / "rows.csv")
    environment = read_environment(tmp_path / "env.yml")
    assert environment is not None
    assert (environment.name, environment.version, environment.environment.image) == ("e", "3", "ubuntu")
    assert read_environment(tmp_path / "conda.yml") is None
