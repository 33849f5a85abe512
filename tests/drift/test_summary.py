"""What a person sees of a comparison: text, Markdown, JSON and the picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from flows.drift.picture import draw
from flows.drift.statistics import DriftPolicy, DriftReport, Values, compare
from flows.drift.summary import (
    Comparison,
    Side,
    WatchSummary,
    watch_summary_as_json,
    watch_summary_as_markdown,
    watch_summary_as_text,
)

NAN = float("nan")


def values(mean: float, seed: int) -> Values:
    return np.random.default_rng(seed).normal(mean, 1, 500)


def report(mean: float = 1.0) -> DriftReport:
    reference = {"steady": values(0, 1), "moved": values(0, 2), "empty": np.full(500, NAN)}
    incoming = {"steady": values(0, 3), "moved": values(mean, 4), "empty": np.full(500, NAN)}
    return compare(reference, incoming, DriftPolicy())


def summary(mean: float = 1.0) -> WatchSummary:
    compared = Comparison(Side("rows:1", 500, 500), Side("rows:2", 10_000_000, 500), report(mean))
    return WatchSummary(
        "m", 3, "rows:2", compared, picture=Path("m.png"), told=mean > 0, emits=True, next_command="train it"
    )


def test_text_has_a_line_for_each_feature_the_verdict_and_what_to_type_next() -> None:
    text = watch_summary_as_text(summary())
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}
    assert lines["incoming"] == "incoming rows:2 (10,000,000 rows, compared by a sample of 500)"
    assert lines["verdict"].startswith("verdict Drift: moved (PSI ")
    assert lines["moved"].endswith("0.0% → 0.0% drifted")
    assert lines["empty"] == "empty 0.000 – 1.000 – → – 100.0% → 100.0%"
    assert lines["event"] == "event tandem.drift.detected, emitted once"
    assert lines["Next:"] == "Next: train it"
    assert all(line == line.rstrip() for line in text.splitlines())


def test_text_of_what_was_skipped_says_why() -> None:
    text = watch_summary_as_text(
        WatchSummary("m", None, "rows:2", skipped="There is nothing.", next_command="train it")
    )
    assert "verdict   Skipped: There is nothing." in text
    assert "champion: none" in text


def test_markdown_has_the_picture_and_marks_what_has_drifted() -> None:
    page = watch_summary_as_markdown(summary(), "data:image/png;base64,AAAA")
    assert page.startswith(
        "# m: Drift\n\nrows:2 has drifted from rows:1, which m version 3 was trained on: moved (PSI "
    )
    assert "![Histograms of each feature](data:image/png;base64,AAAA)" in page
    assert "| **moved** |" in page and "| steady |" in page
    assert "\n```\ntrain it\n```\n" in page


def test_no_drift_names_the_largest_difference() -> None:
    found = summary(mean=0)
    assert found.verdict == "NoDrift"
    assert found.message.startswith(
        "rows:2 has not drifted from rows:1, which m version 3 was trained on: largest PSI 0.0"
    )


def test_json_has_every_figure_and_leaves_out_those_that_are_undefined() -> None:
    said = json.loads(json.dumps(watch_summary_as_json(summary())))
    assert said["features"]["moved"]["drifted"] is True
    assert {"ks", "reference_median", "histogram"}.isdisjoint(said["features"]["empty"])
    assert said["incoming"] == {"asset": "rows:2", "rows": 10_000_000, "compared": 500}
    assert said["event_emitted"] is True


def test_equal_reports_give_equal_pictures_and_others_others() -> None:
    assert draw(report()) == draw(report())
    assert draw(report()) != draw(replace(report(), policy=DriftPolicy(), features=report(2.0).features))


def test_picture_of_any_number_of_features_can_be_drawn() -> None:
    whole = report()
    for features in (whole.features[:1], whole.features * 3):
        assert draw(replace(whole, features=features)).startswith(b"\x89PNG")
