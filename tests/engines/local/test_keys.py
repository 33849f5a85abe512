"""The table of keys says of every key what this machine does with it, and what it says is true."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.any_yaml.local_data import check_runs_here, with_local_data
from flows.data.given import given_assets
from flows.engines.local.keys.in_files import unlike_azure_ml
from flows.engines.local.keys.kinds import KINDS, rows_of
from flows.engines.local.keys.page import page
from flows.engines.local.keys.table import ROWS, Row, Treatment
from flows.engines.local.sweep.search import trials
from flows.engines.plan.steps import Planner
from flows.errors import CannotRunHere
from flows.settings import PROJECT, Settings
from flows.spec.model.job import StepOutput
from flows.spec.reading.assets import read_data_asset, read_environment
from flows.spec.reading.reader import examine, read_job
from flows.spec.reading.work.elsewhere import REFUSALS
from flows.spec.text import keys
from tests.conftest import Write
from tests.engines.jobs import FILE, FOLDER, JobRunner, command, pipeline

BY_PATH: Mapping[str, Row] = {path: row for rows in ROWS.values() for path, row in rows.items()}
IGNORED = [path for path, row in BY_PATH.items() if row.treatment is Treatment.IGNORED]
REFUSABLE = [path for path, row in BY_PATH.items() if row.refused_if]
UNIONS = {"ANY_STEP", "ANY_FILE"}  # of the shapes of what cannot be told yet
PARTS = {"RESOURCE", "TRANSFER_END"}  # of other shapes


def test_every_shape_of_keys_is_a_kind_of_the_table() -> None:
    shapes = {
        name
        for name, value in vars(keys).items()
        if name.isupper() and isinstance(value, Mapping | keys.ByType | keys.Each)
    }
    shapes -= {name for name in shapes if name.startswith("_")}
    assert shapes - UNIONS - PARTS - KINDS.keys() == set()


@pytest.mark.parametrize("name", KINDS)
def test_every_key_of_a_kind_has_a_row(name: str) -> None:
    assert [path for path, _, row in rows_of(KINDS[name]) if row is None] == []


def test_every_row_is_that_of_a_key_and_says_why_in_a_sentence() -> None:
    used = {row for kind in KINDS.values() for _, row, _ in rows_of(kind)}
    assert BY_PATH.keys() - used == set()
    for path, row in BY_PATH.items():
        assert row.reason.endswith(".") and row.reason[0].isupper(), path


def test_page_is_the_table_as_it_is_now() -> None:
    written = (PROJECT / "docs" / "keys.md").read_text(encoding="utf-8")
    assert written == page(), "docs/keys.md is stale: make docs-keys"


IMAGE = {"image": "ubuntu:22.04"}
ROWS_FILE = {"type": "uri_file", "path": "./rows.csv"}
SWEEP: dict[str, Any] = {
    "type": "sweep",
    "trial": {"command": "echo ${{search_space.rate}}", "environment": IMAGE},
    "sampling_algorithm": {"type": "random"},
    "search_space": {"rate": {"type": "choice", "values": [1, 2]}},
    "objective": {"goal": "minimize", "primary_metric": "loss"},
    "limits": {"max_total_trials": 2},
}
PARALLEL: dict[str, Any] = {
    "type": "parallel",
    "inputs": {"rows": {"type": "uri_folder", "path": "./code"}},
    "input_data": "${{inputs.rows}}",
    "mini_batch_size": "1",
    "task": {"type": "run_function", "code": "./code", "entry_script": "score.py", "environment": IMAGE},
}
COMPONENT = {
    **command(
        "cat ${{inputs.rows}} > ${{outputs.out}}; echo 1 > ${{outputs.many}}",
        inputs={"rows": FILE},
        outputs={"out": FILE, "many": {"type": "boolean"}},
    ),
    "name": "component",
    "version": "1",
}
INNER = {
    "$schema": "https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json",
    "type": "pipeline",
    "jobs": {"step": command("echo inner")},
}
FILES: dict[str, Any] = {
    "job": command("cat ${{inputs.rows}} > ${{outputs.out}}", inputs={"rows": ROWS_FILE}, outputs={"out": FILE}),
    "pipeline": {
        "type": "pipeline",
        "inputs": {"rows": ROWS_FILE},
        "jobs": {
            "place": command("echo in place"),
            "node": {"component": "./component.yml", "inputs": {"rows": "${{parent.inputs.rows}}"}},
            "nested": {"type": "pipeline", "component": "./inner.yml"},
        },
    },
    "component": COMPONENT,
    "inner": INNER,
    "sweep": SWEEP,
    "parallel": PARALLEL,
    "data/asset": {"name": "rows", "version": "1", "type": "uri_file", "path": "../rows.csv"},
    "environment/own": {"name": "own", "version": "1", "image": "ubuntu:22.04"},
}
# For each row that says ignored: the file, where in it the key is added, and its value.
ADDED: dict[str, tuple[str, str, Any]] = {
    "jobs.*.$schema": ("pipeline", "jobs.node.$schema", "https://azuremlschemas.azureedge.net/x.json"),
    "jobs.*.name": ("pipeline", "jobs.place.name", "another"),
    "jobs.*.display_name": ("pipeline", "jobs.place.display_name", "Another"),
    "description": ("job", "description", "It is described."),
    "tags": ("job", "tags", {"owner": "me"}),
    "properties": ("job", "properties", {"owner": "me"}),
    "comment": ("pipeline", "jobs.node.comment", "It is commented."),
    "jobs.*.experiment_name": ("pipeline", "jobs.place.experiment_name", "another"),
    "parent_job_name": ("job", "parent_job_name", "another"),
    "resources": ("job", "resources", {"shm_size": "2g", "locations": ["westeurope"]}),
    "resources.instance_count": ("job", "resources", {"instance_count": 2}),
    "resources.docker_args": ("job", "resources", {"docker_args": "--shm-size 2g"}),
    "compute": ("job", "compute", "azureml:gpu"),
    "identity": ("job", "identity", {"type": "managed", "client_id": "one"}),
    "services": ("job", "services", {"editor": {"type": "vs_code"}}),
    "queue_settings": ("job", "queue_settings", {"job_tier": "spot"}),
    "auto_delete_setting": ("component", "auto_delete_setting", {"condition": "created_greater_than", "value": "30d"}),
    "settings": ("pipeline", "settings", {"continue_run_on_failed_optional_input": False}),
    "settings.default_compute": ("pipeline", "settings", {"default_compute": "azureml:gpu"}),
    "settings.default_datastore": ("pipeline", "settings", {"default_datastore": "azureml:lake"}),
    "jobs.*.settings": ("pipeline", "jobs.nested.settings", {"force_rerun": True}),
    "inputs.*.mode": ("job", "inputs.rows.mode", "download"),
    "inputs.*.path_on_compute": ("job", "inputs.rows.path_on_compute", "./code"),
    "inputs.*.datastore": ("job", "inputs.rows.datastore", "lake"),
    "inputs.*.description": ("component", "inputs.rows.description", "The rows."),
    "outputs.*.mode": ("job", "outputs.out.mode", "upload"),
    "outputs.*.description": ("component", "outputs.out.description", "The rows."),
    "outputs.*.is_control": ("component", "outputs.many.is_control", True),
    "outputs.*.early_available": ("component", "outputs.many.early_available", True),
    "sampling_algorithm.logbase": ("sweep", "sampling_algorithm.logbase", "e"),
    "task.model": ("parallel", "task.model", "azureml:m:1"),
    "environment.$schema": ("environment/own", "$schema", "https://azuremlschemas.azureedge.net/x.json"),
    "environment.version": ("environment/own", "version", "2"),
    "environment.os_type": ("environment/own", "os_type", "windows"),
    "environment.inference_config": (
        "environment/own",
        "inference_config",
        {"liveness_route": {"port": 1, "path": "/"}},
    ),
    "environment.datastore": ("environment/own", "datastore", "lake"),
    "data.$schema": ("data/asset", "$schema", "https://azuremlschemas.azureedge.net/x.json"),
    "data.datastore": ("data/asset", "datastore", "lake"),
}


def with_key(document: Any, at: str, value: Any) -> Any:
    changed = json.loads(json.dumps(document))
    inner, *path = changed, *at.split(".")
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    inner[path[-1]] = value
    return changed


@pytest.fixture
def project(write: Write) -> Path:
    """The files above, and what they name."""
    texts = {f"{name}.yml": json.dumps(document) for name, document in FILES.items()}
    return write({**texts, "rows.csv": "a,b\n", "code/score.py": "def run(files): return files\n"})


def what_runs(folder: Path, name: str) -> Any:
    """All that reading a file makes of it that a run on this machine, or what it registers, can depend on."""
    file = folder / f"{name}.yml"
    if name.startswith("data"):
        asset = read_data_asset(file)
        return asset.name, asset.version, asset.type, asset.path
    if name.startswith("environment"):
        found = read_environment(file)
        return found and (found.name, found.environment)
    spec = read_job(file)
    planner = Planner(spec, Settings(folder, folder / "home", {}))
    delivered = {
        StepOutput(step.name, output): file for step in spec.steps.values() for output in step.component.outputs
    }
    steps = [
        (
            planner.plan(step, delivered).key,
            step.name,
            step.timeout_seconds,
            step.environment_variables,
            step.sweep and list(trials(step.sweep)),
        )
        for step in spec.steps.values()
    ]
    return steps, spec.refusals, spec.name, spec.display_name, spec.experiment_name, spec.force_rerun


def test_every_row_that_says_ignored_is_tried() -> None:
    assert set(IGNORED) == {*ADDED, "distribution"}  # which is tried by a run below: it makes the step run again


@pytest.mark.parametrize("path", ADDED)
def test_key_that_is_ignored_changes_nothing_of_what_runs(path: str, project: Path) -> None:
    name, at, value = ADDED[path]
    before = what_runs(project, name if name != "component" else "pipeline")
    changed = with_key(FILES[name], at, value)
    assert changed != FILES[name]
    (project / f"{name}.yml").write_text(json.dumps(changed))
    assert what_runs(project, name if name != "component" else "pipeline") == before


@pytest.mark.parametrize("path", [path for path in ADDED if not path.startswith(("environment.", "data."))])
def test_key_that_is_ignored_is_found_in_its_file(path: str, project: Path) -> None:
    name, at, value = ADDED[path]
    (project / f"{name}.yml").write_text(json.dumps(with_key(FILES[name], at, value)))
    found = {(use.path, use.place.file.name) for use in unlike_azure_ml(read_job(project / f"{name}.yml"))}
    assert (path, f"{name}.yml") in found


@pytest.mark.parametrize(
    ("name", "at", "honoured", "other"),
    [
        ("job", "resources.instance_count", 1, 2),
        ("job", "outputs.out.path", "./here", "azureml://datastores/lake/paths/there"),
        ("sweep", "sampling_algorithm", "random", "bayesian"),
        ("sweep", "sampling_algorithm.type", "grid", "Bayesian"),
        ("sweep", "sampling_algorithm.rule", "random", "sobol"),
    ],
)
def test_key_that_is_honoured_for_some_values_is_named_for_the_others_alone(
    name: str, at: str, honoured: object, other: object, project: Path
) -> None:
    def named(value: object) -> bool:
        (project / f"{name}.yml").write_text(json.dumps(with_key(FILES[name], at, value)))
        return at in {use.place.key for use in unlike_azure_ml(read_job(project / f"{name}.yml"))}

    assert (named(honoured), named(other)) == (False, True)


def test_steps_with_every_key_that_is_ignored_get_what_a_plain_step_gets(local_jobs: JobRunner, write: Write) -> None:
    said = "env | sort > ${{outputs.out}}/said; pwd >> ${{outputs.out}}/said; ulimit -a >> ${{outputs.out}}/said"
    more = {
        at.rpartition("jobs.place.")[2]: value
        for name, at, value in ADDED.values()
        if (name == "job" and "." not in at) or at.startswith("jobs.place.")
    }
    more["distribution"] = {"type": "pytorch", "process_count_per_instance": 4}
    more["resources"] = {"instance_count": 1, "shm_size": "2g", "docker_args": "--shm-size 2g"}
    outputs = {name: {"out": f"${{{{parent.outputs.{name}}}}}"} for name in ("plain", "other")}
    steps = {
        "plain": command(said, outputs=outputs["plain"]),
        "other": command(said, outputs=outputs["other"], **more),
    }
    write({"job.yml": pipeline(steps, outputs={"plain": FOLDER, "other": FOLDER})})

    ran = local_jobs.run(fetch=("plain", "other"))

    texts = {name: (ran.fetched[name] / "said").read_text() for name in steps}
    runs = {name: ran.step(name).mlflow_run_id or "" for name in steps}
    plain, other = (
        sorted(
            line
            for line in texts[name].replace(runs[name], "RUN").replace(name, "NAME").splitlines()
            if "/" not in line
        )
        for name in steps
    )
    assert plain == other
    assert any(line.startswith("AZURE_ML_OUTPUT_out=") for line in texts["plain"].splitlines())


REMOTE = "https://example.org/code"
REFUSED: dict[str, tuple[str, str, Any]] = {
    "type": (
        "pipeline",
        "jobs.other",
        {
            "type": "automl",
            "task": "regression",
            "target_column_name": "y",
            "training_data": "${{parent.inputs.rows}}",
        },
    ),
    "component": ("pipeline", "jobs.other", {"component": "azureml:fit:1"}),
    "code": ("job", "code", REMOTE),
    "distribution": ("job", "resources", {"instance_count": 2}),
    "resources.instance_count": ("job", "resources", {"instance_count": 2}),
    "inputs.*.path": ("job", "inputs.rows.path", "azureml:elsewhere:1"),
    "trial": ("sweep", "trial", "azureml:fit:1"),
    "search_space.*.values": ("sweep", "search_space.rate.values", [{"deep": {"type": "choice", "values": [1]}}]),
    "task.model": ("parallel", "task", {"type": "model", "model": "azureml:m:1", "environment": IMAGE}),
    "input_data": ("parallel", "inputs.rows", {"type": "mltable", "path": "./code"}),
    "partition_keys": ("parallel", "partition_keys", ["store"]),
}


def refuse(folder: Path, name: str) -> None:
    spec = read_job(folder / f"{name}.yml")
    check_runs_here(spec)
    with_local_data(spec, given_assets((), folder / f"{name}.yml"), Settings(folder, folder / "home", {}))


def test_every_row_that_says_when_it_is_refused_is_tried() -> None:
    assert set(REFUSABLE) == {*REFUSED, "inputs.*.default"}  # a fault of the file, tried below


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_said_to_be_refused_does_not_run_here(path: str, project: Path) -> None:
    name, at, value = REFUSED[path]
    (project / "code" / "MLTable").write_text("paths: [{pattern: ./*.csv}]\ntransformations: [shuffle]\n")
    refuse_whole = "pipeline" if name == "component" else name
    refuse(project, refuse_whole)
    changed = with_key(FILES[name], at, value)
    if path in ("distribution", "resources.instance_count"):
        changed["distribution"] = {"type": "mpi", "process_count_per_instance": 1}
    (project / f"{name}.yml").write_text(json.dumps(changed))
    with pytest.raises(CannotRunHere):
        refuse(project, refuse_whole)


def test_default_of_an_input_that_is_data_is_a_fault(project: Path) -> None:
    (project / "component.yml").write_text(json.dumps(with_key(COMPONENT, "inputs.rows.default", "./rows.csv")))
    assert [fault.place.key for fault in examine(project / "component.yml").faults] == ["inputs.rows.default"]


@pytest.mark.parametrize("kind", REFUSALS)
def test_every_kind_that_is_said_to_be_refused_does_not_run_here(kind: str, project: Path) -> None:
    step = {"component": {"type": kind}} if kind == "promptflow_parallel" else {"type": kind}
    (project / "job.yml").write_text(json.dumps({"type": "pipeline", "jobs": {"step": step}}))
    spec = examine(project / "job.yml").spec
    assert spec is not None
    assert spec.refusals == {"step": REFUSALS[kind]}
    assert unlike_azure_ml(spec) == ()
