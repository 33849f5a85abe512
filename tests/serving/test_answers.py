"""Answers of the shipped script with the shipped model, on every place of serving: those of the model, row for row."""

# The loaded model has no types worth the name here.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

import asyncio
import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from columns import FEATURES, RANGES
from flows.data.digests import data_digest
from flows.serving.endpoints import DeploymentRequest, ServedModel
from flows.serving.serving import Serving
from flows.spec.reading.endpoints import read_endpoint, read_online_deployment
from tests.serving.conftest import PLACES, azure_place, local_place
from tests.terminal import PROJECT

pytestmark = pytest.mark.filterwarnings("ignore")

MARK = "7654.321"  # a value that no answer and no log may have
ROWS, BROKEN = 1_000, 200


@dataclass(frozen=True)
class Answering:
    """The shipped model behind an endpoint; ``folder`` is where this machine keeps the endpoint, if it does."""

    serving: Serving
    endpoint: str
    folder: Path

    async def ask(self, body: str) -> tuple[int, int | None, Any]:
        """The status, that of the model, and the answer."""
        answer = await self.serving.score(self.endpoint, body.encode(), "blue")
        return answer.status, answer.model_status, json.loads(answer.body)

    def logs(self) -> str:
        """All that was written of the endpoint, whoever wrote it."""
        containers = asyncio.run(self.serving.logs(self.endpoint, "blue", 1_000_000))
        files = [file.read_text(errors="replace") for file in self.folder.rglob("*.log")]
        return "\n".join([*containers.values(), *files])


@pytest.fixture(scope="module", params=sorted(PLACES))
def answering(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, trained: Path
) -> Iterator[Answering]:
    folder = tmp_path_factory.mktemp("answers")
    with ExitStack() as stack:
        if request.param == "local":
            serving: Serving = stack.enter_context(local_place(folder))
        else:
            request.getfixturevalue("azure_client_allowed_in_a_module")
            service = request.getfixturevalue("azure_ml_session")
            service.reset()
            environment = stack.enter_context(pytest.MonkeyPatch.context())
            for name, value in service.environment.items():
                environment.setenv(name, value)
            serving = stack.enter_context(azure_place(service))
        endpoint = read_endpoint(PROJECT / "serving" / "endpoint.yml")
        spec = read_online_deployment(PROJECT / "serving" / "deployment.yml")
        model = ServedModel("diabetes-predict", 7, data_digest(trained))

        async def deploy() -> None:
            await serving.create_endpoint(endpoint)
            await serving.deploy(DeploymentRequest(endpoint.name, "blue", spec, model, str(trained)))

        asyncio.run(deploy())
        yield Answering(serving, endpoint.name, folder)


def valid_row(random: Random) -> list[Any]:
    """A cell for each feature: a whole number, a fraction, the text of one, or nothing that was measured."""

    def cell(name: str) -> Any:
        low, high = RANGES[name]
        whole = random.randint(int(low), int(high))
        fraction = random.uniform(low, high)
        return random.choice([None, math.nan, 0, whole, float(whole), fraction, str(whole), str(fraction)])

    return [cell(name) for name in FEATURES]


def _split(random: Random, names: list[str], rows: list[list[Any]], key: str, index: bool) -> dict[str, Any]:
    order = random.sample(range(len(names)), len(names))
    split: dict[str, Any] = {"columns": [names[place] for place in order]}
    if index:
        split["index"] = random.sample(range(10_000), len(rows))
    return {key: {**split, "data": [[row[place] for place in order] for row in rows]}}


