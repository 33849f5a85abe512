"""What components that Azure ML publishes have in their YAML is taken, with a warning where it has no effect."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.spec.reading.reader import examine

PARALLEL = """\
    $schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
    type: parallel
    name: score
    version: 0.0.12
    resources: {instance_count: 2}
    inputs:
      rows: {type: uri_folder, description: What is scored.}
      count: {type: integer}
    outputs: {scores: {type: uri_file}}
    input_data: ${{inputs.rows}}
    mini_batch_size: "1"
    task: {type: run_function, code: ./src, entry_script: package.main, environment: "azureml:e:1"}
"""
COMMAND = """\
    name: fit
    version: 1
    type: command
    command: date
    environment: azureml:e:1
    environment_variables: {A: b}
"""
PIPELINE = """\
    $schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
    name: whole
    version: 1
    type: pipeline
    inputs: {compute: {type: string}}
    jobs:
      fit:
        type: command
        component: ./fit.yml
        resources: {instance_type: "${{parent.inputs.instance_type}}"}
"""
PUBLISHED = {
    "a schema of another kind, and a script that is given as a module": (PARALLEL, []),
    "a number of instances that is left to the step": (
        PARALLEL.replace("instance_count: 2", "instance_count: -1"),
        ["resources.instance_count: warning: the instance_count of the component is -1"],
    ),
    "variables, which a component has none of": (
        COMMAND,
        ["environment_variables: warning: a command component has the key environment_variables, which"],
    ),
    "a setting that names an input which is not there": (
        PIPELINE,
        [
            "jobs.fit.resources: warning: the pipeline component has no input instance_type, so resources is left open",
            "environment_variables: warning: a command component has the key environment_variables, which",
        ],
    ),
}


@pytest.mark.parametrize(("text", "warnings"), PUBLISHED.values(), ids=PUBLISHED)
def test_what_is_published_is_taken(
    write: Callable[[Mapping[str, str]], None], tmp_path: Path, text: str, warnings: list[str]
) -> None:
    write({"src/package/main.py": "def run(batch): return batch\n", "fit.yml": COMMAND, "own.yml": text})
    found = examine(tmp_path / "own.yml")
    assert found.faults == ()
    told = [str(warning).partition(": ")[2] for warning in found.warnings]
    assert [line[: len(start)] for line, start in zip(told, warnings, strict=True)] == warnings
