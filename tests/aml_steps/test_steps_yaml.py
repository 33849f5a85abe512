"""The Azure ML YAML: read by the real SDK, offline, and in step with the scripts and the lock."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.data.snapshot import Snapshot
from flows.spec.reading.reader import read_job
from flows.training.parameters import JobParameters, PipelineParameters, validated
from tests.aml_steps.conftest import STEPS
from tests.terminal import PROJECT

COMPONENTS = sorted(STEPS.glob("*/component.yml"))
# Import name: the package that brings it.
PACKAGES = {"sklearn": "scikit-learn", "yaml": "pyyaml"}


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sdk() -> Any:
    """azure.ai.ml, imported where its warnings are dealt with, and only when a test needs it."""
    return importlib.import_module("azure.ai.ml")


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_the_sdk_reads_each_component(sdk: Any, path: Path) -> None:
    component = sdk.load_component(path)
    assert component._validate().passed
    assert component.name == f"diabetes_{path.parent.name}"


@pytest.mark.parametrize("name", ["train_pipeline.yml", "train_job.yml"])
def test_the_sdk_reads_each_job(sdk: Any, name: str) -> None:
    assert sdk.load_job(STEPS / name)._validate().passed


def test_the_sdk_reads_environment_and_data(sdk: Any) -> None:
    assert sdk.load_environment(PROJECT / "environment" / "environment.yml").name == "diabetes-classify"
    data = sdk.load_data(PROJECT / "data" / "diabetes-diagnostics" / "data.yml")
    assert (data.name, data.version) == ("diabetes-diagnostics", "1")


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_everything_is_described(path: Path) -> None:
    component = read(path)
    assert component["description"]
    assert all(port["description"] for port in {**component["inputs"], **component["outputs"]}.values())


@pytest.mark.parametrize("path", [*COMPONENTS, STEPS / "train_job.yml"], ids=lambda path: path.parent.name)
def test_the_command_passes_every_input_and_output_by_its_own_name(path: Path) -> None:
    job = read(path)
    command = job["command"]
    assert command.startswith("python ") and not set(command) & set(";&|<>`\n")
    assert (path.parent / command.split()[1]).is_file()
    passed = re.findall(r"--(\w+) \$\{\{(inputs|outputs)\.(\w+)\}\}", command)
    assert all(option == port for option, _, port in passed)
    assert {port for _, kind, port in passed if kind == "inputs"} == set(job["inputs"])
    assert {port for _, kind, port in passed if kind == "outputs"} == set(job["outputs"])
    optional = {name for name, port in job["inputs"].items() if isinstance(port, dict) and port.get("optional")}
    assert set(re.findall(r"\$\[\[--(\w+) ", command)) == optional


def test_the_pipeline_passes_every_parameter_with_the_component_s_default() -> None:
    pipeline = read(STEPS / "train_pipeline.yml")
    for job in pipeline["jobs"].values():
        component = read(STEPS / job["component"])
        unbound = set(component["inputs"]) - set(job["inputs"])
        assert unbound <= {name for name, port in component["inputs"].items() if port.get("optional")}
        for name, port in component["inputs"].items():
            if "default" in port:
                assert job["inputs"][name] == f"${{{{parent.inputs.{name}}}}}"
                assert pipeline["inputs"][name] == port["default"]


def test_the_job_has_the_parameters_of_the_pipeline() -> None:
    assert read(STEPS / "train_job.yml")["inputs"] == read(STEPS / "train_pipeline.yml")["inputs"]


def test_an_input_has_one_default_in_the_yaml_files_the_components_and_the_parameters_of_the_flows() -> None:
    inputs = read(STEPS / "train_pipeline.yml")["inputs"]
    declared: dict[str, Any] = {}
    for path in COMPONENTS:
        ports = read(path)["inputs"].items()
        declared |= {name: port["default"] for name, port in ports if "default" in port}
    assert declared == {name: value for name, value in inputs.items() if name != "data"}
    for parameters in (validated(JobParameters, {}), validated(PipelineParameters, {})):
        assert declared == {name: getattr(parameters, name) for name in declared}


def test_scripts_have_the_defaults_and_choices_of_their_components() -> None:
    import prep
    import train

    for name, module in (("prep", prep), ("train", train)):
        parser = argparse.ArgumentParser()
        module.add_parameters(parser)
        inputs = read(STEPS / name / "component.yml")["inputs"]
        declared = {key: port["default"] for key, port in inputs.items() if "default" in port}
        assert vars(parser.parse_args([])) == declared
        for action in parser._actions:
            if action.choices:
                assert list(action.choices) == inputs[action.dest]["enum"]


def imports_of(script: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(script.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names


def code_files(step: str) -> dict[str, Path]:
    """The files of a step's code, by their place in the folder that the step runs in."""
    component = read_job(STEPS / "train_pipeline.yml").steps[step].component
    return dict(Snapshot.of(component.code, component.additional_includes).files)


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_the_code_of_a_step_is_what_the_sdk_uploads_with_the_file_that_the_steps_share(sdk: Any, path: Path) -> None:
    from azure.ai.ml._utils._asset_utils import get_upload_files_from_folder

    with sdk.load_component(path)._build_code() as code:
        files = get_upload_files_from_folder(code.path, ignore_file=code._ignore_file)
        uploaded = {target: Path(file).read_bytes() for file, target in files}
    ours = {name: file.read_bytes() for name, file in code_files(path.parent.name).items()}
    assert "diabetes_steps.py" in ours
    assert ours == uploaded


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_a_step_imports_libraries_and_what_lies_in_its_own_code(path: Path) -> None:
    scripts = {Path(name).stem: file for name, file in code_files(path.parent.name).items() if name.endswith(".py")}
    imported = {name for script in scripts.values() for name in imports_of(script)} - set(scripts)
    assert {PACKAGES.get(name, name) for name in imported} <= set(pinned())


def pinned() -> dict[str, str]:
    """The packages of the steps' environment, each with its version."""
    (listed,) = [
        part["pip"] for part in read(PROJECT / "environment" / "conda.yml")["dependencies"] if isinstance(part, dict)
    ]
    return dict(requirement.split("==") for requirement in listed)


def test_the_environment_holds_what_the_steps_import_as_the_lock_pins_it() -> None:
    lock = dict(re.findall(r"^([\w.-]+)==([\w.+-]+)", (PROJECT / "requirements.lock").read_text(), re.MULTILINE))
    pins, scripts = pinned(), sorted(STEPS.rglob("*.py"))
    imported = {name for script in scripts for name in imports_of(script)} - {script.stem for script in scripts}
    assert set(pins) == {PACKAGES.get(name, name) for name in imported} | {"azureml-mlflow", "azureml-ai-monitoring"}
    assert pins == {package: lock[package] for package in pins}
