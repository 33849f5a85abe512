"""Scoring on this machine: what is written is what the model itself says, and nothing is written of what is wrong."""

# Neither pandas nor the loaded model has types worth the name here.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportPrivateUsage=false

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from columns import FEATURES
from flows.errors import DataAssetError, RunError, ServingError
from flows.scoring.progress import Progress
from flows.scoring.record import key_of
from flows.serving.endpoints import ServedModel
from flows.spec.reading.batch import read_batch_deployment
from tests.processes import commands_with
from tests.scoring.conftest import SERVING, Scorer
from tests.scoring.rows import MARK, broken_files, valid_rows
from tests.scoring.scripts import refusals_of
from tests.terminal import ROWS
from tests.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore:.*type hint")


@pytest.fixture(scope="module")
def model(trained: Path) -> Any:
    return mlflow.pyfunc.load_model(str(trained))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_thousand_random_rows_get_what_the_model_itself_gives_them(
    scorer: Scorer, model: Any, tmp_path: Path, ending: str
) -> None:
    rows = valid_rows(Random(1), 1_000)
    data, output = tmp_path / f"rows{ending}", tmp_path / "out" / f"scores{ending}"
    output.parent.mkdir()
    rows.to_csv(data, index=False) if ending == ".csv" else rows.to_parquet(data)
    seen: list[Progress] = []
    summary = scorer.do(scorer.work(data, output, rows=300), seen.append)
    if ending == ".csv":
        scores = pd.read_csv(output, dtype={"PatientID": str, "Ward": str}, keep_default_na=False)
    else:
        scores = pd.read_parquet(output)
    assert list(scores) == ["PatientID", "Ward", "label", "probability", "model", "version"]
    assert scores["PatientID"].tolist() == rows["PatientID"].tolist()
    assert scores["Ward"].tolist() == rows["Ward"].tolist()
    wanted = model._model_impl.classifier.predict_proba(rows[list(FEATURES)])[:, 1]
    np.testing.assert_allclose(scores["probability"], wanted, rtol=0, atol=1e-12)
    assert scores["label"].tolist() == model.predict(rows[list(FEATURES)]).tolist()
    assert set(scores["model"]) == {"patients"} and set(scores["version"]) == {1}
    assert (summary.rows, sum(summary.labels.values()), set(summary.labels)) == (1_000, 1_000, {"0", "1"})
    assert seen[0] == Progress(0, 0.0)  # before the scoring process has started
    assert [now.rows for now in seen][-1] == 1_000 and seen[-1].share == 1.0
    assert [now.share for now in seen] == sorted(now.share for now in seen)
    assert not commands_with(str(scorer.home))


def test_two_hundred_broken_rows_are_refused_with_their_row_and_column_and_nothing_is_written(
    scorer: Scorer, tmp_path: Path
) -> None:
    """In one process, as each would be in its own: the script is loaded once, and given a file with each."""
    files = broken_files(Random(2), tmp_path, 200)
    said = refusals_of(scorer, [file for file, _, _ in files])
    for (file, row, column), told in zip(files, said, strict=True):
        assert f"cannot be scored: row {row + 1}, column {column}: is " in told, (file.read_text(), told)
        assert MARK not in told
    assert MARK not in (scorer.home / "scoring.log").read_text()
    assert not list(tmp_path.glob("*.out*"))


def test_a_bad_row_leaves_the_output_from_before_and_names_the_file_of_a_folder(scorer: Scorer, tmp_path: Path) -> None:
    data, output = tmp_path / "data", tmp_path / "scores.csv"
    data.mkdir()
    rows = pd.read_csv(ROWS).head(10)
    rows.to_csv(data / "1.csv", index=False)
    rows = rows.astype(object)
    rows.loc[6, "Age"] = "old"
    rows.to_csv(data / "2.csv", index=False)
    output.write_text("from before")
    with pytest.raises(DataAssetError, match=r"2\.csv: row 7, column Age: is no number\. Nothing was written"):
        scorer.do(scorer.work(data, output, rows=4))
    assert output.read_text() == "from before"
    assert {file.name for file in tmp_path.iterdir()} == {"data", "home", "scores.csv"}


