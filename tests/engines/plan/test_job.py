"""The plan of a job as a person sees it."""

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest

from flows.cli.plan.text import WIDTH, plan_as_json, plan_as_text, reason_lines
from flows.engines.local.keys.in_files import unlike_azure_ml
from flows.engines.plan.job import plan_job
from flows.engines.plan.reasons import Reason, ReasonKind
from flows.settings import Settings
from flows.spec.reading.reader import read_job
from tests.engines.projects import FILES, Project

COMMAND = ("tandem", "run", "pipeline.yml")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")
DECLARED = """\
    type: pipeline
    settings: {default_compute: "azureml:cpu"}
    identity: {type: managed}
    tags: {owner: me}
    jobs:
      prep:
        command: echo > ${{outputs.rows}}
        environment:
          image: ubuntu
          conda_file: {dependencies: [python=3.8, {pip: [pandas==1.1.5, azureml-defaults, pyyaml]}]}
        outputs: {rows: {type: uri_file}}
        resources: {instance_type: Standard_DS3, shm_size: 2g}
        services: {my_editor: {type: vs_code}}
      train:
        command: cat ${{inputs.rows}}
        environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
        compute: azureml:gpu
        inputs: {rows: "${{parent.jobs.prep.outputs.rows}}"}
    """
REFUSED = """\
    type: pipeline
    display_name: Refused
    jobs:
      crunch:
        type: spark
        code: ./code
        entry: {file: main.py}
        conf:
          spark.driver.cores: 1
          spark.driver.memory: 2g
          spark.executor.cores: 1
          spark.executor.memory: 2g
          spark.executor.instances: 1
        outputs: {out: {type: uri_folder, mode: direct}}
        args: --out ${{outputs.out}}
        resources: {instance_type: standard_e4s_v3, runtime_version: "3.4"}
      after:
        command: ls ${{inputs.rows}}
        environment: azureml:other@latest
        inputs: {rows: "${{parent.jobs.crunch.outputs.out}}"}
      elsewhere:
        component: azureml://registries/azureml/components/split/versions/1
      lost:
        command: ls ${{inputs.rows}}
        environment: azureml:other@latest
        inputs: {rows: {type: uri_folder, path: azureml:nowhere@latest}}
      fine:
        command: echo
        environment: azureml:other@latest
    """


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project all of whose steps were run once."""
    found = Project(written(tmp_path, FILES))
    found.run()
    return found


def shown(project: Project) -> str:
    plan = plan_job(read_job(project.folder / "pipeline.yml"), project.settings)
    return MOMENT.sub("2025-01-31 12:00", plan_as_text(plan, COMMAND))


def test_a_plan_says_what_is_reused_what_runs_and_why_and_ends_with_the_next_command(project: Project) -> None:
    project.edit("prep/src/main.py", "pandas", "numpy")

    table, _, rest = shown(project).partition("\n\nEnvironments")
    assert table == dedent("""
        pipeline: 3 steps in 2 waves

          wave  step    plan        why
             1  prep    run         code file main.py changed
             1  report  reuse       from job, 2025-01-31 12:00
             2  train   may run     prep runs first; reused if what it delivers is the same""")
    assert rest.endswith("\n\n1 reuse, 1 run, 1 may run.\n  tandem run pipeline.yml\n")


def test_keys_that_are_ignored_or_emulated_are_named_with_their_lines_and_why(tmp_path: Path) -> None:
    folder = written(tmp_path, {"job.yml": DECLARED})
    plan = plan_job(read_job(folder / "job.yml"), Settings(folder, folder / "home", {}))
    text = plan_as_text(plan, COMMAND, unlike_azure_ml(plan.spec))

    assert text.split("\n\n")[2] == dedent("""\
        Otherwise than on Azure ML:
          emulated  environment.image, environment.conda_file, environment (lines 9, 10, 16): Not built: the
                    steps run with Tandem's Python, or with that of --python.
          ignored   settings.default_compute, compute (lines 2, 17): This machine is the compute.
          ignored   identity (line 3): Steps run as whoever starts them.
          ignored   tags (line 4): It describes, and nothing here shows it.
          ignored   resources (line 12): A step gets what this machine has.
          ignored   services (line 13): No service is started.""")
    told = {
        use["key"]: (use["line"], use["treatment"]) for use in plan_as_json(plan, unlike_azure_ml(plan.spec))["keys"]
    }
    assert told["jobs.prep.resources.shm_size"] == (12, "ignored")
    assert told["jobs.train.environment"] == (16, "emulated")


def test_packages_that_an_environment_asks_for_in_vain_are_named(tmp_path: Path) -> None:
    folder = written(tmp_path, {"job.yml": DECLARED})
    plan = plan_job(read_job(folder / "job.yml"), Settings(folder, folder / "home", {}))

    ubuntu, curated = plan.environments
    assert [it.package for it in ubuntu.shortfalls or ()] == ["python", "pandas", "azureml-defaults"]
    assert (ubuntu.label, ubuntu.steps) == ("ubuntu", ("prep",))
    assert curated.shortfalls is None
    text = plan_as_text(plan, COMMAND)
    assert "azureml-defaults (not here)" in text
    assert "its packages are not known here" in text


def test_all_steps_that_cannot_run_are_named_with_what_reads_from_them(tmp_path: Path) -> None:
    folder = written(tmp_path, {"job.yml": REFUSED, "code/main.py": "", "data/README.md": ""})
    plan = plan_job(read_job(folder / "job.yml"), Settings(folder, folder / "home", {}))

    assert [step.name for step in plan.refused] == ["crunch", "elsewhere", "lost"]
    states = {step["name"]: step["plan"] for step in plan_as_json(plan)["steps"]}
    assert states == dict.fromkeys(("crunch", "after", "elsewhere", "lost"), "cannot run") | {"fine": "run"}
    text = plan_as_text(plan, COMMAND)
    for name in ("crunch", "elsewhere", "lost"):
        assert re.search(rf"^  {name} +\S", text.partition("Cannot run here:")[2], re.MULTILINE)
    assert "There is no data asset 'nowhere'" in text
    assert re.search(r"after +cannot run +crunch cannot run$", text, re.MULTILINE)


def test_a_plan_fits_in_its_columns_however_long_the_names(project: Project) -> None:
    name = "a_step_with_a_name_that_" + "goes_on_" * 8
    project.edit("pipeline.yml", "train:", f"{name}:")
    project.edit("pipeline.yml", "rate: 0.1", f"rate: 0.1\n  {name}: {{type: uri_file, path: ./rows.csv}}")
    for number in range(40):
        (project.folder / "prep" / "src" / f"{'long_' * 12}{number}.py").touch()

    text = shown(project)

    assert max(map(len, text.splitlines())) <= WIDTH
    assert name in text
    assert "added, and 39 more" in " ".join(text.split())


def test_a_plan_for_machines_has_all_of_it(project: Project) -> None:
    project.edit("prep/src/main.py", "pandas", "numpy")
    plan = plan_as_json(plan_job(read_job(project.folder / "pipeline.yml"), project.settings))

    assert json.loads(json.dumps(plan)) == plan
    assert plan["counts"] == {"reuse": 1, "run": 1, "may run": 1, "cannot run": 0}
    prep, report, train = plan["steps"]
    assert prep["reasons"] == [
        {"cause": "code", "what": "main.py", "before": "", "after": "", "text": "code file main.py changed"}
    ]
    assert prep["compared"]["job"] == report["compared"]["job"] == "job"
    assert (train["plan"], train["upstream"], train["wave"]) == ("may run", ["prep"], 2)


def test_upstream_steps_share_a_line() -> None:
    waits = [Reason(ReasonKind.UPSTREAM, name) for name in ("a", "b")]

    assert reason_lines(waits) == ["a and b run first; reused if what they deliver is the same"]
    assert reason_lines([*waits, Reason(ReasonKind.CODE, "x.py")]) == ["code file x.py added", "a and b run first"]


def test_causes_of_a_kind_share_a_line_where_it_is_to_be_short() -> None:
    many = [Reason(ReasonKind.INTERPRETER, name, "1", "2") for name in "abc"]
    two = [Reason(ReasonKind.CODE, name) for name in ("x.py", "y.py")]

    assert reason_lines([*two, *many], in_short=True) == [
        "code file x.py added",
        "code file y.py added",
        "interpreter a: 1 → 2, and 2 more",
    ]
    assert len(reason_lines([*two, *many])) == 5
