"""``tandem plan --against``: what a change makes run again, told from the files of two checkouts alone."""

import json
import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from flows.cli.main import main
from tests.terminal import PROJECT

PIPELINE = """\
    type: pipeline
    display_name: Small
    inputs: {rows: {type: uri_file, path: ./rows.csv}, rate: 0.1}
    jobs:
      prep:
        command: cp ${{inputs.rows}} ${{outputs.one}} && cp ${{inputs.rows}} ${{outputs.other}}
        environment: {image: ubuntu}
        inputs: {rows: "${{parent.inputs.rows}}"}
        outputs: {one: {type: uri_file}, other: {type: uri_file}}
      train:
        command: cat helper.txt ${{inputs.rows}} > ${{outputs.model}} && echo ${{inputs.rate}}
        code: ./code
        environment: {image: ubuntu}
        inputs: {rows: "${{parent.jobs.prep.outputs.one}}", rate: "${{parent.inputs.rate}}"}
        outputs: {model: {type: uri_file}}
      report:
        command: cat ${{inputs.model}}
        environment: {image: ubuntu}
        inputs: {model: "${{parent.jobs.train.outputs.model}}"}
    """
UNCHANGED = {"prep": ("reuse", []), "train": ("reuse", []), "report": ("reuse", [])}


class Checkouts:
    """Two checkouts of one project: ``main``, and the change ``here``."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.main, self.here = folder / "main", folder / "here"
        self._capsys = capsys
        for checkout in (self.main, self.here):
            (checkout / "code").mkdir(parents=True)
            (checkout / ".git").mkdir()
            (checkout / "code" / "helper.txt").write_text("helps\n")
            (checkout / "rows.csv").write_text("a,b\n")
            (checkout / "pipeline.yml").write_text(dedent(PIPELINE))

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.here / file).read_text()
        assert old in text
        (self.here / file).write_text(text.replace(old, new))

    def say(self, *flags: str, code: int = 0) -> str:
        assert main(["plan", str(self.here / "pipeline.yml"), "--against", str(self.main), *flags]) == code
        said = self._capsys.readouterr()
        return said.out if code == 0 else said.err

    def plan(self) -> dict[str, tuple[str, list[str]]]:
        steps = json.loads(self.say("--json"))["steps"]
        return {step["name"]: (step["plan"], [reason["text"] for reason in step["reasons"]]) for step in steps}


@pytest.fixture
def checkouts(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> Checkouts:
    return Checkouts(tmp_path, capsys)


def test_equal_checkouts_run_nothing_again_and_nothing_is_written(checkouts: Checkouts, home: Path) -> None:
    assert checkouts.plan() == UNCHANGED
    assert not home.exists()


def test_changed_code_runs_its_step_and_what_reads_its_outputs_may_run(checkouts: Checkouts) -> None:
    checkouts.edit("code/helper.txt", "helps", "helps more")
    assert checkouts.plan() == {
        "prep": ("reuse", []),
        "train": ("run", ["code file helper.txt changed"]),
        "report": ("may run", ["train runs first"]),
    }


def test_changed_data_default_and_environment_are_told_with_what_they_were(checkouts: Checkouts) -> None:
    checkouts.edit("rows.csv", "a,b", "a,c")
    checkouts.edit("pipeline.yml", "rate: 0.1", "rate: 0.2")
    checkouts.edit(
        "pipeline.yml",
        "environment: {image: ubuntu}\n    inputs: {model",
        "environment: {image: debian}\n    inputs: {model",
    )
    assert checkouts.plan() == {
        "prep": ("run", ["content of the input rows changed"]),
        "train": ("run", ["input rate: 0.1 → 0.2", "prep runs first"]),
        "report": ("run", ["environment the image: ubuntu → debian", "train runs first"]),
    }


def test_step_that_reads_another_output_of_an_unchanged_step_runs(checkouts: Checkouts) -> None:
    checkouts.edit("pipeline.yml", "prep.outputs.one", "prep.outputs.other")
    assert checkouts.plan()["train"] == ("run", ["content of the input rows changed"])


def test_new_step_has_nothing_to_compare_it_with(checkouts: Checkouts) -> None:
    checkouts.edit("pipeline.yml", "  prep:", "  hello:\n    command: echo\n    environment: {image: ubuntu}\n  prep:")
    assert checkouts.plan() == {"hello": ("run", ["main has nothing to compare it with"]), **UNCHANGED}


@pytest.mark.parametrize("broken", ["", "type: pipeline\njobs: 1\n", None], ids=["empty", "wrong", "no such file"])
def test_file_that_the_other_checkout_cannot_read_leaves_nothing_to_compare_with(
    checkouts: Checkouts, broken: str | None
) -> None:
    (checkouts.main / "pipeline.yml").unlink()
    if broken is not None:
        (checkouts.main / "pipeline.yml").write_text(broken)
    assert checkouts.plan()["prep"] == ("run", ["main has nothing to compare it with"])


def test_folder_that_is_not_there_is_told_by_its_flag(checkouts: Checkouts) -> None:
    shutil.rmtree(checkouts.main)
    assert "--against" in checkouts.say(code=2)


def test_text_and_markdown_say_what_the_plan_is_compared_with(checkouts: Checkouts) -> None:
    checkouts.edit("code/helper.txt", "helps", "helps more")
    assert "as if main had just been run" in checkouts.say()
    markdown = checkouts.say("--markdown")
    assert markdown.startswith("### Plan of Small, compared with main\n\n1 would run, 1 may run, 1 unchanged.\n")
    assert "| train | would run | code file helper.txt changed |\n" in markdown
    assert "| prep |" not in markdown
    assert "```mermaid\nflowchart LR\n" in markdown


def test_markdown_shows_hostile_names_as_they_are_written(checkouts: Checkouts) -> None:
    checkouts.edit("pipeline.yml", "display_name: Small", "display_name: '<img src=x> | [a](b) @all'")
    (checkouts.here / "code" / "a|b<c>`.txt").write_text("")
    markdown = checkouts.say("--markdown")
    assert "<img" not in markdown and "[a](b)" not in markdown
    (row,) = [line for line in markdown.splitlines() if line.startswith("| train |")]
    assert row.count("|") == 4 and "`" not in row


def test_data_asset_and_environment_of_the_project_are_those_of_the_other_checkout(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = tmp_path / "here", tmp_path / "main"
    for name in ("aml_steps", "data", "environment"):
        for checkout in (here, other):
            shutil.copytree(PROJECT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    (here / ".git").mkdir()
    monkeypatch.setattr("flows.settings.PROJECT", here)

    def reasons() -> dict[str, list[str]]:
        main(["plan", str(here / "aml_steps" / "train_pipeline.yml"), "--against", str(other), "--json"])
        steps = json.loads(capsys.readouterr().out)["steps"]
        return {step["name"]: [reason["text"] for reason in step["reasons"]] for step in steps}

    assert not any(reasons().values())
    with (here / "data" / "diabetes-diagnostics" / "diabetes-diagnostics.csv").open("a") as rows:
        rows.write("1,2,3\n")
    assert reasons()["prep"] == ["content of the input data changed"]
    (definition,) = (here / "environment").glob("conda*.y*ml")
    definition.write_text(definition.read_text().replace("scikit-learn==1.9", "scikit-learn==1.8"))
    assert any("scikit-learn" in text for text in reasons()["train"])
