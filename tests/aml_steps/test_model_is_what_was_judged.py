"""The registered model scores any row as the evaluation scored it, whoever calls it and however."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow import sklearn as mlflow_sklearn
from mlflow.exceptions import MlflowException

import data_file
import model_file
import prep
import train
from columns import FEATURES, RANGES

PROBABILITIES = {"probabilities": True}


@pytest.fixture(scope="module")
def folder(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as the pipeline leaves it."""
    folder = tmp_path_factory.mktemp("model") / "model"
    prepared = prep.prepare(data_file.read(shipped), prep.Parameters())
    rows = prepared.table.take(prepared.train).to_pandas()
    train.save(train.fit(rows, train.Parameters(threshold=0.3)), rows, folder)
    return folder


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Any:
    return mlflow.pyfunc.load_model(str(folder))


def cell(name: str) -> st.SearchStrategy[float | int | None]:
    low, high = RANGES[name]
    return st.one_of(st.none(), st.just(0), st.integers(int(low), int(high)), st.floats(low, high))


RAW_ROWS = st.lists(st.fixed_dictionaries({name: cell(name) for name in FEATURES}), min_size=2, max_size=5)


@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=RAW_ROWS)
def test_any_valid_row_gets_the_probability_that_the_evaluation_gives_it(
    folder: Path, loaded: Any, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "raw.csv"
    pd.DataFrame(rows).assign(Diabetic=[number % 2 for number in range(len(rows))]).to_csv(file, index=False)
    read = data_file.read(file)  # the rows as prep reads them, and as it hands them to the evaluation
    judged = model_file.score(model_file.load_model(folder), read.values)
    called = loaded.predict(pd.read_csv(file), params=PROBABILITIES)
    np.testing.assert_allclose(called, judged, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(loaded.predict(pd.read_csv(file)), (judged >= 0.3).astype(int))


def test_the_test_rows_are_handed_on_as_they_are_in_the_file(shipped: Path) -> None:
    prepared = prep.prepare(data_file.read(shipped), prep.Parameters())
    written = prepared.table.to_pandas()
    pd.testing.assert_frame_equal(written[FEATURES], pd.read_csv(shipped)[FEATURES].astype(float))


def test_the_natural_call_takes_the_file_as_pandas_reads_it(loaded: Any, shipped: Path) -> None:
    rows = pd.read_csv(shipped)
    labels = loaded.predict(rows)
    assert labels.dtype == np.int64 and set(labels) == {0, 1}
    others: dict[str, pd.DataFrame] = {
        "floats": rows.astype(float),
        "another order": rows[list(rows)[::-1]],
        "text": rows.astype(str),
        "nullable": rows.convert_dtypes(),
        "small": rows.astype(dict.fromkeys(("Age", "Pregnancies"), "float32")),
    }
    for other in others.values():
        np.testing.assert_array_equal(loaded.predict(other), labels)


def test_a_zero_and_an_empty_cell_are_the_same_missing_measurement(loaded: Any, shipped: Path) -> None:
    rows = pd.read_csv(shipped).head(20).assign(SerumInsulin=0, BMI=0.0)
    empty = rows.assign(SerumInsulin=None, BMI=np.nan)
    expected = loaded.predict(rows, params=PROBABILITIES)
    np.testing.assert_array_equal(loaded.predict(empty, params=PROBABILITIES), expected)


def test_a_missing_column_is_refused_by_name(loaded: Any, shipped: Path) -> None:
    with pytest.raises(MlflowException, match="BMI"):
        loaded.predict(pd.read_csv(shipped).drop(columns="BMI"))


@pytest.mark.parametrize("value", ["unknown", np.inf])
def test_a_cell_that_is_no_number_is_named_and_not_quoted(loaded: Any, shipped: Path, value: object) -> None:
    rows = pd.read_csv(shipped).head(3).assign(BMI=pd.Series([30, value, 30], dtype=object))
    with pytest.raises(ValueError, match="column BMI, row 2: is") as refused:
        loaded.predict(rows)
    assert "unknown" not in str(refused.value)


def test_mlflow_s_server_answers_what_the_model_answers(loaded: Any, shipped: Path) -> None:
    from mlflow.pyfunc import scoring_server  # warns of its own types as it is imported

    rows = pd.read_csv(shipped).head(8)
    rows.loc[2, "BMI"] = None
    server: Any = httpx.ASGITransport(scoring_server.init(loaded))
    split = json.loads(rows.to_json(orient="split", index=False))

    def answer(**more: Any) -> Any:
        async def post() -> httpx.Response:
            async with httpx.AsyncClient(transport=server, base_url="http://model") as client:
                return await client.post("/invocations", json={"dataframe_split": split, **more})

        said = asyncio.run(post())
        assert said.status_code == 200, said.text
        return said.json()["predictions"]

    assert answer() == loaded.predict(rows).tolist()
    assert answer(params=PROBABILITIES) == pytest.approx(loaded.predict(rows, params=PROBABILITIES).tolist(), abs=1e-12)


def test_scikit_learn_s_own_model_has_all_of_it(
    folder: Path, loaded: Any, make_rows: Callable[..., pd.DataFrame]
) -> None:
    rows = make_rows(50)
    rows.loc[:10, "BMI"] = 0
    plain: Any = mlflow_sklearn.load_model(str(folder))
    np.testing.assert_array_equal(plain.predict(rows[FEATURES]), loaded.predict(rows))
