"""What a printed evaluation report says of itself."""

from dataclasses import replace
from datetime import UTC, datetime

from flows.training.gate import GateDecision
from flows.training.report_heading import with_heading
from tests.training.summaries import SUMMARY

NOW = datetime(2026, 3, 1, 9, 5, tzinfo=UTC)
PAGE = "<title>Evaluation</title>\n<h1>Evaluation</h1>\n<p>4 test rows</p>"


def test_report_says_of_which_model_data_job_date_and_verdict_it_is() -> None:
    assert with_heading(PAGE, SUMMARY, NOW) == (
        "<title>Evaluation: pipeline, Promoted, 2026-03-01</title>\n<h1>pipeline: Promoted</h1>\n"
        "<p>diabetes version 4, alias champion; data rows:2; job job-1; 2026-03-01 09:05 UTC</p>\n"
        "<p>it is good; it is better.</p>\n<p>4 test rows</p>"
    )


def test_rejected_run_and_job_without_a_gate_say_what_became_of_them() -> None:
    rejected = replace(SUMMARY, decision=GateDecision(False, ("roc_auc < 0.8 & rising",)), version=None)
    page = with_heading(PAGE, rejected, NOW)
    assert "<h1>pipeline: Rejected</h1>\n<p>diabetes version 3 stays; " in page
    assert "<p>roc_auc &lt; 0.8 &amp; rising.</p>" in page
    assert "<h1>pipeline: Registered</h1>\n<p>diabetes version 4" in with_heading(
        PAGE, replace(SUMMARY, decision=None), NOW
    )


def test_page_with_another_title_is_left_as_it_is() -> None:
    assert with_heading("<h1>Mine</h1>", SUMMARY, NOW) == "<h1>Mine</h1>"
