"""Valid files of every kind, and the same with one key more or one value that is another, for each place of a file.

Whether each is right is not said here: the SDK's own loader says so (``test_sdk_verdicts.py``).
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

Tree = dict[str, Any]

# What lies beside every file.
BESIDE: Mapping[str, str] = {
    "src/run.py": "print()\n",
    "src/batch.py": "def run(batch):\n    return batch\n",
    "data/rows.csv": "a\n1\n",
    "context/Dockerfile": "FROM ubuntu\n",
    "conda.yml": "name: c\ndependencies: [python=3.11]\n",
    "fit.yml": (
        "$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json\n"
        "type: command\nname: fit\nversion: '1'\n"
        "inputs:\n  rate: {type: number, default: 0.1}\n  rows: {type: uri_folder, optional: true}\n"
        "outputs:\n  model: {type: uri_folder}\n"
        "command: fit ${{inputs.rate}} $[[${{inputs.rows}}]] ${{outputs.model}}\n"
        "environment: azureml:e:1\n"
    ),
    "score.yml": (
        "$schema: https://azuremlschemas.azureedge.net/latest/parallelComponent.schema.json\n"
        "type: parallel\nname: score\nversion: '1'\n"
        "inputs:\n  rows: {type: uri_folder}\noutputs:\n  scores: {type: uri_folder}\n"
        "input_data: ${{inputs.rows}}\nmini_batch_size: '1'\n"
        "task: {type: run_function, code: ./src, entry_script: batch.py, environment: 'azureml:e:1'}\n"
    ),
    "whole.yml": (
        "$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json\n"
        "type: pipeline\nname: whole\nversion: '1'\n"
        "inputs:\n  rate: {type: number, default: 0.1}\noutputs:\n  model: {type: uri_folder}\n"
        "jobs:\n  fit:\n    type: command\n    component: ./fit.yml\n    inputs: {rate: '${{parent.inputs.rate}}'}\n"
        "    outputs: {model: '${{parent.outputs.model}}'}\n"
    ),
}


@dataclass(frozen=True, slots=True)
class VariedFile:
    """A file: of which kind it is, where it differs from the valid one and how, and what is in it."""

    kind: str
    loader: str
    """The name of the SDK's function that reads it: ``load_job``."""
    place: str
    change: str
    tree: Tree

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.place or '.'}: {self.change}"

    def write(self, folder: Path) -> Path:
        """Write it into a folder in which :data:`BESIDE` lies."""
        path = folder / "file.yml"
        path.write_text(yaml.safe_dump(self.tree, sort_keys=False), encoding="utf-8")
        return path


def write_beside(folder: Path) -> None:
    """Write the files that every varied file may name."""
    for name, text in BESIDE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _schema(kind: str) -> str:
    return f"https://azuremlschemas.azureedge.net/latest/{kind}.schema.json"


