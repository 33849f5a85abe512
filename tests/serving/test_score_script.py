"""The scoring script: what it takes, what it answers, and what it never says."""

# Neither pandas nor the loaded model has types worth the name here.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportPrivateUsage=false

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.models import infer_signature

import score
from columns import FEATURES, RANGES
from tests.terminal import PROJECT, ROWS

# MLflow warns of type hints of its own, and of a signature that has whole numbers.
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint", "ignore:.*[Ii]nteger", "ignore:.*pickle")

MARK = "7654.321"  # a value that no answer and no log may have


@pytest.fixture(scope="module")
def shipped_scorer(trained: Path) -> score.Scorer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_MODEL", "diabetes-predict")
        patch.setenv("TANDEM_MODEL_VERSION", "7")
        return score.load(trained)


def valid_row(random: Random) -> list[Any]:
    def cell(name: str) -> float | int | None:
        low, high = RANGES[name]
        return random.choice([None, 0, random.randint(int(low), int(high)), random.uniform(low, high)])

    return [cell(name) for name in FEATURES]


def split(rows: list[list[Any]], **more: Any) -> str:
    return json.dumps({"input_data": {"columns": list(FEATURES), "data": rows, **more}})


def refusal(scorer: score.Scorer, body: str) -> dict[str, Any]:
    with pytest.raises(score.BadRequest) as caught:
        score.answer(scorer, body)
    assert MARK not in json.dumps(caught.value.said)
    return caught.value.said


def test_a_thousand_random_rows_get_what_the_model_itself_gives_them(
    shipped_scorer: score.Scorer, trained: Path
) -> None:
    random = Random(1)
    rows = [valid_row(random) for _ in range(1_000)]
    model: Any = mlflow.pyfunc.load_model(str(trained))
    frame = pd.DataFrame(rows, columns=list(FEATURES))
    wanted, labels = model.predict(frame, params={"probabilities": True}), model.predict(frame)
    raw = model._model_impl.classifier.predict_proba(frame.astype(float))[:, 1]
    together = score.answer(shipped_scorer, split(rows))
    assert (together["model"], together["version"]) == ("diabetes-predict", 7)
    got = [each["probability"] for each in json.loads(json.dumps(together))["predictions"]]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got, raw, rtol=0, atol=1e-12)
    assert [each["label"] for each in together["predictions"]] == list(labels)
    assert 0 < sum(labels) < 1_000
    for number in range(0, 1_000, 50):
        alone = score.answer(shipped_scorer, split([rows[number]]))["predictions"][0]
        assert math.isclose(alone["probability"], wanted[number], rel_tol=0, abs_tol=1e-12)


def test_two_hundred_broken_rows_are_refused_with_their_row_and_column(shipped_scorer: score.Scorer) -> None:
    random = Random(2)
    for _ in range(200):
        rows = [valid_row(random) for _ in range(5)]
        row, column = random.randrange(5), random.randrange(len(FEATURES))
        rows[row][column] = random.choice(["many", f"{MARK}x", "", math.inf, [1], {"a": MARK}])
        said = refusal(shipped_scorer, split(rows))
        assert (said["row"], said["column"]) == (row, FEATURES[column]), said


@pytest.mark.parametrize("form", ["split", "split with index", "records", "dataframe_split", "other columns too"])
def test_every_form_of_a_request_gets_the_same_answer(shipped_scorer: score.Scorer, form: str) -> None:
    rows = pd.read_csv(ROWS).head(3)[list(FEATURES)]
    data = rows.to_numpy().tolist()
    bodies = {
        "split": {"input_data": {"columns": list(FEATURES), "data": data}},
        "split with index": {"input_data": {"columns": list(FEATURES), "index": [7, 8, 9], "data": data}},
        "records": {"input_data": rows.to_dict(orient="records")},
        "dataframe_split": {"dataframe_split": {"columns": list(FEATURES), "data": data}},
        "other columns too": {"input_data": [{"PatientID": 1, **row} for row in rows.to_dict(orient="records")]},
    }
    assert score.answer(shipped_scorer, json.dumps(bodies[form])) == score.answer(shipped_scorer, split(data))