def _records(random: Random, names: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    def record(row: list[Any]) -> dict[str, Any]:
        return dict(random.sample(list(zip(names, row, strict=True)), len(names)))

    return {"input_data": [record(row) for row in rows]}


FORMS: Sequence[Callable[[Random, list[str], list[list[Any]]], dict[str, Any]]] = (
    lambda random, names, rows: _split(random, names, rows, "input_data", index=False),
    lambda random, names, rows: _split(random, names, rows, "input_data", index=True),
    lambda random, names, rows: _split(random, names, rows, "dataframe_split", index=False),
    _records,
)


def request_of(random: Random, rows: list[list[Any]]) -> str:
    """A request for these rows in any form, with the columns in any order, and further ones beside them."""
    further: dict[str, Callable[[], Any]] = {
        "PatientID": lambda: random.randrange(10_000_000),
        "Physician": lambda: f"Dr. {MARK}",
        "Remarks": lambda: random.choice([None, [MARK], {"a": MARK}, True]),
    }
    more = random.sample(list(further), random.randrange(len(further) + 1))
    names, cells = [*FEATURES, *more], [[*row, *(further[name]() for name in more)] for row in rows]
    return json.dumps(random.choice(FORMS)(random, names, cells))


def test_answers_are_the_probabilities_of_the_model_for_a_thousand_rows_in_any_form(
    answering: Answering, trained: Path
) -> None:
    import mlflow

    random = Random(1)
    rows = [valid_row(random) for _ in range(ROWS)]
    numbers = pd.DataFrame(rows, columns=list(FEATURES)).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = mlflow.pyfunc.load_model(str(trained))
    wanted = model._model_impl.classifier.predict_proba(numbers)[:, 1]
    labels = model.predict(numbers).tolist()

    async def predictions() -> list[dict[str, Any]]:
        got = list[dict[str, Any]]()
        while len(got) < ROWS:
            part = rows[len(got) : len(got) + random.choice([1, 2, 5, 50])]
            status, model_status, told = await answering.ask(request_of(random, part))
            assert (status, model_status, told["model"], told["version"]) == (200, None, "diabetes-predict", 7)
            assert len(told["predictions"]) == len(part)
            got += told["predictions"]
        return got

    got = asyncio.run(predictions())
    np.testing.assert_allclose([each["probability"] for each in got], wanted, rtol=0, atol=1e-12)
    assert [each["label"] for each in got] == labels
    assert 0 < sum(labels) < ROWS


def broken(random: Random, rows: list[list[Any]]) -> tuple[str, int | None, str | None, str]:
    """A request that breaks some rows in one cell, or its form; with the row, the column and the reason to be told."""
    row, place = random.randrange(len(rows)), random.randrange(len(FEATURES))
    column = FEATURES[place]

    def cell(value: Any, reason: str) -> tuple[str, int | None, str | None, str]:
        rows[row][place] = value
        return request_of(random, rows), row, column, reason

    match random.randrange(7):
        case 0:
            return cell(random.choice(["many", f"{MARK}x", "", "41 years", "1,5", "NULL"]), "is no number")
        case 1:
            return cell(random.choice([math.inf, -math.inf]), "is infinite")
        case 2:
            return cell(random.choice([10**400, -(10**400)]), "is out of range")
        case 3:
            return cell(random.choice([[1], [], {"a": MARK}]), "is no single value")
        case 4:  # a column that no row has
            names = [name for name in FEATURES if name != column]
            without = [[*cells[:place], *cells[place + 1 :]] for cells in rows]
            return json.dumps(random.choice(FORMS)(random, names, without)), None, column, "is missing"
        case 5:  # a column that one row does not have
            records = [dict(zip(FEATURES, cells, strict=True)) for cells in rows] + [dict.fromkeys(FEATURES, 1)]
            del records[row][column]
            return json.dumps({"input_data": records}), row, column, "is missing"
        case _:
            del rows[row][place]
            reason = f"has {len(FEATURES) - 1} cells, and there are {len(FEATURES)} columns"
            return json.dumps({"input_data": {"columns": list(FEATURES), "data": rows}}), row, None, reason


def test_two_hundred_broken_requests_are_each_answered_with_row_column_and_reason(answering: Answering) -> None:
    random = Random(2)

    async def ask() -> None:
        for number in range(BROKEN):
            body, row, column, reason = broken(random, [valid_row(random) for _ in range(random.randint(1, 5))])
            told = await answering.ask(body)
            assert told == (424, 400, {"error": {"row": row, "column": column, "reason": reason}}), number
        status, _, _ = await answering.ask(request_of(random, [valid_row(random)]))
        assert status == 200

    asyncio.run(ask())


def test_what_is_no_request_is_answered_with_a_reason(answering: Answering) -> None:
    for body in ("", "rows", '{"input_data": [', "\x00", "[]", "null", "[" * 50_000, '{"input_data": {"data": []}}'):
        status, model_status, told = asyncio.run(answering.ask(body))
        assert (status, model_status, told["error"]["row"], told["error"]["column"]) == (424, 400, None, None)
        assert told["error"]["reason"] in (
            "the request is not JSON",
            "there is no input_data with columns and data, or with a mapping for each row",
        )


def test_no_value_of_a_row_is_in_a_log(answering: Answering) -> None:
    random = Random(3)
    marked = [float(f"{number}.{MARK.replace('.', '')}") for number in range(20, 60)]

    async def ask() -> None:
        for value in marked:
            rows = [valid_row(random) for _ in range(3)]
            rows[1] = [value] * len(FEATURES)
            assert (await answering.ask(request_of(random, rows)))[0] == 200
            body, *_ = broken(random, rows)
            assert (await answering.ask(body))[0] == 424
            assert (await answering.ask(f"[{value}"))[0] == 424

    asyncio.run(ask())
    logs = answering.logs()
    assert "Ready: diabetes-predict, version 7" in logs
    assert MARK not in logs and MARK.replace(".", "") not in logs