_PLACEMENT: Tree = {
    "resources": {
        "instance_count": 1,
        "instance_type": "s",
        "shm_size": "2g",
        "docker_args": "--ipc=host",
        "properties": {"a": "b"},
        "locations": ["westus"],
        "max_instance_count": 2,
    },
    "distribution": {"type": "pytorch", "process_count_per_instance": 1},
    "queue_settings": {"job_tier": "spot", "priority": "low"},
    "environment_variables": {"A": "b"},
}
_SHOWN: Tree = {"display_name": "d", "description": "d", "tags": {"a": "b"}, "properties": {"a": "b"}}
_IDENTITY: Tree = {"identity": {"type": "managed", "client_id": "c"}}
_SERVICES: Tree = {
    "services": {
        "shell": {"type": "ssh", "ssh_public_keys": "k", "nodes": "all", "port": 1, "properties": {"a": "b"}},
        "board": {"type": "tensor_board", "log_dir": "outputs"},
        "mine": {"type": "custom", "port": 2},
    }
}
_INPUTS: Tree = {
    "rate": 0.1,
    "rows": {"type": "uri_folder", "path": "./data", "mode": "ro_mount"},
    "named": {"type": "uri_file", "path": "azureml:rows:1"},
    "table": {"type": "mltable", "path": "azureml:t:1", "mode": "eval_mount"},
    "model": {"type": "mlflow_model", "path": "azureml:m:1", "mode": "download"},
    "wrapped": {"value": "text"},
}
_OUTPUTS: Tree = {
    "model": {"type": "uri_folder", "mode": "rw_mount", "path": "azureml://datastores/d/paths/p", "name": "n"},
    "other": {"type": "uri_file", "name": "o", "version": "1"},
    "bare": None,
}
_ENVIRONMENT: Tree = {
    "image": "ubuntu",
    "conda_file": "./conda.yml",
    "os_type": "linux",
    "description": "d",
    "tags": {"a": "b"},
}
_BUILT: Tree = {"build": {"path": "./context", "dockerfile_path": "Dockerfile"}}
_TASK: Tree = {
    "type": "run_function",
    "code": "./src",
    "entry_script": "batch.py",
    "program_arguments": "--a b",
    "append_row_to": "${{outputs.scores}}",
    "environment": "azureml:e:1",
}
_PARALLEL: Tree = {
    "input_data": "${{inputs.rows}}",
    "mini_batch_size": "1",
    "mini_batch_error_threshold": 1,
    "error_threshold": 1,
    "logging_level": "INFO",
    "max_concurrency_per_instance": 2,
    "retry_settings": {"max_retries": 1, "timeout": 60},
    "task": _TASK,
}
_SWEEP: Tree = {
    "search_space": {
        "rate": {"type": "uniform", "min_value": 0.1, "max_value": 0.2},
        "depth": {"type": "choice", "values": [1, 2]},
        "count": {"type": "randint", "upper": 3},
        "noise": {"type": "qnormal", "mu": 1, "sigma": 2, "q": 1},
    },
    "objective": {"goal": "minimize", "primary_metric": "loss"},
    "sampling_algorithm": {"type": "random", "seed": 1, "rule": "sobol", "logbase": "e"},
    "limits": {"max_total_trials": 2, "max_concurrent_trials": 1, "timeout": 60, "trial_timeout": 60},
    "early_termination": {
        "type": "bandit",
        "slack_factor": 0.1,
        "evaluation_interval": 1,
        "delay_evaluation": 1,
    },
}
_TRIAL_COMMAND = (
    "fit ${{search_space.rate}} ${{search_space.depth}} ${{search_space.count}} ${{search_space.noise}} "
    "${{inputs.rows}}"
)
_PORTS: Tree = {
    "inputs": {
        "rate": {"type": "number", "default": 0.1, "min": 0.0, "max": 1.0, "description": "d", "optional": True},
        "solver": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "deep": {"type": "boolean", "default": True},
        "count": {"type": "integer", "default": 3},
        "rows": {"type": "uri_folder", "description": "d", "mode": "ro_mount"},
    },
    "outputs": {"model": {"type": "uri_folder", "description": "d", "mode": "rw_mount"}},
}
_COMMAND = "fit ${{inputs.rows}} ${{outputs.model}}"


def _pipeline(**jobs: Tree) -> Tree:
    return {
        "$schema": _schema("pipelineJob"),
        "type": "pipeline",
        "settings": {"default_compute": "azureml:cpu"},
        "jobs": jobs,
    }


def _component(kind: str, **rest: Any) -> Tree:
    return {"$schema": _schema(f"{kind}Component"), "type": kind, "name": "c", "version": "1", **rest}


