"""Change one thing, and exactly the steps that depend on it run again, each with its cause by name."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.engines.plan.job import StepState, plan_job
from flows.engines.plan.reasons import Reason
from flows.settings import Settings
from flows.spec.reading.reader import read_job
from tests.conftest import Write
from tests.engines.projects import ALL, FILES, Project, virtual_environment

AFTER_PREP = "prep runs first"
UPSTREAM = {"train": ("may run", [AFTER_PREP])}


@pytest.fixture
def project(write: Write) -> Project:
    """A project all of whose steps were run once."""
    found = Project(write(FILES))
    assert found.run() == ALL
    return found


@dataclass(frozen=True)
class Change:
    """Something to alter, why which steps run for it, and what the plan says of those that wait for them."""

    make: Callable[[Project], object]
    runs: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    waiting: Mapping[str, tuple[str, list[str]]] = field(default_factory=dict[str, tuple[str, list[str]]])


def edited(file: str, old: str, new: str) -> Callable[[Project], object]:
    return lambda project: project.edit(file, old, new)


def removed(name: str) -> Callable[[Project], object]:
    return lambda project: (project.folder / name).unlink()


PREP_CODE = "prep/src/main.py"
CHANGES = {
    "nothing": Change(lambda project: None),
    "a_byte_of_the_code": Change(
        edited(PREP_CODE, "pandas", "pandaz"), {"prep": ["code file main.py changed"]}, UPSTREAM
    ),
    "a_byte_of_a_module_beside_the_script": Change(
        edited("train/src/near.py", "sklearn", "sklearm"), {"train": ["code file near.py changed"]}
    ),
    "a_new_file_of_code": Change(
        lambda project: (project.folder / "prep" / "src" / "new.txt").touch(),
        {"prep": ["code file new.txt added"]},
        UPSTREAM,
    ),
    "a_file_of_code_removed": Change(removed("train/src/near.py"), {"train": ["code file near.py removed"]}),
    "a_byte_of_the_data": Change(
        edited("rows.csv", "b", "c"),
        {"prep": ["content of the input data changed"], "report": ["content of the input data changed"]},
        UPSTREAM,
    ),
    "a_parameter": Change(edited("pipeline.yml", "rate: 0.1", "rate: 0.2"), {"train": ["input rate: 0.1 → 0.2"]}),
    "a_line_of_the_environment": Change(
        edited("environment/conda.yml", "python=3.11", "python=3.12"),
        {"prep": ["environment python: =3.11 → =3.12"], "train": ["environment python: =3.11 → =3.12"]},
        {"train": ("run", ["environment python: =3.11 → =3.12", AFTER_PREP])},
    ),
    "a_new_line_of_the_environment": Change(
        edited("environment/conda.yml", "- python", "- pip:\n  - numpy==2.0\n- python"),
        {"prep": ["environment pip numpy ==2.0 added"], "train": ["environment pip numpy ==2.0 added"]},
        {"train": ("run", ["environment pip numpy ==2.0 added", AFTER_PREP])},
    ),
    "the_image_of_the_environment": Change(
        edited("environment/sklearn.yml", "ubuntu", "debian"),
        {"prep": ["environment the image: ubuntu → debian"], "train": ["environment the image: ubuntu → debian"]},
        {"train": ("run", ["environment the image: ubuntu → debian", AFTER_PREP])},
    ),
    "an_environment_variable": Change(
        edited("prep/component.yml", "code: ./src", "code: ./src\nenvironment_variables: {TOKEN: secret}"),
        {"prep": ["environment variable TOKEN added"]},
        UPSTREAM,
    ),
    "a_command": Change(
        edited("report/component.yml", "main.py", "main.py --all"),
        {"report": ["component command --all added"]},
    ),
    "a_version": Change(
        edited("report/component.yml", "code: ./src", "code: ./src\nversion: '2'"),
        {"report": ["component version 2 added"]},
    ),
    "an_input_of_the_component": Change(
        edited(
            "train/component.yml", "rate: {type: number}", "rate: {type: number}, depth: {type: integer, default: 3}"
        ),
        {
            "train": [
                "component inputs.depth.default 3 added",
                "component inputs.depth.type integer added",
                "input depth: no value → 3",
            ]
        },
    ),
    "an_output_deleted": Change(
        lambda project: shutil.rmtree(project.settings.jobs / "job" / "train" / "model"),
        {"train": ["its earlier output model was deleted"]},
    ),
    "an_output_altered": Change(
        lambda project: (project.settings.jobs / "job" / "train" / "model" / "content").write_text("else"),
        {"train": ["its earlier output model was altered"]},
    ),
    "the_job_forces_it": Change(
        edited("pipeline.yml", "jobs:", "settings: {force_rerun: true}\njobs:"),
        {name: ["forced by settings.force_rerun"] for name in ALL},
        {"train": ("run", ["forced by settings.force_rerun", AFTER_PREP])},
    ),
    "a_step_that_is_not_deterministic": Change(
        edited("report/component.yml", "code: ./src", "code: ./src\nis_deterministic: false"),
        {"report": ["is_deterministic is false: it runs every time"]},
    ),
    "a_comment_in_the_pipeline": Change(edited("pipeline.yml", "jobs:", "# why\njobs:  # here")),
    "a_comment_in_a_component": Change(edited("prep/component.yml", "code:", "# why\ncode:")),
    "a_comment_in_the_conda_file": Change(edited("environment/conda.yml", "- python=3.11", "- python=3.11  # why")),
    "a_comment_in_the_environment": Change(edited("environment/sklearn.yml", "name:", "# why\nname:")),
    "a_description": Change(edited("pipeline.yml", "A pipeline", "It")),
    "a_number_written_otherwise": Change(edited("pipeline.yml", "rate: 0.1", "rate: 0.10")),
    "the_time_of_every_file": Change(
        lambda project: [os.utime(path, (0, 0)) for path in project.folder.rglob("*") if path.is_file()]
    ),
    "byte_code": Change(lambda project: write_byte_code(project.folder / "prep" / "src")),
    "the_name_of_the_data": Change(
        lambda project: (
            (project.folder / "rows.csv").rename(project.folder / "same.csv"),
            project.edit("pipeline.yml", "rows.csv", "same.csv"),
        )
    ),
    "the_timeout": Change(edited("pipeline.yml", "component: ./prep", "limits: {timeout: 60}\n    component: ./prep")),
}


def write_byte_code(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.cpython-311.pyc").touch()


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_after_a_change_runs_what_depends_on_it_and_says_why(name: str, project: Project) -> None:
    change = CHANGES[name]
    change.make(project)

    assert project.run_and_say_why() == change.runs


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_after_a_change_names_what_will_run_and_what_waits_for_it(name: str, project: Project) -> None:
    change = CHANGES[name]
    change.make(project)

    assert project.planned() == {**{step: ("run", why) for step, why in change.runs.items()}, **change.waiting}


def test_a_plan_writes_nothing(project: Project, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    project.edit(PREP_CODE, "pandas", "numpy")
    project.planned()

    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert {path for path in after if after[path] != before.get(path)} == {project.folder / PREP_CODE}


def test_another_checkout_runs_nothing_again(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.folder, tmp_path / "elsewhere" / "project")
    other = Project(tmp_path / "elsewhere")
    other.settings = Settings(other.folder, project.settings.home, {})

    assert other.planned() == {}
    assert other.run() == []


def test_a_state_folder_that_was_moved_is_as_good_as_before(project: Project, tmp_path: Path) -> None:
    project.settings = Settings(project.folder, project.settings.home.rename(tmp_path / "moved"), {})

    assert project.planned() == {}


def test_a_first_run_has_nothing_to_compare_with(write: Write) -> None:
    never = ("run", ["it never ran to its end before"])

    assert Project(write(FILES)).planned() == {"prep": never, "train": never, "report": never}


def test_what_is_forced_says_also_what_has_changed(project: Project) -> None:
    planned = project.planned(force=True, rate=0.2)

    assert planned["train"] == ("run", ["forced by --force-rerun", "input rate: 0.1 → 0.2", AFTER_PREP])
    assert planned["report"] == ("run", ["forced by --force-rerun"])


def test_several_changes_are_all_named(project: Project) -> None:
    project.edit("train/src/near.py", "sklearn", "scipy")
    project.edit("train/src/main.py", "near", "near  # too")

    assert project.run_and_say_why(rate=7) == {
        "train": ["code file main.py changed", "code file near.py changed", "input rate: 0.1 → 7"]
    }


def test_the_cause_is_the_difference_from_the_nearest_earlier_run(project: Project) -> None:
    assert project.run_and_say_why(job="second", rate=0.2) == {"train": ["input rate: 0.1 → 0.2"]}
    project.edit("train/src/near.py", "sklearn", "scipy")

    assert project.planned() == {"train": ("run", ["code file near.py changed"])}
    assert project.planned(rate=0.2) == {"train": ("run", ["code file near.py changed"])}


def test_what_an_upstream_step_delivered_otherwise_is_the_cause(project: Project) -> None:
    project.edit(PREP_CODE, "pandas", "numpy")

    assert project.run_and_say_why("otherwise", job="later") == {
        "prep": ["code file main.py changed"],
        "train": ["content of the input rows changed"],
    }


def test_the_value_of_an_environment_variable_is_written_nowhere(project: Project, tmp_path: Path) -> None:
    CHANGES["an_environment_variable"].make(project)
    project.run()

    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


def test_a_reason_is_the_same_after_it_was_written_down(project: Project) -> None:
    project.edit(PREP_CODE, "pandas", "numpy")
    plan = plan_job(read_job(project.folder / "pipeline.yml"), project.settings).steps[0].plan
    assert plan is not None

    assert [Reason.from_json(json.loads(json.dumps(it.as_json()))) for it in plan.reasons] == list(plan.reasons)


def test_another_interpreter_runs_every_step_and_is_named(project: Project, tmp_path: Path) -> None:
    python = virtual_environment(tmp_path / "venv")
    spec = read_job(project.folder / "pipeline.yml")

    steps = plan_job(spec, project.settings, python=python).steps

    assert {step.state for step in steps} == {StepState.RUN}
    texts = [str(reason) for reason in steps[0].plan.reasons] if steps[0].plan else []
    assert any(text.startswith("interpreter mlflow ") and text.endswith(" removed") for text in texts)
