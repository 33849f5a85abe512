"""What was run before is found again only if it still stands."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from flows.engines.plan import history
from flows.engines.plan.fingerprint import Fingerprint
from flows.engines.plan.store import StepRecord, StepStore, StoredOutput
from tests.conftest import Write

CODE = {"main.py": "0a", "near.py": "1b"}


@pytest.fixture
def saved(write: Write) -> StepRecord:
    """A record with a file and a folder as its outputs."""
    home = write({"jobs/j/metrics.json": "{}", "jobs/j/model/a.bin": "a", "jobs/j/model/deep/b.bin": "b"})
    store = StepStore(home)
    outputs = {name: store.stored(home / "jobs" / "j" / name) for name in ("metrics.json", "model")}
    record = record_of(fingerprint_of(store), outputs)
    store.save(record)
    return record


def fingerprint_of(store: StepStore, step: str = "train", source: str = "/p.yml", **inputs: str | None) -> Fingerprint:
    """What a step with this code depends on."""
    return Fingerprint(step, source, {"code": store.keep(CODE)}, inputs)


def record_of(
    fingerprint: Fingerprint, outputs: Mapping[str, StoredOutput] = MappingProxyType({}), job: str = "j"
) -> StepRecord:
    return StepRecord(fingerprint.key, fingerprint.step, job, fingerprint, dict(outputs), "jobs/j/log.txt", 1.5, "run")


def test_a_record_is_found_as_it_was_saved(saved: StepRecord, tmp_path: Path) -> None:
    assert StepStore(tmp_path).read(saved.key) == saved


def test_a_record_moves_with_its_folder(saved: StepRecord, tmp_path: Path) -> None:
    home = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name} moved"))

    assert StepStore(home).read(saved.key) == saved
    assert StepStore(home).path(saved.outputs["model"]) == home / "jobs" / "j" / "model"


def test_nothing_is_found_under_another_key(saved: StepRecord, tmp_path: Path) -> None:
    assert StepStore(tmp_path).read("0" * 64) is None


def test_a_later_record_takes_the_place_of_an_earlier(saved: StepRecord, tmp_path: Path) -> None:
    StepStore(tmp_path).save(replace(saved, job_name="later"))

    found = StepStore(tmp_path).read(saved.key)

    assert found is not None
    assert found.job_name == "later"
    assert [path.name for path in (tmp_path / "steps").glob("*.json")] == [f"{saved.key}.json"]


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
def test_outputs_that_were_changed_are_lost(change: str, saved: StepRecord, tmp_path: Path) -> None:
    CHANGES[change](tmp_path / "jobs" / "j")

    assert StepStore(tmp_path).lost(saved)


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
    (tmp_path / "steps" / f"{saved.key}.json").write_bytes(text)

    assert StepStore(tmp_path).read(saved.key) is None


@pytest.mark.parametrize("name", ["key", "step", "job_name", "outputs", "log", "seconds", "fingerprint"])
def test_a_record_that_lacks_something_is_as_none(name: str, saved: StepRecord, tmp_path: Path) -> None:
    path = tmp_path / "steps" / f"{saved.key}.json"
    values = json.loads(path.read_bytes())
    del values[name]
    path.write_text(json.dumps(values))

    assert StepStore(tmp_path).read(saved.key) is None


def test_the_key_is_that_of_the_values_in_whatever_order(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    one = Fingerprint(
        "train", "p.yml", {"code": store.keep({"a": "1", "b": "ż"}), "component": "2"}, {"x": "=1", "y": None}
    )
    same = Fingerprint(
        "fit", "q.yml", {"component": "2", "code": store.keep({"b": "ż", "a": "1"})}, {"y": None, "x": "=1"}
    )

    assert one.key == same.key
    assert one.key != replace(one, inputs={"x": "=1", "y": "="}).key
    assert one.key != replace(one, inputs={"x": "=1"}).key
    assert one.key != replace(one, parts={"code": store.keep({"a": "1", "b": "z"}), "component": "2"}).key


def test_a_part_that_many_steps_share_is_kept_once_and_read_by_the_next_process(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    records = [record_of(fingerprint_of(store, step)) for step in ("one", "two")]
    for record in records:
        store.save(record)

    assert len(list((tmp_path / "steps" / "parts").iterdir())) == 1
    assert StepStore(tmp_path).part(records[0].fingerprint.parts["code"]) == CODE
    assert StepStore(tmp_path).part("0" * 64) is None


def test_what_became_of_an_output_is_told(saved: StepRecord, tmp_path: Path) -> None:
    (tmp_path / "jobs" / "j" / "metrics.json").unlink()
    (tmp_path / "jobs" / "j" / "model" / "a.bin").write_text("A")

    assert StepStore(tmp_path).lost(saved) == {"metrics.json": "deleted", "model": "altered"}


def test_the_nearest_earlier_run_has_most_in_common(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    for job, rate, data in (("first", "=1", "d"), ("second", "=2", "d"), ("third", "=2", "e")):
        store.save(record_of(fingerprint_of(store, rate=rate, data=data), job=job))

    def nearest(rate: str, data: str, unknown: frozenset[str] = frozenset()) -> str:
        found = StepStore(tmp_path).nearest(fingerprint_of(store, rate=rate, data=data), unknown)
        assert found is not None
        return found.job_name

    assert nearest("=1", "x") == "first"
    assert nearest("=2", "x") == "third"  # as near as the second, and newer
    assert nearest("=1", "e", frozenset({"data"})) == "first"
    assert nearest("=3", "e") == "third"


def test_only_a_step_of_the_same_file_is_an_earlier_run(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    for source in ("/a.yml", "/b.yml"):
        store.save(record_of(fingerprint_of(store, source=source, rate=f"={source}"), job=source))

    found = store.nearest(fingerprint_of(store, source="/a.yml", rate="=/b.yml"))  # just as in the other file

    assert found is not None
    assert found.job_name == "/a.yml"
    assert store.nearest(fingerprint_of(store, source="/c.yml", rate="=/b.yml")) is None


def test_a_step_of_another_name_is_no_earlier_run(saved: StepRecord, tmp_path: Path) -> None:
    assert StepStore(tmp_path).nearest(replace(saved.fingerprint, step="fit")) is None


@pytest.mark.parametrize(
    "text", [b"", b"{}\n", b"[1]\n", b'["train","key"', b'["train","key",1,2,3]\n', b"\xff\n", b"[1, 2, 3, 4, 5]\n"]
)
def test_a_line_of_the_history_that_cannot_be_read_is_passed_over(
    text: bytes, saved: StepRecord, tmp_path: Path
) -> None:
    with (tmp_path / "steps" / "history.jsonl").open("ab") as stream:
        stream.write(text)

    assert StepStore(tmp_path).nearest(saved.fingerprint) == saved


def test_of_a_long_history_the_newest_part_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StepStore(tmp_path)
    for number in range(9):
        store.save(record_of(fingerprint_of(store, rate=f"={number}"), job=str(number)))
    monkeypatch.setattr(history, "NEWEST_BYTES", (tmp_path / "steps" / "history.jsonl").stat().st_size // 2)

    found = StepStore(tmp_path).nearest(fingerprint_of(store, rate="=0", data="new"))

    assert found is not None
    assert found.job_name == "8"
