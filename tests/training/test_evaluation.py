"""What is read from ``metrics.json``, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.errors import RunError
from flows.training.evaluation import METRICS, ConfusionMatrix, ModelScores, comparison, read_evaluation


def scores(**changes: Any) -> dict[str, Any]:
    return {
        "accuracy": 0.75, "roc_auc": 0.85, "average_precision": 0.7, "precision": 0.5, "recall": 1.0, "f1": 2 / 3,
        "brier_score_loss": 0.15, "log_loss": 1.25,
        "confusion_matrix": {"tn": 2, "fp": 1, "fn": 0, "tp": 1}, "rows": 4, "positives": 1, **changes,
    }  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    document = {"schema_version": 1, "threshold": 0.5, "challenger": scores(), "champion": None, **changes}
    (folder / "metrics.json").write_text(json.dumps(document))
    return folder


def test_report_has_scores_slices_and_champion(tmp_path: Path) -> None:
    young = scores(
        roc_auc=None, rows=1, positives=0, confusion_matrix={"tn": 1, "fp": 0, "fn": 0, "tp": 0}, precision=None
    )
    report = read_evaluation(
        write(tmp_path, challenger=scores(slices={"Age": {"21-30": young}}), champion=scores(roc_auc=0.8))
    )
    assert report.threshold == 0.5
    assert report.challenger.confusion_matrix == ConfusionMatrix(tn=2, fp=1, fn=0, tp=1)
    assert report.challenger.values["log_loss"] == 1.25
    assert report.challenger.slices["Age"]["21-30"].values["roc_auc"] is None
    assert report.champion is not None
    assert report.champion.values["roc_auc"] == 0.8


def test_warnings_are_read_and_an_older_file_has_none(tmp_path: Path) -> None:
    assert read_evaluation(write(tmp_path)).warnings == ()
    assert read_evaluation(write(tmp_path, warnings=["two test rows"])).warnings == ("two test rows",)


def test_what_the_challenger_was_trained_with_is_read_and_an_older_file_does_not_say_it(tmp_path: Path) -> None:
    told = {"python": "3.11.9", "platform": "Linux x86_64", "packages": "abc"}
    assert read_evaluation(write(tmp_path, trained_with=told)).trained_with == told
    assert read_evaluation(write(tmp_path, trained_with=None)).trained_with == {}
    assert read_evaluation(write(tmp_path)).trained_with == {}


def test_no_champion_is_said_not_guessed(tmp_path: Path) -> None:
    assert read_evaluation(write(tmp_path)).champion is None


def test_comparison_has_every_metric_and_no_difference_where_one_side_is_undefined(tmp_path: Path) -> None:
    report = read_evaluation(write(tmp_path, champion=scores(roc_auc=0.75, log_loss=None)))
    rows = {row.metric: row for row in comparison(report)}
    assert list(rows) == list(METRICS)
    assert rows["roc_auc"].difference == pytest.approx(0.1)
    assert rows["log_loss"] == ("log_loss", 1.25, None, None)
    assert all(row.champion is None for row in comparison(read_evaluation(write(tmp_path))))


def test_nan_reads_as_undefined(tmp_path: Path) -> None:
    assert read_evaluation(write(tmp_path, challenger=scores(f1=float("nan")))).challenger.values["f1"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 2}, "schema_version: input should be 1, not 2."),
        ({"schema_version": None}, "schema_version: input should be 1, not None."),
        ({"threshold": None}, "threshold: input should be a valid number, not None."),
        ({"threshold": 1.5}, "threshold: input should be less than or equal to 1, not 1.5."),
        ({"challenger": None}, "challenger: input should be an object, not None."),
        ({"challenger": scores(roc_auc="high")}, "challenger.roc_auc: input should be a valid number, not 'high'."),
        ({"challenger": scores(recall=-0.1)}, "challenger.recall: -0.1 is outside 0 to 1."),
        ({"challenger": scores(rows=True)}, "challenger.rows: input should be a valid integer, not True."),
        ({"challenger": scores(rows=5)}, "challenger: confusion_matrix does not add up to 5 rows with 1 positives."),
        ({"challenger": scores(slices={"Age": {"21-30": {}}})}, "challenger.slices.Age.21-30.rows: field required"),
        ({"warnings": [1]}, "warnings.0: input should be a valid string, not 1."),
        ({"champion": []}, "champion: input should be an object, not []."),
        (
            {"champion": scores(rows=3, confusion_matrix={"tn": 1, "fp": 1, "fn": 0, "tp": 1})},
            "not measured on the same rows: 4 rows with 1 positives against 3 rows with 1 positives",
        ),
    ],
)
def test_foreign_or_inconsistent_file_is_refused_by_key(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError) as refused:
        read_evaluation(write(tmp_path, **changes))
    assert said in str(refused.value)
    assert str(tmp_path / "metrics.json") in str(refused.value)


def test_every_wrong_key_is_named_at_once_but_of_a_file_of_another_version_only_the_version(tmp_path: Path) -> None:
    wrong = {"threshold": 2, "challenger": scores(f1="x", rows=-1)}
    with pytest.raises(RunError) as refused:
        read_evaluation(write(tmp_path, **wrong))
    assert str(refused.value).partition("\n")[0].partition(" is not an evaluation: ")[2] == (
        "threshold: input should be less than or equal to 1, not 2; challenger.f1: input should be a valid number, "
        "not 'x'; challenger.rows: input should be greater than or equal to 0, not -1."
    )
    with pytest.raises(RunError, match=r"is not an evaluation: schema_version: input should be 1, not 2\.\n"):
        read_evaluation(write(tmp_path, schema_version=2, **wrong))


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_must_be_there(tmp_path: Path, metric: str) -> None:
    partial = {name: value for name, value in scores().items() if name != metric}
    with pytest.raises(RunError, match=rf"challenger\.{metric}: field required\."):
        read_evaluation(write(tmp_path, challenger=partial))


def test_missing_file_says_which_step_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"evaluate step left no metrics\.json"):
        read_evaluation(tmp_path)


def test_broken_file_says_the_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"schema_version": 1,')
    with pytest.raises(RunError, match="line 1"):
        read_evaluation(tmp_path)


def test_champion_left_out_is_not_the_same_as_none(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"schema_version": 1, "threshold": 0.5, "challenger": scores()}))
    with pytest.raises(RunError, match=r"champion: field required\."):
        read_evaluation(tmp_path)


def test_scores_are_frozen(tmp_path: Path) -> None:
    challenger = read_evaluation(write(tmp_path)).challenger
    assert isinstance(challenger, ModelScores)
    with pytest.raises(AttributeError):
        challenger.rows = 5  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        challenger.values["roc_auc"] = 1.0  # pyright: ignore[reportIndexIssue]


def test_metric_a_rounding_error_beyond_its_range_is_taken_as_the_end_of_the_range(tmp_path: Path) -> None:
    report = read_evaluation(write(tmp_path, challenger=scores(average_precision=1.0000000000000002)))
    assert report.challenger.values["average_precision"] == 1.0
