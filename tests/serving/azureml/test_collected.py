"""What endpoints of a workspace are asked: kept by Azure ML's own package, and brought here from blob storage."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import main
from flows.serving.samples import Samples, read_samples
from flows.spec.model.endpoint import Collection, DataCollector
from tests.serving.azureml.conftest import OpenServing, Shop

SCRIPT = """
    import json
    import pandas as pd
    from azureml.ai.monitoring import Collector

    def init():
        global inputs, outputs
        inputs, outputs = Collector(name="model_inputs"), Collector(name="model_outputs")

    def run(text):
        rows = pd.DataFrame(json.loads(text))
        outputs.collect(pd.DataFrame({"label": [1] * len(rows)}), inputs.collect(rows))
        return len(rows)
"""
pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK's libraries, of which there are many
COLLECTIONS = (Collection("model_inputs"), Collection("model_outputs"))


async def kept(serving: Any, shop: Shop, rows: int) -> tuple[Samples, Path]:
    """What was kept, once it is so many rows: the package sends them after the answer."""
    for number in range(600):
        folder = await serving.collected(shop.endpoint, shop.folder / f"kept-{number}")
        if (found := read_samples(folder)).answered >= rows:
            return found, folder
        await asyncio.sleep(0.1)
    raise AssertionError(f"{rows} rows were not kept after a minute")


def test_rows_and_answers_of_a_deployment_that_is_gone_come_here(
    shop: Shop, open_serving: OpenServing, capsys: pytest.CaptureFixture[str]
) -> None:
    async def behaviour() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            assert read_samples(await serving.collected(shop.endpoint, shop.folder / "none")).total == 0
            await serving.deploy(shop.request("blue", script=SCRIPT, data_collector=DataCollector(COLLECTIONS)))
            for ages in ([41, 42], [43]):
                answer = await serving.score(shop.endpoint, json.dumps([{"Age": age} for age in ages]).encode(), "blue")
                assert answer.status == 200, answer
            await kept(serving, shop, 3)
            await serving.delete_deployment(shop.endpoint, "blue")
            found, folder = await kept(serving, shop, 3)
            assert (dict(found.rows), found.requests, found.unreadable) == ({"blue": 3}, 2, 0)
            target = folder / "rows.csv"
            read_samples(folder, None, target)
            assert [line.split(",")[:2] for line in target.read_text().splitlines()] == [
                ["Age", "predicted_label"],
                ["41", "1"],
                ["42", "1"],
                ["43", "1"],
            ]

    asyncio.run(behaviour())
    asset = f"asked-{shop.endpoint}"
    assert main(["endpoints", "samples", shop.endpoint, "--register", asset, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["data_asset"], told["created"], told["rows"]) == (f"{asset}:1", True, 3)


def test_a_deployment_names_the_data_assets_of_its_collections_as_the_client_makes_them(
    shop: Shop, open_serving: OpenServing
) -> None:
    own = Collection(
        "model_outputs",
        f"answers-{shop.endpoint}",
        "4",
        f"azureml://datastores/workspaceblobstore/paths/{shop.endpoint}",
    )
    collector = DataCollector((Collection("model_inputs"), own), 0.5, "day")

    async def behaviour() -> None:
        async with open_serving() as serving:
            await serving.create_endpoint(shop.spec())
            for _ in range(2):  # asked again, nothing is made twice
                await serving.deploy(shop.request("blue", script=SCRIPT, data_collector=collector))

    asyncio.run(behaviour())
    (sent,) = [
        asked.body["properties"]["dataCollector"]
        for asked in shop.service.requests
        if asked.method == "PUT" and asked.body and asked.path.endswith(f"/{shop.endpoint}/deployments/blue")
    ]
    assert sent["rollingRate"] == "Day"
    assert [problem for problem in shop.service.contract.problems() if "ollect" in problem] == []
    inputs, outputs = sent["collections"]["model_inputs"], sent["collections"]["model_outputs"]
    assert (inputs["dataCollectionMode"], inputs["samplingRate"]) == ("Enabled", 0.5)
    assert inputs["dataId"].endswith(f"/data/{shop.endpoint}-blue-model_inputs/versions/1")
    assert outputs["dataId"].endswith(f"/data/answers-{shop.endpoint}/versions/4")
    made = shop.service.arm.by_id("data", inputs["dataId"])["properties"]
    assert made["dataUri"].endswith(f"workspaceblobstore/paths/modelDataCollector/{shop.endpoint}/blue/model_inputs")
    assert made["dataType"] == "uri_folder"
    puts = [asked for asked in shop.service.requests if asked.method == "PUT" and f"{shop.endpoint}-blue" in asked.path]
    assert len(puts) == 1


def test_of_more_than_is_brought_here_the_newest_files_come(shop: Shop, open_serving: OpenServing) -> None:
    place = shop.service.arm.path_of(
        f"azureml://datastores/workspaceblobstore/paths/modelDataCollector/{shop.endpoint}/blue/model_inputs/2026"
    )
    place.mkdir(parents=True)
    for number in range(4):
        file = place / f"{number}.jsonl"
        file.write_bytes(b"x" * 1_000)
        os.utime(file, (1_700_000_000 + number, 1_700_000_000 + number))

    async def behaviour() -> list[str]:
        async with open_serving() as serving:
            found: Path = await serving._collected.download(shop.endpoint, shop.folder / "kept", 2_500)
            return sorted(file.name for file in found.rglob("*.jsonl"))

    assert asyncio.run(behaviour()) == ["2.jsonl", "3.jsonl"]
