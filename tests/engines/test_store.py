"""What was run before is found again only if it still stands."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flows.engines.store import StepRecord, StepStore, key_of

from .conftest import Write

KEY = key_of({"step": "train"})


@pytest.fixture
def saved(write: Write) -> StepRecord:
    """A record with a file and a folder as its outputs."""
    home = write({"jobs/j/metrics.json": "{}", "jobs/j/model/a.bin": "a", "jobs/j/model/deep/b.bin": "b"})
    store = StepStore(home)
    outputs = {name: store.stored(home / "jobs" / "j" / name) for name in ("metrics.json", "model")}
    record = StepRecord(KEY, "train", "j", {"step": "train"}, outputs, "jobs/j/log.txt", 1.5, "run")
    store.save(record)
    return record


def test_a_record_is_found_as_it_was_saved(saved: StepRecord, tmp_path: Path) -> None:
    assert StepStore(tmp_path).find(KEY) == saved


def test_a_record_moves_with_its_folder(saved: StepRecord, tmp_path: Path) -> None:
    home = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name} moved"))

    assert StepStore(home).find(KEY) == saved
    assert StepStore(home).path(saved.outputs["model"]) == home / "jobs" / "j" / "model"


def test_nothing_is_found_under_another_key(saved: StepRecord, tmp_path: Path) -> None:
    assert StepStore(tmp_path).find(key_of({"step": "prep"})) is None


def test_a_later_record_takes_the_place_of_an_earlier(saved: StepRecord, tmp_path: Path) -> None:
    StepStore(tmp_path).save(replace(saved, job_name="later"))

    found = StepStore(tmp_path).find(KEY)

    assert found is not None
    assert found.job_name == "later"
    assert [path.name for path in (tmp_path / "steps").iterdir()] == [f"{KEY}.json"]


CHANGES: dict[str, Callable[[Path], object]] = {
    "altered_file": lambda job: (job / "metrics.json").write_text("{ }"),
    "emptied_file": lambda job: (job / "metrics.json").write_text(""),
    "gone_file": lambda job: (job / "metrics.json").unlink(),
    "altered_file_of_a_folder": lambda job: (job / "model" / "deep" / "b.bin").write_text("B"),
    "added_file_of_a_folder": lambda job: (job / "model" / "c.bin").write_text(""),
    "renamed_file_of_a_folder": lambda job: (job / "model" / "a.bin").rename(job / "model" / "z.bin"),
    "gone_file_of_a_folder": lambda job: (job / "model" / "a.bin").unlink(),
    "gone_folder": lambda job: (job / "model").rename(job / "elsewhere"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_record_whose_outputs_were_changed_is_as_none(change: str, saved: StepRecord, tmp_path: Path) -> None:
    CHANGES[change](tmp_path / "jobs" / "j")

    assert StepStore(tmp_path).find(KEY) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"{}",
        b"\xff\xfe",
        b'{"outputs": []}',
        b'{"outputs": {"model": null}}',
        b'{"outputs": {"model": {"path": "m"}}}',
        b'{"outputs": {}, "unknown": 1}',
    ],
)
def test_a_record_that_cannot_be_read_is_as_none(text: bytes, saved: StepRecord, tmp_path: Path) -> None:
    (tmp_path / "steps" / f"{KEY}.json").write_bytes(text)

    assert StepStore(tmp_path).find(KEY) is None


@pytest.mark.parametrize("name", ["key", "step", "job_name", "outputs", "log", "seconds", "fingerprint"])
def test_a_record_that_lacks_something_is_as_none(name: str, saved: StepRecord, tmp_path: Path) -> None:
    path = tmp_path / "steps" / f"{KEY}.json"
    values = json.loads(path.read_bytes())
    del values[name]
    path.write_text(json.dumps(values))

    assert StepStore(tmp_path).find(KEY) is None


def test_the_key_is_that_of_the_values_in_whatever_order() -> None:
    assert key_of({"a": 1, "b": {"c": "ż", "d": None}}) == key_of({"b": {"d": None, "c": "ż"}, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": "1"})
