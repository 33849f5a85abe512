"""What is reused, and what is known before anything runs."""

import pytest

from flows.engines.local.host.preload import modules_to_preload
from flows.engines.local.host.seen_imports import SeenImports
from flows.engines.plan.steps import Planner
from flows.spec.reading.reader import read_job
from tests.conftest import Write
from tests.engines.projects import ALL, FILES, Project


@pytest.fixture
def project(write: Write) -> Project:
    """A project all of whose steps were run once."""
    found = Project(write(FILES))
    assert found.run() == ALL
    return found


def test_a_step_whose_input_is_delivered_unchanged_is_reused(project: Project) -> None:
    project.edit("prep/src/main.py", "pandas", "numpy")

    assert project.run("delivered") == ["prep"]


def test_a_step_whose_input_is_delivered_otherwise_runs_again(project: Project) -> None:
    project.edit("prep/src/main.py", "pandas", "numpy")

    assert project.run("otherwise", job="later") == ["prep", "train"]


def test_going_back_to_an_earlier_value_reuses_its_run(project: Project) -> None:
    assert project.run(job="second", rate=0.2) == ["train"]
    assert project.run(job="third", rate=0.1) == []


def test_a_bound_value_counts_as_if_it_were_written(project: Project) -> None:
    assert project.run(rate="0.1") == []


def test_nothing_is_reused_when_a_run_is_forced(project: Project) -> None:
    assert project.run(force=True) == ALL


def test_nothing_is_reused_when_the_pipeline_forces_it(project: Project) -> None:
    project.edit("pipeline.yml", "jobs:", "settings: {force_rerun: true}\njobs:")

    assert project.run() == project.run() == ALL


def test_a_change_in_what_a_component_includes_runs_its_steps_again(project: Project) -> None:
    (project.folder / "shared.py").write_text("import numpy")
    project.edit("train/component.yml", "code: ./src", "code: ./src\nadditional_includes: [../shared.py]")
    assert project.run() == ["train"] and project.run() == []

    project.edit("shared.py", "numpy", "scipy")
    assert project.run() == ["train"]


def test_a_step_that_is_not_deterministic_always_runs(project: Project) -> None:
    project.edit("prep/component.yml", "code: ./src", "code: ./src\nis_deterministic: false")

    assert project.run() == project.run() == ["prep"]


def test_a_step_can_be_planned_ahead_as_far_as_what_it_reads_is_reused(project: Project) -> None:
    assert project.known() == {"prep": True, "report": True, "train": True}

    project.edit("prep/src/main.py", "pandas", "numpy")
    assert project.known() == {"prep": False, "report": True}


def test_what_is_imported_ahead_is_what_the_steps_that_may_run_import(project: Project) -> None:
    spec, seen = read_job(project.folder / "pipeline.yml"), SeenImports(project.settings.home)
    project.edit("train/src/near.py", "sklearn", "scipy")

    assert modules_to_preload(spec, {}, seen) == ["pandas", "matplotlib", "scipy"]
    assert modules_to_preload(spec, Planner(spec, project.settings).known(), seen) == ["scipy"]


def test_what_an_included_module_imports_is_imported_ahead_too(project: Project) -> None:
    for name, text in {"shared.py": "import numpy", "more/__init__.py": "", "more/deep.py": "import pyarrow"}.items():
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).write_text(text)
    project.edit("train/component.yml", "code: ./src", "code: ./src\nadditional_includes: [../shared.py, ../more]")
    project.edit("train/src/near.py", "import sklearn", "import shared, more.deep, prep")

    spec, seen = read_job(project.folder / "pipeline.yml"), SeenImports(project.settings.home)
    assert modules_to_preload(spec, Planner(spec, project.settings).known(), seen) == ["numpy", "pyarrow", "prep"]
