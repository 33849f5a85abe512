"""Change one thing, and exactly the steps that depend on it run again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.engines.plan import Planner, modules_to_preload
from flows.engines.store import StepRecord
from flows.settings import Settings
from flows.spec.bind import bind
from flows.spec.graph import order
from flows.spec.model import StepOutput
from flows.spec.reader import read_job

from .conftest import Write

PIPELINE = """\
    type: pipeline
    description: A pipeline.
    inputs:
      data: {type: uri_file, path: ./rows.csv}
      rate: 0.1
    jobs:
      prep:
        component: ./prep/component.yml
        inputs: {data: "${{parent.inputs.data}}"}
      train:
        component: ./train/component.yml
        inputs: {rows: "${{parent.jobs.prep.outputs.rows}}", rate: "${{parent.inputs.rate}}"}
      report:
        component: ./report/component.yml
        inputs: {data: "${{parent.inputs.data}}"}
    """
COMPONENT = """\
    type: command
    name: {name}
    description: A step.
    code: ./src
    command: python main.py {arguments}
    environment: {environment}
    inputs: {{{inputs}}}
    outputs: {{{outputs}}}
    """
FILES = {
    "project/pipeline.yml": PIPELINE,
    "project/rows.csv": "a,b\n",
    "project/prep/component.yml": COMPONENT.format(
        name="prep",
        arguments="${{inputs.data}} ${{outputs.rows}}",
        environment="azureml:sklearn@latest",
        inputs="data: {type: uri_file}",
        outputs="rows: {type: uri_folder}",
    ),
    "project/prep/src/main.py": "import pandas",
    "project/train/component.yml": COMPONENT.format(
        name="train",
        arguments="${{inputs.rows}} ${{inputs.rate}} ${{outputs.model}}",
        environment="azureml:sklearn@latest",
        inputs="rows: {type: uri_folder}, rate: {type: number}",
        outputs="model: {type: mlflow_model}",
    ),
    "project/train/src/main.py": "import near",
    "project/train/src/near.py": "import sklearn",
    "project/report/component.yml": COMPONENT.format(
        name="report",
        arguments="${{inputs.data}}",
        environment="azureml:other:1",
        inputs="data: {type: uri_file}",
        outputs="",
    ),
    "project/report/src/main.py": "import matplotlib",
    "project/environment/sklearn.yml": "name: sklearn\nversion: '1'\nimage: ubuntu\nconda_file: ./conda.yml\n",
    "project/environment/conda.yml": "dependencies:\n- python=3.11\n",
    "project/data/empty/README.md": "",
}
ALL = ["prep", "report", "train"]


class Project:
    """A pipeline in a folder, run as if its steps were: each writes ``text`` into its outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.settings = Settings(self.folder, folder / "home", {})

    def run(self, text: str = "delivered", job: str = "job", force: bool = False, **inputs: object) -> list[str]:
        """Run what has to be run, and return the names of those steps."""
        spec = bind(read_job(self.folder / "pipeline.yml"), inputs)
        planner = Planner(spec, self.settings, force)
        delivered: dict[StepOutput, Path] = {}
        ran: list[str] = []
        for name in order(spec):
            plan = planner.plan(spec.steps[name], delivered)
            if plan.record is None:
                ran.append(name)
                outputs = {it: self.settings.jobs / job / name / it for it in plan.step.component.outputs}
                for path in outputs.values():
                    path.mkdir(parents=True, exist_ok=True)
                    (path / "content").write_text(text)
                stored = {it: planner.store.stored(path) for it, path in outputs.items()}
                planner.store.save(StepRecord(plan.key, name, job, plan.fingerprint, stored, "log", 1.0))
            else:
                outputs = {it: planner.store.path(output) for it, output in plan.record.outputs.items()}
            delivered.update({StepOutput(name, it): path for it, path in outputs.items()})
        return sorted(ran)

    def known(self) -> dict[str, bool]:
        """The steps that can be planned before anything runs, and whether each is reused."""
        planner = Planner(read_job(self.folder / "pipeline.yml"), self.settings)
        return {name: plan.reused for name, plan in planner.known().items()}

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))


@pytest.fixture
def project(write: Write) -> Project:
    """A project all of whose steps were run once."""
    found = Project(write(FILES))
    assert found.run() == ALL
    return found


