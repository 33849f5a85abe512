"""Trials of a sweep: how each ended and how good it was, as text and as JSON. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.engines.local.sweep.search import best
from flows.engines.runs import RunStatus, StepOutcome
from flows.plain_text.table import aligned
from flows.spec.model.sweep import Objective


@dataclass(slots=True)
class SweepTrial:
    """One trial: its values, the primary metric as it was reported, and how it ended."""

    number: int
    values: Mapping[str, str]
    status: RunStatus = RunStatus.NOT_STARTED
    seconds: float = 0.0
    reused: bool = False
    reports: Sequence[float] = ()
    run_id: str | None = None
    outputs: Mapping[str, Path] = field(default_factory=dict[str, Path])
    message: str = ""

    def metric(self, objective: Objective) -> float | None:
        """The best value that it reported; None without any."""
        at = best(dict(enumerate(self.reports)), objective)
        return None if at is None else self.reports[at]

    def outcome(self, name: str) -> StepOutcome:
        """How it ended, as a step of this name."""
        return StepOutcome(name, self.status, reused=self.reused, seconds=self.seconds, message=self.message)

    def ended(self, objective: Objective) -> str:
        """How it ended, as a sentence."""
        how = "was stopped" if self.status is RunStatus.CANCELED else str(self.status).lower()
        value = self.metric(objective)
        metric = "" if value is None else f", {objective.primary_metric} {value:g}"
        reused = " (reused)" if self.reused else ""
        return f"trial {self.number} {how} after {self.seconds:.1f} s{metric}{reused}"


def best_of(trials: Sequence[SweepTrial], objective: Objective) -> SweepTrial | None:
    """The completed trial with the best value of the metric."""
    completed = {trial.number: trial for trial in trials if trial.status is RunStatus.COMPLETED}
    found = {number: value for number, trial in completed.items() if (value := trial.metric(objective)) is not None}
    number = best(found, objective)
    return None if number is None else completed[number]


def trials_as_json(trials: Sequence[SweepTrial], objective: Objective, chosen: SweepTrial | None) -> dict[str, Any]:
    """The primary metric, and every trial with its values, metric, status and MLflow run, as plain JSON values."""

    def described(trial: SweepTrial) -> dict[str, Any]:
        value = trial.metric(objective)
        return {
            "trial": trial.number,
            "values": dict(trial.values),
            "metric": value if value is None or math.isfinite(value) else str(value),
            "status": str(trial.status),
            "seconds": round(trial.seconds, 3),
            "reused": trial.reused,
            "best": trial is chosen,
            "mlflow_run_id": trial.run_id,
        }

    return {
        "primary_metric": objective.primary_metric,
        "goal": objective.goal,
        "trials": [described(trial) for trial in trials],
    }


def trials_as_lines(trials: Sequence[SweepTrial], objective: Objective, chosen: SweepTrial | None) -> list[str]:
    """The trials as aligned lines."""
    names = list(trials[0].values) if trials else []
    lines = [["trial", *names, objective.primary_metric, "status", "seconds", ""]]
    for trial in trials:
        value = trial.metric(objective)
        metric = "-" if value is None else f"{value:g}"
        values = [trial.values[name] for name in names]
        ended = [str(trial.status), f"{trial.seconds:.1f}", "best" if trial is chosen else ""]
        lines.append([str(trial.number), *values, metric, *ended])
    return aligned(lines, indent="")
