"""What makes two command jobs deliver the same model, and what does not say so."""

from pathlib import Path
from textwrap import dedent

import pytest

from flows.engines.azureml.made_of import what_it_is_made_of
from flows.spec.bind import bind, with_environment
from flows.spec.model.job import DataReference
from flows.spec.reading.reader import read_job
from tests.conftest import Write

FILES = {
    "job.yml": """
        type: command
        code: ./src
        command: python main.py ${{inputs.rows}} ${{inputs.rate}} ${{outputs.model}}
        environment: azureml:own@latest
        inputs: {rows: {type: uri_file, path: ./rows.csv}, rate: 0.1}
        outputs: {model: {type: mlflow_model}}
    """,
    "src/main.py": "print()",
    "rows.csv": "a,b\n",
}


def made_of(folder: Path, environment: str = "own:1", **inputs: object) -> str | None:
    return what_it_is_made_of(with_environment(bind(read_job(folder / "job.yml"), inputs), environment))


def test_anything_that_a_command_job_is_made_of_makes_another_model(write: Write) -> None:
    folder = write(FILES)
    asset = DataReference("uri_file", "azureml:rows:1")
    known = [made_of(folder), made_of(folder, "own:2"), made_of(folder, rate=0.2), made_of(folder, rows=asset)]
    write({"src/main.py": "print(1)"})
    known.append(made_of(folder))
    write({"rows.csv": "a,b,c\n"})
    known.append(made_of(folder))
    assert made_of(folder) == known[-1]
    assert None not in known
    assert len(set(known)) == len(known)


@pytest.mark.parametrize(
    "more",
    [
        "resources: {instance_count: 2}",
        "resources: {instance_type: STANDARD_NC6}",
        "distribution: {type: pytorch, process_count_per_instance: 2}",
        "identity: {type: managed}",
    ],
)
def test_what_the_file_asks_of_azure_ml_makes_another_model(more: str, write: Write) -> None:
    plain = made_of(write(FILES))
    assert made_of(write({"job.yml": f"{dedent(FILES['job.yml'])}{more}\n"})) != plain


def test_what_only_describes_a_job_makes_the_same_model(write: Write) -> None:
    plain = made_of(write(FILES))
    described = "description: d\ntags: {a: b}\ndisplay_name: e\nexperiment_name: f\ncompute: azureml:other\n"
    assert made_of(write({"job.yml": f"{dedent(FILES['job.yml'])}{described}"})) == plain


@pytest.mark.parametrize(
    "environment",
    [
        "azureml://registries/r/environments/sklearn/labels/latest",
        "azureml://registries/r/environments/sklearn",
        "BUILD",
    ],
)
def test_environment_that_is_no_fixed_version_does_not_say_what_is_delivered(environment: str, write: Write) -> None:
    text = FILES["job.yml"].replace("azureml:own@latest", environment.replace("BUILD", "{build: {path: ./src}}"))
    assert made_of(write({**FILES, "job.yml": text})) is None


def test_what_may_change_under_its_name_does_not_say_what_is_delivered(write: Write) -> None:
    folder = write(FILES)
    assert made_of(folder, "own@latest") is None
    for path in ("azureml:rows@latest", "azureml://datastores/store/paths/rows.csv", "https://example.org/rows.csv"):
        assert made_of(folder, rows=DataReference("uri_file", path)) is None
