"""The collector of this machine: what it writes, how much of it, who can read it, and what it tells the script."""

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.serving.local import collector
from flows.serving.local.collector import CorrelationContext, Kept, Writer, install, is_sampled
from flows.serving.samples import read_samples

ROW = {"Age": 41.0, "BMI": None}
PAST = 946684800  # for times of files: 2000


@pytest.fixture
def modules() -> Iterator[None]:
    """Whatever a test installs is taken away again."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("azureml.ai.monitoring")}
    yield
    for name in [name for name in sys.modules if name.startswith("azureml.ai.monitoring")]:
        del sys.modules[name]
    sys.modules.update(before)


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows or [ROW])


def config(folder: Path, rate: float = 100.0, rolling: str = "hour", names: tuple[str, ...] = ()) -> Path:
    file = folder / "collector.json"
    enabled = {"enabled": True, "sampleRatePercentage": rate}
    collections = dict.fromkeys(names or ("model_inputs", "model_outputs"), enabled)
    file.write_text(json.dumps({"collections": collections, "rollingRate": rolling}))
    return file


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jsonl"))


def put(writer: Writer, data: Any, on_error: Callable[[Exception], object] | None = None) -> None:
    writer.put(Kept("model_inputs", data, CorrelationContext(), on_error or _raise))


def _raise(error: Exception) -> None:
    raise error


def test_a_script_written_for_azure_ml_collects_lines_in_its_layout(tmp_path: Path, modules: None) -> None:
    folder = tmp_path / "patients" / "blue"
    writer = install(config(tmp_path), folder, "onlineEndpoints/patients/deployments/blue")
    from azureml.ai.monitoring import Collector
    from azureml.ai.monitoring.context import BasicCorrelationContext

    inputs: Any = Collector(name="model_inputs")
    outputs: Any = Collector(name="model_outputs")
    context = inputs.collect(frame(), BasicCorrelationContext(id="visit-7"))
    outputs.collect(frame({"label": 1}), context)
    outputs.collect(frame({"label": 0}), inputs.collect(frame()))
    writer.flush()
    kept = files_of(folder)
    paths = [path.relative_to(folder).as_posix() for path in kept]
    assert len(kept) == 2 and all(
        re.fullmatch(rf"{name}/\d{{4}}/\d\d/\d\d/\d\d/[0-9a-f-]{{36}}\.jsonl", path)
        for name, path in zip(("model_inputs", "model_outputs"), paths, strict=True)
    )
    first = json.loads(kept[0].read_text().splitlines()[0])
    assert first["data"] == [ROW] and first["type"] == "azureml.inference.model_inputs"
    assert (first["correlationid"], first["specversion"]) == ("visit-7", "1.0")
    assert first["source"] == "onlineEndpoints/patients/deployments/blue"
    found = read_samples(folder.parent)
    assert (found.requests, found.answered, found.unreadable) == (2, 2, 0)


@pytest.mark.parametrize(("rolling", "levels"), [("minute", 5), ("hour", 4), ("day", 3)])
def test_folders_follow_the_rolling_rate(tmp_path: Path, rolling: str, levels: int) -> None:
    writer = Writer(tmp_path / "blue", rolling=rolling)
    put(writer, frame())
    writer.flush()
    (file,) = files_of(tmp_path)
    assert len(file.relative_to(tmp_path / "blue" / "model_inputs").parts) == levels + 1


def test_only_its_user_can_read_what_is_kept_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        writer = Writer(tmp_path / "patients" / "blue")
        put(writer, frame())
        writer.flush()
    finally:
        os.umask(before)
    (file,) = files_of(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_beyond_the_bound_the_oldest_files_of_all_deployments_are_deleted(tmp_path: Path) -> None:
    old = tmp_path / "green" / "model_inputs" / "2000" / "01" / "01" / "00" / "old.jsonl"
    other = tmp_path / "green" / "model_outputs" / "2000" / "01" / "01" / "00" / "old.jsonl"
    for file in (old, other):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 5_000)
        os.utime(file, (PAST, PAST))
    writer = Writer(tmp_path / "blue", most_bytes=20_000, file_bytes=2_000)
    for number in range(200):
        put(writer, frame({"Age": number}))
    writer.flush()
    kept = files_of(tmp_path / "blue")
    size = sum(file.stat().st_size for file in kept)
    assert 10_000 < size <= 20_000 + 2_000
    ages = [json.loads(line)["data"][0]["Age"] for file in kept for line in file.read_text().splitlines()]
    assert max(ages) == 199 and min(ages) > 0
    assert not old.exists() and other.exists()


def test_a_request_larger_than_the_bound_is_left_out_and_told(tmp_path: Path) -> None:
    told: list[Exception] = []
    writer = Writer(tmp_path / "blue", most_bytes=1_000, file_bytes=1_000)
    put(writer, frame(*[ROW] * 200), told.append)
    put(writer, frame())
    writer.flush()
    assert len(files_of(tmp_path)) == 1 and "larger than all that may be kept" in str(told[0])


def test_what_cannot_be_written_is_told_and_the_next_is_written(tmp_path: Path) -> None:
    class Unwritable:
        def to_json(self, orient: str) -> str:
            raise ValueError("41.0 is the age of a patient")

    told: list[Exception] = []
    writer = Writer(tmp_path / "blue")
    (tmp_path / "blue").write_text("in the way")
    put(writer, frame(), told.append)
    put(writer, Unwritable(), told.append)
    writer.flush()
    (tmp_path / "blue").unlink()
    again = Writer(tmp_path / "blue")
    put(again, Unwritable(), _raise)
    put(again, frame())
    again.flush()
    assert len(files_of(tmp_path)) == 1
    assert len(told) == 2 and "cannot be written" in str(told[0])
    assert "ValueError" in str(told[1]) and "41.0" not in str(told[1])


def test_a_request_is_kept_in_all_collections_or_in_none_and_as_many_as_the_rate_says(
    tmp_path: Path, modules: None
) -> None:
    writer = install(config(tmp_path, rate=25.0), tmp_path / "patients" / "blue", "")
    inputs, outputs = collector.Collector(name="model_inputs"), collector.Collector(name="model_outputs")
    for number in range(400):
        outputs.collect(frame({"label": 0}), inputs.collect(frame(), CorrelationContext(str(number))))
    writer.flush()
    found = read_samples(tmp_path / "patients")
    assert found.requests == sum(is_sampled(str(number), 0.25) for number in range(400)) == found.answered
    assert 60 < found.requests < 140


def test_rates_of_nothing_and_all_keep_nothing_and_all() -> None:
    assert not any(is_sampled(str(number), 0.0) for number in range(100))
    assert all(is_sampled(str(number), 1.0) for number in range(100))


def test_a_collection_that_is_not_enabled_keeps_nothing_and_says_so(tmp_path: Path, modules: None) -> None:
    writer = install(config(tmp_path, names=("model_inputs",)), tmp_path / "patients" / "blue", "")
    told: list[Exception] = []
    outputs = collector.Collector(name="model_outputs", on_error=told.append)
    outputs.collect(frame())
    outputs.collect([1, 2])
    writer.flush()
    assert files_of(tmp_path / "patients") == []
    assert "model_outputs is not enabled" in str(told[0]) and "list" in str(told[1])
    with pytest.raises(collector.CollectorError, match="not enabled"):
        collector.Collector(name="model_outputs")


def test_what_is_put_aside_is_bounded_and_more_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "WAITING", 2)
    writer = Writer(tmp_path / "blue")
    told: list[Exception] = []
    for _ in range(3):
        put(writer, frame(), told.append)
    assert len(told) == 1 and "wait to be written" in str(told[0])
    assert files_of(tmp_path) == []
    writer.flush()
    (file,) = files_of(tmp_path)
    assert len(file.read_text().splitlines()) == 2
