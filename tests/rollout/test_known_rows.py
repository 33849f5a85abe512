"""The rows that a new deployment is tested with, for models of any team: text, dates, no example, pickles."""

# Neither pandas nor MLflow has types worth the name here.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import score
from flows.errors import ServingError
from flows.rollout.checks.known_rows import KnownRows, known_rows

pytestmark = pytest.mark.filterwarnings("ignore:.*type hint", "ignore:.*[Ii]nteger", "ignore:.*pickle")

CUSTOMERS = pd.DataFrame({"city": ["Zürich", "Bern", "Bern"], "visits": [3, 9, 4]})
LEFT = [1, 0, 0]


def saved(folder: Path, model: Any, rows: Any, *, example: bool = True, **how: Any) -> Path:
    """Save a model as a team would."""
    signature = infer_signature(rows, model.predict(rows))
    given: Any = rows if example else None
    requirements: list[str] = []  # MLflow would find them out in a process of its own, which takes seconds
    sklearn: Any = mlflow.sklearn  # pyright: ignore[reportPrivateImportUsage]
    sklearn.save_model(model, folder, signature=signature, input_example=given, pip_requirements=requirements, **how)
    return folder


def of_columns(names: list[str]) -> Any:
    """A classifier of some columns of the customers; those of text become one number for each text."""
    texts = [name for name in names if name == "city"]
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), texts), remainder="passthrough")
    return make_pipeline(encoder, LogisticRegression()).fit(CUSTOMERS[names], LEFT)


def told(folder: Path, variables: Mapping[str, str] | None = None) -> KnownRows:
    return asyncio.run(known_rows(folder, "churn:3", variables or {}))


@pytest.mark.parametrize("names", [["city", "visits"], ["city"], ["visits"]])
def test_the_known_rows_are_answered_and_the_bad_one_is_refused_whatever_the_columns_are(
    tmp_path: Path, names: list[str]
) -> None:
    folder = saved(tmp_path / "model", of_columns(names), CUSTOMERS[names])
    known, scorer = told(folder), score.load(folder)
    assert known.difference(json.dumps(score.answer(scorer, known.request)).encode()) == ""
    with pytest.raises(score.BadRequest):
        score.answer(scorer, known.bad_request)


def test_a_model_without_an_input_example_is_asked_with_its_columns_and_no_rows(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", of_columns(["city", "visits"]), CUSTOMERS, example=False)
    known = told(folder)
    assert (known.columns, known.rows) == (["city", "visits"], ())
    assert score.answer(score.load(folder), known.request)["predictions"] == []


def test_dates_of_an_input_example_are_sent_as_dates(tmp_path: Path) -> None:
    class Years(mlflow.pyfunc.PythonModel):  # pyright: ignore[reportPrivateImportUsage]
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
            return model_input["since"].dt.year

    rows = pd.DataFrame({"since": pd.to_datetime(["2020-02-29", "2021-12-31"])})
    signature = infer_signature(rows, pd.Series([2020]))
    mlflow.pyfunc.save_model(
        tmp_path / "model", python_model=Years(), signature=signature, input_example=rows, pip_requirements=[]
    )
    known = told(tmp_path / "model")
    answered = score.answer(score.load(tmp_path / "model"), known.request)
    assert known.difference(json.dumps(answered).encode()) == ""


def test_a_model_that_is_not_to_be_unpickled_is_not_unpickled_to_be_asked(tmp_path: Path) -> None:
    class Opens:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "opened"), "w")

    folder = saved(
        tmp_path / "model", LinearRegression().fit([[1.0]], [1.0]), np.array([[1.0]]), serialization_format="pickle"
    )
    (folder / "model.pkl").write_bytes(pickle.dumps(Opens()))
    with pytest.raises(ServingError, match=r"churn:3 .*pickle.* Nothing was deployed"):
        told(folder, {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"})
    assert not (tmp_path / "opened").exists()


def test_a_model_with_two_values_for_a_row_is_refused_by_its_name(tmp_path: Path) -> None:
    rows = CUSTOMERS[["visits"]].astype(float)
    folder = saved(tmp_path / "model", LinearRegression().fit(rows, np.c_[LEFT, LEFT]), rows)
    with pytest.raises(ServingError) as caught:
        told(folder)
    assert str(caught.value) == (
        "churn:3 cannot answer its own input example: ValueError: it gives 6 values for 3 rows, and one for each is "
        "served. Nothing was deployed."
    )
    with pytest.raises(RuntimeError, match="gives 2 values for 1 rows"):
        score.answer(score.load(folder), json.dumps({"input_data": [{"visits": 1.0}]}))


def test_a_label_that_is_a_number_may_differ_by_the_tolerance_and_no_more() -> None:
    known = KnownRows(["a"], [[1.0]], [1e6 / 3])
    for factor, expected in ((1 + 1e-14, ""), (1 + 1e-9, "row 0: the label is not the model's own")):
        assert known.difference(json.dumps([1e6 / 3 * factor]).encode()) == expected
    assert KnownRows(["a"], [[1.0]], [float("nan")]).difference(b"[NaN]") == ""


@pytest.mark.parametrize(
    ("labels", "of_the_first"), [([0, 1], 1), ([1, 2], 0), ([False, True], 1), (["go", "stay"], None)]
)
def test_the_probability_is_that_of_label_1_or_none(
    tmp_path: Path, labels: list[Any], of_the_first: int | None
) -> None:
    rows = CUSTOMERS[["visits"]]
    model = LogisticRegression().fit(rows, [labels[0], labels[1], labels[1]])
    scorer = score.load(saved(tmp_path / "model", model, rows))
    (found,) = score.answer(scorer, json.dumps({"input_data": [{"visits": 3}]}))["predictions"]
    expected = None if of_the_first is None else model.predict_proba(rows.head(1))[0, of_the_first]
    assert found["probability"] == expected
