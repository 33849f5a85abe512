"""``tandem run`` as a person types it, on YAML that was written for Azure ML."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from flows.machine.own_folders import MARKER

TANDEM = Path(sys.executable).with_name("tandem")
ROWS = "https://account.blob.core.windows.net/data/rows.csv"
PIPELINE = f"""\
    $schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
    type: pipeline
    display_name: Public style
    settings: {{default_compute: azureml:cpu-cluster}}
    inputs:
      rows: {{type: uri_file, path: {ROWS}}}
      exit_code: 0
    outputs:
      report: {{type: uri_folder, path: ./delivered}}
    jobs:
      prep:
        component: file:./components/prep/prep.yml
        inputs: {{rows: "${{{{parent.inputs.rows}}}}"}}
        outputs: {{table: {{name: prepared, version: "3"}}}}
      report:
        command: >-
          python report.py ${{{{inputs.table}}}} ${{{{outputs.report}}}} && exit ${{{{inputs.exit_code}}}}
        code: ./src
        environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
        inputs:
          table: ${{{{parent.jobs.prep.outputs.table}}}}
          exit_code: ${{{{parent.inputs.exit_code}}}}
        outputs: {{report: "${{{{parent.outputs.report}}}}"}}
    """
PREP = """\
    type: command
    name: prep
    version: 1
    inputs: {rows: {type: uri_file}, share: {type: number, default: 0.5}, note: {type: string, optional: true}}
    outputs: {table: {type: uri_folder}}
    code: ../../src
    environment: {image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04}
    command: python prep.py ${{inputs.rows}} ${{outputs.table}} ${{inputs.share}} $[[--note ${{inputs.note}}]]
    """
PREP_SCRIPT = """\
    import pathlib, sys
    import shared
    rows, table, *rest = sys.argv[1:]
    pathlib.Path(__file__).with_name("beside.txt").write_text("written beside the script")
    pathlib.Path("outputs/kept.txt").write_text("kept")
    pathlib.Path(table, "table.csv").write_text(pathlib.Path(rows).read_text())
    print(pathlib.Path(rows).name, rest, shared.NAME)
    """
REPORT_SCRIPT = """\
    import os, sys
    table, report = sys.argv[1:]
    first = os.listdir(table)[0]
    open(os.path.join(report, "report.txt"), "w").write(open(os.path.join(table, first)).read())
    print(*range(30), sep="\\n")
    """


class Checkout:
    """A folder with a pipeline and its scripts, and the commands that are typed in another folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder / "checkout"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.environment = environment
        self.write("pipeline.yml", PIPELINE)
        self.write("components/prep/prep.yml", PREP)
        self.write("src/prep.py", PREP_SCRIPT)
        self.write("src/shared.py", 'NAME = "shared"\n')
        self.write("src/report.py", REPORT_SCRIPT)
        (self.elsewhere / "my rows.csv").write_text("a,b\n")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    def run(self, file: str, *flags: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a file by a command that must end with this exit code."""
        words = [TANDEM, "run", self.folder / file, *flags]
        done = subprocess.run(
            words, cwd=self.elsewhere, env=dict(self.environment), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def content(self) -> dict[str, str]:
        return content(self.folder)


@pytest.fixture
def checkout(tmp_path: Path, home: Path, prefect_api: str) -> Checkout:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return Checkout(tmp_path, {**environment, "TANDEM_HOME": str(home), "PREFECT_API_URL": prefect_api})


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_pipeline_with_a_choice_and_a_loop_runs(checkout: Checkout) -> None:
    checkout.write(
        "say.yml", "command: echo ${{inputs.word}}\nenvironment: azureml:a@latest\ninputs: {word: {type: string}}"
    )
    checkout.write(
        "flow.yml",
        """
        type: pipeline
        settings: {default_compute: serverless}
        jobs:
          chosen: {component: ./say.yml, inputs: {word: chosen}}
          left: {component: ./say.yml, inputs: {word: left}}
          choice:
            type: if_else
            condition: true
            true_block: "${{parent.jobs.chosen}}"
            false_block: "${{parent.jobs.left}}"
          each: {component: ./say.yml}
          loop: {type: parallel_for, body: "${{parent.jobs.each}}", items: [{word: one}, {word: two}]}
        """,
    )
    told = json.loads(checkout.run("flow.yml", "--json").stdout)
    statuses = {step["name"]: step["status"] for step in told["steps"]}
    ran = dict.fromkeys(("chosen", "choice", "each-1", "each-2", "loop"), "Completed")
    assert statuses == {**ran, "left": "NotStarted"}


@pytest.mark.slow
def test_pipeline_runs_unmodified_and_leaves_all_in_the_folder_that_was_named(
    checkout: Checkout, tmp_path: Path
) -> None:
    before = checkout.content()
    flags = ("--asset", f"{ROWS}=my rows.csv", "--output-dir", "out", "--json")
    outcome = json.loads(checkout.run("pipeline.yml", *flags).stdout)
    delivered = {f"delivered/{name}": text for name, text in content(checkout.folder / "delivered").items()}
    assert delivered == {"delivered/report.txt": "a,b\n"}
    assert checkout.content() == {**before, **delivered}

    out = checkout.elsewhere / "out"
    logs = {f"steps/{name}/logs/std_log.txt" for name in ("prep", "report")}
    left = content(out)
    assert left.keys() == {
        *("job.json", "outputs/report/report.txt", "steps/report/outputs/report/report.txt"),
        *("steps/prep/outputs/table/table.csv", "steps/prep/outputs/kept.txt"),
        *(f"outputs/{MARKER}", f"steps/{MARKER}"),  # by which the next run knows what it may delete
        *logs,
    }
    assert left["steps/prep/logs/std_log.txt"] == "my_rows.csv ['0.5'] shared\n"
    assert json.loads(left["job.json"]) == outcome
    assert outcome["status"] == "Completed"
    assert outcome["outputs"] == {"report": str(out / "outputs" / "report")}
    assert outcome["registered"] == {"table": "prepared:3"}

    (out / "outputs" / "stale.txt").write_text("of an earlier job")
    again = json.loads(checkout.run("pipeline.yml", *flags).stdout)
    assert [step["reused"] for step in again["steps"]] == [True, True]
    assert content(out).keys() == left.keys()

    text = "command: cat ${{inputs.table}}/*.csv\nenvironment: {image: ubuntu}\n"
    checkout.write("next.yml", f"{text}inputs: {{table: {{type: uri_folder, path: azureml:prepared@latest}}}}\n")
    next_job = json.loads(checkout.run("next.yml", "--json").stdout)
    assert Path(next_job["steps"][0]["log"]).read_text() == "a,b\n"


def test_failed_step_is_exit_code_1_with_its_last_20_lines_and_what_the_others_left(checkout: Checkout) -> None:
    flags = ("--asset", f"{ROWS}=my rows.csv", "--output-dir", "out", "--set", "inputs.exit_code=7", "--json")
    done = checkout.run("pipeline.yml", *flags, code=1)
    outcome = json.loads(done.stdout)
    assert {step["name"]: step["status"] for step in outcome["steps"]} == {"prep": "Completed", "report": "Failed"}
    assert outcome["registered"] == {}
    error = done.stderr.partition("Error: ")[2].splitlines()
    assert error[0] == "The step report failed with exit code 7."
    assert [line.strip() for line in error[1:-1]] == [str(number) for number in range(10, 30)]
    log = Path(error[-1].partition("Whole log: ")[2])
    assert log.read_text().splitlines() == [str(number) for number in range(30)]
    out = checkout.elsewhere / "out"
    assert json.loads((out / "job.json").read_text()) == outcome
    assert (out / "steps" / "report" / "logs" / "std_log.txt").read_text() == log.read_text()
    assert (out / "steps" / "prep" / "outputs" / "table" / "table.csv").is_file()
    assert not (out / "outputs").exists()
    assert "report | 29" in done.stderr


def test_output_that_goes_outside_of_the_project_is_told_by_where_it_is(checkout: Checkout, tmp_path: Path) -> None:
    place = tmp_path / "allowed"
    job = f"command: echo hello > ${{{{outputs.said}}}}/a.txt\noutputs: {{said: {{type: uri_folder, path: {place}}}}}\n"
    checkout.write("job.yml", f"{job}environment: {{image: ubuntu}}\n")
    outcome = json.loads(checkout.run("job.yml", "--allow-output", str(place), "--json").stdout)
    assert outcome["outputs"] == {"said": str(place)}
    assert content(place) == {"a.txt": "hello\n"}


def test_what_cannot_run_here_ends_with_exit_code_2_before_anything_is_started(checkout: Checkout, home: Path) -> None:
    checkout.write("pipeline.yml", PIPELINE + "  far: {type: command, component: azureml:far:1}\n")
    done = checkout.run("pipeline.yml", "--json", code=2)
    assert done.stdout == ""
    assert "far runs azureml:far:1, which has no file on this machine" in done.stderr
    assert not (home / "jobs").exists()


def test_component_runs_alone_under_another_interpreter_that_has_no_mlflow(checkout: Checkout, tmp_path: Path) -> None:
    venv.create(tmp_path / "other", with_pip=False)
    other = tmp_path / "other" / "bin" / "python"
    checkout.write("src/prep.py", PREP_SCRIPT + "print(sys.executable, sys.prefix)\n")
    flags = ("--set", "rows=my rows.csv", "--set", "inputs.share=1", "--set", "inputs.note=yes", "--python", str(other))
    outcome = json.loads(checkout.run("components/prep/prep.yml", *flags, "--json").stdout)
    assert Path(outcome["steps"][0]["log"]).read_text().splitlines() == [
        "my_rows.csv ['1', '--note', 'yes'] shared",
        f"{other} {tmp_path / 'other'}",
    ]
    assert outcome["mlflow_run_id"] is not None
    wrong = checkout.run("components/prep/prep.yml", *flags[:-1], str(tmp_path / "none"), code=2)
    assert f"--python {tmp_path / 'none'}: this is no Python that runs here" in wrong.stderr
