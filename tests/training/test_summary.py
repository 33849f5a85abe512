"""What a person sees of a finished run: text, Markdown, and the artifacts in Prefect."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.engines.runs import KeptReport, RunOutcome
from flows.orchestration.artifacts import publish_summary
from flows.prefect_api.server import SERVED, served_mlflow
from flows.training.evaluation import METRICS, EvaluationReport
from flows.training.gate import GateDecision
from flows.training.summary import SkippedRun, metric_table, summary_as_json, summary_as_markdown, summary_as_text
from tests.prefect_client import asking
from tests.training.summaries import SUMMARY, scores

REPORT = "http://127.0.0.1:5000/report.html"


def test_page_begins_with_the_verdict_and_why_and_leads_to_the_report() -> None:
    page = summary_as_markdown(SUMMARY, REPORT)
    assert page.startswith(
        "# pipeline: Promoted\n\nit is good; it is better.\n\n- model: diabetes version 4, alias cham"
    )
    assert f"[Evaluation report]({REPORT}), also in `outputs/evaluation`" in page
    assert "| prep | reused |  |\n| train | Completed | 4.6 |" in page


def test_page_has_nothing_long_in_a_table_and_no_table_without_a_heading() -> None:
    reason = "a long reason " * 20
    rejected = replace(SUMMARY, decision=GateDecision(False, (reason,)), version=None)
    tables = [line for line in summary_as_markdown(rejected, REPORT).splitlines() if line.startswith("|")]
    assert max(map(len, tables)) < 80
    assert not [line for line in tables if not line.strip("| ")]
    assert "- champion: diabetes version 3 stays" in summary_as_markdown(rejected, REPORT)


def test_metrics_say_of_which_less_is_better_and_give_a_sign_only_to_what_differs() -> None:
    table = {row["metric"]: row for row in metric_table(SUMMARY.report)}
    assert {name for name in table if "less is better" in name} == {
        "Brier score (less is better)",
        "Log loss (less is better)",
    }
    assert table["ROC AUC"] == {
        "metric": "ROC AUC",
        "challenger": "0.8000",
        "champion": "0.7500",
        "difference": "+0.0500",
    }
    for nearly in (0.8, 0.80001, 0.79999):
        report = EvaluationReport(0.5, scores(0.8), scores(nearly))
        assert {row["difference"] for row in metric_table(report)} == {"0.0000"}


def test_message_of_a_job_is_its_version() -> None:
    job = replace(SUMMARY, decision=None)
    assert job.message == "diabetes version 4"
    assert summary_as_markdown(job, REPORT).startswith("# pipeline: Registered\n\n- model: diabetes version 4")


def test_text_for_the_terminal_has_a_line_for_each_reason() -> None:
    lines = [line.strip() for line in summary_as_text(SUMMARY).splitlines()]
    at = lines.index("decision      Promoted")
    assert lines[at + 1 : at + 4] == [
        "reason        it is good",
        "it is better",
        "model         diabetes version 4, alias champion",
    ]


@pytest.mark.parametrize("decision", [GateDecision(True, ("better",)), GateDecision(False, ("not better",))])
def test_what_got_worse_is_said_whatever_the_gate_decided(decision: GateDecision) -> None:
    values = dict.fromkeys(METRICS, 0.75) | {"roc_auc": 0.8, "recall": 0.49, "brier_score_loss": 0.8, "f1": None}
    report = EvaluationReport(0.5, replace(scores(0.75), values=values), scores(0.75))
    summary = replace(SUMMARY, report=report, decision=decision)
    recall, brier = "Recall 0.4900, the champion's 0.7500", "Brier score 0.8000, the champion's 0.7500"
    lines = [line.strip() for line in summary_as_text(summary).splitlines()]
    at = lines.index(f"worse         {recall}")
    assert lines[at + 1] == brier
    assert f"- worse: {recall}; {brier}\n" in summary_as_markdown(summary, REPORT)
    assert summary_as_json(summary)["worse"] == ["recall", "brier_score_loss"]


def test_nothing_is_said_to_be_worse_without_a_champion_or_at_less_than_the_shown_precision() -> None:
    for champion in (None, scores(0.80001), scores(0.79999)):
        summary = replace(SUMMARY, report=EvaluationReport(0.5, scores(0.8), champion))
        assert "worse" not in summary_as_text(summary) + summary_as_markdown(summary, REPORT)
        assert summary_as_json(summary)["worse"] == []


class Reporter:
    """The part of an engine that keeps a report."""

    def __init__(self) -> None:
        self.kept = ""

    async def keep_report(self, outcome: RunOutcome, report: Path, *_: object) -> KeptReport:
        self.kept = report.read_text()
        url = "http://127.0.0.1:5000/#/runs/1/artifacts/evaluation/report.html"
        return KeptReport(url, "in MLflow, which `make ui` shows")


def test_warnings_of_the_evaluation_are_told_wherever_the_summary_is() -> None:
    warned = replace(SUMMARY, report=replace(SUMMARY.report, warnings=("2 test rows are too few",)))
    assert "  warning       2 test rows are too few" in summary_as_text(warned).splitlines()
    assert "**Warning**: 2 test rows are too few." in summary_as_markdown(warned, REPORT)
    assert summary_as_json(warned)["warnings"] == ["2 test rows are too few"]
    assert "arning" not in summary_as_text(SUMMARY) + summary_as_markdown(SUMMARY, REPORT)


def test_page_without_an_address_of_the_report_names_its_folder_or_the_page_of_the_job() -> None:
    assert f"Evaluation report in `{SUMMARY.evaluation}`" in summary_as_markdown(SUMMARY)
    seen = replace(SUMMARY, outcome=replace(SUMMARY.outcome, url="https://ml.azure.com/runs/one"))
    assert "[Evaluation report](https://ml.azure.com/runs/one)" in summary_as_markdown(seen)


def test_page_of_a_skipped_run_says_why() -> None:
    skipped = SkippedRun("pipeline", "azureml", SUMMARY.data, "nothing changed", None)
    assert summary_as_markdown(skipped) == "# pipeline: Skipped\n\nnothing changed.\n"


def test_every_artifact_has_a_description_and_the_report_that_is_kept_a_heading(
    prefect_api: str, tmp_path: Path
) -> None:
    engine: Any = Reporter()
    (tmp_path / "report.html").write_text("<h1>Evaluation</h1>")

    @flow
    async def ends() -> str:
        from prefect.runtime import flow_run

        await publish_summary(replace(SUMMARY, evaluation=tmp_path), engine, "diabetes")
        return str(flow_run.id)

    run: str = asyncio.run(ends())
    asked = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    with asking(prefect_api) as client:
        found = client.post("/artifacts/filter", json=asked).json()
    said = {artifact["key"]: artifact["description"] for artifact in found}
    assert said.keys() == {"summary", "metrics", "report"}
    assert said["summary"] == "Promoted: diabetes version 4, alias champion"
    assert "`make ui`" in said["report"]
    assert said["metrics"]
    assert engine.kept.startswith("<h1>pipeline: Promoted</h1>")


@pytest.mark.parametrize(
    ("served", "address"),
    [
        ('{"url": "http://127.0.0.1:1/api", "mlflow": "http://127.0.0.1:2"}', "http://127.0.0.1:2"),
        ('{"url": "http://127.0.0.1:1/api"}', None),
        (None, None),
    ],
)
def test_link_to_the_report_leads_to_where_mlflow_is_served(
    tmp_path: Path, served: str | None, address: str | None
) -> None:
    if served is not None:
        (tmp_path / SERVED).write_text(served)
    assert served_mlflow(tmp_path) == address