# The kinds of file: the SDK's loader, the file, and the dotted places of it that are varied, with those below them.
KINDS: Mapping[str, tuple[str, Tree, tuple[str, ...]]] = {
    "command job": (
        "load_job",
        {
            "$schema": _schema("commandJob"),
            "type": "command",
            "name": "j",
            "experiment_name": "e",
            **_SHOWN,
            "command": _COMMAND,
            "code": "./src",
            "environment": "azureml:e:1",
            "compute": "azureml:cpu",
            "inputs": _INPUTS,
            "outputs": _OUTPUTS,
            "limits": {"timeout": 60},
            **_PLACEMENT,
            **_IDENTITY,
            **_SERVICES,
        },
        ("",),
    ),
    "command job with its environment in place": (
        "load_job",
        {"$schema": _schema("commandJob"), "type": "command", "command": "date", "environment": _ENVIRONMENT},
        ("environment",),
    ),
    "command job with a build in place": (
        "load_job",
        {"$schema": _schema("commandJob"), "type": "command", "command": "date", "environment": _BUILT},
        ("environment",),
    ),
    "sweep job": (
        "load_job",
        {
            "$schema": _schema("sweepJob"),
            "type": "sweep",
            "name": "j",
            "experiment_name": "e",
            **_SHOWN,
            "trial": {
                "command": _TRIAL_COMMAND,
                "code": "./src",
                "environment": "azureml:e:1",
                "environment_variables": {"A": "b"},
                "resources": {"instance_count": 1},
                "distribution": {"type": "mpi", "process_count_per_instance": 1},
            },
            "compute": "azureml:cpu",
            "inputs": {"rows": _INPUTS["rows"], "size": 3},
            "outputs": {"model": {"type": "uri_folder"}},
            **_SWEEP,
            "queue_settings": {"job_tier": "spot", "priority": "low"},
            **_IDENTITY,
        },
        ("", "trial", *_SWEEP),
    ),
    "pipeline job": (
        "load_job",
        {
            **_pipeline(
                fit={"type": "command", "component": "./fit.yml", "inputs": {"rate": "${{parent.inputs.rate}}"}}
            ),
            "settings": {
                "default_compute": "azureml:cpu",
                "default_datastore": "azureml:d",
                "continue_on_step_failure": False,
                "force_rerun": True,
            },
            "name": "j",
            "experiment_name": "e",
            **_SHOWN,
            "compute": "azureml:cpu",
            "inputs": _INPUTS,
            "outputs": _OUTPUTS,
            **_IDENTITY,
        },
        ("", "settings", "inputs", "outputs", "identity", "tags", "properties"),
    ),
    "step that names a command component": (
        "load_job",
        _pipeline(
            a={
                "type": "command",
                "component": "./fit.yml",
                "comment": "c",
                "display_name": "d",
                "inputs": {"rate": 0.2, "rows": _INPUTS["rows"]},
                "outputs": {"model": {"type": "uri_folder", "mode": "upload"}},
                "environment": "azureml:f:1",
                "compute": "azureml:gpu",
                "limits": {"timeout": 60},
                "properties": {"a": "b"},
                **_PLACEMENT,
                **_IDENTITY,
                **_SERVICES,
            }
        ),
        ("jobs.a",),
    ),
    "step with its command in place": (
        "load_job",
        _pipeline(
            a={
                "type": "command",
                **_SHOWN,
                "command": _COMMAND,
                "code": "./src",
                "environment": "azureml:e:1",
                "compute": "azureml:gpu",
                "inputs": _INPUTS,
                "outputs": {"model": {"type": "uri_folder", "mode": "upload"}},
                "limits": {"timeout": 60},
                **_PLACEMENT,
                **_IDENTITY,
                **_SERVICES,
            }
        ),
        ("jobs.a",),
    ),
    "step with its environment in place": (
        "load_job",
        _pipeline(a={"type": "command", "command": "date", "environment": _ENVIRONMENT}),
        ("jobs.a.environment",),
    ),
    "step with its component in place": (
        "load_job",
        _pipeline(
            a={
                "type": "command",
                "component": {"type": "command", "command": _COMMAND, **_PORTS, "environment": "azureml:e:1"},
                "inputs": {"rows": _INPUTS["rows"]},
            }
        ),
        ("jobs.a.component",),
    ),
    "parallel step in place": (
        "load_job",
        _pipeline(
            a={
                "type": "parallel",
                "inputs": {"rows": {"type": "uri_folder", "path": "./data"}},
                "outputs": {"scores": {"type": "uri_file"}},
                "compute": "azureml:gpu",
                "resources": {"instance_count": 2},
                "environment_variables": {"A": "b"},
                **_PARALLEL,
            }
        ),
        ("jobs.a",),
    ),
    "step that names a parallel component": (
        "load_job",
        _pipeline(
            a={
                "type": "parallel",
                "component": "./score.yml",
                "comment": "c",
                "inputs": {"rows": {"type": "uri_folder", "path": "./data"}},
                "outputs": {"scores": {"type": "uri_folder"}},
                "compute": "azureml:gpu",
                "resources": {"instance_count": 2},
                "environment_variables": {"A": "b"},
                "mini_batch_size": "2",
                "retry_settings": {"max_retries": 1, "timeout": 60},
                "max_concurrency_per_instance": 2,
                "logging_level": "INFO",
                **_IDENTITY,
            }
        ),
        ("jobs.a",),
    ),
    "sweep step": (
        "load_job",
        _pipeline(
            a={
                "type": "sweep",
                "trial": "./fit.yml",
                "comment": "c",
                "inputs": {"rows": {"type": "uri_folder", "path": "./data"}},
                "outputs": {"model": {"type": "uri_folder"}},
                "compute": "azureml:gpu",
                **_SWEEP,
                "search_space": {"rate": {"type": "uniform", "min_value": 0.1, "max_value": 0.2}},
                "queue_settings": {"job_tier": "spot", "priority": "low"},
            }
        ),
        ("jobs.a",),
    ),
    "sweep step with its trial in place": (
        "load_job",
        _pipeline(
            a={
                "type": "sweep",
                "trial": {
                    "type": "command",
                    "command": "fit ${{inputs.rate}}",
                    "inputs": {"rate": {"type": "number"}},
                    "environment": "azureml:e:1",
                },
                "search_space": {"rate": {"type": "uniform", "min_value": 0.1, "max_value": 0.2}},
                "objective": {"goal": "minimize", "primary_metric": "loss"},
                "sampling_algorithm": "random",
                "limits": {"max_total_trials": 2},
            }
        ),
        ("jobs.a.trial",),
    ),
    "step that names a pipeline component": (
        "load_job",
        _pipeline(
            a={
                "type": "pipeline",
                "component": "./whole.yml",
                "comment": "c",
                "inputs": {"rate": 0.2},
                "outputs": {"model": {"type": "uri_folder", "mode": "upload"}},
                "properties": {"a": "b"},
            }
        ),
        ("jobs.a",),
    ),
    "step that names a registered component": (
        "load_job",
        _pipeline(
            a={
                "type": "command",
                "component": "azureml:fit:1",
                "inputs": {"rate": 0.2},
                "outputs": {"model": {"type": "uri_folder"}},
                "resources": {"instance_count": 1},
                "compute": "azureml:gpu",
            }
        ),
        ("jobs.a",),
    ),
    "command component": (
        "load_component",
        _component(
            "command",
            display_name="d",
            description="d",
            tags={"a": "b"},
            properties={"a": "b"},
            is_deterministic=False,
            **_PORTS,
            command=_COMMAND,
            code="./src",
            environment="azureml:e:1",
            additional_includes=["./data"],
            resources=_PLACEMENT["resources"],
            distribution=_PLACEMENT["distribution"],
        ),
        ("",),
    ),
    "command component with its environment in place": (
        "load_component",
        _component("command", command="date", environment=_ENVIRONMENT),
        ("environment",),
    ),
    "parallel component": (
        "load_component",
        _component(
            "parallel",
            display_name="d",
            description="d",
            tags={"a": "b"},
            is_deterministic=False,
            inputs={"rows": {"type": "uri_folder"}},
            outputs={"scores": {"type": "uri_file"}},
            resources={"instance_count": 2},
            **_PARALLEL,
        ),
        ("",),
    ),
    "pipeline component": (
        "load_component",
        _component(
            "pipeline",
            display_name="d",
            description="d",
            tags={"a": "b"},
            is_deterministic=False,
            inputs={"rate": {"type": "number", "default": 0.1}},
            outputs={"model": {"type": "uri_folder"}},
            jobs={
                "a": {
                    "type": "command",
                    "component": "./fit.yml",
                    "inputs": {"rate": "${{parent.inputs.rate}}"},
                    "outputs": {"model": "${{parent.outputs.model}}"},
                }
            },
        ),
        ("", "inputs", "outputs", "tags"),
    ),
    "environment": (
        "load_environment",
        {"$schema": _schema("environment"), "name": "e", "version": "1", **_ENVIRONMENT},
        ("",),
    ),
    "environment that is built": (
        "load_environment",
        {"$schema": _schema("environment"), "name": "e", "version": "1", **_BUILT},
        ("",),
    ),
    "data": (
        "load_data",
        {
            "$schema": _schema("data"),
            "name": "rows",
            "version": "1",
            "type": "uri_folder",
            "path": "./data",
            "description": "d",
            "tags": {"a": "b"},
        },
        ("",),
    ),
}

