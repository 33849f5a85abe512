"""A job of a type that Azure ML knows for steps or components only is told, where the client refuses it."""

from pathlib import Path

import pytest

from flows.spec.reading.reader import examine
from flows.spec.rules.lint import needed_by_azure_ml
from tests.spec.sdk_client import refused_there

pytestmark = pytest.mark.filterwarnings("ignore")

COMMAND = "command: run\nenvironment: azureml:e:1\n"
PARALLEL = """\
type: parallel
inputs: {i: {type: uri_folder, path: azureml:r:1}}
input_data: ${{inputs.i}}
mini_batch_size: "1"
task: {type: run_function, code: ., entry_script: job.yml, environment: azureml:e:1}
"""
SOURCE = "source: {type: s3, connection: azureml:c, path: p}"
OUTPUT = "output: {type: mltable}"
GIVEN = "inputs: {type: s3, connection: azureml:c, path: p}, outputs: {output: {type: mltable}}"
DECLARED = "source: {type: {type: string}, connection: {type: string}, path: {type: string}}"
COMPONENT = "name: own\nversion: 1\n"
PIPELINE = "type: pipeline\nsettings: {default_compute: serverless}\njobs:\n  a: {%s}\n"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        (COMMAND, "", ""),
        ("type: Command\n" + COMMAND, "type", "Command has capital letters, and Azure ML knows no such type of job"),
        ("type: Pipeline\ncomponent: azureml:fit:1\n", "type", "Pipeline has capital letters, and Azure ML knows no"),
        ("type: Command\n" + COMPONENT + COMMAND, "", ""),
        (PIPELINE % "type: Command, command: run, environment: azureml:e:1", "", ""),
        (PARALLEL, "type", "Azure ML has no job of type parallel"),
        (PARALLEL.replace("type: parallel\n", ""), "type", "Azure ML has no job of type parallel"),
        (COMPONENT + PARALLEL.replace(", path: azureml:r:1", ""), "", ""),
        ("component: azureml:fit:1\n", "component", "Azure ML has no command job of a component"),
        ("type: command\ncomponent: azureml:fit:1\n", "component", "Azure ML has no command job of a component"),
        ("type: pipeline\ncomponent: azureml:fit:1\n", "", ""),
        (
            f"type: import\n{SOURCE}\n{OUTPUT}\n",
            "type",
            "job is of type import, which the Azure ML client does not send",
        ),
        (f"type: import\n{COMPONENT}{DECLARED}\n{OUTPUT}\n", "", ""),
        (
            PIPELINE % f"type: import, {SOURCE}, {OUTPUT}",
            "jobs.a.type",
            "a is of type import, which the Azure ML client",
        ),
        (PIPELINE % f"type: import, component: azureml:i:1, {GIVEN}", "jobs.a.type", "a is of type import, which the "),
        (PIPELINE % f"type: import, component: ./own.yml, {GIVEN}", "jobs.a.type", "a is of type import, which the "),
        (PIPELINE % "type: pipeline, component: ./inner.yml", "", ""),
        (PIPELINE % "type: pipeline, component: ./inline.yml", "jobs.a.type", "a.a is of type import, which the "),
    ],
)
def test_a_job_is_told_of_where_the_client_has_none_of_its_type(
    tmp_path: Path, text: str, key: str, message: str
) -> None:
    inner = "name: inner\n" + PIPELINE.replace("settings: {default_compute: serverless}\n", "")
    (tmp_path / "own.yml").write_text(f"type: import\n{COMPONENT}{DECLARED}\n{OUTPUT}\n")
    (tmp_path / "inner.yml").write_text(inner % f"type: import, component: azureml:i:1, {GIVEN}")
    (tmp_path / "inline.yml").write_text(inner % f"type: import, {SOURCE}, {OUTPUT}")
    path = tmp_path / "job.yml"
    path.write_text(text)
    found = examine(path)
    assert found.spec is not None
    assert not found.faults
    told = list(needed_by_azure_ml(found.spec))
    assert [fault.place.key for fault in told] == ([key] if key else [])
    assert all(fault.message.startswith(message) for fault in told)
    assert bool(refused_there("load_component" if COMPONENT in text else "load_job", path)) is bool(key)