@pytest.mark.parametrize(
    ("body", "row", "column", "reason"),
    [
        ("rows", None, None, "is not JSON"),
        ("[1]", None, None, "there is no input_data"),
        ('{"input_data": {"columns": ["Age"], "data": "x"}}', None, None, "there is no input_data"),
        ('{"input_data": {"columns": ["Age", "Age"], "data": [[1, 2]]}}', None, None, "all different"),
        (split([[1] * 8, [1] * 7]), 1, None, "has 7 cells, and there are 8 columns"),
        (split([[1] * 8, 5]), 1, None, "has no cells"),  # pyright: ignore[reportArgumentType]
        (json.dumps({"input_data": {"columns": list(FEATURES[1:]), "data": [[1] * 7]}}), None, FEATURES[0], "missing"),
        (
            json.dumps({"input_data": [dict.fromkeys(FEATURES, 1), dict.fromkeys(FEATURES[1:], 1)]}),
            1,
            FEATURES[0],
            "is missing",
        ),
        (json.dumps({"input_data": [dict.fromkeys(FEATURES, 1), 7]}), 1, None, "is no mapping"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(
    shipped_scorer: score.Scorer, body: str, row: int | None, column: str | None, reason: str
) -> None:
    said = refusal(shipped_scorer, body)
    assert (said["row"], said["column"]) == (row, column)
    assert reason in said["reason"]


def test_no_rows_get_no_predictions(shipped_scorer: score.Scorer) -> None:
    assert score.answer(shipped_scorer, split([]))["predictions"] == []


@pytest.fixture(scope="module")
def typed_scorer(tmp_path_factory: pytest.TempPathFactory) -> score.Scorer:
    """A model without probabilities, with columns of several types."""

    class Doubles(mlflow.pyfunc.PythonModel):  # pyright: ignore[reportPrivateImportUsage]
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
            if (model_input["a"] == 13).any():
                raise ValueError(f"no {MARK}, please")
            assert [str(kind) for kind in model_input.dtypes] == ["float64", "int64", "object"]
            return model_input["a"] * 2 + model_input["n"]

    folder = tmp_path_factory.mktemp("typed") / "model"
    rows = pd.DataFrame({"a": [1.5], "n": [1], "t": ["x"]})
    signature = infer_signature(rows, pd.Series([2.0]))
    mlflow.pyfunc.save_model(folder, python_model=Doubles(), signature=signature, input_example=rows)
    return score.load(folder.parent)


def test_cells_are_cast_by_the_signature_and_a_model_without_probabilities_gives_none(
    typed_scorer: score.Scorer,
) -> None:
    made = score.answer(typed_scorer, json.dumps({"input_data": [{"a": 2, "n": 3.0, "t": "x"}]}))
    assert made["predictions"] == [{"label": 7.0, "probability": None}]
    for name, cell, reason in (
        ("a", "2", "is no number"),
        ("a", True, "is no number"),
        ("a", 10**400, "is out of range"),
        ("n", 2.5, "is no whole number"),
        ("n", 1 << 70, "is out of range"),
        ("n", None, "is no whole number"),
        ("t", 4, "is no text"),
    ):
        said = refusal(typed_scorer, json.dumps({"input_data": [{"a": 1, "n": 1, "t": "x", name: cell}]}))
        assert (said["row"], said["column"], said["reason"]) == (0, name, reason)


def test_a_row_that_the_model_refuses_is_found_and_its_error_is_not_quoted(
    typed_scorer: score.Scorer, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"a": number, "n": 1, "t": "x"} for number in (1, 2, 13, 4)]
    said = refusal(typed_scorer, json.dumps({"input_data": rows}))
    assert said == {"row": 2, "column": None, "reason": "the model refuses it (ValueError)"}
    captured = capsys.readouterr()
    assert MARK not in captured.out + captured.err


def test_init_and_run_answer_as_the_server_of_azure_ml_asks_them(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "azureml-models" / "diabetes-predict" / "12"
    folder.mkdir(parents=True)
    (folder / "model").symlink_to(trained)
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(folder))
    score.init()
    answered = score.run(split([[1, 100, 70, 20, 80, 30.5, 0.3, 33]]))
    assert (answered["model"], answered["version"]) == ("diabetes-predict", 12)
    refused = score.run(split([[1, f"{MARK}x", 70, 20, 80, 30.5, 0.3, 33]]))
    assert refused.status_code == 400
    assert json.loads(refused.get_data())["error"] == {
        "row": 0,
        "column": "PlasmaGlucose",
        "reason": "is no number",
    }
    captured = capsys.readouterr()
    assert MARK not in captured.out + captured.err


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no MLflow model"):
        score.load(tmp_path)


def test_serving_has_the_packages_of_training_and_the_server() -> None:
    def pins(file: Path) -> dict[str, str]:
        (listed,) = [part["pip"] for part in yaml.safe_load(file.read_text())["dependencies"] if isinstance(part, dict)]
        return dict(requirement.split("==") for requirement in listed)

    training = pins(PROJECT / "environment" / "conda.yml")
    serving = pins(PROJECT / "serving" / "environment" / "conda.yml")
    assert serving.pop("azureml-inference-server-http")
    assert {"azureml-ai-monitoring", "mlflow", "numpy", "pandas", "scikit-learn", "skops"} == set(serving)
    assert serving == {name: training[name] for name in serving}
    batch = pins(PROJECT / "serving" / "environment" / "batch-conda.yml")
    assert batch.pop("azureml-core")
    assert f"\npyarrow=={batch.pop('pyarrow')} " in (PROJECT / "requirements.lock").read_text()
    assert {**batch, "azureml-ai-monitoring": serving["azureml-ai-monitoring"]} == serving  # what a job scores is kept