# A value that fits each key that may stand in a whole, and in a part of one.
_OF_BOTH: Tree = {
    "name": "n",
    "version": "2",
    "type": "command",
    "description": "d",
    "tags": {"a": "b"},
    "properties": {"a": "b"},
    "environment": "azureml:e:1",
    "code": "./src",
    "command": "date",
    "image": "ubuntu",
    "conda_file": "./conda.yml",
    "build": {"path": "./context"},
    "datastore": "azureml:d",
    "path": "./data",
    "mode": "ro_mount",
    "timeout": 60,
    "anything": 1,
    "Name": "n",
}
# A value that fits each key: of those that may stand in some whole (a file, a step, a trial, a component) …
_OF_WHOLE: Tree = {
    **_OF_BOTH,
    "$schema": _schema("x"),
    "name": "n",
    "version": "2",
    "id": "azureml:x",
    "status": "s",
    "creation_context": {"created_at": "2024-01-01"},
    "parameters": {"a": 1},
    "log_files": {"a": "b"},
    "type": "command",
    **_SHOWN,
    "experiment_name": "e",
    "compute": "azureml:cpu",
    **_IDENTITY,
    "services": {"mine": {"type": "custom"}},
    "inputs": {"x": 1},
    "outputs": {"y": {"type": "uri_folder"}},
    "settings": {"default_compute": "azureml:cpu"},
    "jobs": {"z": {"type": "command", "command": "date", "environment": "azureml:e:1"}},
    "component": "./fit.yml",
    "trial": "./fit.yml",
    "comment": "c",
    "command": "date",
    "code": "./src",
    "environment": "azureml:e:1",
    **_PLACEMENT,
    "limits": {"timeout": 60},
    "parent_job_name": "p",
    "is_deterministic": True,
    "additional_includes": ["./src"],
    "auto_delete_setting": {"condition": "created_greater_than", "value": "30d"},
    "intellectual_property": {"publisher": "p", "protection_level": "all"},
    **_SWEEP,
    **_PARALLEL,
    "partition_keys": ["a"],
    "latest_version": "3",
    "entry": {"file": "run.py"},
    "conf": {"spark.driver.cores": 1},
    "args": "--a",
    "py_files": ["a.py"],
    "source": {"type": "database"},
    "condition": True,
}
# … and in some part of one, such as its resources.
_OF_PART: Tree = {
    **_OF_BOTH,
    "inference_config": {
        "liveness_route": {"port": 1, "path": "/"},
        "scoring_route": {"port": 1, "path": "/"},
        "readiness_route": {"port": 1, "path": "/"},
    },
    "os_type": "linux",
    "path_on_compute": "file:./data",
    "value": "v",
    "optional": True,
    "default": 1,
    "min": 0,
    "max": 5,
    "enum": ["a"],
    "is_control": True,
    "early_available": True,
    "instance_count": 1,
    "process_count_per_instance": 1,
    "worker_count": 1,
    "parameter_server_count": 1,
    "trial_timeout": 60,
    "max_retries": 2,
    "entry_script": "batch.py",
    "program_arguments": "--x",
    "append_row_to": "${{outputs.scores}}",
    "model": "azureml:m:1",
    "goal": "minimize",
    "primary_metric": "loss",
    "seed": 3,
    "values": [1],
    "upper": 3,
    "min_value": 0,
    "max_value": 1,
    "mu": 0,
    "sigma": 1,
    "q": 1,
    "slack_factor": 0.1,
    "slack_amount": 0.1,
    "truncation_percentage": 10,
    "client_id": "c",
    "object_id": "o",
    "msi_resource_id": "m",
    "job_tier": "spot",
    "priority": "low",
    "port": 3,
    "nodes": "all",
    "log_dir": "d",
    "ssh_public_keys": "k",
    "dockerfile_path": "Dockerfile",
    "default_compute": "azureml:cpu",
    "default_datastore": "azureml:d",
    "force_rerun": True,
}
# Mappings with a key of each thing that the person names.
_NAMED = frozenset(
    {"inputs", "outputs", "tags", "properties", "environment_variables", "services", "search_space", "jobs"}
)
_NAMED_VALUES: tuple[Any, ...] = (1, "text", None, [], {"type": "uri_folder", "path": "./data"}, {"a": 1})
# What may stand in place of a value.
OTHERS: tuple[Any, ...] = (None, "text", 3, -1, 1.5, True, "7", [], ["a"], {}, {"a": "b"}, "./gone")


