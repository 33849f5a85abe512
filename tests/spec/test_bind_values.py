from pathlib import Path

import pytest

from flows.errors import ParameterError
from flows.spec.bind import bind, with_compute, with_environment
from flows.spec.model.job import DataReference, Environment, JobSpec, Literal
from flows.spec.values import data_source, literal_text
from tests.spec.conftest import ReadJob

PIPELINE = """\
    type: pipeline
    inputs:
      rows: {type: uri_file, path: azureml:rows:1}
      rate: 0.5
    jobs:
      train:
        component: ./fit.yml
        inputs:
          data: ${{parent.inputs.rows}}
          rate: ${{parent.inputs.rate}}
"""


@pytest.fixture
def spec(read: ReadJob) -> JobSpec:
    return read(PIPELINE)


@pytest.mark.parametrize("key", ["rate", "inputs.rate", "jobs.train.inputs.rate"])
@pytest.mark.parametrize(("value", "text"), [(0.25, "0.25"), (1, "1"), ("1e-3", "0.001")])
def test_a_value_reaches_the_step(spec: JobSpec, key: str, value: object, text: str) -> None:
    bound = bind(spec, {key: value})
    assert literal_text(bound, bound.steps["train"], "rate") == text
    assert literal_text(spec, spec.steps["train"], "rate") == "0.5"


def test_without_a_value_the_component_s_default_is_passed(spec: JobSpec) -> None:
    bound = bind(spec, {"rate": None})
    assert literal_text(bound, bound.steps["train"], "rate") == "0.1"


def test_an_input_that_the_file_leaves_open_can_be_bound(spec: JobSpec) -> None:
    model = DataReference("mlflow_model", "azureml:model:3")
    bound = bind(spec, {"jobs.train.inputs.champion": model})
    assert data_source(bound, bound.steps["train"], "champion") == model
    opened = bind(bound, {"jobs.train.inputs.champion": None})
    assert data_source(opened, opened.steps["train"], "champion") is None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("azureml:rows:2", "azureml:rows:2"),
        ("https://x/rows.csv", "https://x/rows.csv"),
        ("rows.csv", "{cwd}/rows.csv"),
        (Path("rows.csv"), "{cwd}/rows.csv"),
    ],
)
def test_data_is_given_as_a_reference_or_a_path_from_here(
    spec: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bound = bind(spec, {"rows": value})
    expected = DataReference("uri_file", path.replace("{cwd}", str(tmp_path)))
    assert data_source(bound, bound.steps["train"], "data") == expected


def test_all_faults_come_at_once_a_line_each_under_the_parameter_s_name(spec: JobSpec) -> None:
    with pytest.raises(ParameterError) as error:
        bind(spec, {"rat": 1, "rate": 7, "jobs.train.inputs.sover": "x", "jobs.train.inputs.solver": "sag"})
    assert str(error.value).splitlines() == [
        "rat: the job has no input rat. Did you mean rate?",
        "jobs.train.inputs.sover: the job has no input jobs.train.inputs.sover. Did you mean jobs.train.inputs.solver?",
        "rate: 7 is above the maximum 1 for the number input rate of train. Give a number from 0 to 1.",
        "jobs.train.inputs.solver: sag is not one of lbfgs, saga for the string input solver of train."
        " Did you mean saga?",
    ]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"rate": [1]}, "rate: a list is no value."),
        ({"rate": Path("x")}, "rate: uri_file data is given to the number input rate of train. It takes a number."),
        (
            {"rate": float("nan")},
            "rate: nan is not a number for the number input rate of train. Give a number from 0 to 1.",
        ),
        (
            {"rows": None},
            "rows: the input has no value, and the uri_folder input data of train requires one. Give it a uri_folder.",
        ),
        (
            {"jobs.train.inputs.data": None},
            "jobs.train.inputs.data: the required input data (uri_folder) of fit is not given. Add data: under inputs.",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused(spec: JobSpec, values: dict[str, object], fault: str) -> None:
    with pytest.raises(ParameterError) as error:
        bind(spec, values)
    assert str(error.value) == fault


def test_a_component_run_as_a_job_needs_its_required_inputs(read: ReadJob) -> None:
    spec = read("version: 1\ncommand: x ${{inputs.n}}\nenvironment: azureml:e:1\ninputs: {n: {type: integer, max: 3}}")
    with pytest.raises(ParameterError) as error:
        bind(spec, {})
    assert str(error.value) == "n: the input has no value, and the integer input n requires one. Give it an integer."
    assert bind(spec, {"n": 3}).inputs["n"].value == Literal("3")


def test_an_optional_input_of_a_pipeline_may_stay_empty_where_a_registered_component_reads_it(read: ReadJob) -> None:
    text = """\
        type: pipeline
        name: whole
        inputs: {licence: {type: uri_file, optional: true}, rate: {type: number}}
        jobs:
          fit: {component: "azureml:fit:1", inputs: {l: "${{parent.inputs.licence}}", r: "${{parent.inputs.rate}}"}}
        """
    spec = read(text)
    assert spec.is_component
    assert bind(spec, {"rate": 1}).inputs["licence"].value is None
    with pytest.raises(ParameterError, match=r"^rate: the input has no value"):
        bind(spec, {})


def test_a_number_of_a_command_job_may_get_a_fraction_where_the_file_has_none(read: ReadJob) -> None:
    spec = read("command: x ${{inputs.n}}\nenvironment: azureml:e:1\ninputs: {n: 1}")
    assert bind(spec, {"n": 0.5}).inputs["n"].value == Literal("0.5")


def test_compute_and_environment_are_set(spec: JobSpec) -> None:
    moved = with_environment(with_compute(spec, "gpu"), "mine")
    assert (moved.default_compute, moved.steps["train"].compute) == ("azureml:gpu", "azureml:gpu")
    assert moved.steps["train"].component.environment == Environment("azureml:mine@latest")


@pytest.mark.parametrize("name", ["mine:3", "azureml:mine:3", "mine@latest"])
def test_an_environment_with_a_version_or_label_stays_that(spec: JobSpec, name: str) -> None:
    moved = with_environment(spec, name).steps["train"].component.environment
    assert moved == Environment(f"azureml:{name.removeprefix('azureml:')}")


@pytest.mark.parametrize("environment", ["{image: ubuntu}", "azureml://registries/azureml/environments/e/versions/1"])
def test_an_environment_that_is_not_by_name_stays(read: ReadJob, environment: str) -> None:
    spec = read(f"command: x\nenvironment: {environment}")
    assert with_environment(spec, "mine").steps == spec.steps
