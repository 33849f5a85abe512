"""Summary of a finished run, as text for the terminal and as Markdown for Prefect. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.data.assets import ResolvedData
from flows.engines.runs import RunOutcome, RunStatus
from flows.mlflow_store.model_registry import ModelVersion
from flows.plain_text.table import aligned
from flows.training.evaluation import METRICS, EvaluationReport, comparison, worse_metrics
from flows.training.gate import GateDecision
from flows.training.markdown import code, plain


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A finished training run. ``decision`` is None for a job, which has no gate."""

    title: str
    engine: str
    data: ResolvedData
    outcome: RunOutcome
    report: EvaluationReport
    evaluation: Path
    version: ModelVersion | None
    decision: GateDecision | None = None
    champion: ModelVersion | None = None

    @property
    def verdict(self) -> str:
        """One word for the state of the flow run."""
        return verdict_on(self.decision)

    @property
    def message(self) -> str:
        """Why, in a line: what the gate says, or which version there is now."""
        if self.decision is not None:
            return "; ".join(self.decision.reasons)
        return "no model" if self.version is None else f"{self.version.name} version {self.version.version}"

    @property
    def result(self) -> str:
        """Which version there is now, or which one stays."""
        return _model(self)[1]

    @property
    def page(self) -> str | None:
        """The page of the job, where it has one."""
        return self.outcome.url


@dataclass(frozen=True, slots=True)
class SkippedRun:
    """A run that ended without training, and why; ``champion`` stays what it was."""

    title: str
    engine: str
    data: ResolvedData
    reason: str
    champion: ModelVersion | None

    @property
    def verdict(self) -> str:
        """One word for the state of the flow run."""
        return "Skipped"

    @property
    def page(self) -> str | None:
        """There is no job."""
        return None


def verdict_on(decision: GateDecision | None) -> str:
    """The decision in one word; a job has none, and its model is registered."""
    if decision is None:
        return "Registered"
    return "Promoted" if decision.promoted else "Rejected"


def summary_as_text(summary: RunSummary | SkippedRun) -> str:
    """The summary as aligned lines for a terminal."""
    if isinstance(summary, SkippedRun):
        return f"\n  {summary.verdict}: {summary.reason}.\n"
    lines = ["", *aligned(list(_facts(summary))), "", metrics_as_text(summary.report)]
    return "\n".join(lines) + "\n"


def summary_as_markdown(summary: RunSummary | SkippedRun, report: str | None = None) -> str:
    """The summary as Markdown, for an artifact of the flow run or for whoever reads the output of a command.

    ``report`` is the address of the evaluation report, if it is not the page of the job. Long texts stand outside of
    tables, because the web interface cuts off long cells.
    """
    if isinstance(summary, SkippedRun):
        return f"# {plain(summary.title)}: {summary.verdict}\n\n{plain(summary.reason)}.\n"
    why = "" if summary.decision is None else f"{plain(summary.message)}.\n\n"
    why += "".join(f"**Warning**: {plain(warning)}.\n\n" for warning in summary.report.warnings)
    worse = [("worse", "; ".join(lines))] if (lines := list(worse_in_words(summary.report))) else []
    told = [_model(summary), *worse, *_otherwise(summary), *_job(summary)]
    facts = "\n".join(f"- {name}: {plain(text)}" for name, text in told)
    steps = "\n".join(
        f"| {plain(step.name)} | {step.state} | {'' if step.reused else f'{step.seconds:.1f}'} |"
        for step in summary.outcome.steps
    )
    header, *rows = [
        ["metric", "challenger", *(["champion", "difference"] if summary.report.champion else [])],
        *metric_rows(summary.report),
    ]
    metrics = "\n".join("| " + " | ".join(map(plain, row)) + " |" for row in rows)
    return (
        f"# {plain(summary.title)}: {summary.verdict}\n\n{why}{facts}\n\n"
        f"## Metrics\n\n| {' | '.join(header)} |\n|---{'|---:' * (len(header) - 1)}|\n{metrics}\n\n"
        f"{_report(summary, report or summary.page)}{_run(summary)}\n\n"
        f"## Steps\n\n| step | state | seconds |\n|---|---|---:|\n{steps}\n"
    )