def varied_files() -> Iterator[VariedFile]:
    """Every file: the valid ones, and each with one key more, one key less, and one value that is another."""
    for kind, (loader, tree, places) in KINDS.items():
        yield VariedFile(kind, loader, "", "as it is", tree)
        for place in _places(tree, places):
            yield from (VariedFile(kind, loader, place, *change) for change in _changes(tree, place))


def _places(tree: Tree, roots: tuple[str, ...]) -> Iterator[str]:
    """Every mapping at or below the given places, each once."""

    def below(place: str, value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield place
            for key, inner in value.items():
                yield from below(f"{place}.{key}" if place else key, inner)

    yield from dict.fromkeys(found for root in roots for found in below(root, _at(tree, root)))


def _at(tree: Tree, place: str) -> Any:
    found: Any = tree
    for key in place.split(".") if place else ():
        found = found[key]
    return found


def _changed(tree: Tree, place: str, key: str, value: Any) -> Tree:
    changed = copy.deepcopy(tree)
    _at(changed, place)[key] = copy.deepcopy(value)
    return changed


def _changes(tree: Tree, place: str) -> Iterator[tuple[str, Tree]]:
    here = _at(tree, place)
    last = place.rpartition(".")[2]
    is_whole = not place or last in ("trial", "component", "a")
    if last in _NAMED:
        for key in ("more", "with-hyphen"):
            for value in Random(f"{place}.{key}").sample(_NAMED_VALUES, 3):
                yield f"{key} = {value!r}", _changed(tree, place, key, value)
    else:
        fitting = _OF_WHOLE if is_whole else _OF_PART
        for key in fitting if is_whole else Random(place).sample(sorted(_OF_PART), 4):
            if key not in here:
                yield f"{key} = {fitting[key]!r}", _changed(tree, place, key, fitting[key])
                if is_whole and Random(f"{place}.{key}").random() < 0.2:
                    yield f"{key} = None", _changed(tree, place, key, None)
    for key, value in here.items():
        without = copy.deepcopy(tree)
        del _at(without, place)[key]
        yield f"no {key}", without
        if last not in _NAMED:
            wrong = f"{key}s"
            if wrong not in here:
                renamed = copy.deepcopy(without)
                _at(renamed, place)[wrong] = copy.deepcopy(value)
                yield f"{wrong} for {key}", renamed
        for other in Random(f"{place}.{key}").sample(OTHERS, 6 if is_whole else 3):
            if type(other) is not type(value) or other != value:
                yield f"{key} = {other!r}", _changed(tree, place, key, other)
