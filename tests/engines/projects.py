"""A pipeline of three steps for the tests of what runs again, and a way to run it without running anything."""

import subprocess
import sys
from pathlib import Path

from flows.engines.plan.job import StepState, plan_job
from flows.engines.plan.steps import Planner
from flows.engines.plan.store import StepRecord
from flows.settings import Settings
from flows.spec.bind import bind
from flows.spec.graph import order
from flows.spec.model.job import StepOutput
from flows.spec.reading.reader import read_job

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
        return sorted(self.run_and_say_why(text, job, force, **inputs))

    def run_and_say_why(
        self, text: str = "delivered", job: str = "job", force: bool = False, **inputs: object
    ) -> dict[str, list[str]]:
        """Run what has to be run, and return why each of those steps ran."""
        spec = bind(read_job(self.folder / "pipeline.yml"), inputs)
        planner = Planner(spec, self.settings, force)
        delivered: dict[StepOutput, Path] = {}
        ran: dict[str, list[str]] = {}
        for name in order(spec):
            plan = planner.plan(spec.steps[name], delivered)
            if plan.record is None:
                ran[name] = [str(reason) for reason in plan.reasons]
                outputs = {it: self.settings.jobs / job / name / it for it in plan.step.component.outputs}
                for path in outputs.values():
                    path.mkdir(parents=True, exist_ok=True)
                    (path / "content").write_text(text)
                stored = {it: planner.store.stored(path) for it, path in outputs.items()}
                planner.store.save(StepRecord(plan.key, name, job, plan.fingerprint, stored, "log", 1.0))
            else:
                outputs = {it: planner.store.path(output) for it, output in plan.record.outputs.items()}
            delivered.update({StepOutput(name, it): path for it, path in outputs.items()})
        return ran

    def planned(self, force: bool = False, **inputs: object) -> dict[str, tuple[str, list[str]]]:
        """What the plan says of each step that would not be reused, and why."""
        spec = bind(read_job(self.folder / "pipeline.yml"), inputs)
        return {
            step.name: (str(step.state), [str(reason) for reason in step.plan.reasons] if step.plan else [])
            for step in plan_job(spec, self.settings, force).steps
            if step.state is not StepState.REUSE
        }

    def known(self) -> dict[str, bool]:
        """The steps that can be planned before anything runs, and whether each is reused."""
        planner = Planner(read_job(self.folder / "pipeline.yml"), self.settings)
        return {name: plan.reused for name, plan in planner.known().items()}

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))


def virtual_environment(folder: Path, **packages: str) -> Path:
    """An interpreter for which nothing but these is installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for name, version in packages.items():
        (site / f"{name}-{version}.dist-info").mkdir()
    return folder / "bin" / "python"
