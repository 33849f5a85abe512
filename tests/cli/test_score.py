"""``tandem score`` as a person types it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shipped_champion import make_champion
from tests.terminal import PROJECT, ROWS, Terminal


def typed(terminal: Terminal, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "flows", "score", *words]
    return subprocess.run(command, env=terminal.environment, capture_output=True, text=True, cwd=PROJECT)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{rows}"], "the following arguments are required: --output"),
        (["{rows}", "--output", "{folder}/scores.xlsx"], "--output scores.xlsx: let it end in .csv or .parquet"),
        (["{rows}", "--output", "{folder}"], "let it end in .csv or .parquet"),
        (["{rows}", "--output", "{rows}"], "is the input, or lies in it"),
        (["{folder}", "--output", "{folder}/scores.csv"], "is the input, or lies in it"),
        (["{here}/gone.csv", "--output", "{folder}/scores.csv"], "does not exist"),
        (["{here}/semicolons.csv", "--output", "{folder}/scores.csv"], "its cells seem to be separated by ';'"),
        (["{here}/twice.csv", "--output", "{folder}/scores.csv"], "it has a more than once"),
        (["{rows}", "--output", "{folder}/scores.csv", "--deployment", "gone.yml"], "gone.yml is missing"),
        (
            ["{rows}", "--output", "{folder}/scores.csv", "--deployment", "{wrong}"],
            "deployment.yml:16: instance_type: a batch",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_cannot_be_scored_is_told_and_starts_nothing(tmp_path: Path, words: list[str], told: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, text in (("rows", "a,b\n1,2\n"), ("semicolons", "a;b\n1;2\n"), ("twice", "a,a\n1,2\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    named = {
        "rows": tmp_path / "rows.csv",
        "folder": folder,
        "here": tmp_path,
        "wrong": PROJECT / "serving" / "deployment.yml",
    }
    done = typed(Terminal(tmp_path, None), *(word.format(**named) for word in words))
    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    assert not (tmp_path / "state").exists() and (tmp_path / "rows.csv").read_text() == "a,b\n1,2\n"


def test_a_file_is_scored_by_the_champion_once_as_a_flow_run_with_counts(
    trained: Path, tmp_path: Path, prefect_api: str
) -> None:
    terminal, home = Terminal(tmp_path, prefect_api), tmp_path / "state"
    make_champion(home, trained)
    output = tmp_path / "out" / "scores.csv"
    verdicts: list[str] = []
    for _ in range(2):
        done = typed(terminal, str(ROWS), "--output", str(output), "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        verdicts.append(said["verdict"])
        assert (said["rows"], said["model"], said["version"]) == (768, "diabetes-predict", 1)
        assert sum(said["labels"].values()) == 768
    assert verdicts == ["Scored", "Unchanged"]
    with output.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["PatientID", "Diabetic", "label", "probability", "model", "version"]
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("PatientID,Age\n1,40\n")
    done = typed(terminal, str(lacking), "--output", str(output))
    assert (done.returncode, "lack Pregnancies" in done.stderr, "Nothing was scored" in done.stderr) == (2, True, True)
    done = typed(terminal, str(ROWS), "--output", str(output), "--model", "no-such-model")
    assert (done.returncode, "no champion of no-such-model" in done.stderr) == (2, True), done.stderr
