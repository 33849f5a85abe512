"""Heading of the evaluation report: model, data, job, date and decision. Pure.

The evaluate step knows none of these, and gives its page the title "Evaluation". A page without it is left as it is.
"""

from datetime import datetime
from html import escape

from flows.training.summary import RunSummary

_TITLE, _HEADING = "<title>Evaluation</title>", "<h1>Evaluation</h1>"


def with_heading(page: str, summary: RunSummary, now: datetime) -> str:
    """The report's HTML with the heading of this run in place of the step's own.

    Args:
        page: The report as the evaluate step wrote it.
        summary: The run.
        now: When the run was decided on, with its time zone.
    """
    title = f"Evaluation: {summary.title}, {summary.verdict}, {now:%Y-%m-%d}"
    facts = (
        summary.result,
        f"data {summary.data.label}",
        f"job {summary.outcome.job_name}",
        f"{now:%Y-%m-%d %H:%M %Z}",
    )
    lines = [f"<h1>{escape(f'{summary.title}: {summary.verdict}')}</h1>", f"<p>{escape('; '.join(facts))}</p>"]
    if summary.decision is not None:
        lines.append(f"<p>{escape(summary.message)}.</p>")
    page = page.replace(_TITLE, f"<title>{escape(title)}</title>", 1)
    return page.replace(_HEADING, "\n".join(lines), 1)
