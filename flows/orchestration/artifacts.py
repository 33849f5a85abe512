"""The summary of a run as Prefect artifacts: a page, a table of metrics, a link to the report."""

import asyncio
from datetime import UTC, datetime

from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact, acreate_table_artifact

from flows.data.atomic import atomic_write
from flows.engines.engine import Engine
from flows.training.markdown import plain
from flows.training.report_heading import with_heading
from flows.training.run_account import run_account
from flows.training.summary import RunSummary, metric_table, summary_as_markdown

REPORT = "report.html"


async def publish_summary(summary: RunSummary, engine: Engine, model_name: str) -> None:
    """Create the artifacts of the current flow run, and tell the job's MLflow run and report what it has come to."""
    file = summary.evaluation / REPORT
    if file.is_file():
        atomic_write(file, with_heading(file.read_text(encoding="utf-8"), summary, datetime.now(UTC)))
    report = await engine.keep_report(summary.outcome, file, run_account(summary, model_name))
    await asyncio.gather(
        acreate_markdown_artifact(
            summary_as_markdown(summary, report.url),
            key="summary",
            description=plain(f"{summary.verdict}: {summary.result}"),
        ),
        acreate_table_artifact(metric_table(summary.report), key="metrics", description="Metrics on the test rows"),
        acreate_link_artifact(
            report.url,
            link_text="Evaluation report",
            key="report",
            description=f"All scores, those of each age group, and the curves; {report.where}",
        ),
    )
