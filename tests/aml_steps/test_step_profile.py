"""The profile step: a page that needs no other file, whatever the data looks like."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import data_file
import prep
import profile_data
from columns import FEATURES


def run(train: pd.DataFrame, test: pd.DataFrame, folder: Path) -> str:
    train.to_parquet(folder / "train_data")
    test.to_parquet(folder / "test_data")
    (folder / "out").mkdir()
    inputs = ["--train_data", str(folder / "train_data"), "--test_data", str(folder / "test_data")]
    assert profile_data.main([*inputs, "--profile", str(folder / "out")]) == 0
    return (folder / "out" / "profile.html").read_text()


def test_profile_of_the_shipped_rows_is_one_page_that_needs_no_other_file(shipped: Path, tmp_path: Path) -> None:
    prepared = prep.prepare(data_file.read(shipped), prep.Parameters())
    parts = [prepared.table.take(part) for part in (prepared.train, prepared.test)]
    page = run(parts[0].to_pandas(), parts[1].to_pandas(), tmp_path)
    assert "532 train rows" in page and "236 test rows" in page
    assert {file.name for file in (tmp_path / "out").glob("*.png")} == {f"{name}.png" for name in profile_data.PICTURES}
    sources = re.findall(r'(?:src|href)="([^"]{0,40})|url\(', page)
    assert len(sources) == 3 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in page and "<script" not in page and "$" not in page
    assert "SerumInsulin" in page and "PatientID" not in page
    assert page.count("<table>") == 2 and page.count("<th>") == 12  # one for each part: a phone shows both whole


def test_a_column_without_any_value_or_any_variation_is_drawn_all_the_same(
    make_rows: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    rows = make_rows(60).astype(float).assign(SerumInsulin=np.nan, Age=40.0, BMI=28.5)
    assert "–" in run(rows.head(40), rows.tail(20), tmp_path)


def test_many_rows_are_sampled_and_the_page_says_so(
    make_rows: Callable[..., pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_data, "ROWS_DRAWN", 50)
    rows = make_rows(200)
    assert "a sample of 50 training rows" in run(rows.head(150), rows.tail(50), tmp_path)


def test_summary_counts_missing_cells(make_rows: Callable[..., pd.DataFrame]) -> None:
    rows = make_rows(10).drop(columns="PatientID").astype(float)
    rows.loc[:4, "BMI"] = np.nan
    summary = profile_data.summarise(rows)
    assert summary["missing"].to_dict() == {name: 0.5 if name == "BMI" else 0 for name in FEATURES}
    assert summary.loc["Age", "mean"] == pytest.approx(rows["Age"].mean())
