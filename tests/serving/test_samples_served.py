"""What an endpoint is asked: kept by the shipped script, counted and registered by a command, compared by the watch."""

import asyncio
import csv
import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from columns import FEATURES
from flows.cli.main import main
from flows.data.digests import data_digest
from flows.drift.feature_rows import read_features
from flows.drift.statistics import DriftPolicy, compare
from flows.serving.endpoints import DeploymentRequest, ServedModel
from flows.serving.local import files
from flows.serving.local.adapter import LocalServing
from flows.serving.samples import read_samples
from flows.spec.model.endpoint import OnlineDeploymentSpec
from flows.spec.reading.endpoints import read_endpoint, read_online_deployment
from tests.serving.conftest import local_place
from tests.serving.scripts import ENDPOINT as PATIENTS
from tests.serving.scripts import Definitions, asking
from tests.terminal import PROJECT, ROWS

ENDPOINT = "diabetes-predict"
COLLECTOR = """
data_collector:
  collections:
    model_inputs: {enabled: 'True'}
    model_outputs: {enabled: 'True'}
"""
MARK = 7654321  # the PatientID of each request


def definition(folder: Path) -> OnlineDeploymentSpec:
    """The shipped deployment, which collects."""
    shutil.copytree(PROJECT / "serving", folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "deployment.yml"
    file.write_text(file.read_text() + COLLECTOR)
    return read_online_deployment(file)


def request(rows: pd.DataFrame, **more: Any) -> bytes:
    """Rows as a client sends them, with a column that is no feature."""
    table = {
        "columns": [*FEATURES, "PatientID"],
        "data": [[*row, MARK] for row in rows[[*FEATURES]].to_numpy().tolist()],
    }
    return json.dumps({"input_data": table, **more}).encode()


@pytest.fixture
def serving(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServing]:
    """The shipped classifier at an endpoint that keeps what it is asked."""
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))
    spec = definition(tmp_path / "serving")

    async def deploy(place: LocalServing) -> None:
        await place.create_endpoint(read_endpoint(tmp_path / "serving" / "endpoint.yml"))
        model = ServedModel(ENDPOINT, 7, data_digest(trained))
        await place.deploy(DeploymentRequest(ENDPOINT, "blue", spec, model, str(trained)))
        await place.set_traffic(ENDPOINT, {"blue": 100})

    with local_place(tmp_path) as place:
        assert isinstance(place, LocalServing)
        asyncio.run(deploy(place))
        yield place


async def until_kept(place: LocalServing, rows: int) -> Path:
    """The folder, once it has so many rows: the collector writes them after the answer."""
    kept = await place.collected(ENDPOINT, Path())
    for _ in range(1_200):
        if read_samples(kept).answered >= rows:
            return kept
        await asyncio.sleep(0.05)
    raise AssertionError(f"{read_samples(kept)} after a minute")


def test_what_is_asked_becomes_a_data_asset_without_patients_that_is_seen_to_have_drifted(
    serving: LocalServing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = pd.read_csv(ROWS)
    asked = shipped.sample(300, random_state=1).assign(BMI=lambda rows: rows["BMI"] + 15)

    async def ask() -> Path:
        for start in range(0, 300, 30):
            answer = await serving.score(ENDPOINT, request(asked[start : start + 30]))
            assert answer.status == 200, answer
        for left_out in (request(asked, collect=False), b'{"input_data": [{"Age": "old"}]}', request(asked[:0])):
            await serving.score(ENDPOINT, left_out)
        return await until_kept(serving, 300)

    kept = asyncio.run(ask())
    lines = "".join(file.read_text() for file in kept.rglob("*.jsonl"))
    assert "PatientID" not in lines and str(MARK) not in lines
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept.rglob("*.jsonl")} == {0o600}
    asyncio.run(serving.set_traffic(ENDPOINT, {}))
    asyncio.run(serving.delete_deployment(ENDPOINT, "blue"))
    capsys.readouterr()
    assert main(["endpoints", "samples", ENDPOINT]) == 0
    said = capsys.readouterr().out
    assert "300 in 10 requests (blue 300)" in said and f"--register {ENDPOINT}-asked" in said
    assert main(["endpoints", "samples", ENDPOINT, "--register", "asked", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["data_asset"], told["created"], told["rows"], told["answered"]) == ("asked:1", True, 300, 300)
    assert set(told["columns"]) == set(FEATURES)
    assert main(["endpoints", "samples", ENDPOINT, "--register", "asked", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["created"] is False
    (file,) = (tmp_path / "home").rglob(f"{ENDPOINT}.csv")
    with file.open(newline="") as rows:
        first = next(csv.DictReader(rows))
    assert set(first) == {*FEATURES, "predicted_label", "predicted_probability", "requested_at", "model_version"}
    assert first["model_version"] == "7" and 0 <= float(first["predicted_probability"]) <= 1
    before, after = read_features(ROWS, "shipped"), read_features(file, "asked")
    report = compare(before.columns, after.columns, DriftPolicy())
    assert [feature.feature for feature in report.drifted] == ["BMI"]
    asyncio.run(serving.delete_endpoint(ENDPOINT))
    assert not kept.exists()


def test_without_a_data_collector_nothing_is_kept_and_the_command_says_how(
    tmp_path: Path, definitions: Definitions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))

    async def behaviour(place: LocalServing) -> None:
        await place.create_endpoint(definitions.endpoint)
        await place.deploy(definitions.request("blue"))
        assert (await place.score(PATIENTS, asking(), "blue")).status == 200
        assert not (await place.collected(PATIENTS, Path())).exists()

    with local_place(tmp_path) as place:
        assert isinstance(place, LocalServing)
        asyncio.run(behaviour(place))
        capsys.readouterr()
        assert main(["endpoints", "samples", PATIENTS]) == 0
        assert "data_collector:" in capsys.readouterr().out
        assert main(["endpoints", "samples", PATIENTS, "--register", "asked"]) == 2
        assert "Nothing was registered" in capsys.readouterr().err
        assert main(["endpoints", "samples", PATIENTS, "--since", "noon"]) == 2
        assert "is no time" in capsys.readouterr().err
        assert main(["endpoints", "samples", "none"]) == 1
        assert "There is no endpoint none" in capsys.readouterr().err


def test_a_changed_collector_is_another_deployment(tmp_path: Path) -> None:
    from flows.serving.local.adapter import _wanted  # pyright: ignore[reportPrivateUsage]

    spec = definition(tmp_path / "serving")
    assert spec.data_collector is not None
    model = ServedModel(ENDPOINT, 1, "0" * 64)

    def wanted(spec: OnlineDeploymentSpec) -> files.StoredDeployment:
        return _wanted(DeploymentRequest(ENDPOINT, "blue", spec, model, ""), "", "")

    whole, some = wanted(spec), wanted(replace(spec, data_collector=replace(spec.data_collector, sampling_rate=0.1)))
    none = wanted(replace(spec, data_collector=None))
    assert whole != some != none and none.collector == {}
    assert some.collector["collections"]["model_inputs"] == {"enabled": True, "sampleRatePercentage": 10.0}