CHANGES: dict[str, tuple[Callable[[Project], object], list[str]]] = {
    "nothing": (lambda project: None, []),
    "a_byte_of_code": (lambda project: project.edit("prep/src/main.py", "pandas", "numpy"), ["prep"]),
    "a_byte_of_a_module_beside_it": (lambda project: project.edit("train/src/near.py", "sklearn", "scipy"), ["train"]),
    "a_new_file_of_code": (lambda project: (project.folder / "prep" / "src" / "new.txt").touch(), ["prep"]),
    "a_byte_of_data": (lambda project: project.edit("rows.csv", "b", "c"), ["prep", "report"]),
    "a_line_of_an_environment": (
        lambda project: project.edit("environment/conda.yml", "3.11", "3.12"),
        ["prep", "train"],
    ),
    "the_image_of_an_environment": (
        lambda project: project.edit("environment/sklearn.yml", "ubuntu", "debian"),
        ["prep", "train"],
    ),
    "a_variable": (
        lambda project: project.edit("prep/component.yml", "code: ./src", "code: ./src\nenvironment_variables: {A: b}"),
        ["prep"],
    ),
    "a_parameter": (lambda project: project.edit("pipeline.yml", "rate: 0.1", "rate: 0.2"), ["train"]),
    "a_command": (lambda project: project.edit("report/component.yml", "main.py", "main.py --all"), ["report"]),
    "a_version": (
        lambda project: project.edit("report/component.yml", "code: ./src", "code: ./src\nversion: '2'"),
        ["report"],
    ),
    "a_comment_in_the_pipeline": (lambda project: project.edit("pipeline.yml", "jobs:", "# why\njobs:  # here"), []),
    "a_comment_outside_the_code": (
        lambda project: project.edit("environment/sklearn.yml", "name:", "# why\nname:"),
        [],
    ),
    "a_description": (lambda project: project.edit("pipeline.yml", "A pipeline", "It"), []),
    "a_number_written_otherwise": (lambda project: project.edit("pipeline.yml", "rate: 0.1", "rate: 0.10"), []),
    "the_time_of_a_file": (lambda project: [os.utime(path, (0, 0)) for path in project.folder.rglob("*")], []),
    "byte_code": (lambda project: write_byte_code(project.folder / "prep" / "src"), []),
    "the_name_of_the_data": (
        lambda project: (
            (project.folder / "rows.csv").rename(project.folder / "same.csv"),
            project.edit("pipeline.yml", "rows.csv", "same.csv"),
        ),
        [],
    ),
    "the_timeout": (
        lambda project: project.edit(
            "pipeline.yml", "component: ./prep", "limits: {timeout: 60}\n    component: ./prep"
        ),
        [],
    ),
}


def write_byte_code(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.cpython-311.pyc").touch()


@pytest.mark.parametrize("change", CHANGES)
def test_what_depends_on_a_change_runs_again_and_nothing_else(change: str, project: Project) -> None:
    make, expected = CHANGES[change]
    make(project)

    assert project.run() == expected
    assert project.run() == []


def test_another_checkout_reuses_what_this_one_ran(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.folder, tmp_path / "other" / "project")
    other = Project(tmp_path / "other")
    other.settings = Settings(other.folder, project.settings.home, {})

    assert other.run() == []


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


def test_a_step_that_is_not_deterministic_always_runs(project: Project) -> None:
    project.edit("prep/component.yml", "code: ./src", "code: ./src\nis_deterministic: false")

    assert project.run() == project.run() == ["prep"]


def test_a_step_can_be_planned_ahead_as_far_as_what_it_reads_is_reused(project: Project) -> None:
    assert project.known() == {"prep": True, "report": True, "train": True}

    project.edit("prep/src/main.py", "pandas", "numpy")
    assert project.known() == {"prep": False, "report": True}


def test_what_is_imported_ahead_is_what_the_steps_that_may_run_import(project: Project) -> None:
    spec = read_job(project.folder / "pipeline.yml")
    project.edit("train/src/near.py", "sklearn", "scipy")

    assert modules_to_preload(spec, {}) == ["pandas", "matplotlib", "scipy"]
    assert modules_to_preload(spec, Planner(spec, project.settings).known()) == ["scipy"]