def summary_as_json(summary: RunSummary | SkippedRun) -> dict[str, Any]:
    """The summary for machines."""
    if isinstance(summary, SkippedRun):
        champion = None if summary.champion is None else summary.champion.version
        told = {"verdict": summary.verdict, "reason": summary.reason, "champion": champion}
        return {**told, "engine": summary.engine, "data": summary.data.label}
    decision = summary.decision
    return {
        "verdict": summary.verdict,
        "engine": summary.engine,
        "job": summary.outcome.job_name,
        "data": {"asset": summary.data.label, "path": None if summary.data.path is None else str(summary.data.path)},
        "steps": [
            {"name": step.name, "status": step.status.value, "reused": step.reused, "seconds": round(step.seconds, 3)}
            for step in summary.outcome.steps
        ],
        "metrics": {
            "challenger": dict(summary.report.challenger.values),
            "champion": dict(summary.report.champion.values) if summary.report.champion else None,
        },
        "worse": [row.metric for row in worse_metrics(summary.report)],
        "warnings": list(summary.report.warnings),
        "decision": None
        if decision is None
        else {
            "promoted": decision.promoted,
            "reasons": list(decision.reasons),
            "differences": list(decision.differences),
        },
        "model": None
        if summary.version is None
        else {"name": summary.version.name, "version": summary.version.version, "created": summary.version.created},
        "evaluation": str(summary.evaluation),
        "mlflow_page": summary.outcome.mlflow_page,
    }


def metrics_as_text(report: EvaluationReport) -> str:
    """The metrics as aligned lines, beside the champion's where there is one."""
    header = ["metric", "challenger", *(["champion", "difference"] if report.champion else [])]
    return "\n".join(aligned([header, *metric_rows(report)], right=range(1, 4)))


def metric_table(report: EvaluationReport) -> list[dict[str, str]]:
    """The metrics as rows of named cells, for a table artifact."""
    names = ("metric", "challenger", "champion", "difference")
    return [dict(zip(names, row, strict=False)) for row in metric_rows(report)]


def metric_rows(report: EvaluationReport) -> Iterator[list[str]]:
    """A row for each metric: label, challenger's value and, where there is a champion, its value and the difference."""
    for row in comparison(report):
        metric = METRICS[row.metric]
        label = metric.label if metric.greater_is_better else f"{metric.label} (less is better)"
        cells = [label, _number(row.challenger)]
        if report.champion is not None:
            cells += [_number(row.champion), "" if row.difference is None else _difference(row.difference)]
        yield cells


def _facts(summary: RunSummary) -> Iterator[tuple[str, str]]:
    yield from _job(summary)
    if summary.decision is not None:
        yield "decision", summary.verdict
        yield from (("reason" if at == 0 else "", reason) for at, reason in enumerate(summary.decision.reasons))
    yield _model(summary)
    yield from (("worse" if at == 0 else "", line) for at, line in enumerate(worse_in_words(summary.report)))
    yield from _otherwise(summary)
    yield from (("warning", warning) for warning in summary.report.warnings)
    yield "evaluation", str(summary.evaluation)
    if summary.outcome.mlflow_page is not None:
        yield "MLflow run", summary.outcome.mlflow_page


def _job(summary: RunSummary) -> Iterator[tuple[str, str]]:
    outcome, data = summary.outcome, summary.data
    yield "engine", summary.engine
    yield "job", outcome.job_name
    yield "data", data.label + (f"  ({data.path.name})" if data.name and data.path else "")
    ran = [step.name for step in outcome.steps if step.status is RunStatus.COMPLETED and not step.reused]
    yield "steps run", ", ".join(ran) or "none: nothing has changed"
    if outcome.reused:
        yield "steps reused", ", ".join(outcome.reused)


def worse_in_words(report: EvaluationReport) -> Iterator[str]:
    """Each metric by which the challenger is worse than the champion, whatever the gate decided by its one metric."""
    for row in worse_metrics(report):
        yield f"{METRICS[row.metric].label} {_number(row.challenger)}, the champion's {_number(row.champion)}"


def _otherwise(summary: RunSummary) -> Iterator[tuple[str, str]]:
    """In what the champion was trained otherwise, if that is known."""
    if summary.decision is not None and summary.decision.differences:
        yield "differs", f"the champion was trained otherwise: {'; '.join(summary.decision.differences)}"


def _model(summary: RunSummary) -> tuple[str, str]:
    """Which version there is now, or which one stays."""
    version = summary.version
    if version is not None:
        made = "" if version.created else "  (it was registered before)"
        alias = f", alias {version.alias}" if version.alias else ""
        return "model", f"{version.name} version {version.version}{alias}{made}"
    if summary.decision is not None and summary.decision.overtaken_by is not None:
        return "champion", f"version {summary.decision.overtaken_by}, of another run"
    if summary.champion is not None:
        return "champion", f"{summary.champion.name} version {summary.champion.version} stays"
    return "model", "none registered"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _difference(value: float) -> str:
    """With its sign, unless it is 0 at this precision."""
    return f"{value:+.4f}" if f"{abs(value):.4f}" != "0.0000" else "0.0000"


def _run(summary: RunSummary) -> str:
    page = summary.outcome.mlflow_page
    return "" if page is None else f". [The run in MLflow]({page})"


def _report(summary: RunSummary, address: str | None) -> str:
    place = code(str(summary.evaluation))
    return f"Evaluation report in {place}" if address is None else f"[Evaluation report]({address}), also in {place}"
