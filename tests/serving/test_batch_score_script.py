"""The scoring script of a batch deployment, as Azure ML calls it with files of a person's own."""

# Neither pandas nor the loaded model has types worth the name here.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import batch_score
from score import Column, Scorer
from tests.terminal import ROWS

pytestmark = pytest.mark.filterwarnings("ignore:.*type hint", "ignore:.*[Ii]nteger", "ignore:.*pickle")


@pytest.fixture
def shipped(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(trained))
    monkeypatch.setenv("TANDEM_MODEL", "patients")
    monkeypatch.setenv("TANDEM_MODEL_VERSION", "3")
    batch_score.init()


def test_files_of_both_forms_are_scored_and_a_bad_one_does_not_disturb_the_others(
    shipped: None, tmp_path: Path
) -> None:
    rows = pd.read_csv(ROWS).head(5)
    rows.to_csv(tmp_path / "1.csv", index=False)
    rows.to_parquet(tmp_path / "2.parquet")
    (tmp_path / "3.csv").write_text(
        (tmp_path / "1.csv").read_text().replace(f"\n{rows['PatientID'][3]},", "\n4,old", 1)
    )
    rows.drop(columns="Age").to_csv(tmp_path / "4.csv", index=False)
    (tmp_path / "5.csv").write_text("a,b\n1\n")
    found = batch_score.run([str(file) for file in sorted(tmp_path.iterdir())])
    assert list(found) == list(batch_score.RESULT)
    good = found[found["reason"].isna()]
    assert good["file"].tolist() == ["1.csv"] * 5 + ["2.parquet"] * 5 and good["row"].tolist() == [0, 1, 2, 3, 4] * 2
    assert good["label"][:5].tolist() == good["label"][5:10].tolist()
    assert good["probability"][:5].tolist() == good["probability"][5:10].tolist()
    assert set(found["model"]) == {"patients"} and set(found["version"]) == {3}
    assert set(good["reason"]) == {None} == set(good["column"])
    bad = found[found["reason"].notna()].set_index("file")
    assert (bad["reason"]["4.csv"], bad["column"]["4.csv"]) == ("is missing", "Age")
    assert list(bad.index) == ["3.csv", "4.csv", "5.csv"]
    lines = found.to_csv(index=False, header=False).splitlines()
    assert lines[0].startswith("1.csv,0,") and lines[0].split(",")[2] in ("0", "1")  # as Azure ML appends it


def test_text_of_csv_is_cast_by_the_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"long": "long", "double": "double", "flag": "boolean", "text": "string", "when": "datetime"}
    columns = tuple(Column(name, kind, True) for name, kind in kinds.items())

    def echo(frame: pd.DataFrame) -> tuple[list[str], None]:
        return [repr(row) for row in frame.astype(object).itertuples(index=False, name=None)], None

    monkeypatch.setattr(batch_score, "_scorer", Scorer(columns, echo, None, None, print))

    def scored(line: str) -> Any:
        file = tmp_path / "rows.csv"
        file.write_text(f"text,when,flag,double,long,more\n{line}\n")
        return batch_score.run([str(file)]).iloc[0]

    label = scored("007,2026-01-31,True,,3.0,x")["label"]
    assert label.startswith("(3, nan, True, '007', ") and "2026" in label
    for line, column, reason in [
        ("a,2026-01-31,true,1,x,", "long", "is no whole number"),
        ("a,2026-01-31,true,1,2.5,", "long", "is no whole number"),
        ("a,2026-01-31,true,1,,", "long", "is no whole number"),
        ("a,2026-01-31,true,1e999,1,", "double", "is infinite"),
        ("a,2026-01-31,2,1,1,", "flag", "is neither true nor false"),
        ("a,soon,true,1,1,", "when", "is no date"),
    ]:
        told = scored(line)
        assert (told["row"], told["column"]) == (0, column) and told["reason"] == reason, (line, told)
