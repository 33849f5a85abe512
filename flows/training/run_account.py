"""What MLflow's pages say of a run and of a model version: tags and a description. Pure.

Runs and versions have the same tags, by which they are filtered: ``tags.`tandem.decision` = 'Rejected'``. A description
is made of the tags alone.
"""

from collections.abc import Iterator, Mapping

from flows.data.assets import ResolvedData
from flows.engines.runs import RunAccount
from flows.tags import DATA, DATA_FILE, DATA_SHA256, DECISION, DIFFERENCES, JOB, MODEL, MODEL_VERSION, REASONS, WORSE
from flows.training.evaluation import EvaluationReport
from flows.training.gate import GateDecision
from flows.training.markdown import plain
from flows.training.origin import origin_tags
from flows.training.summary import RunSummary, verdict_on, worse_in_words


def run_account(summary: RunSummary, model_name: str) -> RunAccount:
    """What the page of a finished run says: which data, which decision, which model, and why."""
    version = {} if summary.version is None else {MODEL_VERSION: str(summary.version.version)}
    told = {
        MODEL: model_name,
        **version,
        **decided(summary.decision, summary.report),
        **data_tags(summary.data),
        **origin_tags(summary.outcome, summary.report),
        JOB: summary.outcome.job_name,
    }
    return RunAccount(summary.report.challenger.values, told, description_of(told, summary.result))


def decided(decision: GateDecision | None, report: EvaluationReport) -> Mapping[str, str]:
    """The tags of a decision: the verdict, its reasons, what got worse, and in what the champion was trained otherwise.

    A job has no gate, and so no reasons.
    """
    reasons = "" if decision is None else "; ".join(decision.reasons)
    otherwise = "" if decision is None else "; ".join(decision.differences)
    worse = "; ".join(worse_in_words(report))
    told = {DECISION: verdict_on(decision), REASONS: reasons, WORSE: worse, DIFFERENCES: otherwise}
    return {name: value for name, value in told.items() if value}


def data_tags(data: ResolvedData) -> Mapping[str, str]:
    """The tags of the data: its label, the name of its file and the digest of its content, as far as they are known."""
    file = "" if data.path is None else data.path.name
    told = {DATA: data.label, DATA_FILE: file, DATA_SHA256: data.sha256 or ""}
    return {name: value for name, value in told.items() if value}


def description_of(tags: Mapping[str, str], model: str = "") -> str:
    """The description of a run or of a version, in Markdown.

    Args:
        tags: Its tags, as :func:`decided` and :func:`data_tags` make them.
        model: Which version there is now, or which one stays.
    """
    reasons = tags.get(REASONS, "")
    begin = f"**{plain(tags[DECISION])}**{f': {plain(reasons)}' if reasons else ''}."
    return "\n".join([begin, "", *(f"- {name}: {plain(text)}" for name, text in _facts(tags, model))])


def _facts(tags: Mapping[str, str], model: str) -> Iterator[tuple[str, str]]:
    if model:
        yield "model", model
    if worse := tags.get(WORSE):
        yield "worse than the champion", worse
    if otherwise := tags.get(DIFFERENCES):
        yield "the champion was trained otherwise", otherwise
    file, digest = tags.get(DATA_FILE), tags.get(DATA_SHA256, "")[:12]
    more = ", ".join(filter(None, (file, digest and f"SHA-256 {digest}…")))
    yield "data", tags[DATA] + (f" ({more})" if more else "")
    yield "job", tags[JOB]
