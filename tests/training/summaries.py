"""A finished training run for tests, promoted."""

from pathlib import Path

from flows.data.assets import ResolvedData
from flows.engines.runs import RunOutcome, RunStatus, StepOutcome
from flows.mlflow_store.model_registry import ModelVersion
from flows.training.evaluation import METRICS, ConfusionMatrix, EvaluationReport, ModelScores
from flows.training.gate import GateDecision
from flows.training.summary import RunSummary


def scores(value: float) -> ModelScores:
    return ModelScores(dict.fromkeys(METRICS, value), ConfusionMatrix(1, 1, 1, 1), 4, 2)


SUMMARY = RunSummary(
    title="pipeline",
    engine="local",
    data=ResolvedData("rows:2", "uri_file", Path("/data/rows.csv"), "rows", "2"),
    outcome=RunOutcome(
        "job-1",
        RunStatus.COMPLETED,
        (
            StepOutcome("prep", RunStatus.COMPLETED, reused=True, seconds=12.3),
            StepOutcome("train", RunStatus.COMPLETED, seconds=4.56),
        ),
        outputs={},
        tags={},
        where="jobs/job-1",
    ),
    report=EvaluationReport(0.5, scores(0.8), scores(0.75)),
    decision=GateDecision(True, ("it is good", "it is better")),
    champion=ModelVersion("diabetes", 3, False, "champion", "source", "run"),
    version=ModelVersion("diabetes", 4, True, "champion", "source", "run"),
    evaluation=Path("outputs/evaluation"),
)
