"""Summary of a watch over incoming data, as text for the terminal and as Markdown for Prefect. Pure."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from flows.drift.statistics import DriftReport, FeatureDrift
from flows.orchestration.events import DRIFT_DETECTED, DRIFT_UNTRAINABLE
from flows.plain_text.table import aligned
from flows.settings import training_command
from flows.spec.model.asset_reference import AssetReference
from flows.training.markdown import code_block, plain


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sets of rows: ``name:version`` or path, how many rows it has, and how many were compared."""

    label: str
    rows: int
    compared: int

    def __str__(self) -> str:
        sample = "" if self.rows == self.compared else f", compared by a sample of {self.compared:,}"
        return f"{self.label} ({self.rows:,} rows{sample})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Incoming data that was compared with that of a champion."""

    reference: Side
    incoming: Side
    report: DriftReport


@dataclass(frozen=True, slots=True)
class WatchSummary:
    """A finished watch.

    Attributes:
        model_name: Of the registered model.
        champion_version: None if it has none.
        incoming: The incoming data, ``name:version`` or a path.
        comparison: None if there was nothing to compare.
        skipped: Why there was not.
        picture: A PNG file of the histograms; None if there was nothing to compare.
        untrainable: Why the incoming data cannot be trained on, if that was looked at; empty if it can.
        emits: Whether this run was to emit the event of a drift.
        told: Whether the event was emitted, by this run or an earlier one; False if there is no drift.
        next_command: What to type next; None if there is nothing to do.
    """

    model_name: str
    champion_version: int | None
    incoming: str
    comparison: Comparison | None = None
    skipped: str = ""
    picture: Path | None = None
    untrainable: str = ""
    emits: bool = False
    told: bool = False
    next_command: str | None = None

    @property
    def verdict(self) -> Literal["NoDrift", "Drift", "DriftUntrainable", "Skipped"]:
        """One word for the state of the flow run."""
        if self.comparison is None:
            return "Skipped"
        if not self.comparison.report.drifted:
            return "NoDrift"
        return "DriftUntrainable" if self.untrainable else "Drift"

    @property
    def event(self) -> str:
        """The event of a drift: one that may start a training, or one that starts none because it could only fail."""
        return DRIFT_UNTRAINABLE if self.untrainable else DRIFT_DETECTED

    @property
    def finding(self) -> str:
        """What the verdict rests on, in a few words."""
        if self.comparison is None:
            return self.skipped
        features = self.comparison.report.drifted
        if features:
            return ", ".join(f"{feature.feature} (PSI {feature.psi:.2f})" for feature in features)
        most = max(self.comparison.report.features, key=lambda feature: feature.psi)
        return f"largest PSI {most.psi:.2f} ({most.feature})"

    @property
    def cannot_train(self) -> str:
        """That the incoming data cannot be trained on, and what to do; what an endpoint was asked has no labels."""
        named = None if self.comparison is None else AssetReference.short(self.comparison.reference.label)
        command = "tandem data register FILE" + ("" if named is None else f" --name {named.name}")
        why = "; ".join(self.untrainable.splitlines())
        return f"It cannot be trained on: {why}. Complete such rows, labels included, and register them: {command}"

    @property
    def message(self) -> str:
        """The verdict in one sentence that stands by itself."""
        if self.comparison is None:
            return self.skipped
        against = (
            f"{self.comparison.reference.label}, which {self.model_name} version {self.champion_version} was trained on"
        )
        if self.verdict == "DriftUntrainable":
            return f"{self.incoming} has drifted from {against}: {self.finding}. {self.cannot_train}"
        if self.verdict == "Drift":
            return f"{self.incoming} has drifted from {against}: {self.finding}."
        return f"{self.incoming} has not drifted from {against}: {self.finding}."


def reasons(report: DriftReport) -> tuple[str, ...]:
    """A line of figures for each feature that has drifted, the largest PSI first."""
    return tuple(
        f"{feature.feature}: PSI {feature.psi:.2f} ({report.policy.psi_threshold:g} or more counts), "
        f"KS {_number(feature.ks, 3)}, adjusted p {_p(feature.p_value)}, median {_medians(feature)}, "
        f"missing {_missing(feature)}"
        for feature in report.drifted
    )


def measures(feature: FeatureDrift) -> Mapping[str, float]:
    """The figures of a feature for machines; one that is undefined is left out."""
    figures = {key: value for key, value in asdict(feature).items() if key not in ("feature", "histogram")}
    return {key: value for key, value in figures.items() if value is not None}


