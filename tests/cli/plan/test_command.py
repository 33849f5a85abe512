"""``tandem plan`` and ``tandem why`` as a person types them, around real runs."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.terminal import PROJECT

TANDEM = Path(sys.executable).with_name("tandem")
PIPELINE = """\
    type: pipeline
    display_name: Small
    inputs:
      data: {type: uri_file, path: ./rows.csv}
      rate: 0.1
      code: 0
    jobs:
      prep:
        command: cp ${{inputs.data}} ${{outputs.rows}}
        environment: {image: ubuntu}
        inputs: {data: "${{parent.inputs.data}}"}
        outputs: {rows: {type: uri_file}}
      train:
        command: echo ${{inputs.rate}} > ${{outputs.model}} && cat helper.txt ${{inputs.rows}} && exit ${{inputs.code}}
        code: ./code
        environment: {image: ubuntu}
        inputs:
          rows: ${{parent.jobs.prep.outputs.rows}}
          rate: ${{parent.inputs.rate}}
          code: ${{parent.inputs.code}}
        outputs: {model: {type: uri_file}}
      report:
        command: cat ${{inputs.model}}
        environment: {image: ubuntu}
        inputs: {model: "${{parent.jobs.train.outputs.model}}"}
    """


class Small:
    """A small pipeline in a folder, and the commands that are typed there."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        (folder / "code").mkdir()
        (folder / "code" / "helper.txt").write_text("helps\n")
        (folder / "rows.csv").write_text("a,b\n")
        (folder / "pipeline.yml").write_text(dedent(PIPELINE))

    def type(self, *words: str, code: int = 0) -> str:
        """Run a command that must end with this exit code, and return what it says."""
        done = subprocess.run(
            [TANDEM, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def plan(self, *flags: str) -> dict[str, tuple[str, list[str]]]:
        """What the plan says of each step, and why."""
        found = json.loads(self.type("plan", "pipeline.yml", "--json", *flags))
        return {step["name"]: (step["plan"], [reason["text"] for reason in step["reasons"]]) for step in found["steps"]}

    def why(self, step: str, *flags: str) -> dict[str, Any]:
        return json.loads(self.type("why", step, "--json", *flags))


@pytest.fixture
def small(tmp_path: Path, home: Path) -> Small:
    """The pipeline, in a folder whose name is no plain word; nothing was run yet."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    return Small(folder, {**os.environ, "TANDEM_HOME": str(home)})


@pytest.fixture
def running(small: Small, prefect_api: str) -> Small:
    """The same with a Prefect server at hand, so that it can be run."""
    small.environment = {**small.environment, "PREFECT_API_URL": prefect_api}
    return small


@pytest.mark.slow
def test_what_a_plan_says_is_what_a_run_does_and_why_tells_it_afterwards(running: Small) -> None:
    assert [state for state, _ in running.plan().values()] == ["run", "run", "run"]
    running.type("run", "pipeline.yml")
    assert [state for state, _ in running.plan().values()] == ["reuse", "reuse", "reuse"]

    (running.folder / "code" / "helper.txt").write_text("helps more\n")
    flags = ("--set", "inputs.rate=0.2")
    cause = ["code file helper.txt changed", "input rate: 0.1 → 0.2"]
    assert running.plan(*flags) == {
        "prep": ("reuse", []),
        "train": ("run", cause),
        "report": ("may run", ["train runs first"]),
    }
    running.type("run", "pipeline.yml", *flags)

    prep, train, report = (running.why(name) for name in ("prep", "train", "report"))
    assert (prep["reused"], prep["reasons"]) == (True, [])
    assert [reason["text"] for reason in train["reasons"]] == cause
    assert [reason["text"] for reason in report["reasons"]] == ["content of the input model changed"]
    first = train["compared"]["job"]
    assert prep["compared"]["job"] == report["compared"]["job"] == first
    assert [reason["text"] for reason in running.why("train", "--job", first)["reasons"]] == [
        "it never ran to its end before"
    ]


@pytest.mark.slow
def test_why_tells_a_person_in_a_few_lines(running: Small) -> None:
    running.type("run", "pipeline.yml")
    running.type("run", "pipeline.yml", "--set", "inputs.code=3", code=1)

    assert "prep was reused in small-" in running.type("why", "prep")
    train = running.type("why", "train").splitlines()
    assert train[0].startswith("train ran in small-") and "(Failed after" in train[0]
    assert train[1] == "  input code: 0 → 3"
    assert train[2].startswith("compared with its run in small-")
    report = running.type("why", "report")
    assert "report did not run in small-" in report and "train did not deliver" in report


def test_a_step_or_job_that_there_is_not_is_answered_with_those_that_there_are(running: Small) -> None:
    assert "No job has ended here yet" in running.type("why", "train", code=2)
    running.type("run", "pipeline.yml")

    assert "has no step trian. Did you mean train?" in running.type("why", "trian", code=2)
    assert "has no step x. Its steps are: prep, train, report." in running.type("why", "x", code=2)
    other = running.type("why", "train", "--job", "other", code=2)
    assert "--job other: there is no job other. There are: small-" in other


def test_a_plan_says_what_is_imported_before_the_steps_start(small: Small) -> None:
    (small.folder / "code" / "main.py").write_text("import helper")
    (small.folder / "code" / "helper.py").write_text("def fit():\n  import json, joblib.memory\n  from git import cmd")
    job = "type: command\ncode: ./code\ncommand: python main.py\nenvironment: {image: ubuntu}\n"
    (small.folder / "job.yml").write_text(job)

    section = small.type("plan", "job.yml").partition("Imported once, before the steps start:\n")[2]
    (modules,) = json.loads(small.type("plan", "job.yml", "--json"))["preloaded"].values()

    assert section.splitlines()[0].endswith("2 modules of git, joblib")
    assert modules == ["joblib.memory", "git"]


def test_a_plan_for_markdown_is_a_diagram(small: Small) -> None:
    lines = small.type("plan", "pipeline.yml", "--mermaid").splitlines()

    assert (lines[0], lines[1], lines[-1]) == ("```mermaid", "flowchart LR", "```")
    assert '    s1["train"]' in lines


def test_the_last_line_of_a_plan_is_the_command_to_type_next(small: Small) -> None:
    (small.folder / "rows.csv").rename(small.folder / "my rows.csv")
    flags = ("--set", "inputs.data=my rows.csv", "--force-rerun", "--python", sys.executable)

    assert small.type("plan", "pipeline.yml", *flags).rstrip().splitlines()[-1] == (
        f"  tandem run pipeline.yml --set 'inputs.data=my rows.csv' --force-rerun --python {sys.executable}"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--set", "rate"), "--set rate: write --set inputs.NAME=VALUE."),
        (("--set", "inputs.rat=1"), "the job has no input inputs.rat."),
        (("--python", "/nowhere/python"), "--python /nowhere/python: this is no Python that runs here"),
    ],
)
def test_a_wrong_flag_is_refused_in_one_message(flags: tuple[str, ...], message: str, small: Small) -> None:
    assert message in small.type("plan", "pipeline.yml", *flags, code=2)


def test_a_plan_says_what_only_azure_ml_needs(small: Small) -> None:
    said = small.type("plan", "pipeline.yml")
    assert "Azure ML would refuse it:" in said
    assert "no compute is set for prep, train, report" in " ".join(said.split())


def test_a_plan_of_a_step_that_cannot_run_ends_with_code_2(small: Small) -> None:
    with (small.folder / "pipeline.yml").open("a") as file:
        file.write("  elsewhere:\n    component: azureml://registries/azureml/components/split/versions/1\n")

    text = small.type("plan", "pipeline.yml", code=2)

    assert "Cannot run here:\n  elsewhere  " in text


def test_a_plan_of_data_that_is_not_here_shows_the_graph_and_what_to_add(small: Small) -> None:
    remote = "azureml://datastores/blob/paths/rows.csv"
    flags = ("--set", f"inputs.data={remote}")

    text = small.type("plan", "pipeline.yml", *flags, code=2)
    assert "prep    cannot run" in text
    assert f"Add --asset {remote}=FILE" in " ".join(text.split())
    assert f'd0[("{remote}")]' in small.type("plan", "pipeline.yml", "--mermaid", *flags, code=2)
    given = small.plan(*flags, "--asset", f"{remote}=rows.csv")
    assert [state for state, _ in given.values()] == ["run", "run", "run"]


def test_a_reader_that_goes_away_is_no_error(small: Small) -> None:
    command = f"'{TANDEM}' plan pipeline.yml | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=small.folder, env=small.environment, capture_output=True)

    assert (done.returncode, done.stderr) == (141, b"")


def test_planning_the_shipped_pipeline_imports_neither_services_nor_libraries_of_the_steps(home: Path) -> None:
    script = "import sys; from flows.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script, "plan", str(PROJECT / "aml_steps" / "train_pipeline.yml")],
        env={**os.environ, "TANDEM_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )

    heavy = {"prefect", "azure", "mlflow", "pandas", "numpy", "sklearn", "pydantic", "asyncio", "httpx"}
    assert not heavy & set(done.stderr.split())
    assert "4 run." in done.stdout
    assert not home.exists()