def test_files_of_a_folder_are_scored_by_name_one_after_the_other(scorer: Scorer, tmp_path: Path) -> None:
    data, rows = tmp_path / "data", pd.read_csv(ROWS)
    data.mkdir()
    for number in (2, 0, 1):
        rows.iloc[number * 10 : number * 10 + 10].to_csv(data / f"{number}.csv", index=False)
    (data / "notes.txt").write_text("not rows")
    scorer.score(data, tmp_path / "scores.csv", rows=7)
    assert pd.read_csv(tmp_path / "scores.csv")["PatientID"].tolist() == rows["PatientID"].tolist()[:30]


def test_the_same_input_and_model_are_scored_once_until_one_of_them_or_the_output_changes(
    scorer: Scorer, tmp_path: Path
) -> None:
    data, output = tmp_path / "rows.csv", tmp_path / "scores.parquet"
    rows = pd.read_csv(ROWS).head(20)
    rows.to_csv(data, index=False)
    verdicts = [scorer.score(data, output).verdict for _ in range(2)]
    before = output.stat().st_mtime_ns
    assert verdicts == ["Scored", "Unchanged"] and output.stat().st_mtime_ns == before
    assert scorer.score(data, output).rows == 20
    assert scorer.score(data, output, version=2).verdict == "Scored"
    rows.head(19).to_csv(data, index=False)
    assert scorer.score(data, output, version=2).verdict == "Scored"
    output.write_bytes(b"altered")
    assert scorer.score(data, output, version=2).verdict == "Scored"
    assert len(pd.read_parquet(output)) == 19


def test_no_rows_are_told(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS.read_text().partition("\n")[0] + "\n")
    with pytest.raises(DataAssetError, match="have no rows"):
        scorer.score(tmp_path / "rows.csv", tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


def test_model_that_cannot_be_loaded_is_told(trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "MLmodel").write_text((trained / "MLmodel").read_text())
    with pytest.raises(ServingError, match=r"patients:1 cannot be loaded\. The scoring process ended"):
        Scorer(broken, tmp_path / "home").score(ROWS, tmp_path / "scores.csv")


def test_script_that_fails_is_told_with_its_log(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    work = scorer.work(ROWS, tmp_path / "scores.csv")
    code = tmp_path / "code"
    code.mkdir()
    (code / "own.py").write_text("def init(): ...\ndef run(files):\n    raise KeyError('no such thing')\n")
    definition = replace(work.request.deployment, code=code, scoring_script="own.py")
    with pytest.raises(RunError, match=r"own\.py failed on diabetes-diagnostics\.csv, after row 0: KeyError\."):
        scorer.do(replace(work, request=replace(work.request, deployment=definition)))
    assert "no such thing" in (scorer.home / "scoring.log").read_text()


def test_killed_in_the_middle_nothing_is_under_the_name_and_the_next_start_cleans_up(
    scorer: Scorer, tmp_path: Path
) -> None:
    output = tmp_path / "scores.csv"
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.scoring.conftest import SERVING, Scorer\n"
        "scorer = Scorer(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "work = scorer.work(Path(sys.argv[3]), Path(sys.argv[4]), rows=100)\n"
        "scorer.do(work, lambda now: now.rows >= 300 and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    words = [sys.executable, "-c", script, str(scorer.model), str(scorer.home), str(ROWS), str(output)]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    until(lambda: not commands_with(str(scorer.home)))  # the scoring process ends with the one that has started it
    assert not output.exists() and len(list(tmp_path.glob(".scores.csv.*"))) == 1
    assert scorer.score(ROWS, output).verdict == "Scored"
    assert list(tmp_path.glob(".scores.csv.*")) == [] and len(pd.read_csv(output)) == 768


def test_byte_code_that_a_scoring_leaves_beside_the_script_makes_nothing_another_scoring(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("")
    model = ServedModel("patients", 1, "digest")
    definition = replace(read_batch_deployment(SERVING / "batch-deployment.yml"), code=tmp_path)
    before = key_of("data", model, definition)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "score.cpython-311.pyc").write_bytes(b"compiled")
    assert key_of("data", model, definition) == before
    (tmp_path / "score.py").write_text("# another")
    assert key_of("data", model, definition) != before
