"""What a person reads of a scoring that is over."""

from pathlib import Path

import pytest

from flows.scoring.summary import ScoreSummary, summary_as_text
from flows.serving.endpoints import ServedModel


@pytest.mark.parametrize(
    ("rows", "seconds", "told"),
    [(2_000_000, 40.0, "  40.0 s, 50,000 rows/s\n"), (768, 16.4, "  16.4 s, 47 rows/s\n"), (5, 19.5, "  19.5 s\n")],
)
def test_the_rate_is_told_where_a_row_a_second_was_scored(rows: int, seconds: float, told: str) -> None:
    model = ServedModel("patients", 1, "digest")
    summary = ScoreSummary("rows", model, "local", Path("scores.csv"), rows, {"0": rows}, seconds, changed=True)
    assert summary_as_text(summary).endswith(told)
