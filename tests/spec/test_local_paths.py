"""Every local path that a key names is looked at: a file or folder that is not there is told at that key."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.spec.reading.reader import examine

COMMAND = "type: command\ncommand: date\n"
PARALLEL = (
    "type: parallel\ninputs: {d: {path: azureml:d:1}}\ninput_data: ${{inputs.d}}\ntask: {type: run_function, %s}\n"
)
SPARK = "type: spark\nenvironment: azureml:e:1\ncode: ./src\nentry: {file: run.py}\n"
PATHS = {
    "code": COMMAND + "environment: azureml:e:1\ncode: ./gone\n",
    "code of a task": PARALLEL % "code: ./gone, entry_script: run.py, environment: 'azureml:e:1'",
    "entry script of a task": PARALLEL % "code: ./src, entry_script: gone, environment: 'azureml:e:1'",
    "environment": COMMAND + "environment: file:./gone\n",
    "build context": COMMAND + "environment: {build: {path: ./gone}}\n",
    "Dockerfile": COMMAND + "environment: {build: {path: ./src, dockerfile_path: gone}}\n",
    "conda file": COMMAND + "environment: {image: a, conda_file: ./gone}\n",
    "additional includes": (
        f"name: c\nversion: 1\n{COMMAND}environment: azureml:e:1\nadditional_includes: [./src, ./gone]\n"
    ),
    "path on compute": COMMAND
    + "environment: azureml:e:1\ninputs: {d: {path: azureml:d:1, path_on_compute: file:./gone}}\n",
    "component": "type: pipeline\ncompute: azureml:c\njobs: {a: {component: ./gone}}\n",
    "job file": "type: pipeline\ncompute: azureml:c\njobs: {a: 'file:./gone'}\n",
    "script of a Spark job": SPARK.replace("run.py", "gone"),
    "code of a Spark job": SPARK.replace("src", "gone"),
    "Python files of a Spark job": f"{SPARK}py_files: [run.py, gone]\n",
    "jars of a Spark job": f"{SPARK}jars: [gone]\n",
}


@pytest.mark.parametrize("text", PATHS.values(), ids=PATHS)
def test_a_path_that_is_not_there_is_told(
    write: Callable[[Mapping[str, str]], None], tmp_path: Path, text: str
) -> None:
    write({"src/run.py": "", "job.yml": text})
    found = [told for told in examine(tmp_path / "job.yml").findings if "there is no" in told.message]
    assert [(fault.place.line is not None, "gone" in str(fault)) for fault in found] == [(True, True)]
    (tmp_path / "gone").write_text("name: e\nimage: a\n" if "environment: file:" in text else COMMAND)
    (tmp_path / "src/gone").write_text("")
    assert not [
        fault
        for fault in examine(tmp_path / "job.yml").findings
        if "there is no" in fault.message and "gone" in fault.message
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"{COMMAND}environment: azureml:e:1\ninputs: {{d: {{type: uri_folder, path: ./gone}}}}\n", "inputs.d"),
        (
            "type: pipeline\ncompute: azureml:c\njobs:\n"
            "  a: {command: date, environment: azureml:e:1, inputs: {d: {type: uri_folder, path: ./gone}}}\n",
            "jobs.a.inputs.d",
        ),
        (
            "type: automl\ntask: regression\ntarget_column_name: y\ntraining_data: {type: mltable, path: ./gone}\n",
            "training_data.path",
        ),
    ],
)
def test_data_that_is_not_there_yet_is_a_warning(
    write: Callable[[Mapping[str, str]], None], tmp_path: Path, text: str, key: str
) -> None:
    write({"job.yml": text})
    assert [warning.place.key for warning in examine(tmp_path / "job.yml").warnings if "gone" in warning.message] == [
        key
    ]
