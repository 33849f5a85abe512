"""Samples: what is read of a collector's files, which answers belong to which rows, and what is written."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.serving.samples import read_samples

DAY = "2026/05/31/14"


def line(id: str, rows: Any, at: str = "2026-05-31T14:00:00Z", version: str = "3") -> str:
    """A request as Azure ML's documentation shows one."""
    said = {"specversion": "1.0", "time": at, "data": rows, "correlationid": id, "modelversion": version}
    return json.dumps(said) + "\n"


def keep(folder: Path, collection: str, *lines: str, deployment: str = "blue", name: str = "a") -> None:
    place = folder / deployment / collection / DAY / f"{name}.jsonl"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(lines), encoding="utf-8")


def written(folder: Path, since: datetime | None = None) -> list[dict[str, str]]:
    target = folder.parent / "rows.csv"
    read_samples(folder, since, target)
    with target.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_are_written_with_the_answers_of_the_same_request(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    keep(kept, "model_inputs", line("1", [{"Age": 41.0, "BMI": None}, {"Age": 42.0, "BMI": 30.5}]))
    keep(kept, "model_inputs", line("2", [{"Age": 43.0, "BMI": 1.0}]), deployment="green")
    keep(kept, "model_outputs", line("2", [{"label": 1, "probability": 0.75}]), deployment="green")
    keep(kept, "model_outputs", line("1", [{"label": 0, "probability": 0.25}, {"label": 1, "probability": 0.5}]))
    found = read_samples(kept)
    assert (dict(found.rows), found.requests, found.answered) == ({"blue": 2, "green": 1}, 2, 3)
    assert (found.columns, found.answers) == (("Age", "BMI"), ("label", "probability"))
    names = ["Age", "BMI", "predicted_label", "predicted_probability", "requested_at", "model_version"]
    rows = written(kept)
    assert list(rows[0]) == names
    assert [[row[name] for name in names[:4]] for row in rows] == [
        ["41.0", "", "0", "0.25"],
        ["42.0", "30.5", "1", "0.5"],
        ["43.0", "1.0", "1", "0.75"],
    ]
    assert {(row["requested_at"], row["model_version"]) for row in rows} == {("2026-05-31T14:00:00+00:00", "3")}


def test_rows_whose_answers_were_not_kept_are_written_without(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    keep(kept, "model_inputs", line("1", [{"Age": 41.0}]), line("2", [{"Age": 42.0}]), line("3", [{"Age": 43.0}]))
    keep(kept, "model_outputs", line("2", [{"label": 0}]), line("3", [{"label": 0}, {"label": 1}]))
    assert read_samples(kept).answered == 1
    assert [row["predicted_label"] for row in written(kept)] == ["", "0", ""]


def test_lines_that_are_no_requests_are_passed_over_and_counted(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    torn = line("2", [{"Age": 42.0}])[:30]
    too_large = line("3", "https://account.blob.core.windows.net/container/raw")
    keep(kept, "model_inputs", line("1", [{"Age": 41.0}]), "[]\n", "\n", too_large, torn)
    found = read_samples(kept)
    assert (found.total, found.unreadable) == (1, 4)
    assert [row["Age"] for row in written(kept)] == ["41.0"]


def test_what_was_asked_earlier_is_left_out(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    early, late = "2026-05-31T09:00:00Z", "2026-05-31T15:30:00Z"
    keep(kept, "model_inputs", line("1", [{"Age": 41.0}], early), line("2", [{"Age": 42.0}], late))
    noon = datetime(2026, 5, 31, 12, tzinfo=UTC)
    found = read_samples(kept, noon)
    assert (found.total, found.since, found.until) == (1, datetime(2026, 5, 31, 15, 30, tzinfo=UTC), found.since)
    assert [row["Age"] for row in written(kept, noon)] == ["42.0"]


def test_columns_of_two_versions_of_a_model_are_all_written(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    keep(kept, "model_inputs", line("1", [{"Age": 41.0}], version="3"), line("2", [{"Ward": "a, b"}], version="4"))
    rows = written(kept)
    assert [(row["Age"], row["Ward"], row["model_version"]) for row in rows] == [("41.0", "", "3"), ("", "a, b", "4")]


def test_where_nothing_was_kept_there_are_no_rows(tmp_path: Path) -> None:
    assert read_samples(tmp_path / "none").total == 0