def train_command(model_name: str, data: str) -> str:
    """The command that trains a challenger, or the first champion, on some data."""
    return f"{training_command()} {shlex.join(['--model_name', model_name, '--data_asset_name', data])}"


def watch_summary_as_text(summary: WatchSummary) -> str:
    """The summary as aligned lines for a terminal."""
    lines = ["", *aligned(list(_facts(summary))), ""]
    if summary.comparison is not None:
        lines += [*aligned([HEADER, *map(_row, summary.comparison.report.features)], right=range(1, 4)), ""]
        lines += [f"  Picture:  {summary.picture}"]
    if summary.next_command is not None:
        lines += [f"  Next:     {summary.next_command}"]
    return "\n".join(lines) + "\n"


def watch_summary_as_markdown(summary: WatchSummary, picture: str) -> str:
    """The summary as Markdown, for an artifact of the flow run.

    Args:
        summary: A summary with a comparison.
        picture: The address of the picture, which may be a ``data:`` one: Prefect shows it.
    """
    assert summary.comparison is not None
    facts = "\n".join(f"| {name} | {plain(text)} |" for name, text in _facts(summary))
    rows = "\n".join(
        "| "
        + " | ".join(f"**{plain(cell)}**" if feature.drifted and cell else plain(cell) for cell in _row(feature))
        + " |"
        for feature in summary.comparison.report.features
    )
    parts = [
        f"# {plain(summary.model_name)}: {summary.verdict}",
        plain(summary.message),
        f"![Histograms of each feature]({picture})",
        f"| {' | '.join(HEADER)} |\n|---|---:|---:|---:|---|---|---|\n{rows}",
        f"| | |\n|---|---|\n{facts}",
        *([] if summary.next_command is None else [code_block(summary.next_command)]),
    ]
    return "\n\n".join(parts) + "\n"


def watch_summary_as_json(summary: WatchSummary) -> dict[str, Any]:
    """The summary for machines."""
    compared = summary.comparison
    return {
        "verdict": summary.verdict,
        "message": summary.message,
        "model": {"name": summary.model_name, "champion_version": summary.champion_version},
        "incoming": {"asset": summary.incoming} if compared is None else _side(compared.incoming),
        "reference": None if compared is None else _side(compared.reference),
        "policy": None if compared is None else asdict(compared.report.policy),
        "features": {}
        if compared is None
        else {feature.feature: dict(measures(feature)) for feature in compared.report.features},
        "untrainable": summary.untrainable,
        "event_emitted": summary.told,
        "picture": None if summary.picture is None else str(summary.picture),
    }


HEADER = ["feature", "PSI", "KS", "adjusted p", "median", "missing", ""]


def _row(feature: FeatureDrift) -> list[str]:
    figures = [f"{feature.psi:.3f}", _number(feature.ks, 3), _p(feature.p_value)]
    return [feature.feature, *figures, _medians(feature), _missing(feature), "drifted" if feature.drifted else ""]


def _facts(summary: WatchSummary) -> Iterator[tuple[str, str]]:
    champion = "none" if summary.champion_version is None else f"version {summary.champion_version}"
    yield "model", f"{summary.model_name}, champion: {champion}"
    compared = summary.comparison
    if compared is None:
        yield "incoming", summary.incoming
    else:
        policy = compared.report.policy
        yield "trained on", str(compared.reference)
        yield "incoming", str(compared.incoming)
        yield (
            "drift is",
            f"a PSI of at least {policy.psi_threshold:g}, with a p of at most {policy.significance:g} after Holm's "
            f"adjustment for {compared.report.tests} tests",
        )
    yield "verdict", f"{summary.verdict}: {summary.finding}"
    if summary.untrainable:
        yield "training", summary.cannot_train
    if compared is not None and compared.report.drifted:
        yield "event", _event(summary)


def _event(summary: WatchSummary) -> str:
    if summary.told:
        return f"{summary.event}, emitted once"
    if summary.emits:
        return "not emitted: Prefect has it already, or was not reached"
    starts = "" if summary.untrainable else ", which starts train-pipeline/on-drift where that is deployed"
    return f"not emitted; --emit emits {summary.event}{starts}"


def _side(side: Side) -> dict[str, Any]:
    return {"asset": side.label, "rows": side.rows, "compared": side.compared}


def _medians(feature: FeatureDrift) -> str:
    return f"{_number(feature.reference_median)} → {_number(feature.incoming_median)}"


def _missing(feature: FeatureDrift) -> str:
    return f"{feature.reference_missing:.1%} → {feature.incoming_missing:.1%}"


def _number(value: float | None, decimals: int | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"


def _p(value: float) -> str:
    return "0" if value == 0 else f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
